"""The loop of a run on texts: read, audit, measure, then plan, act, judge and count again, while that pays.

A run is a function of its job, its data and the stored replies. Nothing in it depends on the order in which replies
arrive, so it may be killed at any moment and run again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from counterpoise.balance.counts import count_cells
from counterpoise.balance.deficits import choose_cells
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.errors import JobError
from counterpoise.core.event_kinds import (
    Audited,
    Judged,
    Planned,
    PrefixCache,
    RoundEnded,
)
from counterpoise.core.events import tell_event
from counterpoise.core.plain import to_plain
from counterpoise.core.plans import Plan
from counterpoise.data.encoder_choice import AUTO
from counterpoise.data.patches.values import write_patch
from counterpoise.filters.base import list_remedies
from counterpoise.llm import BudgetSpent, ChatClient, ThoughtsUnpaid
from counterpoise.llm.capabilities import learn_capabilities
from counterpoise.llm.connect import open_models, open_silent
from counterpoise.llm.models import Models
from counterpoise.report.preview import Preview
from counterpoise.report.schema import count_cell, count_within, describe_item
from counterpoise.runs.begun import Begun, keep_old_rounds, keep_target, read_begun
from counterpoise.runs.directory import RunDirectory
from counterpoise.runs.encoder_gain import note_encoder_gain
from counterpoise.runs.endings import NOTHING_PAYS, Progress, Stop, describe_ending
from counterpoise.runs.filter_report import list_filter_audits
from counterpoise.runs.hearing import hear_model
from counterpoise.runs.ledger import Ledger, add_accepted
from counterpoise.runs.mending import Mended, mend_labels
from counterpoise.runs.naming_concepts import name_concepts, write_named
from counterpoise.runs.outcome import write_outcome
from counterpoise.runs.plan_limits import UNPAID
from counterpoise.runs.preview import make_preview
from counterpoise.runs.procedures import PreparedRun, RunResources, RunResult
from counterpoise.runs.recipe.data import write_data
from counterpoise.runs.recipe.keeping import gather_data
from counterpoise.runs.report_data import make_report
from counterpoise.runs.rounds import bound_written, carry_out, list_short, plan_round
from counterpoise.runs.simple_ways import measure_simple_ways
from counterpoise.runs.stopping import StopState, find_stop, stop_for_time
from counterpoise.runs.weighing_rows import WEIGHED, WeighedRows, weigh_own_rows
from counterpoise.runs.whole_pool import list_to_ask_for, plan_whole_pool, read_pool_again
from counterpoise.runs.writing_report import describe_masked
from counterpoise.scorers.family import SCORERS
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.label_trust import (
    LabelTrust,
    audit_free_scorers,
    label_with_model,
    needs_model,
)
from counterpoise.tasks.text.model_trust import audit_model
from counterpoise.tasks.text.parts import RunContext, open_context
from counterpoise.tasks.text.preparation import prepare

NO_PLAN = Plan(0, ())


@dataclass(frozen=True, slots=True)
class Repair:
    """What the rounds of a run came to.

    Args:
        ledger: the settled rounds.
        context: what they shared.
        trust: the audits of the label scorers.
        stop: why there was no further round.
        capabilities: what the model was found to do.
    """

    ledger: Ledger
    context: RunContext
    trust: LabelTrust
    stop: Stop
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class TextRun:
    """What a run on texts does, see `procedures.Procedure`."""

    name: str = "text_classification"

    async def prepare(self, job: Job, resources: RunResources) -> PreparedRun:
        """Read, divide, encode and label the rows; where concepts are left to the model, let it name them."""
        directory, inputs = resources.directory, prepare(job)
        if job.encoder == AUTO:
            # The directory keeps what was taken, so that a run that is resumed takes the same.
            job = job.model_copy(update={"encoder": inputs.encoder_choice})
        else:
            inputs = replace(inputs, notes=(*inputs.notes, *note_encoder_gain(job, inputs)))
        job, inputs = await name_concepts(job, inputs, resources)
        job = keep_target(keep_old_rounds(job, inputs, directory), inputs, directory)
        return PreparedRun(job, inputs, inputs.fingerprint)

    async def carry_out(self, prepared: PreparedRun, resources: RunResources) -> RunResult:
        """Measure the simple ways, fill cells round by round, write the data set, and measure again."""
        job, inputs, directory = prepared.job, prepared.inputs, resources.directory
        begun = read_begun(job, directory)
        write_named(directory)
        directory.write("run", {"rounds": job.rounds})
        mended = await mend_labels(job, inputs, open_silent(job.llm), is_wanted=begun.is_mended)
        inputs = mended.inputs
        _keep_mended(mended, directory)
        simple = measure_simple_ways(job, inputs, begun.evidence)
        weighed = weigh_own_rows(inputs.train.records, job.target) if job.mode == "weights" else None
        if weighed is not None:
            models = open_silent(job.llm, budget=resources.budget, masker=job.open_masker())
            repair = _weigh(job, mended, weighed, models, begun)
        else:
            models, repair = await _ask_model(job, mended, resources, begun)
        ledger, context, trust = repair.ledger, repair.context, repair.trust
        masked = describe_masked(models.chat.masker)
        outcome = write_outcome(
            directory.path / "dataset",
            directory.path / "rejected",
            job,
            context,
            ledger,
            None if weighed is None else weighed.raked.weights,
        )
        trust = replace(trust, rows=(*trust.rows, *list_filter_audits(context.filters)))
        remedies = list_remedies([one.part for one in context.filters])
        short = list_short(context, ledger) if weighed is None else weighed.short
        ending = describe_ending(repair.stop, short, ledger, job.budget.tokens, remedies)
        report = make_report(
            job, context, ledger, trust, simple, outcome, resources.budget, ending, repair.capabilities
        )
        report = replace(report, masked=masked)
        write_data(directory.path, gather_data(job, context.inputs, outcome, simple, report.ways))
        return RunResult(to_plain(report), len(ledger.list_accepted()), to_plain(ending))

    async def preview(self, job: Job) -> Preview:
        """Deficits, the first plan and its price.

        Raises:
            JobError: the job weighs rows, which has no plan and no price.
        """
        if job.mode == "weights":
            raise JobError(
                "weights adds no record and asks no model, so there is nothing to preview",
                where="key 'mode'",
                hint="run the job; it costs no token",
            )
        return await make_preview(job)


def _keep_mended(mended: Mended, directory: RunDirectory) -> None:
    """Write what was decided about labels, and say what is done."""
    if mended.patch is not None:
        write_patch(directory.path / "patch.jsonl", mended.patch)
    if mended.plan is not None:
        directory.write("rounds", {"000": describe_plan(mended.plan)})
        tell_event(Planned(**describe_plan(mended.plan)))
        tell_event(Judged(round=0, accepted=len(mended.changes), rejected={}))


async def _ask_model(
    job: Job, mended: Mended, resources: RunResources, begun: Begun
) -> tuple[Models, Repair]:
    """The rounds, with the model of the job."""
    directory = resources.directory
    async with open_models(
        job.llm,
        store=resources.store,
        budget=resources.budget,
        cache_dir=resources.cache_dir,
        log_dir=directory.path,
        run_id=directory.id,
        masker=job.open_masker(),
    ) as models:
        if job.budget.minutes is not None:
            resources.budget.end_after(60 * job.budget.minutes)
        repair = await _repair(job, mended, models, resources, begun)
        directory.write_replies(models.chat.take_used())
        _tell_prefix_hits(models.chat, directory)
    return models, repair


def _weigh(job: Job, mended: Mended, weighed: WeighedRows, models: Models, begun: Begun) -> Repair:
    """What a run comes to that weighs rows: no round, no model."""
    inputs = replace(mended.inputs, notes=(*mended.inputs.notes, *weighed.notes))
    trust = audit_free_scorers(inputs, SCORERS.choose(job.scorers))
    context = open_context(job, inputs, trust, in_parts=begun.in_parts)
    tell_event(Audited(trust.rows))
    return Repair(mended.open_ledger(), context, trust, WEIGHED, models.capabilities)


async def _repair(job: Job, mended: Mended, models: Models, resources: RunResources, begun: Begun) -> Repair:
    """The rounds: the part of a run that spends tokens."""
    inputs, ledger = mended.inputs, mended.open_ledger()
    scorers = SCORERS.choose(job.scorers)
    trust = audit_free_scorers(inputs, scorers)
    context = open_context(job, inputs, trust, in_parts=begun.in_parts, in_slices=begun.in_slices)
    chat, directory = models.chat, resources.directory
    limit, unpaid = job.budget.tokens, None
    try:
        models = await learn_capabilities(models, directory, resources.cache_dir)
        if any(needs_model(scorer) for scorer in scorers):
            trust = await audit_model(trust, inputs, chat, job.key)
            context = replace(context, model=trust.model)
        labelled, line = await label_with_model(inputs, chat, job.key)
        if line is not None:
            inputs = labelled
            trust = trust.describe_concepts(inputs, line)
            context = open_context(job, inputs, trust, in_parts=begun.in_parts, in_slices=begun.in_slices)
        context = await hear_model(context, *list_to_ask_for(job, context, ledger))
        if job.pool_rows == "all":
            context = read_pool_again(context)
    except BudgetSpent as spent:
        if chat.budget.is_time_up:
            return Repair(ledger, context, trust, stop_for_time(job.budget.minutes), models.capabilities)
        # Nothing can be written, but records of the pool are adopted for no token.
        limit, unpaid = 0, Stop("budget", "the budget does not reach for the first questions")
        if isinstance(spent, ThoughtsUnpaid):
            unpaid = Stop("budget", str(spent))
    tell_event(Audited(trust.rows))
    directory.write("audits", {row["name"]: row for row in trust.rows})
    progress = Progress()
    for number in count(1):
        plan = NO_PLAN
        if job.pool_rows == "all" and not chat.budget.is_time_up:
            plan = plan_whole_pool(context, ledger, models, number)
        if not plan.items:
            stop = find_stop(_look(job, context, ledger, chat, progress, number))
            if stop is not None:
                return Repair(ledger, context, trust, stop, models.capabilities)
            plan = plan_round(
                context,
                ledger,
                models,
                round_number=number,
                n_rounds=job.rounds,
                limit=limit,
            )
        tell_event(Planned(**describe_plan(plan)))
        if not plan.items:
            stop = Stop("budget", plan.reason) if plan.reason.startswith(UNPAID) else NOTHING_PAYS
            return Repair(ledger, context, trust, unpaid or stop, models.capabilities)
        judged = await carry_out(plan, context, ledger, models)
        ledger.settle(plan, judged)
        directory.write_replies(chat.take_used())
        directory.write("rounds", {f"{number:03d}": describe_plan(plan)})
        directory.write(
            "verdicts",
            {
                verdict.proposal_id: {
                    "kept": verdict.kept,
                    "reason": verdict.reason,
                    "scores": dict(verdict.scores),
                }
                for verdict in judged.verdicts
            },
        )
        tell_event(describe_round(context, ledger, number))
    raise AssertionError("a count has no end")


def _look(
    job: Job, context: RunContext, ledger: Ledger, chat: ChatClient, progress: Progress, number: int
) -> StopState:
    """Where the run stands before round `number`."""
    short = list_short(context, ledger)
    paying = choose_cells(short, ledger.find_vain())
    return StopState(
        number,
        short,
        paying,
        bound_written(paying, context, ledger),
        chat.budget,
        progress,
        job.rounds,
        job.budget.minutes,
        job.max_synthetic_share,
    )


def _tell_prefix_hits(chat: ChatClient, directory: RunDirectory) -> None:
    """Say how much of the prompts the servers have read from their prefix caches, where they say so."""
    ratio = chat.prefix_hit_ratio
    if ratio is not None:
        directory.write("server", {"prefix_hit_ratio": ratio})
        tell_event(PrefixCache(ratio))


def describe_plan(plan: Plan) -> dict[str, Any]:
    """A plan as plain values."""
    return {
        "round": plan.round,
        "reason": plan.reason,
        "items": [to_plain(describe_item(item)) for item in plan.items],
    }


def describe_round(context: RunContext, ledger: Ledger, number: int) -> RoundEnded:
    """The cells that are still short, and all label cells, after a round."""
    counts = count_cells(add_accepted(context.inputs.train.records, ledger), ["label"])
    short = {deficit.cell: deficit for deficit in list_short(context, ledger)}
    cells = [count_within(cell, have, short) for cell, have in counts.items()]
    cells += [count_cell(deficit) for cell, deficit in short.items() if cell not in counts]
    return RoundEnded(number, to_plain(cells), len(ledger.list_accepted()))
