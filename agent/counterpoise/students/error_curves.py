"""What more rows of a cell are expected to take off the error: one curve a cell, measured on the rows that there are.

A cell's rows are thinned to a quarter, a half and three quarters of what is trained on, three times by keyed hash, and
all rows are scored by folds each time. What is measured is what the run is judged by: of `worst_group` the errors of
the cell's own rows, of `macro_f1` and `auroc` what these lack of 1 over all rows, so that a cell whose rows mislead
about others counts with what it does to them. Rows are taken in the order of a keyed hash of their ids, so that the
order of the data decides nothing.

The classifier is a ridge regression on the student's features (`thinned_scores`), so that ten cells take seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.plans import Cell
from counterpoise.core.records import Floats, Integers, Objects, Records, State
from counterpoise.core.splits import keyed_rank
from counterpoise.students.base import Student
from counterpoise.students.curve_fits import FittedCurve, SizedErrors, fit_curves
from counterpoise.students.metrics import compute_drawn_aurocs, compute_drawn_macro_f1s, draw_counts
from counterpoise.students.rows import Rows
from counterpoise.students.thinned_scores import ThinnedScores

JudgedBy = Literal["worst_group", "macro_f1", "auroc"]

SHARES = (0.25, 0.5, 0.75)
N_DRAWS = 3
MOST_ROWS = 2_500
"""Rows that curves are measured on; of a larger set every cell gives up to as many as makes this the sum."""

_N_RESAMPLES = 40
_SEED = 23
_KEY = "curve"


@dataclass(frozen=True, slots=True)
class CellCurve:
    """What more rows of one cell bring.

    Args:
        cell: which.
        have: rows of it in the data.
        error: share of its rows that are answered wrongly, by folds, at all rows that were measured.
        points: rows trained on -> loss, of each size.
        fitted: what follows from these and from those of the other cells; of the run's loss, see `ErrorCurves`.
    """

    cell: Cell
    have: int
    error: float
    points: SizedErrors
    fitted: FittedCurve


@dataclass(frozen=True)
class ErrorCurves:
    """The curves of a run's cells for one student.

    Args:
        metric: what losses are of.
        loss: 1 - metric over all rows; of `worst_group` the error of the worst of the cells.
        curves: of each cell, in the order of their cells. For `macro_f1` and `auroc` of the loss over all rows by rows
            of this cell, for `worst_group` of the cell's own error.
        draws: (d, c) errors of the cells in resamples of the rows: how sure it is which of them is the worst.
    """

    metric: JudgedBy
    loss: float
    curves: Mapping[Cell, CellCurve]
    draws: Floats

    def expect_fall(self, cell: Cell, n_more: float) -> float | None:
        """By how much the run's metric is expected to rise when a cell gains so many real rows, 0 or more.

        A written record counts as its worth in real rows: hand over worth times records. Of `worst_group` the worst
        cell rises until another one is the worst, mean over resamples.

        Returns:
            None where the cell has no curve.
        """
        mine = self.curves[cell]
        if mine.fitted.curve is None:
            return None
        fall = mine.fitted.curve.expect_fall(max(1, mine.have), n_more)
        if self.metric != "worst_group":
            return fall
        place = list(self.curves).index(cell)
        after = self.draws.copy()
        after[:, place] -= fall
        return float((self.draws.max(axis=1) - after.max(axis=1)).mean())

    def weigh(self, cell: Cell) -> float:
        """The weight of a cell in `V = w b p n^(-p - 1) ...`: 1, of `worst_group` the chance that it is the worst."""
        if self.metric != "worst_group":
            return 1.0
        worst = self.draws.argmax(axis=1)
        return float((worst == list(self.curves).index(cell)).mean())


def find_members(records: Records, cells: Sequence[Cell]) -> dict[Cell, Integers]:
    """Positions of the rows of each cell, rising; a concept counts where its state is present."""
    found = {}
    for cell in cells:
        inside = records.labels == records.label_names.index(cell.label)
        if cell.concept and records.concepts is not None:
            column = records.concepts.names.index(cell.concept)
            inside &= records.concepts.states[:, column] == State.PRESENT
        if cell.attribute:
            inside &= records.attributes[cell.attribute] == cell.value
        found[cell] = np.flatnonzero(inside)
    return found


def measure_error_curves(
    rows: Rows,
    ids: Objects,
    folds: Integers,
    n_labels: int,
    student: Student,
    members: Mapping[Cell, Integers],
    metric: JudgedBy = "macro_f1",
) -> ErrorCurves:
    """Measure what more rows of each cell bring.

    Args:
        rows: n of the user's own training rows, all of them with a label.
        ids: (n,) ids, unique: what is drawn by.
        folds: (n,) fold of each.
        n_labels: k; two of them or more have rows.
        student: whose features are used; they have to be numbers.
        members: cell -> positions of its rows, see `find_members`.
        metric: what losses are of.

    Raises:
        ValueError: the student reads texts itself.
    """
    cells = sorted(members)
    if not cells or not len(rows):
        return ErrorCurves(metric, 0.0, {}, np.empty((0, 0)))
    kept = _draw_rows(len(rows), ids, rows.labels, members)
    place = np.full(len(rows), -1)
    place[kept] = np.arange(len(kept))
    inside = {cell: np.sort(found[found >= 0]) for cell in cells for found in [place[members[cell]]]}
    thinned = _Thinned(rows.take(kept), ids[kept], folds[kept], n_labels, student)
    judge = _Judge(thinned.rows.labels, n_labels, metric)
    whole = thinned.score([])
    losses = {cell: _measure_cell(thinned, judge, inside[cell], whole) for cell in cells}
    is_wrong = whole.argmax(axis=1) != thinned.rows.labels
    errors = [float(is_wrong[inside[cell]].mean()) if len(inside[cell]) else 0.0 for cell in cells]
    fitted = fit_curves([losses[cell] for cell in cells])
    curves = {
        cell: CellCurve(cell, len(members[cell]), error, losses[cell], one)
        for cell, error, one in zip(cells, errors, fitted, strict=True)
    }
    draws = np.stack([judge.resample(is_wrong, inside[cell]) for cell in cells], axis=1)
    loss = max(errors) if metric == "worst_group" else float(judge.measure(whole, np.arange(len(kept)))[0])
    return ErrorCurves(metric, loss, curves, draws)


class _Thinned:
    """Scores by folds of all rows, with rows left out of training."""

    def __init__(self, rows: Rows, ids: Objects, folds: Integers, n_labels: int, student: Student) -> None:
        self.rows, self.ids, self.n_labels = rows, ids, n_labels
        self._parts: list[tuple[Integers, Integers, ThinnedScores]] = []
        for fold in np.unique(folds):
            inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            if not len(inside):
                continue
            train, test = student.features(rows.take(inside), rows.take(outside))
            if getattr(train, "ndim", 1) != 2:
                raise ValueError(f"the student {student.name!r} has no features to draw curves from")
            self._parts.append((inside, outside, ThinnedScores(train, rows.labels[inside], test, n_labels)))

    def split(self, members: Integers) -> list[Integers]:
        """Of each fold the positions among its training rows of these rows."""
        is_mine = np.zeros(len(self.rows), np.bool_)
        is_mine[members] = True
        return [np.flatnonzero(is_mine[inside]) for inside, _, _ in self._parts]

    def score(self, left_out: Sequence[Integers]) -> Floats:
        """(n, k) scores by folds; of each fold the positions of the training rows that are left out; none for none."""
        table = np.zeros((len(self.rows), self.n_labels))
        for fold, (_, outside, scores) in enumerate(self._parts):
            table[outside] = scores.score_without(left_out[fold] if left_out else np.empty(0, np.int64))
        return table

    def order(self, fold: int, positions: Integers, key: str) -> Integers:
        """Positions among a fold's training rows in the order of the keyed hashes of their ids."""
        inside = self._parts[fold][0]
        return positions[keyed_rank(self.ids[inside[positions]], key)]


class _Judge:
    """Losses of scores: of the rows as they are, and of resamples of them with as many of every label."""

    def __init__(self, truth: Integers, n_labels: int, metric: JudgedBy) -> None:
        self.truth, self.n_labels, self.metric = truth, n_labels, metric
        drawn = draw_counts(truth, _N_RESAMPLES, np.random.default_rng(_SEED))
        self._counts = np.concatenate([np.ones((1, len(truth)), drawn.dtype), drawn])

    def measure(self, scores: Floats, members: Integers) -> Floats:
        """(1 + d,) losses: of all rows, then of each resample."""
        if self.metric == "auroc":
            return 1 - compute_drawn_aurocs(scores, self.truth, self._counts)
        answers = scores.argmax(axis=1)
        if self.metric == "macro_f1":
            weights = self._counts / np.bincount(self.truth)[self.truth]
            return 1 - compute_drawn_macro_f1s(answers, self.truth, self.n_labels, weights)
        return self._average(answers != self.truth, members)

    def resample(self, is_wrong: NDArray[np.bool_], members: Integers) -> Floats:
        """(d,) error of some rows in each resample."""
        return self._average(is_wrong, members)[1:]

    def find_level(self, scores: Floats, members: Integers) -> tuple[float, float]:
        """The share of the loss that is of these rows, and what one row of them more or less in it is."""
        if not len(members):
            return 0.0, 0.0
        n, error = len(members), float((scores.argmax(axis=1) != self.truth)[members].mean())
        if self.metric == "worst_group":
            return error, 1 / n
        n_label = int((self.truth == self.truth[members[0]]).sum())
        share = 1 / (n_label * len(np.unique(self.truth)))
        loss = error if self.metric == "macro_f1" else float(self.measure(scores, members)[0])
        return max(loss * n * share, share / 2), share

    def _average(self, is_wrong: NDArray[np.bool_], members: Integers) -> Floats:
        counts = self._counts[:, members]
        total = counts.sum(axis=1)
        wrong = (counts @ is_wrong[members].astype(np.float64)) if len(members) else np.zeros(len(counts))
        return np.asarray(wrong / np.maximum(total, 1))


def _measure_cell(thinned: _Thinned, judge: _Judge, members: Integers, whole: Floats) -> SizedErrors:
    """Losses at a quarter, a half and three quarters of a cell's rows, and at all of them."""
    parts = thinned.split(members)
    n_all = float(np.mean([len(part) for part in parts])) if parts else 0.0
    last = judge.measure(whole, members)
    sizes: list[float] = []
    tables: list[Floats] = []
    for share in SHARES:
        n_kept = [max(1, round(share * len(part))) if len(part) else 0 for part in parts]
        size = float(np.mean(n_kept)) if parts else 0.0
        if not size or size >= n_all or (sizes and size <= sizes[-1]):
            continue
        drawn = []
        for draw in range(N_DRAWS):
            left_out = [
                np.sort(thinned.order(fold, part, f"{_KEY} {draw}")[n:])
                for fold, (part, n) in enumerate(zip(parts, n_kept, strict=True))
            ]
            drawn.append(judge.measure(thinned.score(left_out), members))
        sizes.append(size)
        tables.append(np.stack(drawn))
    level, step = judge.find_level(whole, members)
    errors = np.array([*(float(table[:, 0].mean()) for table in tables), float(last[0])])
    resampled = np.stack([*(table[:, 1:].mean(axis=0) for table in tables), last[1:]])
    covariance = np.atleast_2d(np.cov(resampled))
    for place, table in enumerate(tables):
        # Other draws would have thinned otherwise; and where no row changes its answer, half a row might have.
        covariance[place, place] += table[:, 0].var(ddof=1) / N_DRAWS + (step / 2) ** 2
    return SizedErrors(np.array([*sizes, max(n_all, 1.0)]), errors, covariance, level)


def _draw_rows(n_rows: int, ids: Objects, labels: Integers, members: Mapping[Cell, Integers]) -> Integers:
    """Positions in the order of a keyed hash: all rows, or the first t of every label and cell, `MOST_ROWS` in all."""
    order = keyed_rank(ids, _KEY)
    if n_rows <= MOST_ROWS:
        return order
    rank = np.empty(n_rows, np.int64)
    rank[order] = np.arange(n_rows)
    first = np.full(n_rows, n_rows)
    parts = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    for part in [*parts, *members.values()]:
        ranked = part[np.argsort(rank[part])]
        first[ranked] = np.minimum(first[ranked], np.arange(len(ranked)))
    n_first = np.cumsum(np.bincount(first, minlength=n_rows))
    most = max(1, int(np.searchsorted(n_first, MOST_ROWS, side="right")))
    return order[first[order] < most]
