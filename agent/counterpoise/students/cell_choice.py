"""Which way to take against concepts and attributes that go with the label: chosen on inner validation, or by rule.

A choice by validation is made where the rows can carry it. Where a cell has less than ten of them they cannot: on draws
from training texts of CEBaB with four rows in the thinnest cells the way with the least cross-validated loss was worse
than any fixed one, because the rows that are scored are the ones that the fit then lacks. So there:

1. the descriptions of the labels alone, if on the user's rows they are surely better than chance and not worse than the
   mixture by three standard errors: they know nothing of the skew, hence cannot have learned it;
2. else the mixture of three ways.

Three and not two, because the rows that are scored share the skew with those that the mixture learns from. On sixty
draws from one half of CEBaB's training texts, where the descriptions had 80% in the worst cell on the other half and
the mixture 63%, and more in every draw, the mixture seemed better by two standard errors in eight draws, by three in
one.

With more rows the mean of balanced subsamples is taken unless another way is surely better. "Surely" is by two standard
errors of the paired difference of log-losses, cells counting alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from counterpoise.core.records import Floats, Integers
from counterpoise.students.base import Student, Treatment
from counterpoise.students.cell_marks import CellMarks, find_cells, weigh_cells
from counterpoise.students.cell_treatments import (
    BACK_DOOR,
    CELL_BAGS,
    CELL_MIXTURE,
    CELL_OVERSAMPLING,
    GROUP_WEIGHTS,
    ZERO_SHOT,
    list_cell_ways,
)
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.registry import VECTORS
from counterpoise.students.rows import Rows
from counterpoise.students.treatments import NOTHING

FEWEST_ROWS = 10
SURE_FROM = 2.0
SURE_AGAINST = 3.0
"""Standard errors: against the descriptions of the labels, on rows that are too few."""

_THIN_WAYS = (ZERO_SHOT, CELL_MIXTURE)
_DEFAULT = CELL_BAGS
_COMPARED = (NOTHING, GROUP_WEIGHTS, CELL_OVERSAMPLING, CELL_BAGS, BACK_DOOR, ZERO_SHOT)


@dataclass(frozen=True, slots=True)
class CellChoice:
    """A way with the reason for it.

    Args:
        way: one of `CELL_TREATMENTS`.
        reason: a sentence.
        losses: name of a way -> cross-validated loss of those that were looked at; log(k) is chance.
    """

    way: Treatment
    reason: str
    losses: Mapping[str, float]


def count_rarest(labels: Integers, marks: CellMarks, n_labels: int) -> int:
    """Rows of the thinnest cell of any mark, 0 where a label has none of it; all rows where there are no marks."""
    counts = [
        np.bincount(cells[cells >= 0], minlength=2 * n_labels)
        for cells in (find_cells(labels, states, n_labels) for states in marks.states.T)
    ]
    return int(np.min(counts)) if counts else len(labels)


def measure_losses(scores: Floats, labels: Integers, weights: Floats) -> Floats:
    """(n,) log-losses after the best temperature for all rows: how sure a way is of itself costs it nothing.

    Args:
        scores: (n, k) log-scores from fits that did not see the row.
        labels: (n,) right labels.
        weights: (n,) under which the temperature is chosen.
    """
    rows = np.arange(len(labels))

    def find(log_temperature: float) -> Floats:
        return -np.asarray(log_softmax(scores * np.exp(log_temperature), axis=1))[rows, labels]

    best = minimize_scalar(
        lambda value: float(np.average(find(value), weights=weights)), bounds=(-5, 5), method="bounded"
    )
    return find(float(best.x))


def score_cell_ways(
    student: Student,
    train: Rows,
    marks: CellMarks,
    folds: Integers,
    n_labels: int,
    ways: Sequence[Treatment],
) -> dict[str, Floats]:
    """Cross-validated log-scores of ways by their names, (n, k) each.

    Args:
        student: who is trained.
        train: the user's own rows.
        marks: of them.
        folds: (n,) fold of each row; near-duplicates share one.
        n_labels: k.
        ways: some of `CELL_TREATMENTS`.
    """
    tables = {way.name: np.zeros((len(train), n_labels)) for way in ways}
    for fold in np.unique(folds):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        part, scored = train.take(inside), train.take(outside)
        found = predict_by_treatments(
            ways, student, part, scored, n_labels, int(fold), marks=marks.take(inside)
        )
        for way, scores in found.items():
            tables[way][outside] = scores
    return tables


def choose_cell_way(
    student: Student, train: Rows, marks: CellMarks, folds: Integers, n_labels: int
) -> CellChoice:
    """Choose for one student; see the head of the module.

    Args:
        student: who is trained.
        train: the user's own rows, with `zero_shot` where labels are described.
        marks: of them.
        folds: (n,) fold of each row.
        n_labels: k.
    """
    allowed = list_cell_ways(student, has_zero_shot=bool(len(train.zero_shot)))
    n_rarest = count_rarest(train.labels, marks, n_labels)
    is_thin = n_rarest < FEWEST_ROWS
    ways = tuple(way for way in allowed if way in (_THIN_WAYS if is_thin else _COMPARED))
    if len(ways) == 1:
        return CellChoice(ways[0], f"the thinnest cell has {n_rarest} rows: too few to choose by", {})
    weights = weigh_cells(train.labels, marks, n_labels)
    tables = score_cell_ways(student, train, marks, folds, n_labels, ways)
    losses = {way: measure_losses(table, train.labels, weights) for way, table in tables.items()}
    means = {way: float(np.average(values, weights=weights)) for way, values in losses.items()}
    if is_thin:
        chance = np.full(len(train), np.log(n_labels))
        knows = is_surely_less(losses[ZERO_SHOT.name], chance, weights)
        if knows and not is_surely_less(
            losses[CELL_MIXTURE.name], losses[ZERO_SHOT.name], weights, SURE_AGAINST
        ):
            return CellChoice(
                ZERO_SHOT,
                f"the thinnest cell has {n_rarest} rows, and the descriptions of the labels know more than chance",
                means,
            )
        return CellChoice(CELL_MIXTURE, f"the thinnest cell has {n_rarest} rows: too few to choose by", means)
    best = min(ways, key=lambda way: means[way.name])
    if is_surely_less(losses[best.name], losses[_DEFAULT.name], weights):
        return CellChoice(best, f"less loss than {_DEFAULT.name} on inner validation", means)
    return CellChoice(_DEFAULT, "no way has surely less loss on inner validation", means)


def is_surely_less(losses: Floats, others: Floats, weights: Floats, sure_from: float = SURE_FROM) -> bool:
    """Whether paired losses are less by `sure_from` standard errors of their weighted mean difference."""
    difference = losses - others
    mean = float(np.average(difference, weights=weights))
    error = float(np.sqrt(((weights * (difference - mean)) ** 2).sum()) / weights.sum())
    return mean < -sure_from * error


def score_unlabelled(
    train: Rows, marks: CellMarks, folds: Integers, unlabelled: Rows, n_labels: int
) -> tuple[CellChoice, Floats, Floats]:
    """Label unlabelled rows in the chosen way, on vectors.

    Where a concept goes with the label a plain classifier adopts rows of the wrong label just for the cells that need
    them: it takes the concept for the label.

    Args:
        train: the user's own rows.
        marks: of them.
        folds: (n,) fold of each row.
        unlabelled: rows without a label, m of them.
        n_labels: k.

    Returns:
        The choice, (n, k) cross-fitted probabilities of the own rows, and (m, k) of the unlabelled ones.
    """
    choice = choose_cell_way(VECTORS, train, marks, folds, n_labels)
    way = choice.way
    own = score_cell_ways(VECTORS, train, marks, folds, n_labels, [way])[way.name]
    scores = predict_by_treatments([way], VECTORS, train, unlabelled, n_labels, marks=marks)[way.name]
    return choice, np.asarray(softmax(own, axis=1)), np.asarray(softmax(scores, axis=1))
