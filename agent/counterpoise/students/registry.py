"""The family of students: what ships, and any classifier of scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from sklearn.base import BaseEstimator

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.errors import JobError
from counterpoise.core.registry import Registry
from counterpoise.students.base import Student
from counterpoise.students.linear_students import VectorsStudent, WordsStudent
from counterpoise.students.old_names import PINNED_ENCODER, read_old_names
from counterpoise.students.sklearn_student import SklearnStudent
from counterpoise.students.treatments import TREATMENTS
from counterpoise.students.tuned.tuned_students import TUNED


class StudentFamily(Registry[Student]):
    """The students by name.

    `vectors` is the one on the vectors of the job's encoder, `vectors:NAME` the same where that encoder is to be NAME.
    `fine_tuned` and `contrastive` begin with pinned weights, with `:FOLDER` behind them with those of a folder.
    In Python a classifier of scikit-learn stands for a student on vectors that is named after its class.
    """

    def find(self, name: str) -> Student:
        """The student of a name, also of one that an earlier version wrote.

        Raises:
            JobError: nobody has the name, or an installed one cannot be used.
        """
        known = read_old_names(name)
        prefix, _, encoder = known.partition(":")
        if encoder and prefix in TUNED:
            return TUNED[prefix](encoder)
        return VectorsStudent(encoder) if prefix == VECTORS.name and encoder else super().find(known)

    def choose(self, chosen: Iterable[str | Student]) -> tuple[Student, ...]:
        """The students of a choice, each of which can be used here.

        Raises:
            JobError: as for every family; or what a student needs is not installed.
        """
        students = super().choose(chosen)
        for student in students:
            student.check()
        return students

    def expand(self, chosen: Iterable[str | Student]) -> tuple[str | Student, ...]:
        """A choice with `default` written out, and each classifier as a student.

        Raises:
            JobError: a student is named twice, or an object can be none.
        """
        return super().expand(one if isinstance(one, str | Student) else _make_student(one) for one in chosen)


def _make_student(given: object) -> Student:
    if isinstance(given, type) or not isinstance(given, BaseEstimator):
        raise JobError(
            f"found {given!r:.60}, which is neither a student nor a classifier of scikit-learn",
            where="key 'students'",
            hint="give SklearnStudent(name, classifier), or an object of a class derived from Student",
        )
    return SklearnStudent(type(given).__name__, given)


STUDENTS = StudentFamily(
    "students",
    needs=("meaning", "uses_vectors", "slow_step", "bind", "features", "fit_log_probabilities", "write_code"),
)
VECTORS = STUDENTS.register(VectorsStudent())
WORDS = STUDENTS.register(WordsStudent())
for _tuned in TUNED.values():  # a training takes minutes: a job has to name them
    STUDENTS.register(_tuned(), default=False)


def choose_students(
    chosen: Sequence[str | Student], encoder: str, cache_dir: Path | None = None
) -> tuple[Student, ...]:
    """The students of a run.

    Args:
        chosen: as a job has them.
        encoder: name of the run's encoder.
        cache_dir: where those that take long keep what they trained; None for the user's cache folder.

    Raises:
        JobError: see `StudentFamily`; or two of them have one name.
    """
    folder = find_cache_dir(cache_dir)
    students = tuple(student.bind(encoder).place(folder) for student in STUDENTS.choose(chosen))
    STUDENTS.expand(students)
    return students


def describe_shipped() -> dict[str, dict[str, str]]:
    """What the students and treatments that ship are, for reports that were written before reports said it."""
    return {
        "students": {VECTORS.bind(PINNED_ENCODER).name: VECTORS.meaning, WORDS.name: WORDS.meaning},
        "treatments": {
            treatment.name: treatment.meaning for treatment in TREATMENTS.choose(TREATMENTS.defaults)
        },
    }
