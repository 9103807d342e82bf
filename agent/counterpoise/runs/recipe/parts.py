"""The student and the treatment of a recipe, by name or as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterpoise.core.errors import JobError
from counterpoise.data.encoder_choice import EncoderChoice, name_encoder
from counterpoise.students.added_ways import find_way
from counterpoise.students.base import Student, Treatment
from counterpoise.students.cell_treatments import CELL_TREATMENTS, CellTreatment
from counterpoise.students.registry import choose_students

_OF_CELLS = {way.name: way for way in CELL_TREATMENTS}


def find_student(chosen: Any, encoder: EncoderChoice, cache_dir: Path | None) -> Student:
    """The student of a name, a classifier of scikit-learn, or a student.

    Raises:
        JobError: nobody has the name, it needs another encoder, or something is not installed.
    """
    return choose_students([chosen], name_encoder(encoder), cache_dir)[0]


def find_treatment(chosen: str | Treatment) -> Treatment:
    """The treatment of a name, those of cells and those that use added rows among them, or the treatment.

    Raises:
        JobError: nothing has the name.
    """
    if not isinstance(chosen, str):
        return chosen
    return find_way(chosen) if chosen not in _OF_CELLS else _OF_CELLS[chosen]


def take_given(chosen: Any, given: Sequence[Any]) -> Any:
    """What is chosen; the treatment itself where its name is that of an object of the user's, or is made of one.

    Args:
        chosen: a name or a treatment.
        given: what the user gave, names among it.
    """
    objects = [one for one in given if not isinstance(one, str)]
    names = {one.name for one in objects}
    is_theirs = isinstance(chosen, str) and not names.isdisjoint([chosen, chosen.partition(":")[2]])
    return find_way(chosen, objects) if is_theirs else chosen


def check_pair(treatment: Treatment, student: Student, n_pool: int, n_marks: int) -> None:
    """Refuse what cannot be fitted.

    Args:
        treatment: how the student is trained.
        student: who is trained.
        n_pool: unlabelled rows that there are.
        n_marks: concepts and attribute values that are known of the rows.

    Raises:
        JobError: says what is missing.
    """
    where = f"recipe of '{student.name}'"
    if not treatment.suits(student):
        raise JobError(
            f"it cannot be trained in the way '{treatment.name}'", where=where, hint="choose another way"
        )
    if treatment.uses_pool and not n_pool:
        raise JobError(
            f"the way '{treatment.name}' looks at unlabelled texts, and there are none",
            where=where,
            hint="give them: pool=[...]; a run keeps its pool where it chose such a way",
        )
    if isinstance(treatment, CellTreatment) and not n_marks:
        raise JobError(
            f"the way '{treatment.name}' needs concepts or attributes of the rows, and none are known",
            where=where,
            hint="fit it on a run that has some, without arguments",
        )
