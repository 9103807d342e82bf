"""Which rows are looked at, and what is shown beside each: the likeliest wrong ones, beside confirmed neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.relabel.suspects import FEWEST_GOLD, UNKNOWN, Suspects, is_enough
from counterpoise.core.records import Floats, Integers, Records

QUEUE_RATIO = 2.0
N_REFERENCES = 3


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Rows whose labels are looked through.

    Args:
        records: n rows with labels.
        vectors: (n, d) of unit length.
        folds: (n,) folds; near-duplicates share one.
        gold: (n,) right label indices, `UNKNOWN` where nobody knows. They must be a random draw of the rows for a
            promise to hold.
        repeats: (n,) right label indices of rows that are known only because they say what a drawn one says, else
            `UNKNOWN`. They change where they are wrong; nothing is learned from them, and no draw is counted twice.
        described: (n, k) similarity of the texts to the labels' descriptions, which a judge's shortlist of many labels
            goes by, too; None without.
        chances: (n,) with what probability each known row was drawn, anything elsewhere; None where all had the same.
    """

    records: Records
    vectors: NDArray[np.float32]
    folds: Integers
    gold: Integers
    repeats: Integers | None = None
    described: Floats | None = None
    chances: Floats | None = None

    @property
    def labels(self) -> Integers:
        """(n,) given label indices."""
        return self.records.labels

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """(n,) whether a row is one of the draw."""
        return np.asarray(self.gold != UNKNOWN)

    @property
    def is_known_enough(self) -> bool:
        """Whether others can be learned from the known ones."""
        return is_enough(self.gold, self.folds)

    @property
    def told(self) -> Integers:
        """(n,) right label indices of all rows that are known, repeats included."""
        return self.gold if self.repeats is None else np.where(self.is_known, self.gold, self.repeats)


@dataclass(frozen=True, slots=True)
class LabelQueue:
    """The rows to look at.

    Args:
        mask: (n,) whether a row is one of them.
        references: row -> confirmed rows shown beside it, the nearest first.
    """

    mask: NDArray[np.bool_]
    references: dict[int, Integers]


def choose_queue(rows: LabelledRows, suspects: Suspects, ratio: float = QUEUE_RATIO) -> LabelQueue:
    """The rows that are likeliest wrong, `ratio` times as many as are thought wrong, one at least."""
    n_wrong = float(suspects.scores.sum()) if rows.is_known_enough else guess_wrong(suspects, rows.labels)
    n_rows = len(rows.labels)
    mask = np.zeros(n_rows, dtype=np.bool_)
    mask[suspects.queue[: min(n_rows, max(1, round(ratio * n_wrong)))]] = True
    return LabelQueue(mask, _find_references(rows, suspects, mask))


def guess_wrong(suspects: Suspects, labels: Integers) -> float:
    """How many labels are wrong, without a known one: rows where all views agree on another label."""
    answers = np.stack([view.argmax(axis=1) for view in suspects.views.values()])
    return float(((answers == answers[0]).all(axis=0) & (answers[0] != labels)).sum())


def _find_references(
    rows: LabelledRows, suspects: Suspects, wanted: NDArray[np.bool_]
) -> dict[int, Integers]:
    """The nearest confirmed rows of each wanted row: known ones, or without these the least suspicious tenth."""
    known, vectors = np.flatnonzero(rows.is_known), rows.vectors
    least = np.sort(suspects.queue[-max(1, len(vectors) // 10) :])
    confirmed = known if len(known) >= FEWEST_GOLD else least
    found: dict[int, Integers] = {}
    places = np.flatnonzero(wanted)
    for start in range(0, len(places), 1024):
        block = places[start : start + 1024]
        cosines = vectors[block] @ vectors[confirmed].T
        cosines[block[:, None] == confirmed[None, :]] = -2.0
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :N_REFERENCES]
        for row, mine in zip(block, order, strict=True):
            nearest = confirmed[mine]
            found[int(row)] = nearest[nearest != row]
    return found
