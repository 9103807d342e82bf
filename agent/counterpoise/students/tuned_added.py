"""The use of added rows that follows from what they are worth: a share that is tuned on own rows left out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Student, Treatment, fit_adjusted
from counterpoise.students.left_out import add_up, leave_out
from counterpoise.students.rows import Rows
from counterpoise.students.similarity import compare_descriptions
from counterpoise.students.tuned_recipe import ADDED_LINES, NEAR_LINES, write_tuned_code
from counterpoise.students.tuned_ways import PRIOR_SHARE

ADDED_SHARES = (0.5, 0.5)
"""Shares of the students without and with added rows before a row is seen."""


class TunedAdded(Treatment):
    """The student on the own rows, the student on these and the added ones, and the descriptions, in tuned shares.

    What added rows are worth shows in what is said of own rows that were left out, and with them the rows that were
    made from them: a good writer's get a large share, a poor one's a small one (stacking: Wolpert, 1992).
    """

    name = "tuned_added"
    advice = (
        "Train {student} on the result and once more on your own rows alone, and add the two up in shares that are "
        "tuned on own rows left out"
    )
    uses_added = True

    def suits(self, student: Student) -> bool:
        """Whether ten trainings more take a reasonable time."""
        return not student.slow_step

    def score(self, task: FitTask) -> Floats:
        """All log-probabilities in their shares plus offsets; in the expected shares where no row can be left out."""
        near = task.student.uses_vectors and len(task.train.zero_shot) > 0
        ways: list[Callable[[Rows, Rows], Floats]] = [
            partial(_score_own, task.student, task.n_labels),
            partial(_score_all, task.student, task.n_labels),
        ]
        ways += [compare_descriptions] * near
        expected = [*ADDED_SHARES, *[PRIOR_SHARE] * near]
        scores = [way(task.train, task.test) for way in ways]
        left_out = [leave_out(task.train, way, task.n_labels) for way in ways]
        return add_up(scores, left_out, task.labels, expected)

    def write_code(self, student: Student) -> str:
        """The lines, with the descriptions for students that see vectors."""
        near = student.uses_vectors
        return write_tuned_code([*ADDED_SHARES, *[PRIOR_SHARE] * near], ADDED_LINES + NEAR_LINES * near)


def _score_own(student: Student, n_labels: int, train: Rows, test: Rows) -> Floats:
    return fit_adjusted(student, train.take(train.original), test, n_labels)


def _score_all(student: Student, n_labels: int, train: Rows, test: Rows) -> Floats:
    return fit_adjusted(student, train, test, n_labels)
