"""What asking a person offers: twenty rows of the pool, their price in minutes, and what they may be worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.core.splits import sample_by_rank
from counterpoise.scorers.anchors import MOST_POOL_ROWS, choose_pool_rows, find_thin_labels, score_pool
from counterpoise.students.forecasts import Forecast, ForecastRange
from counterpoise.students.metrics import METRIC_NAMES
from counterpoise.tasks.text.inputs import Inputs

N_ANSWERS = 20
N_TOKENS = 20_000
"""What answers are compared with."""

SECONDS_PER_ANSWER = 15.0
"""A prior, measured nowhere: two sentences are read and a label is chosen. A job says its own."""


@dataclass(frozen=True, slots=True)
class AskOffer:
    """Rows of the pool that a person could label.

    Args:
        answers: how many.
        minutes: their price.
        records: label index -> rows of that thin label that are to be expected among them.
    """

    answers: int
    minutes: float
    records: Mapping[int, int]


def offer_answers(inputs: Inputs, key: str, seconds: float | None) -> AskOffer | None:
    """Twenty rows; None without a pool that has so many.

    Args:
        inputs: the data.
        key: of the run, which says what rows are drawn.
        seconds: that an answer takes; None for the prior.
    """
    train, pool = inputs.train, inputs.pool
    if len(pool) < N_ANSWERS:
        return None
    pool = pool.take(np.sort(sample_by_rank(pool.records.ids, MOST_POOL_ROWS, f"{key}:pool")))
    asked = choose_pool_rows(train, inputs.folds, pool, N_ANSWERS, f"{key}:ask").rows
    expected = score_pool(train, inputs.folds, pool.vectors)[asked].sum(axis=0)
    thin = find_thin_labels(train.records.labels, len(train.records.label_names))
    minutes = len(asked) * (seconds or SECONDS_PER_ANSWER) / 60
    return AskOffer(len(asked), minutes, {int(label): round(float(expected[label])) for label in thin})


def describe_offer(
    offer: AskOffer, names: Sequence[str], gains: Sequence[ForecastRange], metric: str
) -> dict[str, object]:
    """The offer as plain values.

    Args:
        offer: what is offered.
        names: of the labels.
        gains: what the answers are expected to be worth, of every student and metric.
        metric: the one that counts.
    """
    return {
        "answers": offer.answers,
        "minutes": round(offer.minutes, 1),
        "records": {names[label]: count for label, count in offer.records.items()},
        "metric": metric,
        "gains": {
            one.student: None if one.low is None else [one.low, one.high]
            for one in gains
            if one.metric == metric
        },
    }


def compare_answers(
    offer: AskOffer,
    answers: Sequence[Forecast],
    ranges: Sequence[ForecastRange],
    written: Sequence[Forecast],
    said: Mapping[str, str],
    metric: str,
) -> str:
    """A sentence: answers, with their price, beside tokens.

    Args:
        offer: what is offered.
        answers: a forecast a student.
        ranges: how far these forecasts can be believed.
        written: forecasts of what the tokens would pay; the last one of a student counts the earlier ones.
        said: the students in words.
        metric: what gains are told in, a key of `METRIC_NAMES`.
    """
    ours = {one.student: 100 * float(getattr(one, metric)) for one in answers}
    theirs = {one.student: 100 * float(getattr(one, metric)) for one in written}
    known = {
        one.student: f"{100 * one.low:.1f} to {100 * one.high:.1f}"
        for one in ranges
        if one.metric == metric and one.low is not None and one.high is not None
    }
    parts = [
        f"{ours[student]:+.1f} points ({known[student]}) for {whom} "
        f"({N_TOKENS:,} tokens: {theirs.get(student, 0.0):+.1f})"
        for student, whom in said.items()
        if student in known
    ]
    unknown = [whom for student, whom in said.items() if student not in known]
    brings = []
    if parts:
        brings.append(f"are expected to bring, in {METRIC_NAMES[metric]}, {' and '.join(parts)}")
    if unknown:
        brings.append(f"bring what your rows do not tell for {' and '.join(unknown)}")
    return (
        f"{offer.answers} rows of the pool that you label, some {max(1, round(offer.minutes))} minutes, "
        f"{' and '.join(brings)}; the command `label` with --pool names them."
    )
