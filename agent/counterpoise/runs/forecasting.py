"""What a run, and twenty answers of the user, are expected to be worth: the forecasts of a preview."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from counterpoise.core.event_kinds import Forecasting
from counterpoise.core.events import tell_progress
from counterpoise.llm.models import Models
from counterpoise.runs.advice import say_students
from counterpoise.runs.asking import N_TOKENS, compare_answers, describe_offer, offer_answers
from counterpoise.runs.offers import foresee_records
from counterpoise.runs.simple_ways import SimpleWays
from counterpoise.students.forecasts import (
    Forecast,
    find_ranges,
    forecast_gains,
    list_filled,
    measure_thin_loss,
)
from counterpoise.students.rows import view_rows
from counterpoise.tasks.text.parts import RunContext

ANSWERS = "answers"
"""What the line of the forecasts is called that no action stands for."""


@dataclass(frozen=True, slots=True)
class RunForecast:
    """What is expected, before a token is spent.

    Args:
        forecasts: of answers first, then of the run's actions.
        ask: the offer of answers as plain values; None where there is no pool to ask about.
        advice: at most a sentence on answers beside tokens.
    """

    forecasts: list[Forecast]
    ask: dict[str, object] | None = None
    advice: tuple[str, ...] = ()


def forecast_run(
    context: RunContext,
    simple: SimpleWays,
    models: Models,
    limit: int | None,
    metric: str,
    seconds_per_answer: float | None = None,
) -> RunForecast:
    """What the records of a whole run, and answers about the pool, are expected to be worth.

    Args:
        context: the data.
        simple: the ways that cost no token, measured.
        models: the model; it is asked nothing.
        limit: tokens of the budget, None without.
        metric: what gains are told in, a key of `METRIC_NAMES`.
        seconds_per_answer: of the user's; None for the prior.
    """
    inputs = context.inputs
    drawn = simple.sample.rows
    train = inputs.train.take(drawn)
    foreseen = foresee_records(context, models, limit)
    counts = {action: one.counts for action, one in foreseen.items()}
    offer = offer_answers(inputs, context.key, seconds_per_answer)
    answered = offer.records if offer else {}
    thin = list_filled(counts) or list_filled({ANSWERS: answered})
    students = [student for student in simple.students if not student.slow_step]  # twenty-five trainings each
    loss = measure_thin_loss(
        view_rows(train),
        train.records.ids,
        inputs.folds[drawn],
        len(train.records.label_names),
        students,
        simple.scores,
        thin,
        tell_progress(partial(Forecasting, what="forecast")),
    )
    names = inputs.train.records.label_names
    if loss is None:
        return RunForecast([], describe_offer(offer, names, [], metric) if offer else None)
    loss = replace(loss, have=np.bincount(inputs.train.records.labels, minlength=len(names)))
    run = forecast_gains(loss, counts, {action: one.worth for action, one in foreseen.items()})
    known = {label: count for label, count in answered.items() if label in thin}
    answers = forecast_gains(loss, {ANSWERS: known}, {ANSWERS: 1.0})
    if not answers or offer is None:
        return RunForecast(run, describe_offer(offer, names, [], metric) if offer else None)
    paid = {
        action: one for action, one in foresee_records(context, models, N_TOKENS).items() if not one.is_free
    }
    written = forecast_gains(
        loss,
        {action: one.counts for action, one in paid.items()},
        {action: one.worth for action, one in paid.items()},
    )
    ranges = find_ranges(loss, known)
    sentence = compare_answers(offer, answers, ranges, written, say_students(students), metric)
    return RunForecast([*answers, *run], describe_offer(offer, names, ranges, metric), (sentence,))
