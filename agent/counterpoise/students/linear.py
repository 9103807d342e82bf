"""The students' model: sentence vectors or words under a logistic regression."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController

from counterpoise.core.records import Floats, Integers
from counterpoise.students.rows import Rows

INVERSE_REGULARISATION = 3.0


_MANY_COEFFICIENTS = 1_000_000


PROBABILITY_FLOOR = 1e-9  # probability of a label that is absent from a training part


Features = NDArray[np.float32] | csr_matrix


def make_features(student: str, train: Rows, test: Rows) -> tuple[Features, Features]:
    """The representation of a student, learned on the training side only: (n, d) and (m, d)."""
    if student == "minilm_lr":
        return train.vectors, test.vectors
    vectoriser = TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), dtype=np.float32, max_features=200_000
    )
    analyse = vectoriser.build_analyzer()
    if not any(analyse(text) for text in train.texts):  # not one word: nothing but the label shares is left
        return np.zeros((len(train), 1), np.float32), np.zeros((len(test), 1), np.float32)
    return vectoriser.fit_transform(train.texts), vectoriser.transform(test.texts)


def fit_log_probabilities(
    features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
) -> Floats:
    """(n, k) log-probabilities of a logistic regression; a label that is absent in training gets the floor."""
    present = np.unique(labels)
    scores = np.full((test.shape[0], n_labels), np.log(PROBABILITY_FLOOR))
    if len(present) == 1:
        scores[:, present[0]] = 0.0
        return scores
    # The steps of L-BFGS carry some twenty copies of the coefficients along: with 150 labels and 17,000 words Newton's
    # method took a sixth of its time, with 150 labels and 384 dimensions half as long again.
    solver = "newton-cg" if features.shape[1] * len(present) > _MANY_COEFFICIENTS else "lbfgs"
    model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000, solver=solver)
    # One thread: these fits are small, several threads cost more than they bring, and the number of threads would
    # move the last bits of the result from machine to machine.
    with find_threads().limit(limits=1):
        model.fit(features, labels, sample_weight=weights)
        scores[:, present] = np.log(np.maximum(model.predict_proba(test), PROBABILITY_FLOOR))
    return scores


@cache
def find_threads() -> ThreadpoolController:
    """The controller that holds small fits to one thread."""
    return ThreadpoolController()
