"""Training one student in several ways at once: what the ways have in common is computed once."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Student, Treatment
from counterpoise.students.cell_marks import CellMarks
from counterpoise.students.rows import Rows


def predict(
    treatment: Treatment, student: Student, train: Rows, test: Rows, n_labels: int, seed: int = 0
) -> Floats:
    """Train `student` in one way and score `test`; see `predict_by_treatments`."""
    return predict_by_treatments([treatment], student, train, test, n_labels, seed)[treatment.name]


def predict_by_treatments(
    treatments: Iterable[Treatment],
    student: Student,
    train: Rows,
    test: Rows,
    n_labels: int,
    seed: int = 0,
    *,
    pool: Rows | None = None,
    marks: CellMarks | None = None,
) -> dict[str, Floats]:
    """Train `student` in each of some ways and score `test`.

    Args:
        treatments: the ways.
        student: who is trained.
        train: training rows; treatments that do not use added rows get the user's own only.
        test: rows to score; their labels are not read.
        n_labels: k.
        seed: of what the treatments draw (bags, repeated rows).
        pool: unlabelled rows, for treatments that use them.
        marks: of the training rows, for treatments that look at cells.

    Returns:
        By name of treatment (m, k) log-scores; the largest of a row is the prediction, their softmax ranks.

    Raises:
        ValueError: a treatment that needs zero-shot scores without them.
        JobError: a classifier of the user's cannot be trained.
    """
    if not len(test):
        return {treatment.name: np.empty((0, n_labels)) for treatment in treatments}
    tasks: dict[tuple[bool, bool], FitTask] = {}
    found: dict[str, Floats] = {}

    def score(treatment: Treatment) -> Floats:
        if treatment.name not in found:
            found[treatment.name] = treatment.score(make_task(treatment))
        return found[treatment.name]

    def make_task(treatment: Treatment) -> FitTask:
        is_whole = treatment.uses_added or bool(train.original.all())
        key = is_whole, treatment.uses_pool
        if key not in tasks:
            tasks[key] = FitTask(
                student,
                train if is_whole else train.take(train.original),
                test,
                n_labels,
                seed,
                score,
                pool if treatment.uses_pool else None,
                marks if is_whole or marks is None else marks.take(train.original),
            )
        return tasks[key]

    return {treatment.name: score(treatment) for treatment in treatments}
