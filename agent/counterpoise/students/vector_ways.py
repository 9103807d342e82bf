"""Simple ways for students on vectors: classifiers and rows that the geometry of an encoder allows with few rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.covariance import ledoit_wolf

from counterpoise.core.records import Floats, Integers
from counterpoise.students.base import FitTask, Student, Treatment
from counterpoise.students.linear import PROBABILITY_FLOOR

_FLOOR = float(np.log(PROBABILITY_FLOOR))
_SHARPNESS = 20.0
_N_NEIGHBOURS = 5
_LARGEST_MIX = 20_000  # rows that are made at most


class VectorWay(Treatment):
    """A way that needs dense vectors."""

    def suits(self, student: Student) -> bool:
        """Whether the student sees the encoder's vectors."""
        return student.uses_vectors


class ShrunkLda(VectorWay):
    """Gaussians with one covariance, shrunk (Ledoit and Wolf, 2004), every label as likely as the others."""

    name = "shrunk_lda"
    meaning = "linear discriminant analysis with a shrunk covariance, all labels as likely"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities of the labels."""
        vectors, others = (side.vectors.astype(np.float64) for side in (task.train, task.test))
        labels, present = task.labels, np.unique(task.labels)
        means = np.stack([vectors[labels == label].mean(axis=0) for label in present])
        rest = vectors - means[np.searchsorted(present, labels)]
        # Every label counts alike, or the covariance would be that of the large one.
        scale = np.sqrt(len(labels) / (len(present) * np.bincount(labels)[labels]))
        covariance, _ = ledoit_wolf(rest * scale[:, None], assume_centered=True)
        solved = np.linalg.solve(covariance + 1e-9 * np.eye(len(covariance)), means.T)
        return _fill(others @ solved - 0.5 * (means.T * solved).sum(axis=0), present, task.n_labels)


class Prototypes(VectorWay):
    """The nearest of the labels' mean vectors (Snell et al., 2017, Prototypical networks)."""

    name = "prototypes"
    meaning = "the label whose mean vector is nearest"

    def score(self, task: FitTask) -> Floats:
        """Cosines to the means, in units in which their softmax is a fair probability."""
        present = np.unique(task.labels)
        means = np.stack([task.train.vectors[task.labels == label].mean(axis=0) for label in present])
        means = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        return _fill(_SHARPNESS * (task.test.vectors @ means.T).astype(np.float64), present, task.n_labels)


def _fill(scores: Floats, present: Integers, n_labels: int) -> Floats:
    """(m, k) log-probabilities of (m, p) scores of the labels that have rows; the others have the floor."""
    filled = np.full((len(scores), n_labels), _FLOOR)
    filled[:, present] = np.maximum(log_softmax(scores, axis=1), _FLOOR)
    return filled


class VectorSmote(VectorWay):
    """Rare labels filled with points between their rows and the nearest of these (Chawla et al., 2002, SMOTE)."""

    name = "vector_smote"
    meaning = "points between the rows of rare labels added"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities of the student on the filled rows."""
        counts = np.bincount(task.labels, minlength=task.n_labels)
        made: list[NDArray[np.float32]] = []
        labels: list[NDArray[np.int64]] = []
        for label in np.flatnonzero(counts):
            members = task.train.vectors[task.labels == label]
            n_more = min(int(counts.max() - len(members)), _LARGEST_MIX)
            if n_more < 1 or len(members) < 2:
                continue
            generator = np.random.default_rng([task.seed, int(label)])
            order = np.argsort(-(members @ members.T), axis=1, kind="stable")[:, 1 : _N_NEIGHBOURS + 1]
            first = generator.integers(len(members), size=n_more)
            second = order[first, generator.integers(order.shape[1], size=n_more)]
            share = generator.random((n_more, 1)).astype(np.float32)
            made.append(members[first] + share * (members[second] - members[first]))
            labels.append(np.full(n_more, label))
        if not made:
            return task.plain
        both = np.concatenate([task.train.vectors, *made])
        both /= np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)
        every = np.concatenate([task.labels, *labels])
        return task.student.fit_log_probabilities(
            both, every, np.ones(len(every)), task.test.vectors, task.n_labels
        )
