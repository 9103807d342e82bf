"""Simple ways in which somebody labels the pool, and the student learns from it beside its own rows.

The labels come as probabilities, under the label shares that the pool itself shows, and each pool row is an example of
every label that it may have, with its probability as weight. Who labels sees the encoder's vectors; a student on words
learns words from it that no labelled row has (Blum and Mitchell, 1998, Combining labeled and unlabeled data with
co-training).
"""

from __future__ import annotations

import warnings
from abc import abstractmethod

import numpy as np
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import keyed_rank
from counterpoise.students.base import FitTask
from counterpoise.students.linear import MANY_LABELS, PROBABILITY_FLOOR, find_threads, fit_log_probabilities
from counterpoise.students.pool_ways import PoolWay, score_taught, weigh_by_shares
from counterpoise.students.rows import Rows
from counterpoise.students.similarity import compare_descriptions
from counterpoise.students.weights import adjust, balance_weights, log_prior

_N_NEIGHBOURS = 10
_LEAST_VOTE = 0.01
_N_FOLDS = 5
_MOST_TEACHERS = 3_000  # own rows that the labels of the pool are learned from,
_FEWEST_TEACHERS = 50  # and at least so many of every label

_ADVICE = (
    "and train {student} on it beside your rows, each of its rows weighted by the probability of its label"
)


class TaughtWay(PoolWay):
    """A way in which the pool is labelled first."""

    def score_with(self, task: FitTask, pool: Rows) -> Floats:
        """Log-probabilities of the student that was taught, label shares taken out."""
        return score_taught(task, pool, weigh_by_shares(self.label(task.train, pool, task.n_labels)))

    @abstractmethod
    def label(self, train: Rows, pool: Rows, n_labels: int) -> Floats:
        """(p, k) probabilities of the labels of the pool's rows, where every label is as likely."""


class NeighbourVotes(TaughtWay):
    """The nearest labelled rows vote for the label of a pool row, a rare label's rows with more weight."""

    name = "neighbour_votes"
    meaning = "the pool added under the labels of the nearest own rows"
    advice = f"Let the nearest of your rows vote for the labels of the pool, {_ADVICE}"

    def label(self, train: Rows, pool: Rows, n_labels: int) -> Floats:
        """Shares of the votes, divided by the label shares of who may vote."""
        voters = KNeighborsClassifier(min(_N_NEIGHBOURS, len(train)), weights="distance", metric="cosine")
        voters.fit(train.vectors, train.labels)
        votes = np.zeros((len(pool), n_labels))
        votes[:, voters.classes_] = voters.predict_proba(pool.vectors) + _LEAST_VOTE
        even = votes / np.exp(log_prior(train.labels, np.ones(len(train)), n_labels))
        return np.asarray(even / even.sum(axis=1, keepdims=True))


class ZeroShotPool(TaughtWay):
    """The descriptions of the labels say which pool row is of which."""

    name = "zero_shot_pool"
    meaning = "the pool added under the labels whose descriptions lie nearest"
    advice = f"Give each row of the pool the label whose description is nearest, {_ADVICE}"

    def label(self, train: Rows, pool: Rows, n_labels: int) -> Floats:
        """What the descriptions say; where there are none, the same of every label."""
        if not len(pool.zero_shot) or not len(train.zero_shot):
            return np.full((len(pool), n_labels), 1 / n_labels)
        scores = compare_descriptions(train, pool)
        absent = np.setdiff1d(np.arange(n_labels), train.labels)
        scores[:, absent] = np.log(PROBABILITY_FLOOR)
        return np.asarray(softmax(scores, axis=1))


class LabelledPool(TaughtWay):
    """A classifier on vectors and the descriptions label the pool together.

    How far each of them is to be believed is learned from the own rows, which the classifier scores in folds that it
    was not trained on (Wolpert, 1992, Stacked generalization).
    """

    name = "labelled_pool"
    meaning = "the pool added under the labels that vectors and descriptions together give it"
    advice = f"Let a classifier on sentence vectors and the labels' descriptions together label the pool, {_ADVICE}"

    code = (
        "taught = label_pool(own, {label}, unlabelled, encode, compare)\n"
        'score = fit(taught, taught["weight"], 1)\n'
    )

    def label(self, train: Rows, pool: Rows, n_labels: int) -> Floats:
        """Calibrated probabilities."""
        train = train.take(_choose_teachers(train))
        present = np.unique(train.labels)
        probabilities = np.full((len(pool), n_labels), PROBABILITY_FLOOR)
        if len(present) == 1:
            probabilities[:, present] = 1.0
            return probabilities
        known, asked = _score_twice(train, pool, n_labels)
        judge = LogisticRegression(max_iter=1000)
        with find_threads().limit(limits=1), warnings.catch_warnings():
            warnings.filterwarnings("ignore", MANY_LABELS, UserWarning)
            judge.fit(known, train.labels, sample_weight=balance_weights(train.labels, n_labels))
            probabilities[:, present] = np.maximum(judge.predict_proba(asked), PROBABILITY_FLOOR)
        return probabilities


def _choose_teachers(train: Rows) -> Integers:
    """Positions of own rows, few of the labels that have very many."""
    present = np.unique(train.labels)
    most = max(_FEWEST_TEACHERS, _MOST_TEACHERS // len(present))
    picked = []
    for label in present:
        members = np.flatnonzero(train.labels == label)
        picked.append(members[keyed_rank(train.texts[members], "teachers")[:most]])
    return np.concatenate(picked)


def _score_twice(train: Rows, pool: Rows, n_labels: int) -> tuple[Floats, Floats]:
    """(n, f) and (p, f) centred log-scores of own rows, out of fold, and of the pool: classifier and descriptions."""
    folds = np.empty(len(train), dtype=np.int64)
    for label in np.unique(train.labels):
        members = np.flatnonzero(train.labels == label)
        folds[members[keyed_rank(train.texts[members], "folds")]] = np.arange(len(members)) % _N_FOLDS
    out_of_fold = np.zeros((len(train), n_labels))
    # With one row of each label none can be left out: then the descriptions alone are learned about.
    for fold in np.unique(folds) if folds.any() else ():
        inside = folds != fold
        out_of_fold[~inside] = _classify(train.take(inside), train.take(~inside), n_labels)
    sides = [[out_of_fold], [_classify(train, pool, n_labels)]]
    if len(train.zero_shot) and len(pool.zero_shot):
        for side, rows in zip(sides, (train, pool), strict=True):
            side.append(compare_descriptions(train, rows))
    known, asked = (
        np.concatenate([part - part.mean(axis=1, keepdims=True) for part in side], axis=1) for side in sides
    )
    return known, asked


def _classify(train: Rows, rows: Rows, n_labels: int) -> Floats:
    """(m, k) log-probabilities of the classifier on vectors, every label as likely."""
    ones = np.ones(len(train))
    scores = fit_log_probabilities(train.vectors, train.labels, ones, rows.vectors, n_labels)
    return np.asarray(log_softmax(adjust(scores, train.labels, n_labels), axis=1))
