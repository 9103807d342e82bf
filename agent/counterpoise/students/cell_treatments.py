"""Ways to train a student where a concept or an attribute goes with the label, none of which costs a token.

Balanced labels do not help a student that has learned "food means good": the cells (label with concept, label without)
have to be treated. Every way below is one that a user could take by hand; here inner validation chooses among them.

| way | what it does |
|---|---|
| nothing | the rows as they are |
| group_weights | the cells of each concept get the same weight; the mean over the concepts |
| cell_oversampling | rows of a thin cell are repeated until the label with most rows of the concept is reached |
| cell_downsampling | rows are left out until no label has more rows of a concept than another; label shares taken out |
| cell_bags | the mean of ten of these |
| raking | weights that meet the cells of all concepts at once (Deming and Stephan 1940) |
| back_door | the concepts are columns beside the text, held at their middle in use: what they explain of the label \
the words need not (back-door adjustment after Landeiro and Culotta 2016, Robust Text Classification in the Presence \
of Confounding Bias) |
| zero_shot | nearness to the descriptions of the labels, centred on the weighted cells; learns nothing from the skew |
| cell_mixture | the mean of back_door, group_weights and cell_bags: seldom the best, seldom far from it |
| zero_shot_bags | the mean of zero_shot and cell_bags |

They are treatments whose task has marks: the concepts and attribute values of a row. `cell_choice` says which to take.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix, hstack
from scipy.special import log_softmax

from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Student, Treatment
from counterpoise.students.cell_marks import CellMarks, rake_cells, repeat_cells, shrink_cells, weigh_cells
from counterpoise.students.linear import PROBABILITY_FLOOR, Features
from counterpoise.students.treatments import NOTHING
from counterpoise.students.weights import log_prior

N_BAGS = 10
MARK_SCALE = 0.5
"""Length of a mark's column beside text vectors of length 1: long enough that the regression need not hold the mark
back, short enough that the text still counts. Chosen on draws from training texts of CEBaB."""


class CellTreatment(Treatment):
    """A treatment whose task has marks."""

    shares = "features"

    def get_marks(self, task: FitTask) -> CellMarks:
        """The marks of the training rows.

        Raises:
            ValueError: the task has none.
        """
        if task.marks is None:
            raise ValueError(f"the treatment '{self.name}' needs the marks of its rows")
        return task.marks


class GroupWeights(CellTreatment):
    """The cells of each mark weigh the same."""

    name = "group_weights"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities under the cells' weights."""
        return task.fit(weigh_cells(task.labels, self.get_marks(task), task.n_labels))


class CellOversampling(CellTreatment):
    """Rows of thin cells are repeated."""

    name = "cell_oversampling"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities of the student on the repeated rows."""
        return task.fit(rows=repeat_cells(task.labels, self.get_marks(task), task.n_labels))


class CellDownsampling(CellTreatment):
    """Rows are left out until no label has more rows of a mark than another."""

    name = "cell_downsampling"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities of the student on one such subset."""
        return _fit_subset(task, self.get_marks(task), 0)


class CellBags(CellTreatment):
    """The mean of ten such subsets."""

    name = "cell_bags"

    def score(self, task: FitTask) -> Floats:
        """Logs of the mean probabilities."""
        marks = self.get_marks(task)
        bags = [np.exp(_fit_subset(task, marks, draw)) for draw in range(N_BAGS)]
        return np.asarray(np.log(np.maximum(np.mean(bags, axis=0), PROBABILITY_FLOOR)))


class Raking(CellTreatment):
    """Weights that meet the cells of all marks at once."""

    name = "raking"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities under these weights."""
        return task.fit(rake_cells(task.labels, self.get_marks(task), task.n_labels))


class BackDoor(CellTreatment):
    """Marks as columns that the weighted student may use, and their middle for every row that is scored."""

    name = "back_door"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities where every row has the middle of each mark."""
        marks = self.get_marks(task)
        train, test = task.features
        columns = MARK_SCALE * (marks.levels - 0.5)
        beside = np.zeros((test.shape[0], columns.shape[1]))
        weights = weigh_cells(task.labels, marks, task.n_labels)
        return task.student.fit_log_probabilities(
            _join(train, columns), task.labels, weights, _join(test, beside), task.n_labels
        )


class ZeroShot(CellTreatment):
    """Nearness to the descriptions of the labels, centred on the weighted cells."""

    name = "zero_shot"
    needs_zero_shot = True

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities of the descriptions, less their mean over the labels' means under cell weights."""
        train, test = task.train, task.test
        if not len(train.zero_shot) or not len(test.zero_shot):
            raise ValueError("this way needs similarities to label descriptions")
        logs = np.log(np.maximum(train.zero_shot, PROBABILITY_FLOOR))
        weights = weigh_cells(task.labels, self.get_marks(task), task.n_labels)
        centre = np.mean(
            [
                np.average(logs[task.labels == label], axis=0, weights=weights[task.labels == label])
                for label in np.unique(task.labels)
            ],
            axis=0,
        )
        return _normalise(np.log(np.maximum(test.zero_shot, PROBABILITY_FLOOR)) - centre)


class CellMixture(CellTreatment):
    """The mean of some of the others, each brought to the same spread.

    Args:
        name: its name.
        parts: the others.
    """

    def __init__(self, name: str, *parts: Treatment) -> None:
        self.name = name
        self.parts = parts
        self.needs_zero_shot = any(part.needs_zero_shot for part in parts)

    def score(self, task: FitTask) -> Floats:
        """See `mix`."""
        return mix([task.score(part) for part in self.parts])


def list_cell_ways(student: Student, *, has_zero_shot: bool) -> tuple[Treatment, ...]:
    """The ways a student can take: words have no zero-shot scores, and without descriptions nobody has."""
    return tuple(
        way for way in CELL_TREATMENTS if way.suits(student) and (has_zero_shot or not way.needs_zero_shot)
    )


def mix(tables: Sequence[Floats]) -> Floats:
    """The mean of log-scores, each brought to the same spread of its contrasts between labels."""
    parts = []
    for table in tables:
        seen = (
            table.max(axis=0) > np.log(PROBABILITY_FLOOR) + 1
        )  # a label that training lacked has the floor throughout
        contrasts = table - table[:, seen].mean(axis=1, keepdims=True)
        spread = float(np.sqrt((contrasts[:, seen] ** 2).mean()))
        parts.append(contrasts / spread if spread > 0 else contrasts)
    return np.asarray(np.mean(parts, axis=0))


def _fit_subset(task: FitTask, marks: CellMarks, draw: int) -> Floats:
    order = np.random.default_rng([task.seed, draw]).permutation(len(task.labels))
    rows = shrink_cells(task.labels, marks, task.n_labels, order)
    prior = log_prior(task.labels[rows], np.ones(len(rows)), task.n_labels)
    return _normalise(task.fit(rows=rows) - prior)


def _join(features: Features, columns: Floats) -> Features:
    beside = columns.astype(np.float32)
    if isinstance(features, csr_matrix):
        return csr_matrix(hstack([features, csr_matrix(beside)], format="csr"))
    return np.hstack([features, beside]).astype(np.float32, copy=False)


def _normalise(scores: Floats) -> Floats:
    return np.asarray(log_softmax(scores, axis=1))


GROUP_WEIGHTS = GroupWeights()
CELL_OVERSAMPLING = CellOversampling()
CELL_BAGS = CellBags()
BACK_DOOR = BackDoor()
ZERO_SHOT = ZeroShot()
CELL_MIXTURE = CellMixture("cell_mixture", BACK_DOOR, GROUP_WEIGHTS, CELL_BAGS)

CELL_TREATMENTS: tuple[Treatment, ...] = (
    NOTHING,
    GROUP_WEIGHTS,
    CELL_OVERSAMPLING,
    CellDownsampling(),
    CELL_BAGS,
    Raking(),
    BACK_DOOR,
    ZERO_SHOT,
    CELL_MIXTURE,
    CellMixture("zero_shot_bags", ZERO_SHOT, CELL_BAGS),
)
