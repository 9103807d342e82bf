"""Students that keep what they have learned of own rows, for evaluations of many writers on one draw.

What a student says of own rows alone is the same for every writer, and so are counts of words; both are computed once
and found again. What comes out is the product's, to the last bit.

    words = KeptWords()                                # one for a set
    kept = keep_students(students, words)              # anew for every draw
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.students.base import Student
from counterpoise.students.linear import Features
from counterpoise.students.linear_students import WordsStudent
from counterpoise.students.recipe_lines import StudentCode
from counterpoise.students.rows import Rows

_MOST_WORDS = 200_000
"""As the student on words has it; a training set with more is left to the student itself."""


class KeptWords:
    """The words and pairs of words of texts, each text read once; keeps growing as new texts come."""

    def __init__(self) -> None:
        self._analyse = CountVectorizer(ngram_range=(1, 2)).build_analyzer()
        self._words: dict[str, int] = {}
        self._texts: dict[str, Integers] = {}
        self._ranks = np.empty(0, np.int64)

    def make_features(self, train: Objects, test: Objects) -> tuple[csr_matrix, csr_matrix] | None:
        """What `representations.Words` makes of them; None where that has to do it itself.

        Args:
            train: (n,) texts to learn from.
            test: (m,) texts to score.
        """
        learned, scored = [self._read(text) for text in train], [self._read(text) for text in test]
        stream = np.concatenate(learned)
        words, first = np.unique(stream, return_index=True)
        if not 0 < len(words) <= _MOST_WORDS:
            return None
        # Columns are in the order of the words; within a row they stand as the words came up first, as the
        # vectoriser leaves them: sums of float32 depend on it.
        by_name, by_time = words[np.argsort(self._rank()[words])], words[np.argsort(first)]
        column_of = self._number(by_name)
        counts = _count(learned, self._number(by_time), len(words))
        counts.indices = column_of[by_time].astype(np.int32)[counts.indices]
        counts.has_sorted_indices = False
        weigh = TfidfTransformer(sublinear_tf=True)
        return weigh.fit_transform(counts), weigh.transform(_count(scored, column_of, len(words)))

    def _number(self, words: Integers) -> Integers:
        """(w,) place of each word among some, -1 where it is none of them."""
        places = np.full(len(self._words), -1, np.int64)
        places[words] = np.arange(len(words))
        return places

    def _read(self, text: str) -> Integers:
        """Numbers of the words of a text, in its order."""
        if text not in self._texts:
            words = self._analyse(text)
            self._texts[text] = np.array(
                [self._words.setdefault(word, len(self._words)) for word in words], np.int64
            )
        return self._texts[text]

    def _rank(self) -> Integers:
        """(w,) place of each word in the order of names."""
        if len(self._ranks) != len(self._words):
            names = list(self._words)
            self._ranks = np.empty(len(names), np.int64)
            self._ranks[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        return self._ranks


class KeptStudent(Student):
    """A student that trains on equal own rows once.

    Args:
        student: who is trained.
        words: counts that it shares with others; None for one that sees no words.
    """

    def __init__(self, student: Student, words: KeptWords | None = None) -> None:
        self.name, self.meaning = student.name, student.meaning
        self.uses_vectors, self.slow_step = student.uses_vectors, student.slow_step
        self._student = student
        self._words = words
        self._features: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[Features, Features]] = {}
        self._pairs: set[tuple[int, int]] = set()
        self._fits: dict[tuple[int, int, bytes, bytes, int], Floats] = {}

    def features(self, train: Rows, test: Rows) -> tuple[Features, Features]:
        """Those of the student; the same objects for equal own rows."""
        if not train.original.all():
            return self._make(train, test)
        key = tuple(train.texts), tuple(test.texts)
        if key not in self._features:
            pair = self._features[key] = self._make(train, test)
            self._pairs.add((id(pair[0]), id(pair[1])))
        return self._features[key]

    def fit_log_probabilities(
        self, features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
    ) -> Floats:
        """Those of the student."""
        pair = id(features), id(test)
        if pair not in self._pairs:
            return self._student.fit_log_probabilities(features, labels, weights, test, n_labels)
        key = *pair, labels.tobytes(), weights.tobytes(), n_labels
        if key not in self._fits:
            self._fits[key] = self._student.fit_log_probabilities(features, labels, weights, test, n_labels)
        return self._fits[key].copy()

    def write_code(self, encoder: str) -> StudentCode:
        """Those lines of the student."""
        return self._student.write_code(encoder)

    def _make(self, train: Rows, test: Rows) -> tuple[Features, Features]:
        made = self._words.make_features(train.texts, test.texts) if self._words else None
        return made or self._student.features(train, test)


def keep_students(students: Iterable[Student], words: KeptWords) -> tuple[KeptStudent, ...]:
    """Students for one draw.

    Args:
        students: that ship.
        words: counts of texts, for all draws of a set.
    """
    return tuple(
        KeptStudent(student, words if isinstance(student, WordsStudent) else None) for student in students
    )


def _count(texts: Sequence[NDArray[np.int64]], column_of: NDArray[np.int64], n_columns: int) -> csr_matrix:
    """(n, c) float32 counts of words, columns of a row in ascending order; words without a column are passed over."""
    rows = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    columns = column_of[np.concatenate(texts)] if len(rows) else np.empty(0, np.int64)
    known = columns >= 0
    cells, counts = np.unique(rows[known] * n_columns + columns[known], return_counts=True)
    ends = np.searchsorted(cells, np.arange(len(texts) + 1) * n_columns)
    matrix = (counts.astype(np.float32), (cells % n_columns).astype(np.int32), ends.astype(np.int32))
    return csr_matrix(matrix, shape=(len(texts), n_columns))
