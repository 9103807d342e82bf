"""What the added records of a run are worth, of each student and of each who brought them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats, Integers
from counterpoise.students.added_rows import USES
from counterpoise.students.base import Student, Treatment
from counterpoise.students.forecasts import N_HALVES, leave_out_half
from counterpoise.students.rows import Rows
from counterpoise.students.treatments import BASELINE
from counterpoise.students.validation import predict_out_of_fold
from counterpoise.students.worth import Worth, estimate_learnable, measure_worth

ALL = "all"


@dataclass(frozen=True, slots=True)
class OriginWorth:
    """What one student makes of added records.

    Args:
        student: its name.
        origin: who brought the records: `adopted`, a kind, a kind with a writer, or `all`.
        n_records: how many there are.
        worth: real rows that one of them stands for; None where every one was made from rows of all folds, so that
            nothing can be told.
    """

    student: str
    origin: str
    n_records: int
    worth: Worth | None


def measure_origins(
    student: Student,
    mixture: Treatment,
    rows: Rows,
    origins: Sequence[str],
    folds: Integers,
    made: Floats,
    said: Mapping[str, Floats],
) -> list[OriginWorth]:
    """The worth of all added records and, where they are of several origins, of each alone.

    Args:
        student: who is trained.
        mixture: how it mixes own and added rows.
        rows: own rows, then added ones.
        origins: (m,) who brought each added row.
        folds: (n,) of own rows; -1 for added ones.
        made: (n, n_folds) where 1 marks that a row was made from rows of that fold.
        said: name of each part of the mixture -> (o, k) what it says of the own rows out of fold.
    """
    own, brought = rows.original, np.array(origins, dtype=object)
    names = list(dict.fromkeys(origins))
    learnable = _measure_learnable(student, mixture, rows, folds, said[BASELINE.name])
    found = [_measure(student, mixture, rows, folds, made, said, learnable, ALL)]
    for name in names if len(names) > 1 else ():
        kept = own.copy()
        kept[~own] = brought == name
        mine = rows.take(kept)
        tables = predict_out_of_fold(
            mine, folds[kept], next(iter(said.values())).shape[1], [student], USES, made[kept]
        )
        alone = {use.name: tables[use.name, student.name][mine.original] for use in USES}
        found.append(
            _measure(student, mixture, mine, folds[kept], made[kept], {**said, **alone}, learnable, name)
        )
    return found


def list_helped(found: Sequence[OriginWorth]) -> dict[str, bool]:
    """Student -> whether all added records together are more likely than not worth anything, where that is known."""
    return {one.student: one.worth.value > 0 for one in found if one.origin == ALL and one.worth}


def _measure_learnable(
    student: Student, mixture: Treatment, rows: Rows, folds: Integers, whole: Floats
) -> float:
    """What half of the rows of the labels with added ones leave of the loss, against all of them."""
    own, thin = rows.take(rows.original), find_thin(rows)
    folds, n_labels = folds[rows.original], whole.shape[1]

    def tune(table: Floats) -> Floats:
        return mixture.combine({BASELINE.name: table}, {BASELINE: 1.0}, own.labels, folds)

    halves = []
    for draw in range(N_HALVES):
        left_out = leave_out_half(own.labels, own.texts, folds, thin, draw)
        tables = predict_out_of_fold(own, folds, n_labels, [student], [BASELINE], left_out)
        halves.append(tune(tables[BASELINE.name, student.name]))
    n_rows = float(np.isin(own.labels, thin).sum())
    n_half = n_rows - sum((own.labels == label).sum() // 2 for label in thin)
    return estimate_learnable(halves, tune(whole), own.labels, n_half, n_rows)


def _measure(
    student: Student,
    mixture: Treatment,
    rows: Rows,
    folds: Integers,
    made: Floats,
    said: Mapping[str, Floats],
    learnable: float,
    origin: str,
) -> OriginWorth:
    own, labels = rows.original, rows.labels[rows.original]
    expected, alone = mixture.list_parts(student, rows), mixture.list_parts_alone(student, rows)
    before, after = (mixture.combine(said, parts, labels, folds[own]) for parts in (alone, expected))
    n_own, n_added = count_learned(rows, folds, made)
    worth = measure_worth(before, after, labels, n_own, n_added, learnable) if n_added >= 1 else None
    return OriginWorth(student.name, origin, int((~own).sum()), worth)


def find_thin(rows: Rows) -> Integers:
    """The labels that were filled: those with added rows, without the one that has most own rows.

    What was written for that one stands beside the others as contrast, and is no gain of its own.
    """
    filled = np.unique(rows.labels[~rows.original])
    others = filled[filled != np.bincount(rows.labels[rows.original]).argmax()]
    return others if len(others) else filled


def count_learned(rows: Rows, folds: Integers, made: Floats) -> tuple[float, float]:
    """Own and added rows of a label that was filled, in the mean over these and over the folds that are left out.

    Args:
        rows: own rows, then added ones.
        folds: (n,) of own rows.
        made: (n, n_folds) where 1 marks that a row was made from rows of that fold.
    """
    filled = find_thin(rows)
    of_filled: NDArray[np.bool_] = np.isin(rows.labels, filled)
    own, added = of_filled & rows.original, of_filled & ~rows.original
    places = np.unique(folds[own])
    n_own = np.mean([(own & (folds != fold)).sum() for fold in places]) if len(places) else 0.0
    n_added = np.mean([(made[added, fold] == 0).sum() for fold in places]) if len(places) else 0.0
    return float(n_own) / len(filled), float(n_added) / len(filled)
