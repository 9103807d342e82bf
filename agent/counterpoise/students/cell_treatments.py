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

A row's *marks* are its concepts and attribute values. `cell_choice` says which way to take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, hstack
from scipy.special import log_softmax

from counterpoise.core.records import Floats, Integers
from counterpoise.students.cell_marks import CellMarks, rake_cells, repeat_cells, shrink_cells, weigh_cells
from counterpoise.students.linear import PROBABILITY_FLOOR, Features, fit_log_probabilities, make_features
from counterpoise.students.rows import Rows
from counterpoise.students.treatments import list_students
from counterpoise.students.weights import log_prior

N_BAGS = 10
MARK_SCALE = 0.5
"""Length of a mark's column beside text vectors of length 1: long enough that the regression need not hold the mark
back, short enough that the text still counts. Chosen on draws from training texts of CEBaB."""


@dataclass(frozen=True, slots=True)
class _CellFit:
    """One way on one student."""

    train: Features
    labels: Integers
    marks: CellMarks
    test: Features
    train_zero_shot: Floats
    test_zero_shot: Floats
    n_labels: int
    seed: int


def predict_by_cells(
    ways: Sequence[str], student: str, train: Rows, marks: CellMarks, test: Rows, n_labels: int, seed: int = 0
) -> dict[str, Floats]:
    """Train `student` in ways that look at cells, and score `test`, whose labels and marks are not read.

    Args:
        ways: names of `CELL_WAYS`.
        student: a name of `students.STUDENTS`.
        train: training rows.
        marks: of the training rows.
        test: rows to score.
        n_labels: k.
        seed: of what a way draws.

    Returns:
        For each way (n, k) log-scores; the largest of a row is the prediction.
    """
    features, tests = make_features(student, train, test)
    task = _CellFit(features, train.labels, marks, tests, train.zero_shot, test.zero_shot, n_labels, seed)
    found: dict[str, Floats] = {}

    def get(way: str) -> Floats:
        if way not in found:
            parts = _MIXTURES.get(way)
            found[way] = mix([get(part) for part in parts]) if parts else _FITS[way](task)
        return found[way]

    return {way: get(way) for way in ways}


def list_cell_ways(student: str, *, has_zero_shot: bool) -> tuple[str, ...]:
    """The ways a student can take: words have no zero-shot scores, and without descriptions nobody has."""
    allowed = has_zero_shot and student in list_students("embedding_zero_shot")
    return tuple(way for way in CELL_WAYS if allowed or "zero_shot" not in way)


def _fit(task: _CellFit, weights: Floats | None = None, rows: Integers | None = None) -> Floats:
    picked = np.arange(len(task.labels)) if rows is None else rows
    given = np.ones(len(picked)) if weights is None else weights[picked]
    return fit_log_probabilities(task.train[picked], task.labels[picked], given, task.test, task.n_labels)


def _weigh(task: _CellFit) -> Floats:
    return _fit(task, weigh_cells(task.labels, task.marks, task.n_labels))


def _rake(task: _CellFit) -> Floats:
    return _fit(task, rake_cells(task.labels, task.marks, task.n_labels))


def _repeat(task: _CellFit) -> Floats:
    return _fit(task, rows=repeat_cells(task.labels, task.marks, task.n_labels))


def _shrink(task: _CellFit, draw: int = 0) -> Floats:
    order = np.random.default_rng([task.seed, draw]).permutation(len(task.labels))
    rows = shrink_cells(task.labels, task.marks, task.n_labels, order)
    prior = log_prior(task.labels[rows], np.ones(len(rows)), task.n_labels)
    return _normalise(_fit(task, rows=rows) - prior)


def _bag(task: _CellFit) -> Floats:
    bags = [np.exp(_shrink(task, draw)) for draw in range(N_BAGS)]
    return np.asarray(np.log(np.maximum(np.mean(bags, axis=0), PROBABILITY_FLOOR)))


def _close_back_door(task: _CellFit) -> Floats:
    """Marks as columns that the weighted regression may use, and their middle for every row that is scored."""
    columns = MARK_SCALE * (task.marks.levels - 0.5)
    beside = np.zeros((task.test.shape[0], columns.shape[1]))
    weights = weigh_cells(task.labels, task.marks, task.n_labels)
    return fit_log_probabilities(
        _join(task.train, columns), task.labels, weights, _join(task.test, beside), task.n_labels
    )


def _join(features: Features, columns: Floats) -> Features:
    beside = columns.astype(np.float32)
    if isinstance(features, csr_matrix):
        return csr_matrix(hstack([features, csr_matrix(beside)], format="csr"))
    return np.hstack([features, beside])


def _score_by_similarity(task: _CellFit) -> Floats:
    """Log-probabilities of the descriptions, less their mean over the labels' means under cell weights."""
    if not len(task.train_zero_shot) or not len(task.test_zero_shot):
        raise ValueError("this way needs similarities to label descriptions")
    logs = np.log(np.maximum(task.train_zero_shot, PROBABILITY_FLOOR))
    weights = weigh_cells(task.labels, task.marks, task.n_labels)
    centre = np.mean(
        [
            np.average(logs[task.labels == label], axis=0, weights=weights[task.labels == label])
            for label in np.unique(task.labels)
        ],
        axis=0,
    )
    return _normalise(np.log(np.maximum(task.test_zero_shot, PROBABILITY_FLOOR)) - centre)


def _normalise(scores: Floats) -> Floats:
    return np.asarray(log_softmax(scores, axis=1))


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


_FITS: dict[str, Callable[[_CellFit], Floats]] = {
    "nothing": _fit,
    "group_weights": _weigh,
    "cell_oversampling": _repeat,
    "cell_downsampling": _shrink,
    "cell_bags": _bag,
    "raking": _rake,
    "back_door": _close_back_door,
    "zero_shot": _score_by_similarity,
}
_MIXTURES = {
    "cell_mixture": ("back_door", "group_weights", "cell_bags"),
    "zero_shot_bags": ("zero_shot", "cell_bags"),
}
CELL_WAYS = (*_FITS, *_MIXTURES)
