"""What a run would do first, without asking a model anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from counterpoise.actions import ACTIONS
from counterpoise.actions.base import list_requests
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.events import tell_event
from counterpoise.core.plans import Plan, PlanItem
from counterpoise.core.records import Records
from counterpoise.data.encoder_choice import AUTO
from counterpoise.llm import ChatRequest, TokenBudget
from counterpoise.llm.connect import open_silent
from counterpoise.llm.models import Models
from counterpoise.report.pages import format_name
from counterpoise.report.preview import Preview
from counterpoise.runs.advice import say_students
from counterpoise.runs.encoder_gain import try_at_hand
from counterpoise.runs.forecasting import forecast_run
from counterpoise.runs.hearing import price_model
from counterpoise.runs.ledger import Ledger
from counterpoise.runs.mending import mend_labels
from counterpoise.runs.naming_concepts import estimate_naming
from counterpoise.runs.notes import note_left_out
from counterpoise.runs.outlook import look_ahead
from counterpoise.runs.rounds import list_short, plan_round
from counterpoise.runs.simple_ways import SimpleWays, measure_simple_ways
from counterpoise.runs.slow_students import offer_tuning, view_trained
from counterpoise.runs.whole_pool import list_to_ask_for, plan_whole_pool
from counterpoise.runs.writing_report import note_writing
from counterpoise.scorers.family import SCORERS
from counterpoise.students.cell_choice import choose_cell_way
from counterpoise.students.cell_marks import make_marks
from counterpoise.students.forecasts import Forecast
from counterpoise.students.metrics import METRIC_NAMES
from counterpoise.students.rows import view_rows
from counterpoise.tasks.text.default_target import choose_target
from counterpoise.tasks.text.encoder_sentences import say_encoders
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.label_trust import audit_free_scorers, needs_model
from counterpoise.tasks.text.parts import RunContext, find_skewed_cells, open_context
from counterpoise.tasks.text.preparation import prepare

_MOST_PROMPTS = 2
LEAST_ROOM = 0.005
"""Half a point of macro-F1 or AUROC."""


async def make_preview(job: Job) -> Preview:
    """What a run on texts would do first.

    Prompts are those for a model that continues texts; one that follows instructions is told the same in words.
    """
    budget, masker = TokenBudget(job.budget.tokens), job.open_masker()
    models = open_silent(job.llm, budget=budget, masker=masker)
    chat = models.chat

    job, inputs = _prepare(job, models)
    mended = await mend_labels(job, inputs, models)
    inputs, first = mended.inputs, () if mended.plan is None else mended.plan.items
    simple = measure_simple_ways(job, inputs, job.open_evidence())
    trust = audit_free_scorers(inputs, SCORERS.choose(job.scorers))
    context = open_context(job, inputs, trust)
    naming = [estimate_naming(job, inputs)] if job.concepts == AUTO else []
    ledger = mended.open_ledger()
    plan = _plan(job, context, ledger, models)
    prompts: list[str] = []
    actions = {action.name: action for action in context.actions}
    for item in plan.items:
        if len(prompts) < _MOST_PROMPTS:
            requests = list_requests(actions[item.action], item, context.data, models)
            prompts += [_show_request(chat.mask(request)) for request in requests[:1]]
    trials = inputs.encoder_trials or try_at_hand(job, inputs)
    foreseen = forecast_run(context, simple, models, job.budget.tokens, job.scored_by, job.seconds_per_answer)
    advice = [
        f"Without a token: {format_name(simple.best[student].name)} is the best way for {said}."
        for student, said in say_students(simple.students).items()
    ]
    if inputs.encoder_trials is None:  # else a note says which one was taken
        advice += say_encoders(trials, METRIC_NAMES[job.scored_by])
    advice += [f"{price.message[:1].upper()}{price.message[1:]}." for price in simple.prices]
    trained = view_trained(inputs, simple.sample.rows)
    advice += offer_tuning(simple.students, trained, find_cache_dir(job.cache_dir))
    advice += advise_on_records(simple, job.scored_by)
    advice += _advise_on_cells(job, inputs, simple)
    free = _count_free([*first, *plan.items])
    advice += [
        f"{count} records would be {actions[name].effect} before anything is written."
        for name, count in free.items()
        if count
    ]
    advice += foreseen.advice
    if any(needs_model(scorer) for scorer in SCORERS.choose(job.scorers)):
        advice += _price_labels(job, context, ledger, models)
    if not free.total() and not len(inputs.pool):
        advice.append("A pool of unlabelled records would help more than writing: name it under `pool`.")
    short = list_short(context, ledger)
    return Preview(
        arms=[score.as_dict() for score in simple.scores],
        best=simple.choose_best(job.scored_by),
        deficits=short,
        plan=[*first, *plan.items],
        prompts=prompts,
        forecasts=[_describe_forecast(one) for one in foreseen.forecasts],
        estimated_tokens=sum(item.reserved_tokens for item in plan.items),
        notes=[
            *inputs.notes,
            *naming,
            *note_left_out(simple.sample, inputs.train.records, short),
            *note_writing(context, plan.items, replace(models.capabilities, follows_instructions=True)),
        ],
        advice=advice,
        encoders=[asdict(one) for one in trials.trials],
        ask=foreseen.ask,
    )


def _prepare(job: Job, models: Models) -> tuple[Job, Inputs]:
    """The job with what the data settles, and the data; what is short is told as soon as the rows are read."""

    def look(records: Records, label_texts: tuple[str, ...]) -> None:
        target, actions = choose_target(job, len(label_texts)).target, ACTIONS.choose(job.actions)
        tell_event(look_ahead(records, target, label_texts, actions, models))

    inputs = prepare(job, look, with_speed=True)
    settled = job.model_copy(update={"encoder": inputs.encoder_choice})
    return choose_target(settled, len(inputs.train.records.label_names)), inputs


def _plan(job: Job, context: RunContext, ledger: Ledger, models: Models) -> Plan:
    """What would be done first."""
    plan = plan_whole_pool(context, ledger, models, 1) if job.pool_rows == "all" else Plan(1, ())
    if plan.items:
        return plan
    # As if there were one round: a run learns from its first slices, and buys the others by what it has seen.
    return plan_round(context, ledger, models, round_number=1, n_rounds=1, limit=job.budget.tokens)


def _price_labels(job: Job, context: RunContext, ledger: Ledger, models: Models) -> list[str]:
    """What asking the model about the pool would cost; nothing where it would not be asked."""
    deficits, share = list_to_ask_for(job, context, ledger)
    said = price_model(context, deficits, models, share)
    return [said] if said else []


def _count_free(items: Sequence[PlanItem]) -> Counter[str]:
    """Action -> records that it would bring without a request."""
    free = Counter[str]()
    for item in items:
        free[item.action] += 0 if item.n_requests else item.count
    return free


def _describe_forecast(one: Forecast) -> dict[str, Any]:
    return {
        "action": str(one.action),
        "student": one.student,
        "records": one.n_records,
        "macro_f1": one.macro_f1,
        "auroc": one.auroc,
    }


def _show_request(request: ChatRequest) -> str:
    """A request as it is sent; of a conversation every turn with who says it."""
    return request.prompt or "\n".join(f"{turn.role}: {turn.content}" for turn in request.messages)


def advise_on_records(simple: SimpleWays, metric: Literal["macro_f1", "auroc"]) -> list[str]:
    """Where records cannot be worth their tokens: the best simple way has next to nothing left to gain.

    A forecast that stays below the best simple way is no reason: on draws where it did, runs still gained 2.4 points
    of macro-F1 (see the evaluation `forecast`), because the way that is best on inner validation was lucky there.

    Args:
        simple: the ways that cost no token, on inner validation.
        metric: what is compared.
    """
    room = {
        score.student: 1.0 - float(getattr(score, metric))
        for score in simple.scores
        if score.arm == simple.best[score.student].name
    }
    said = say_students(simple.students)
    idle = [said[student] for student, left in room.items() if left < LEAST_ROOM]
    if not idle:
        return []
    whom = "" if len(idle) == len(room) else f" for {' and '.join(idle)}"
    return [f"Do not generate{whom}: the best way without tokens leaves less than half a point to gain."]


def _advise_on_cells(job: Job, inputs: Inputs, simple: SimpleWays) -> list[str]:
    """Which way to take where a concept or an attribute goes with the label."""
    skewed = find_skewed_cells(job, inputs)
    if not skewed:
        return []
    train, folds = inputs.train.take(simple.sample.rows), inputs.folds[simple.sample.rows]
    rows = view_rows(train)
    marks, n_labels = make_marks(train.records), len(train.records.label_names)
    sentences = [
        f"{len(skewed)} cells are thin, the one that lacks most being '{skewed[0].cell}'. Without a token:"
    ]
    said = say_students(simple.students)
    # The ways for cells train on the rows in other weights, each of them anew.
    for student in (one for one in simple.students if one.slow_step != "fit"):
        choice = choose_cell_way(student, rows, marks, folds, n_labels)
        sentences.append(f"{format_name(choice.way.name)} for {said[student.name]} ({choice.reason}).")
    return [" ".join(sentences)]
