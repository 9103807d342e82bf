"""A student that keeps what it has trained, so that further rows are scored at once.

A treatment trains and scores in one call (`Treatment.score`). Called again for further rows it trains the same models
on the same rows; what is trained depends on these alone, so models are kept under a hash of them. That holds for every
treatment that trains through its student, users' own among them; whatever else it learns is learned again.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from scipy.sparse import issparse

from counterpoise.core.records import Floats, Integers
from counterpoise.students.base import Student
from counterpoise.students.linear import Features
from counterpoise.students.recipe_lines import StudentCode
from counterpoise.students.representations import Transform
from counterpoise.students.rows import Rows


class KeptModels(Student):
    """A student, and the models that it trained.

    Args:
        student: it. One without `fit_model` and `score_model` trains anew each time.
        models: hash of features, labels and weights -> the model, as `fit_model` gives it.

    Attributes:
        keeps: whether a new model is kept; one that is trained while further rows are scored may have to do with these.
    """

    def __init__(self, student: Student, models: dict[str, Any] | None = None) -> None:
        self.student = student
        self.name, self.meaning = student.name, student.meaning
        self.uses_vectors, self.slow_step = student.uses_vectors, student.slow_step
        self.models = {} if models is None else models
        self.keeps = False
        self._learned: dict[str, tuple[Features, Transform]] = {}

    def features(self, train: Rows, test: Rows) -> tuple[Features, Features]:
        """See `Student.features`; of rows that were learned before only those of `test` are made."""
        learn = getattr(self.student, "learn_features", None)
        if learn is None or self.uses_vectors:
            return self.student.features(train, test)
        key = _hash_texts(train)
        if key not in self._learned:
            learned = learn(train)
            if not self.keeps:
                return learned[0], learned[1](test)
            self._learned[key] = learned
        own, transform = self._learned[key]
        return own, transform(test)

    def fit_log_probabilities(
        self, features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
    ) -> Floats:
        """See `Student.fit_log_probabilities`."""
        fit, score = (getattr(self.student, name, None) for name in ("fit_model", "score_model"))
        if fit is None or score is None:
            return self.student.fit_log_probabilities(features, labels, weights, test, n_labels)
        key = hash_training(features, labels, weights)
        model = self.models.get(key)
        if model is None:
            model = fit(features, labels, weights)
            if self.keeps:
                self.models[key] = model
        return np.asarray(score(model, test, n_labels))

    def write_code(self, encoder: str) -> StudentCode:
        """The student's."""
        return self.student.write_code(encoder)


def hash_training(features: Features, labels: Integers, weights: Floats) -> str:
    """32 hex digits of what a model is trained on."""
    digest = blake2b(digest_size=16)
    parts = [features.data, features.indices, features.indptr] if issparse(features) else [features]
    for part in (*parts, labels, weights):
        digest.update(f"{part.dtype} {part.shape} ".encode())
        if part.dtype == object:
            digest.update("\0".join(map(str, part)).encode("utf-8", "surrogatepass"))
        else:
            digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _hash_texts(rows: Rows) -> str:
    # Weights and labels, too: what a student learns of rows may go by them.
    return hash_training(rows.texts, rows.labels, rows.weights)
