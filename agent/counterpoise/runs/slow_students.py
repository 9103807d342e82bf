"""What students that take minutes will take, said before they begin.

Such a student trains its encoder anew for each fold of inner validation and each draw of the sealed rows, and once more
for each where records were added; ways that would train it more often are not measured for it (`Treatment.shares`), nor
are forecasts, nor the lines of the held-out table that tell kinds of added records apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from counterpoise.core.event_kinds import TrainingsPriced
from counterpoise.core.events import tell_event
from counterpoise.students.base import Student
from counterpoise.students.held_out import N_SEEDS
from counterpoise.students.rows import Rows
from counterpoise.students.tuned import METHODS
from counterpoise.students.tuned.tuned_students import TUNED


def price_trainings(
    students: Sequence[Student], rows: Rows, n_folds: int, n_sealed: int
) -> list[TrainingsPriced]:
    """Time a few batches of each slow student, and tell what its trainings will take.

    What was trained before is read back and takes nothing; that is said, not counted.

    Args:
        students: of a run; those that are not slow are passed over.
        rows: the rows that inner validation divides.
        n_folds: its folds.
        n_sealed: sealed rows.

    Returns:
        A price for each slow student, which was told as an event too.
    """
    prices = [_price(student, rows, n_folds, n_sealed) for student in students if student.slow_step]
    for price in prices:
        tell_event(price)
    return prices


def offer_tuning(
    students: Sequence[Student], rows: Rows, n_folds: int, n_sealed: int, cache_dir: Path
) -> list[str]:
    """A sentence on the students that train an encoder, with their price; none where they are named, or not at hand.

    Arguments as of `price_trainings`; weights are looked for in `cache_dir`, and nothing is fetched.
    """
    named = {student.name.partition(":")[0] for student in students}
    offered = [TUNED[method](cache_dir=cache_dir) for method in METHODS if method not in named]
    n_trainings = 2 * (n_folds + N_SEEDS)
    parts = [
        f"`{one.name}` would take up to {say_minutes(n_trainings * one.time_training(rows, n_sealed))}"
        for one in offered
        if one.is_at_hand()
    ]
    if not parts:
        return []
    return [
        "The encoder itself can be trained on your rows, by students that a job names under `students`: "
        f"{' and '.join(parts)} of a run here."
    ]


def _price(student: Student, rows: Rows, n_folds: int, n_sealed: int) -> TrainingsPriced:
    seconds = student.time_training(rows, max(n_sealed, len(rows) // n_folds))
    more = (
        n_folds + 2 * N_SEEDS
    )  # with added records on inner validation; without and with them on the sealed rows
    return TrainingsPriced(
        student.name,
        seconds,
        n_folds,
        more,
        f"{student.name} takes about {say_minutes(seconds)} a training here: {say_minutes(n_folds * seconds)} for "
        f"inner validation, and up to {say_minutes(more * seconds)} more in a run; what was trained before is kept",
    )


def say_minutes(seconds: float) -> str:
    """`0.4 minutes`, `12 minutes`.

    >>> say_minutes(25.0), say_minutes(725.0), say_minutes(60.0)
    ('0.4 minutes', '12 minutes', '1 minute')
    """
    minutes = seconds / 60
    said = f"{minutes:.0f}" if minutes >= 9.5 else f"{minutes:.1f}".removesuffix(".0")
    return f"{said} minute" if said == "1" else f"{said} minutes"
