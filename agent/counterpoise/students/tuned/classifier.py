"""The students that train an encoder as a classifier in the manner of scikit-learn, for recipes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from counterpoise.core.records import Floats
from counterpoise.students.registry import STUDENTS
from counterpoise.students.rows import Rows, make_rows


class TunedClassifier:
    """A student on texts with `fit` and `predict_log_proba`.

    It trains when the first texts are scored. Further texts in the same process are scored by what was trained; texts
    that were scored before are answered from the cache.

    Args:
        name: as a job calls the student: `fine_tuned`, `contrastive:path/to/folder`.

    Attributes:
        classes_: (k,) the labels in order, once it has rows.
    """

    classes_: np.ndarray[Any, Any]

    def __init__(self, name: str) -> None:
        self._student = STUDENTS.choose([name])[0]
        self._rows: Rows | None = None

    def fit(self, texts: Iterable[str], labels: Iterable[Any], weights: Iterable[float]) -> Self:
        """Take n rows.

        Args:
            texts: the texts.
            labels: a label each.
            weights: a weight each, 0 or more.
        """
        self.classes_, numbered = np.unique(np.array(list(labels)), return_inverse=True)
        given = np.array(list(weights), dtype=np.float64)
        self._rows = _make(list(texts), numbered, given)
        return self

    def predict_log_proba(self, texts: Iterable[str]) -> Floats:
        """(m, k) log-probabilities of texts.

        Raises:
            ValueError: it has no rows yet.
        """
        if self._rows is None:
            raise ValueError("call fit first")
        asked = list(texts)
        test = _make(asked, np.zeros(len(asked), dtype=np.int64), np.ones(len(asked)))
        own, others = self._student.features(self._rows, test)
        return self._student.fit_log_probabilities(
            own, self._rows.labels, self._rows.weights, others, len(self.classes_)
        )


def _make(texts: list[str], labels: Any, weights: Floats) -> Rows:
    content = np.array([*texts, ""], dtype=object)[:-1]
    return make_rows(content, np.empty((len(texts), 0), np.float32), labels, weights=weights)
