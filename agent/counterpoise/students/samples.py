"""The rows that stand for all where there are too many to train on again and again: a sample that keeps what is scarce.

A hundred thousand rows say the same of a way of training as five thousand do, hours later; but the fifteen rows of a
rare label are all there is. So a sample is drawn by keyed hash, one more row of the data changes at most one of it, and
what is scarce is in it whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterpoise.core.records import Integers, Objects, Records
from counterpoise.core.splits import keyed_rank, sample_by_rank
from counterpoise.students.cell_marks import find_cells, make_marks

MOST_VALIDATION_ROWS = 5_000
MOST_TRAINING_ROWS = 20_000
FEWEST_OF_A_LABEL = 50
_KEY = "measured"


@dataclass(frozen=True, slots=True)
class RowSample:
    """Which of n rows stand for all of them.

    Args:
        rows: (m,) positions, in order; all of them where n is small.
        n_all: n.
        whole_to: cells (a label with or without a concept or an attribute value) of at most so many rows are in it
            whole.
    """

    rows: Integers
    n_all: int
    whole_to: int

    @property
    def is_part(self) -> bool:
        """Whether rows are left out."""
        return len(self.rows) < self.n_all

    def describe(self) -> str:
        """How many of how many rows, and what is in it whole."""
        cells = (
            f", and of every label with or without a concept or attribute value all rows, where they are at most "
            f"{self.whole_to}"
            if self.whole_to
            else ""
        )
        return (
            f"{len(self.rows):,} of {self.n_all:,} training rows, drawn by hash, among them {FEWEST_OF_A_LABEL} rows "
            f"of every label (all where it has fewer){cells}"
        )


def draw_sample(records: Records) -> RowSample:
    """The rows that what costs no token, advice, forecasts and label scorers are measured on.

    All where there are at most `MOST_VALIDATION_ROWS`. Else so many by keyed hash, the first `FEWEST_OF_A_LABEL` of
    every label, and the first t of every cell of a concept or an attribute value, which are all of a scarce one: t is
    the most, up to `FEWEST_OF_A_LABEL`, with which these are `MOST_VALIDATION_ROWS` at most.

    Args:
        records: n rows with their concepts and attributes.
    """
    n = len(records)
    if n <= MOST_VALIDATION_ROWS:
        return RowSample(np.arange(n), n, n)
    drawn = draw_rows(records.ids, records.labels, MOST_VALIDATION_ROWS)
    places = _place_in_cells(records)
    counts = np.bincount(places, minlength=FEWEST_OF_A_LABEL + 1)[:FEWEST_OF_A_LABEL]
    whole_to = int(np.searchsorted(np.cumsum(counts), MOST_VALIDATION_ROWS, side="right"))
    scarce = np.flatnonzero(places < whole_to)
    return RowSample(np.union1d(drawn, scarce), n, whole_to if len(scarce) else 0)


def draw_rows(ids: Objects, labels: Integers, most: int) -> Integers:
    """Positions of at most `most` rows by keyed hash, in order, and of the first fifty of every label besides.

    Args:
        ids: (n,) ids of the rows.
        labels: (n,) label indices.
        most: rows wanted; all of them where there are fewer.
    """
    if len(ids) <= most:
        return np.arange(len(ids))
    parts = [sample_by_rank(ids, most, _KEY)]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        parts.append(members[sample_by_rank(ids[members], FEWEST_OF_A_LABEL, _KEY)])
    return np.unique(np.concatenate(parts))


def _place_in_cells(records: Records) -> Integers:
    """(n,) how many rows come before a row, by keyed hash, in the cell where these are fewest, fifty at most."""
    n_labels = len(records.label_names)
    order = keyed_rank(records.ids, _KEY)
    places = np.full(len(records), FEWEST_OF_A_LABEL, dtype=np.int64)
    for states in make_marks(records).states.T:
        cells = find_cells(records.labels, states, n_labels)[order]
        together = np.argsort(cells, kind="stable")
        ends = np.cumsum(np.bincount(cells + 1, minlength=2 * n_labels + 1))
        before = np.arange(len(order)) - np.concatenate([[0], ends])[cells[together] + 1]
        is_known = cells[together] >= 0
        rows = order[together[is_known]]
        places[rows] = np.minimum(places[rows], before[is_known])
    return places
