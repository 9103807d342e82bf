"""The product's students and treatments by the names that lines of results have."""

from __future__ import annotations

from collections.abc import Sequence

from counterpoise.core.records import Integers
from counterpoise.students.added_ways import find_mixture, find_way
from counterpoise.students.cell_choice import CellChoice, choose_cell_way
from counterpoise.students.cell_marks import CellMarks
from counterpoise.students.cell_treatments import CELL_TREATMENTS, list_cell_ways
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.linear import Features
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows
from counterpoise.students.treatments import TREATMENTS
from evals.common import Floats

_BY_NAME = {student.name: student for student in choose_students(("default",), "minilm")}
_CELL_WAYS = {way.name: way for way in CELL_TREATMENTS}

STUDENTS = VECTORS, WORDS = tuple(_BY_NAME)


def has_arm(arm: str, student: str) -> bool:
    """Whether a student can be trained in the way of an arm; in one that is no treatment of the product's it can."""
    return arm not in TREATMENTS.names or TREATMENTS.find(arm).suits(_BY_NAME[student])


def predict(
    way: str, student: str, train: Rows, test: Rows, n_labels: int, seed: int = 0, pool: Rows | None = None
) -> Floats:
    """(m, k) log-scores of the rows to score, see `predict_by_treatments`."""
    return predict_by_treatments([find_way(way)], _BY_NAME[student], train, test, n_labels, seed, pool=pool)[
        way
    ]


def name_mixture(student: str, simple: str) -> str:
    """The way in which a run mixes own and added rows, where `simple` was the best way without added rows."""
    return find_mixture(_BY_NAME[student], TREATMENTS.find(simple)).name


def make_features(student: str, train: Rows, test: Rows) -> tuple[Features, Features]:
    """The representation of a student: (n, d) and (m, d)."""
    return _BY_NAME[student].features(train, test)


def list_ways_by_cells(student: str) -> tuple[str, ...]:
    """The names of the ways that look at cells, of those that a student can take where labels are described."""
    return tuple(way.name for way in list_cell_ways(_BY_NAME[student], has_zero_shot=True))


def predict_by_cells(
    ways: Sequence[str], student: str, train: Rows, marks: CellMarks, test: Rows, n_labels: int, seed: int
) -> dict[str, Floats]:
    """By name of a way that looks at cells (m, k) log-scores."""
    treatments = [_CELL_WAYS[way] for way in ways]
    return predict_by_treatments(treatments, _BY_NAME[student], train, test, n_labels, seed, marks=marks)


def choose_by_cells(
    student: str, train: Rows, marks: CellMarks, folds: Integers, n_labels: int
) -> CellChoice:
    """The way that the product chooses, see `choose_cell_way`."""
    return choose_cell_way(_BY_NAME[student], train, marks, folds, n_labels)
