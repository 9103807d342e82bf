"""Simple ways that look at the unlabelled rows of the pool, and pay for none of it."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.semi_supervised import LabelSpreading

from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Student, Treatment
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.weights import log_prior

_SURE_SHARE = 0.2
_N_TURNS = 3
_MOST_SPREAD = 4_000  # rows, own and of the pool, between which labels are spread


def _join(first: Rows, second: Rows) -> Rows:
    """The rows of both, all of weight 1."""
    return make_rows(
        np.concatenate([first.texts, second.texts]),
        np.concatenate([first.vectors, second.vectors]),
        np.concatenate([first.labels, second.labels]),
    )


class SelfTraining(Treatment):
    """The student labels the pool, is trained again with the surest rows of each label, thrice (Yarowsky, 1995).

    As many rows are taken of every label, so that the majority's do not swamp the rare one's.
    """

    name = "self_training"
    meaning = "the pool's surest rows of each label added with the labels that the student gives them"
    uses_pool = True

    def score(self, task: FitTask) -> Floats:
        """Adjusted log-probabilities of the student of the last turn; without a pool those of the first."""
        pool = task.pool
        if pool is None or not len(pool):
            return _adjusted(task.student, task.train, task.test, task.n_labels)
        train = task.train
        for turn in range(_N_TURNS):
            said = softmax(_adjusted(task.student, train, pool, task.n_labels), axis=1)
            n_each = max(1, int((turn + 1) / _N_TURNS * _SURE_SHARE * len(pool) / task.n_labels))
            given, picked = said.argmax(axis=1), []
            for label in np.unique(task.labels):
                members = np.flatnonzero(given == label)
                picked.append(members[np.argsort(-said[members, label], kind="stable")[:n_each]])
            rows = np.sort(np.concatenate(picked))
            sure = pool.take(rows)
            sure = make_rows(sure.texts, sure.vectors, given[rows].astype(np.int64))
            train = _join(task.train, sure)
        return _adjusted(task.student, train, task.test, task.n_labels)


class Spreading(Treatment):
    """Labels spread from row to row over a graph of neighbours, pool and all (Zhou et al., 2004, LabelSpreading)."""

    name = "label_spreading"
    meaning = "labels spread between neighbours among own rows and pool"
    uses_pool = True

    def suits(self, student: Student) -> bool:
        """Whether the student sees the encoder's vectors: words make poor neighbours."""
        return student.uses_vectors

    def score(self, task: FitTask) -> Floats:
        """Logs of what reaches each row, less the logs of the label shares of what was spread."""
        sides = [task.train.vectors]
        if task.pool is not None and len(task.pool):
            sides.append(task.pool.vectors[: max(0, _MOST_SPREAD - len(task.train))])
        vectors = np.concatenate(sides)
        labels = np.full(len(vectors), -1)
        labels[: len(task.train)] = task.labels
        present = np.unique(task.labels)
        scores = np.full((len(task.test), task.n_labels), np.log(PROBABILITY_FLOOR))
        if len(present) < 2:
            scores[:, present] = 0.0
            return scores
        spread = LabelSpreading(kernel="knn", n_neighbors=min(10, len(vectors) - 1), max_iter=100, alpha=0.2)
        spread.fit(vectors, labels)
        reached = np.maximum(spread.predict_proba(task.test.vectors), PROBABILITY_FLOOR)
        totals = np.maximum(spread.label_distributions_.sum(axis=0), PROBABILITY_FLOOR)
        scores[:, present] = np.log(reached) - np.log(totals / totals.sum())
        return scores


def _adjusted(student: Student, train: Rows, test: Rows, n_labels: int) -> Floats:
    features, others = student.features(train, test)
    ones = np.ones(len(train))
    plain = student.fit_log_probabilities(features, train.labels, ones, others, n_labels)
    return np.asarray(log_softmax(plain - log_prior(train.labels, ones, n_labels), axis=1))
