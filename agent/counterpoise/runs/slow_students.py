"""What students that take minutes will take, said before they begin.

Such a student trains its encoder anew for each fold of inner validation and each draw of the sealed rows, and once more
for each where records were added; ways that would train it more often are not measured for it (`Treatment.shares`), nor
are forecasts, nor the lines of the held-out table that tell kinds of added records apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.core.event_kinds import TrainingsPriced
from counterpoise.core.events import tell_event
from counterpoise.core.records import Integers
from counterpoise.students.base import Student
from counterpoise.students.held_out import N_SEEDS
from counterpoise.students.rows import Rows, view_rows
from counterpoise.students.samples import MOST_TRAINING_ROWS
from counterpoise.students.tuned import METHODS
from counterpoise.students.tuned.tuned_students import TUNED
from counterpoise.tasks.text.inputs import Inputs


@dataclass(frozen=True, slots=True)
class TrainedRows:
    """What the students of a run are trained on.

    Args:
        sample: the rows that inner validation divides.
        n_folds: its folds.
        n_sealed: sealed rows, which are scored.
        n_all: rows that are trained on for these.
    """

    sample: Rows
    n_folds: int
    n_sealed: int
    n_all: int

    @property
    def n_more(self) -> int:
        """Trainings after inner validation: again with added records, and on the sealed rows without and with them."""
        return self.n_folds + 2 * N_SEEDS

    def measure(self, student: Student) -> tuple[float, float]:
        """Seconds of a training of inner validation here, and of all that may follow on it; none is taken as kept."""
        seconds = student.time_training(self.sample, max(self.n_sealed, len(self.sample) // self.n_folds))
        growth = max(1.0, self.n_all / len(self.sample))
        return seconds, seconds * (self.n_folds + 2 * N_SEEDS * growth)


def view_trained(inputs: Inputs, drawn: Integers) -> TrainedRows:
    """What the students of a run are trained on.

    Args:
        inputs: the data.
        drawn: positions of the training rows that inner validation divides.
    """
    n_folds, n_all = len(np.unique(inputs.folds[drawn])), min(len(inputs.train), MOST_TRAINING_ROWS)
    return TrainedRows(view_rows(inputs.train).take(drawn), n_folds, len(inputs.held_out), n_all)


def price_trainings(students: Sequence[Student], rows: TrainedRows) -> tuple[TrainingsPriced, ...]:
    """Time a few batches of each slow student, and tell what its trainings will take.

    What was trained before is read back and takes nothing; that is said, not counted.

    Args:
        students: of a run; those that are not slow are passed over.
        rows: what they are trained on.

    Returns:
        A price for each slow student, which was told as an event too.
    """
    prices = tuple(_price(student, rows) for student in students if student.slow_step)
    for price in prices:
        tell_event(price)
    return prices


def _price(student: Student, rows: TrainedRows) -> TrainingsPriced:
    seconds, more = rows.measure(student)
    now = say_minutes(rows.n_folds * seconds)
    return TrainingsPriced(
        student.name,
        seconds,
        rows.n_folds,
        rows.n_more,
        f"{student.name} takes about {say_minutes(seconds)} a training here: {now} for inner validation, and up to "
        f"{say_minutes(more)} more in a run; what was trained before is kept",
    )


def offer_tuning(students: Sequence[Student], rows: TrainedRows, cache_dir: Path) -> list[str]:
    """A sentence on the students that train an encoder, with their price; none where they are named, or not at hand.

    Args:
        students: of a run.
        rows: what they would be trained on.
        cache_dir: where their weights are looked for; nothing is fetched.
    """
    named = {student.name.partition(":")[0] for student in students}
    offered = [TUNED[method](cache_dir=cache_dir) for method in METHODS if method not in named]
    parts = []
    for student in offered:
        if student.is_at_hand():
            seconds, more = rows.measure(student)
            minutes = say_minutes(rows.n_folds * seconds + more)
            parts.append(f"`{student.name}` would take up to {minutes}")
    if not parts:
        return []
    return [
        "The encoder itself can be trained on your rows, by students that a job names under `students`: "
        f"{' and '.join(parts)} of a run here."
    ]


def say_minutes(seconds: float) -> str:
    """`0.4 minutes`, `12 minutes`.

    >>> say_minutes(25.0), say_minutes(725.0), say_minutes(60.0)
    ('0.4 minutes', '12 minutes', '1 minute')
    """
    minutes = seconds / 60
    said = f"{minutes:.0f}" if minutes >= 9.5 else f"{minutes:.1f}".removesuffix(".0")
    return f"{said} minute" if said == "1" else f"{said} minutes"
