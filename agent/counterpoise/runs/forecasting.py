"""What a run, and twenty answers of the user, are expected to be worth: the forecasts of a preview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from counterpoise.core.event_kinds import Forecasting
from counterpoise.core.events import tell_progress
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm.models import Models
from counterpoise.runs.advice import say_students
from counterpoise.runs.offers import foresee_records
from counterpoise.runs.simple_ways import SimpleWays
from counterpoise.scorers.anchors import MOST_POOL_ROWS, choose_pool_rows, find_thin_labels, score_pool
from counterpoise.students.forecasts import Forecast, forecast_gains, list_filled, measure_thin_loss
from counterpoise.students.metrics import METRIC_NAMES
from counterpoise.students.rows import view_rows
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.parts import RunContext

ANSWERS = "answers"
"""What the line of the forecasts is called that no action stands for."""

N_ANSWERS = 20
N_TOKENS = 20_000
"""What answers are compared with."""


def forecast_run(
    context: RunContext, simple: SimpleWays, models: Models, limit: int | None, metric: str
) -> tuple[list[Forecast], list[str]]:
    """What the records of a whole run, and answers about the pool, are expected to be worth.

    Args:
        context: the data.
        simple: the ways that cost no token, measured.
        models: the model; it is asked nothing.
        limit: tokens of the budget, None without.
        metric: what gains are told in, a key of `METRIC_NAMES`.

    Returns:
        Forecasts, those of answers first, and at most a sentence.
    """
    inputs = context.inputs
    drawn = simple.sample.rows
    train = inputs.train.take(drawn)
    foreseen = foresee_records(context, models, limit)
    counts = {action: one.counts for action, one in foreseen.items()}
    answered = foresee_answers(inputs, context.key)
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
    if loss is None:
        return [], []
    labels = inputs.train.records.labels
    loss = replace(loss, have=np.bincount(labels, minlength=len(inputs.train.records.label_names)))
    run = forecast_gains(loss, counts, {action: one.worth for action, one in foreseen.items()})
    known = {ANSWERS: {label: count for label, count in answered.items() if label in thin}}
    answers = forecast_gains(loss, known, {ANSWERS: 1.0})
    if not answers:
        return run, []
    paid = {
        action: one for action, one in foresee_records(context, models, N_TOKENS).items() if not one.is_free
    }
    written = forecast_gains(
        loss,
        {action: one.counts for action, one in paid.items()},
        {action: one.worth for action, one in paid.items()},
    )
    return [*answers, *run], [compare_answers(answers, written, say_students(students), metric)]


def foresee_answers(inputs: Inputs, key: str) -> dict[int, int]:
    """Rows of each thin label that are to be expected among twenty that are asked about; none without a pool."""
    train, pool = inputs.train, inputs.pool
    if len(pool) < N_ANSWERS:
        return {}
    pool = pool.take(np.sort(sample_by_rank(pool.records.ids, MOST_POOL_ROWS, f"{key}:pool")))
    asked = choose_pool_rows(train, inputs.folds, pool, N_ANSWERS, f"{key}:ask").rows
    expected = score_pool(train, inputs.folds, pool.vectors)[asked].sum(axis=0)
    thin = find_thin_labels(train.records.labels, len(train.records.label_names))
    return {int(label): round(float(expected[label])) for label in thin}


def compare_answers(
    answers: list[Forecast], written: list[Forecast], said: Mapping[str, str], metric: str
) -> str:
    """A sentence: answers beside tokens.

    Args:
        answers: a forecast a student.
        written: forecasts of what the tokens would pay; the last one of a student counts the earlier ones.
        said: the students in words.
        metric: what gains are told in, a key of `METRIC_NAMES`.
    """
    ours = {one.student: 100 * float(getattr(one, metric)) for one in answers}
    theirs = {one.student: 100 * float(getattr(one, metric)) for one in written}
    parts = [
        f"{ours[student]:+.1f} points for {whom} ({N_TOKENS:,} tokens: {theirs.get(student, 0.0):+.1f})"
        for student, whom in said.items()
    ]
    return (
        f"{N_ANSWERS} rows of the pool that you label are expected to bring, in {METRIC_NAMES[metric]}, "
        f"{' and '.join(parts)}; the command `label` with --pool names them."
    )
