"""What a run says at its end: the report, with the advice that follows from its held-out table."""

from __future__ import annotations

import re
from collections import Counter
from importlib.metadata import version
from typing import Any

from counterpoise.balance.counts import count_cells
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.hub_files import is_hub_id
from counterpoise.data.encoder_choice import EncoderChoice
from counterpoise.data.served_encoder import ServedEncoder
from counterpoise.data.sources import name_source
from counterpoise.llm import TokenBudget
from counterpoise.report.schema import (
    DataFacts,
    Ending,
    HeldOut,
    Meanings,
    Report,
    ScorerAudit,
    StudentWays,
    Validation,
)
from counterpoise.runs.advice import (
    AddedRecords,
    Choice,
    choose,
    describe_action,
    describe_recommendation,
    write_headline,
)
from counterpoise.runs.comparison import (
    compare_ways,
    describe_arm,
    describe_score,
    describe_worth,
    measure_held_out,
)
from counterpoise.runs.filter_report import describe_filters, note_refusals
from counterpoise.runs.held_out_cells import describe_held_out
from counterpoise.runs.ledger import Ledger, add_accepted
from counterpoise.runs.notes import note_held_out, note_left_out
from counterpoise.runs.outcome import RunOutcome
from counterpoise.runs.report_sections import (
    describe_balance,
    describe_rounds,
    describe_spend,
    describe_verdicts,
)
from counterpoise.runs.rounds import list_short
from counterpoise.runs.simple_ways import SimpleWays
from counterpoise.runs.writing_report import describe_writers, note_writing
from counterpoise.students.evidence import Evidence
from counterpoise.students.held_out import N_SEEDS
from counterpoise.students.metrics import METRICS
from counterpoise.students.recipe_code import write_code
from counterpoise.tasks.job import as_plain
from counterpoise.tasks.part_keys import name_parts
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.label_trust import LabelTrust
from counterpoise.tasks.text.parts import RunContext


def make_report(
    job: Job,
    context: RunContext,
    ledger: Ledger,
    trust: LabelTrust,
    simple: SimpleWays,
    outcome: RunOutcome,
    budget: TokenBudget,
    ending: Ending,
    capabilities: Capabilities,
) -> Report:
    """The report of a run.

    The sealed rows are scored here, once. The arm that differences are taken from was chosen on inner validation.

    Args:
        job: what was to be done.
        context: the data.
        ledger: the rounds.
        trust: the audits.
        simple: the ways that cost no token on inner validation.
        outcome: what was written.
        budget: what was spent.
        ending: why the run ended and what is short.
        capabilities: of the model.
    """
    compared = compare_ways(job.scored_by, context, outcome, simple, len(ledger.list_accepted()))
    baseline = {metric: simple.choose_best(metric) for metric in METRICS}
    table = measure_held_out(context, outcome, simple, baseline, compared)
    records = context.inputs.train.records
    given = context.inputs.given
    added = count_added(ledger, budget)
    choice = choose(job.scored_by, table, simple, compared.chosen)
    ways = {
        student.name: StudentWays(
            chosen=compared.chosen[student.name].name, added_rows=compared.added[student.name].added.name
        )
        for student in simple.students
    }
    return Report(
        title=job.name,
        version=version("counterpoise"),
        headline=write_headline(choice, job.scored_by, table, added, simple.students),
        advice=[describe_action(choice, job.scored_by, added)],
        recommendation=describe_recommendation(choice, _write_code(job, context, choice)),
        data=_describe_data(job, context, ledger, simple, capabilities),
        balance=describe_balance(context, given, add_accepted(records, ledger)),
        rounds=describe_rounds(ledger),
        verdicts=describe_verdicts(context, ledger),
        writers=describe_writers(context, ledger),
        filters=describe_filters(context.filters, ledger),
        scorers=[ScorerAudit(**row) for row in trust.rows],
        spend=describe_spend(budget, ledger),
        validation=Validation(
            job.scored_by,
            [describe_arm(score) for score in compared.validation],
            baseline[job.scored_by],
        ),
        worth=[describe_worth(found) for found in compared.worth],
        ways=ways,
        meanings=Meanings(
            students={student.name: student.meaning for student in simple.students},
            treatments={treatment.name: treatment.meaning for treatment in simple.treatments},
        ),
        held_out=HeldOut(len(context.inputs.held_out), N_SEEDS, [describe_score(score) for score in table]),
        held_out_cells=describe_held_out(context.inputs, table, baseline[job.scored_by]),
        stopped=ending.sentence,
        ending=ending,
        settings={
            **_describe_settings(job, outcome, simple.evidence),
            **{f"chosen for {student}": way.chosen for student, way in ways.items()},
            **{f"added rows for {student}": way.added_rows for student, way in ways.items()},
        },
    )


def _write_code(job: Job, context: RunContext, choice: Choice) -> str:
    """The code that does what is recommended."""
    return write_code(
        choice.way,
        choice.student,
        text=job.text,
        label=job.label,
        descriptions=_describe_labels(job, context),
        encoder=_spell_encoder(job.encoder),
    )


def _spell_encoder(chosen: EncoderChoice) -> str:
    """An encoder for the code of a report, which others read: of a folder its last part."""
    if isinstance(chosen, ServedEncoder):
        return repr(chosen)
    plain = str(as_plain(chosen))
    return plain if is_hub_id(plain) else re.split(r"[/\\]", plain)[-1]


def _describe_data(
    job: Job, context: RunContext, ledger: Ledger, simple: SimpleWays, capabilities: Capabilities
) -> DataFacts:
    records, n_pool = context.inputs.given, len(context.inputs.pool)
    return DataFacts(
        source=name_source(job.data).rsplit("/", 1)[-1],
        rows=len(records),
        labels={str(cell): have for cell, have in count_cells(records, ["label"]).items()},
        held_out_rows=len(context.inputs.held_out),
        pool_rows=n_pool,
        notes=[
            *context.inputs.notes,
            *note_left_out(simple.sample, records, list_short(context, Ledger())),
            *note_held_out(len(records)),
            *_note_pool(n_pool),
            *note_writing(context, [item for plan, _ in ledger.rounds for item in plan.items], capabilities),
            *note_refusals(context.filters, ledger),
        ],
    )


def _note_pool(n_pool: int) -> list[str]:
    if n_pool:
        return []
    return [
        "no unlabelled records were given: they help more than written ones; name a file of them under `pool`, and "
        "the sure ones are adopted without a token"
    ]


def count_added(ledger: Ledger, budget: TokenBudget) -> AddedRecords:
    """The accepted records by kind, why others were refused, and what the run has used."""
    accepted, rejected = ledger.list_accepted(), ledger.list_rejected()
    n_adopted = sum(proposal.nature.is_real for proposal, _ in accepted)
    reasons = Counter(verdict.reason for _, verdict in rejected)
    return AddedRecords(
        adopted=n_adopted,
        written=len(accepted) - n_adopted,
        proposed=len(accepted) + len(rejected),
        reason=min(reasons, key=lambda reason: (-reasons[reason], reason), default=""),
        tokens=budget.used,
    )


def _describe_labels(job: Job, context: RunContext) -> dict[Any, str]:
    """One line about each label, by its value as the data set has it."""
    train = context.inputs.train
    values = context.inputs.tables.train[job.label][:]
    labels = context.inputs.given.labels[train.user_order]
    first = {int(label): row for row, label in reversed(list(enumerate(labels)))}
    return {values[row]: context.inputs.label_texts[label] for label, row in sorted(first.items())}


def _describe_settings(job: Job, outcome: RunOutcome, evidence: Evidence) -> dict[str, Any]:
    """What decided the result; no folders, so that equal runs have equal reports."""
    return {
        "label": job.label,
        "text": ", ".join(job.text),
        "attributes": ", ".join(job.attributes),
        "concepts": ", ".join(job.concepts),
        "target": job.target if isinstance(job.target, str) else str(job.target),
        "metric": job.metric,
        "actions": ", ".join(name_parts(job.actions)),
        "filters": ", ".join(name_parts(job.filters)),
        "scorers": ", ".join(name_parts(job.scorers)),
        "engine": job.llm.engine,
        "model": job.llm.model,
        "budget": job.budget.tokens,
        "rounds": "no limit" if job.rounds is None else job.rounds,
        "seed": job.seed,
        "evidence": f"{evidence.hash}, {evidence.n_sets} data sets" if evidence.hash else "none",
        "job": job.fingerprint(),
        "content_hash": outcome.content_hash,
    }
