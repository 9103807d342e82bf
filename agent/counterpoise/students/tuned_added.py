"""The use of added rows that follows from what they are worth: a share that is tuned on own rows left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from counterpoise.core.records import Floats, Integers
from counterpoise.students.added_rows import USES
from counterpoise.students.base import FitTask, Student, Treatment
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.left_out import add_up, find_likeliest, leave_out_for_all
from counterpoise.students.rows import Rows
from counterpoise.students.treatments import BASELINE, EMBEDDING_ZERO_SHOT
from counterpoise.students.tuned_recipe import write_stacked_code

SIMPLE_SHARE, ADDED_SHARE, NEAR_SHARE = 0.5, 0.5, 0.35
"""Shares before a row is seen: of the best way without added rows, of the student with them, of the descriptions."""

OFFSET_SPREAD = 0.2
"""Standard deviation of the offsets before a row is seen: what is added up is adjusted already. Set
on draws of CEBaB and of text messages, with writers of real rows, wrong labels, headings, gibberish and copies."""


class TunedAdded(Treatment):
    """The best way without added rows, the student on own and added rows, and the descriptions, in tuned shares.

    What added rows are worth shows in what is said of own rows that were left out, and with them the rows that were
    made from them: a good writer's get a large share, a poor one's a small one (stacking: Wolpert, 1992). Whether they
    weigh as much as own ones shows there too: of both ways to use them the likelier one takes part.

    Args:
        simple: the way without added rows.
    """

    advice = (
        "Train {student} on the result and once more on your own rows alone, and add the two up in shares that are "
        "tuned on own rows left out"
    )
    uses_added = True

    def __init__(self, simple: Treatment = BASELINE) -> None:
        self.simple = simple
        self.name = "tuned_added" if simple is BASELINE else f"tuned_added:{simple.name}"
        if simple is not BASELINE:
            others = f"without the added records in the way '{simple.name}'"
            self.advice = self.advice.replace("on your own rows alone", others)
        self.needs_zero_shot = simple.needs_zero_shot
        self.uses_pool, self.uses_lines = simple.uses_pool, simple.uses_lines

    def suits(self, student: Student) -> bool:
        """Whether ten trainings more take a reasonable time."""
        return not student.slow_step and self.simple.suits(student)

    def list_parts(self, student: Student, train: Rows) -> dict[Treatment, float]:
        """What is added up, and its share before a row is seen; of the ways to use added rows one takes part.

        Args:
            student: who is trained.
            train: the rows; descriptions take part where there are any.
        """
        parts: dict[Treatment, float] = {self.simple: SIMPLE_SHARE}
        parts.setdefault(BASELINE, 0.0)
        parts |= dict.fromkeys(USES, ADDED_SHARE)
        if student.uses_vectors and len(train.zero_shot):
            parts.setdefault(EMBEDDING_ZERO_SHOT, NEAR_SHARE)
        return parts

    def list_parts_alone(self, student: Student, train: Rows) -> dict[Treatment, float]:
        """The same without added rows: what these are worth is counted from it."""
        parts = self.list_parts(student, train)
        return {
            part: 1.0 if part is self.simple else share for part, share in parts.items() if part not in USES
        }

    def score(self, task: FitTask) -> Floats:
        """All log-probabilities in their shares plus offsets; in the expected shares where no row can be left out."""
        expected = self.list_parts(task.student, task.train)
        left_out = leave_out_for_all(
            task.train, partial(_score_parts, list(expected), task), task.n_labels, len(expected)
        )
        said = dict(zip(expected, left_out, strict=True))
        known = left_out[0][1]
        parts = _choose_use({part: table[known] for part, (table, _) in said.items()}, task.labels[known])
        return add_up(
            [task.score(part) for part in parts],
            [said[part] for part in parts],
            task.labels,
            [expected[part] for part in parts],
            OFFSET_SPREAD,
        )

    def combine(
        self,
        tables: Mapping[str, Floats],
        expected: Mapping[Treatment, float],
        labels: Integers,
        folds: Integers,
    ) -> Floats:
        """For each fold what is tuned on the others, see `Treatment.combine`."""
        combined = np.zeros(next(iter(tables.values())).shape)
        for fold in np.unique(folds):
            outside = folds == fold
            known = np.flatnonzero(~outside)
            parts = _choose_use({part: tables[part.name][known] for part in expected}, labels[known])
            combined[outside] = add_up(
                [tables[part.name][outside] for part in parts],
                [(tables[part.name], known) for part in parts],
                labels,
                [expected[part] for part in parts],
                OFFSET_SPREAD,
            )
        return combined

    def write_code(self, student: Student) -> str:
        """The lines; none where the simple way has none."""
        if self.simple is EMBEDDING_ZERO_SHOT:
            return write_stacked_code("", (0.0, ADDED_SHARE, SIMPLE_SHARE), OFFSET_SPREAD)
        simple = "" if self.simple is BASELINE else self.simple.write_code(student)
        if not simple and self.simple is not BASELINE:
            return ""
        near = NEAR_SHARE * student.uses_vectors
        return write_stacked_code(simple, (SIMPLE_SHARE, ADDED_SHARE, near), OFFSET_SPREAD)


def _choose_use(tables: Mapping[Treatment, Floats], labels: Integers) -> list[Treatment]:
    """The parts, of the ways to use added rows the likelier one alone.

    Args:
        tables: part -> (n, k) log-scores of rows that were left out.
        labels: (n,) of these.
    """
    uses = [part for part in tables if part in USES]
    if len(uses) < 2:
        return list(tables)
    chosen = uses[find_likeliest([tables[part] for part in uses], labels)]
    return [part for part in tables if part is chosen or part not in uses]


def _score_parts(parts: Sequence[Treatment], task: FitTask, train: Rows, test: Rows) -> list[Floats]:
    scored = predict_by_treatments(parts, task.student, train, test, task.n_labels, task.seed, pool=task.pool)
    return [scored[part.name] for part in parts]
