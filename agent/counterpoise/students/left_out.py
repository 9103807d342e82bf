"""What is said of training rows by whoever has not seen them: what ways with a few parameters are tuned on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.rows import Rows
from counterpoise.students.source_folds import N_FOLDS, assign_own_folds

SHARE_SPREAD = 1.0
OFFSET_SPREAD = 0.5
"""Standard deviations of shares and offsets before a row is seen. Of 0.3, 0.5 and 1 each the best on draws of CEBaB and
of text messages, sets that `evals/simple_ways.py` reports on too."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How log-scores are added up.

    Args:
        shares: (p,) factors of the scores, 0 or more.
        offsets: (k,) what is added for each label.
    """

    shares: Floats
    offsets: Floats

    def apply(self, scores: Sequence[Floats]) -> Floats:
        """(n, k) log-scores of p times (n, k)."""
        return np.asarray(np.tensordot(self.shares, _normalise(scores), axes=1) + self.offsets)


def leave_out(train: Rows, score: Callable[[Rows, Rows], Floats], n_labels: int) -> tuple[Floats, Integers]:
    """Scores of the user's own rows by five folds; for several ways at once see `leave_out_for_all`."""
    return leave_out_for_all(train, lambda part, rest: [score(part, rest)], n_labels, 1)[0]


def leave_out_for_all(
    train: Rows, score: Callable[[Rows, Rows], Sequence[Floats]], n_labels: int, n_ways: int
) -> list[tuple[Floats, Integers]]:
    """Scores of the user's own rows by five folds, of ways that have work in common.

    Args:
        train: the rows. Where a fold is left out, so are the added rows that were made from rows of it.
        score: of rows to learn from and others the (m, k) log-scores of these by each way.
        n_labels: k.
        n_ways: how many there are.

    Returns:
        For each (n, k) scores, and positions of the rows that have some: with a label of which no row is left to learn
        from, they would say nothing of how to add them up. None are left out below five own rows a label.
    """
    scores, known = np.zeros((n_ways, len(train), n_labels)), np.zeros(len(train), np.bool_)
    own, added = np.flatnonzero(train.original), np.flatnonzero(~train.original)
    folds = assign_own_folds(train)[own]
    for inside, outside in _list_folds(folds, train.labels[own]):
        kept = added[_find_untouched(train.sources, added, own[outside])]
        found = score(train.take(np.concatenate([own[inside], kept])), train.take(own[outside]))
        for way, table in enumerate(found):
            scores[way, own[outside]] = table
        known[own[outside]] = True
    return [(table, np.flatnonzero(known)) for table in scores]


def _find_untouched(sources: Objects | None, added: Integers, outside: Integers) -> NDArray[np.bool_]:
    """Which of the added rows were made from none of the rows outside."""
    if sources is None or not len(added):
        return np.ones(len(added), np.bool_)
    out = set().union(*sources[outside])
    return np.array([out.isdisjoint(sources[row]) for row in added])


def tune(
    scores: Sequence[Floats],
    labels: Integers,
    expected: Sequence[float],
    offset_spread: float = OFFSET_SPREAD,
) -> Tuning:
    """How to add scores up so that the log-loss is least, labels weighed alike.

    Args:
        scores: p times (n, k) log-scores of rows that nothing was learned from.
        labels: (n,) label indices, two or more of them different.
        expected: (p,) the shares before a row is seen; few rows move them little.
        offset_spread: standard deviation of the offsets before a row is seen.
    """
    logs, n_parts, n_labels = _normalise(scores), len(scores), scores[0].shape[1]
    weights = 1 / np.bincount(labels)[labels]
    weights /= weights.sum()
    precision = (weights**2).sum() * np.repeat(
        [1 / SHARE_SPREAD**2, 1 / offset_spread**2], [n_parts, n_labels]
    )  # the loss is a mean over as many rows as the weights are worth
    start = np.concatenate([np.asarray(expected, np.float64), np.zeros(n_labels)])
    rows = np.arange(len(labels))

    def measure(values: Floats) -> tuple[float, Floats]:
        mixed = np.tensordot(values[:n_parts], logs, axes=1) + values[n_parts:]
        moved = values - start
        loss = -weights @ log_softmax(mixed, axis=1)[rows, labels] + (precision * moved**2).sum() / 2
        errors = softmax(mixed, axis=1)
        errors[rows, labels] -= 1
        errors *= weights[:, None]
        slope = np.concatenate([np.tensordot(logs, errors, axes=2), errors.sum(axis=0)])
        return float(loss), slope + precision * moved

    bounds = [(0.0, None)] * n_parts + [(None, None)] * n_labels
    found = minimize(measure, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Tuning(found[:n_parts], found[n_parts:])


def add_up(
    scores: Sequence[Floats],
    left_out: Sequence[tuple[Floats, Integers]],
    labels: Integers,
    expected: Sequence[float],
    offset_spread: float = OFFSET_SPREAD,
) -> Floats:
    """Scores in the shares and with the offsets that rows left out say; in the expected shares where none can be.

    Args:
        scores: p times (m, k) log-scores.
        left_out: of each what `leave_out` gives, for the same (n,) rows.
        labels: (n,) label indices of these.
        expected: (p,) the shares before a row is seen.
        offset_spread: see `tune`.

    Returns:
        (m, k) log-scores.
    """
    known = left_out[0][1]
    if len(np.unique(labels[known])) < 2:
        return np.asarray(np.tensordot(expected, scores, axes=1))
    return tune([part[known] for part, _ in left_out], labels[known], expected, offset_spread).apply(scores)


def find_likeliest(scores: Sequence[Floats], labels: Integers) -> int:
    """Which of several tables holds the labels of rows for likeliest, labels weighed alike; the last of equals.

    Args:
        scores: (n, k) log-scores each, of rows that nothing was learned from.
        labels: (n,) label indices; without any the last one is it.
    """
    if not len(labels):
        return len(scores) - 1
    weights = 1 / np.bincount(labels)[labels]
    losses = [-float(weights @ table[np.arange(len(labels)), labels]) for table in _normalise(scores)]
    return max(range(len(scores)), key=lambda place: (-losses[place], place))


def _normalise(scores: Sequence[Floats]) -> Floats:
    return np.stack([np.maximum(log_softmax(one, axis=1), np.log(PROBABILITY_FLOOR)) for one in scores])


def _list_folds(folds: Integers, labels: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Positions to learn from and positions to score; none below five rows a label."""
    if len(labels) < N_FOLDS * len(np.unique(labels)):
        return
    for fold in np.unique(folds):
        inside = np.flatnonzero(folds != fold)
        outside = np.flatnonzero((folds == fold) & np.isin(labels, np.unique(labels[inside])))
        if len(outside):
            yield inside, outside
