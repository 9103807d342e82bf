"""Simple ways that look at the unlabelled rows of the pool, and pay for none of it.

What they share stands here, with self-training and label spreading. `pool_labels` has those in which somebody labels
the pool for the student, `naive_bayes` has expectation maximisation.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.semi_supervised import LabelSpreading

from counterpoise.core.records import Floats, Integers
from counterpoise.students.base import FitTask, Student, Treatment, fit_adjusted
from counterpoise.students.calibration import estimate_shares
from counterpoise.students.linear import PROBABILITY_FLOOR, Features
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.weights import adjust

MOST_POOL = 2_000
"""Rows of the pool that a way looks at. A run has them in the order of hashes, so that the first ones are a draw."""

_LEAST_PROBABILITY = 0.02  # a pool row is no example of a label that is less likely
_SURE_SHARE = 0.2
_N_TURNS = 3


class PoolWay(Treatment):
    """A way that looks at the pool; without one it is logit adjustment."""

    uses_pool = True

    def score(self, task: FitTask) -> Floats:
        """(m, k) log-scores."""
        if task.pool is None or not len(task.pool):
            return fit_adjusted(task.student, task.train, task.test, task.n_labels)
        return self.score_with(task, task.pool.take(np.arange(min(MOST_POOL, len(task.pool)))))

    @abstractmethod
    def score_with(self, task: FitTask, pool: Rows) -> Floats:
        """(m, k) log-scores, with a pool of one row or more."""


def join_rows(first: Rows, second: Rows) -> Rows:
    """The rows of both, all of weight 1."""
    return make_rows(
        np.concatenate([first.texts, second.texts]),
        np.concatenate([first.vectors, second.vectors]),
        np.concatenate([first.labels, second.labels]),
    )


def weigh_by_shares(likelihoods: Floats) -> Floats:
    """Probabilities under the label shares that the pool itself shows.

    Args:
        likelihoods: (m, k) probabilities that hold where every label is as likely.
    """
    weighed = likelihoods * estimate_shares(likelihoods)
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))


def list_examples(probabilities: Floats) -> tuple[Integers, Integers]:
    """Positions of pool rows, and the label that each is an example of: every one that is not unlikely.

    Args:
        probabilities: (p, k) of the labels of the pool's rows.
    """
    rows, labels = np.nonzero(probabilities > _LEAST_PROBABILITY)
    return rows, labels


def score_taught(task: FitTask, pool: Rows, probabilities: Floats) -> Floats:
    """Train the student on its own rows and on the pool, each pool row once for every label that it may have.

    Args:
        task: the student, its rows, and the rows to score.
        pool: p rows.
        probabilities: (p, k) of their labels: the weights.

    Returns:
        (m, k) log-probabilities with the label shares taken out.
    """
    rows, labels = list_examples(probabilities)
    own = np.arange(len(task.train))
    features, others = task.student.features(join_rows(task.train, pool), task.test)
    return _fit(
        task.student,
        features[np.concatenate([own, len(own) + rows])],
        np.concatenate([task.labels, labels]),
        np.concatenate([np.ones(len(own)), probabilities[rows, labels]]),
        others,
        task.n_labels,
    )


def _fit(
    student: Student, features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
) -> Floats:
    plain = student.fit_log_probabilities(features, labels, weights, test, n_labels)
    return np.asarray(log_softmax(adjust(plain, labels, n_labels, weights), axis=1))


class SelfTraining(PoolWay):
    """The student labels the pool, is trained again with the surest rows of each label, thrice (Yarowsky, 1995).

    As many rows are taken of every label, so that the majority's do not swamp the rare one's.
    """

    name = "self_training"
    meaning = "the pool's surest rows of each label added with the labels that the student gives them"

    def score_with(self, task: FitTask, pool: Rows) -> Floats:
        """Adjusted log-probabilities of the student of the last turn."""
        train = task.train
        for turn in range(_N_TURNS):
            said = softmax(fit_adjusted(task.student, train, pool, task.n_labels), axis=1)
            n_each = max(1, int((turn + 1) / _N_TURNS * _SURE_SHARE * len(pool) / task.n_labels))
            given, picked = said.argmax(axis=1), []
            for label in np.unique(task.labels):
                members = np.flatnonzero(given == label)
                picked.append(members[np.argsort(-said[members, label], kind="stable")[:n_each]])
            rows = np.sort(np.concatenate(picked))
            sure = pool.take(rows)
            sure = make_rows(sure.texts, sure.vectors, given[rows].astype(np.int64))
            train = join_rows(task.train, sure)
        return fit_adjusted(task.student, train, task.test, task.n_labels)


class Spreading(PoolWay):
    """Labels spread from row to row over a graph of neighbours, pool and all (Zhou et al., 2004, LabelSpreading)."""

    name = "label_spreading"
    meaning = "labels spread between neighbours among own rows and pool"

    def suits(self, student: Student) -> bool:
        """Whether the student sees the encoder's vectors: words make poor neighbours."""
        return student.uses_vectors

    def score_with(self, task: FitTask, pool: Rows) -> Floats:
        """Logs of what reaches each row, less the logs of the label shares of what was spread."""
        vectors = np.concatenate([task.train.vectors, pool.vectors])
        labels = np.concatenate([task.labels, np.full(len(pool), -1)])
        present = np.unique(task.labels)
        scores = np.full((len(task.test), task.n_labels), np.log(PROBABILITY_FLOOR))
        if len(present) < 2:
            scores[:, present] = 0.0
            return scores
        spread = LabelSpreading(kernel="knn", n_neighbors=min(10, len(vectors) - 1), max_iter=100, alpha=0.2)
        spread.fit(vectors, labels)
        with np.errstate(
            invalid="ignore"
        ):  # no label reaches a row whose neighbours are all far from own rows
            reached = np.nan_to_num(spread.predict_proba(task.test.vectors))
        totals = np.maximum(spread.label_distributions_.sum(axis=0), PROBABILITY_FLOOR)
        scores[:, present] = np.log(np.maximum(reached, PROBABILITY_FLOOR)) - np.log(totals / totals.sum())
        return scores
