"""Texts made of the user's own rows, for rare labels, to train on beside them; for students that see words."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from scipy.sparse import csr_matrix, vstack

from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.students.base import FitTask, Student, Treatment
from counterpoise.students.linear import Features
from counterpoise.students.rows import make_rows
from counterpoise.students.weights import adjust

_MOST_READ = 5_000  # texts that what is made of a label is learned from
_MOST_MADE = 100  # texts a label
Make = Callable[[Integers, int, np.random.Generator], Sequence[str]]
"""Of positions of a label's rows, 2 or more, how many texts are wanted, and what is drawn from: the texts."""

_WORD = re.compile(r"\w+")


def find_words(text: str) -> list[str]:
    """The words of a text in their order, in small letters."""
    return _WORD.findall(text.lower())


def thin_out(rows: Integers) -> Integers:
    """At most 5,000 of some positions, evenly spaced."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_READ)).astype(np.int64)]


class MadeTexts(Treatment):
    """Logit adjustment, with texts that are made for every label which has fewer rows than the largest.

    Own rows and made texts of a label share the weight that its rows had: the label shares stay, and with them the
    thresholds. How rare words are is counted on the own rows alone, or the words of a rare label would seem common.

    Attributes:
        share: of the weight of a label that the made texts have, between 0 and 1.
    """

    share: float

    def suits(self, student: Student) -> bool:
        """Whether the student sees words, for made texts have no vectors, and is trained quickly."""
        return not student.uses_vectors and super().suits(student)

    @abstractmethod
    def learn(self, texts: Objects) -> Make:
        """What makes texts for a label.

        Args:
            texts: (n,) of the training rows of all labels.
        """

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities less the logs of the label shares."""
        counts = np.bincount(task.labels, minlength=task.n_labels)
        weights = np.ones(len(task.labels))
        texts: list[str] = []
        labels: list[int] = []
        make = self.learn(task.train.texts)
        for label in np.flatnonzero(counts > 1).tolist():
            n_wanted = min(int(counts.max() - counts[label]), _MOST_MADE)
            if n_wanted < 1:
                continue
            members = np.flatnonzero(task.labels == label)
            texts += make(members, n_wanted, np.random.default_rng([task.seed, label]))
            labels += [label] * n_wanted
            weights[members] = 1 - self.share
        if not texts:
            return adjust(task.plain, task.labels, task.n_labels, weights)
        made = np.array(labels)
        added = self.share * counts[made] / np.bincount(made)[made]
        return self._fit(task, np.array(texts, dtype=object), made, np.concatenate([weights, added]))

    def _fit(self, task: FitTask, texts: Objects, made: Integers, weights: Floats) -> Floats:
        """The scores of the student on own rows and made texts, (m, k)."""
        n_test = len(task.test)
        others = make_rows(
            np.concatenate([task.test.texts, texts]),
            np.empty((n_test + len(texts), 0), np.float32),
            np.zeros(n_test + len(texts), np.int64),
        )
        own, rest = task.student.features(task.train, others)
        labels = np.concatenate([task.labels, made])
        features: Features
        if isinstance(own, np.ndarray):
            features = np.concatenate([own, np.asarray(rest[n_test:])])
        else:
            features = csr_matrix(vstack([own, csr_matrix(rest[n_test:])]))
        plain = task.student.fit_log_probabilities(features, labels, weights, rest[:n_test], task.n_labels)
        return adjust(plain, labels, task.n_labels, weights)
