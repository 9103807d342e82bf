"""Which concepts and attribute values a row has, and what makes their cells equal: weights, repeats, draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats, Integers, Records, State

MOST_REPEATS = 20


MOST_VALUES = 50


LARGEST_WEIGHT = 10.0


_RAKING_SWEEPS = 200


@dataclass(frozen=True, slots=True)
class CellMarks:
    """Concepts and attribute values of n rows.

    Args:
        names: (m,) what each column is.
        states: (n, m) 1 present, 0 absent, -1 unknown.
        levels: (n, m) the probability of present, 0..1.
    """

    names: tuple[str, ...]
    states: NDArray[np.int8]
    levels: Floats

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.states)

    def take(self, picked: NDArray[np.int64] | NDArray[np.bool_]) -> CellMarks:
        """The rows at `picked`."""
        return CellMarks(self.names, self.states[picked], self.levels[picked])


def make_marks(records: Records) -> CellMarks:
    """The concepts of records and the values of their attributes (the fifty commonest of each)."""
    names: list[str] = []
    states: list[NDArray[np.int8]] = []
    levels: list[Floats] = []
    if records.concepts is not None:
        for column, name in enumerate(records.concepts.names):
            known = records.concepts.states[:, column]
            names.append(name)
            states.append(np.where(known == State.UNKNOWN, -1, known == State.PRESENT).astype(np.int8))
            levels.append(records.concepts.probabilities[:, column])
    for name, values in records.attributes.items():
        kinds, counts = np.unique(values[values != ""].astype(str), return_counts=True)
        for kind in kinds[np.argsort(-counts, kind="stable")[:MOST_VALUES]]:
            has = (values == kind).astype(np.int8)
            names.append(f"{name}={kind}")
            states.append(np.where(values == "", -1, has).astype(np.int8))
            levels.append(np.where(values == "", 0.5, has))
    n = len(records)
    return CellMarks(
        tuple(names),
        np.stack(states, axis=1) if states else np.empty((n, 0), np.int8),
        np.stack(levels, axis=1) if levels else np.empty((n, 0)),
    )


def find_cells(labels: Integers, states: NDArray[np.int8], n_labels: int) -> Integers:
    """(n,) number of the cell of one mark, 0..2k-1; -1 where the mark is unknown."""
    return np.where(states < 0, -1, states.astype(np.int64) * n_labels + labels)


def weigh_cells(labels: Integers, marks: CellMarks, n_labels: int) -> Floats:
    """(n,) the mean over the marks of weights that give every cell the same total; mean 1.

    A row of which a mark is unknown has the mean weight for it.
    """
    weights = np.zeros(len(labels))
    for states in marks.states.T:
        cells = find_cells(labels, states, n_labels)
        known = cells >= 0
        mine = np.ones(len(labels))
        if known.any():
            counts = np.bincount(cells[known], minlength=2 * n_labels)
            mine[known] = known.sum() / ((counts > 0).sum() * counts[cells[known]])
        weights += mine
    return weights / max(1, len(marks.names))


def weigh_records(records: Records) -> Floats | None:
    """(n,) `weigh_cells` of the concepts and attributes of records; None where they have neither."""
    marks = make_marks(records)
    return weigh_cells(records.labels, marks, len(records.label_names)) if marks.names else None


def rake_cells(labels: Integers, marks: CellMarks, n_labels: int) -> Floats:
    """(n,) weights under which the cells of every mark are even at once, as far as the largest weight allows.

    Margins are met in turn; weights stay within a tenth and ten times the mean. An empty cell stays empty.
    """
    weights = np.ones(len(labels))
    tables = [find_cells(labels, states, n_labels) for states in marks.states.T]
    for _ in range(_RAKING_SWEEPS):
        before = weights.copy()
        for cells in tables:
            known = cells >= 0
            if not known.any():
                continue
            mass = np.bincount(cells[known], weights[known], minlength=2 * n_labels)
            factors = np.divide(mass.sum() / (mass > 0).sum(), mass, out=np.zeros_like(mass), where=mass > 0)
            weights[known] *= factors[cells[known]]
        weights = np.clip(weights / weights.mean(), 1 / LARGEST_WEIGHT, LARGEST_WEIGHT)
        if np.abs(weights - before).max() < 1e-4:
            break
    return np.asarray(weights / weights.mean())


def repeat_cells(labels: Integers, marks: CellMarks, n_labels: int) -> Integers:
    """Rows, those of thin cells repeated until they are as many as the fullest label's with the mark."""
    repeats = np.ones(len(labels), dtype=np.int64)
    for states in marks.states.T:
        counts = np.bincount(labels[states == 1], minlength=n_labels)
        for label in np.flatnonzero(counts):
            rows = (labels == label) & (states == 1)
            ratio = min(MOST_REPEATS, round(counts.max() / counts[label]))
            repeats[rows] = np.maximum(repeats[rows], ratio)
    return np.repeat(np.arange(len(labels)), repeats)


def shrink_cells(labels: Integers, marks: CellMarks, n_labels: int, order: Integers) -> Integers:
    """Rows in the given order as far as no label has more rows with a mark than another label that has any."""
    most = []
    for states in marks.states.T:
        counts = np.bincount(labels[states == 1], minlength=n_labels)
        most.append(counts[counts > 0].min() if counts.any() else 0)
    room = np.tile(np.array(most)[:, None], (1, n_labels))
    kept = []
    for row in order:
        mine = np.flatnonzero(marks.states[row] == 1)
        if (room[mine, labels[row]] > 0).all():
            room[mine, labels[row]] -= 1
            kept.append(int(row))
    return np.array(kept, dtype=np.int64)
