"""Logistic regression, as the students that ship, the label scorer and the filters have it."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController

from counterpoise.core.records import Floats, Integers, Objects

INVERSE_REGULARISATION = 3.0


_MANY_COEFFICIENTS = 1_000_000


MANY_LABELS = "The number of unique classes"
"""What scikit-learn warns of where many labels have few rows."""

PROBABILITY_FLOOR = 1e-9  # probability of a label that is absent from a training part


Features = NDArray[np.float32] | csr_matrix | Objects


Model: TypeAlias = "LogisticRegression | int"
"""A trained regression, or the one label that there was to learn."""


def fit_log_probabilities(
    features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
) -> Floats:
    """(n, k) log-probabilities of a logistic regression; a label that is absent in training gets the floor."""
    return score_model(fit_model(features, labels, weights), test, n_labels)


def fit_model(features: Features, labels: Integers, weights: Floats) -> Model:
    """Train a logistic regression, see `fit_log_probabilities`."""
    present = np.unique(labels)
    if len(present) == 1:
        return int(present[0])
    # The steps of L-BFGS carry some twenty copies of the coefficients along: with 150 labels and 17,000 words Newton's
    # method took a sixth of its time, with 150 labels and 384 dimensions half as long again.
    solver = "newton-cg" if features.shape[1] * len(present) > _MANY_COEFFICIENTS else "lbfgs"
    model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000, solver=solver)
    # One thread: these fits are small, several threads cost more than they bring, and the number of threads would
    # move the last bits of the result from machine to machine.
    with find_threads().limit(limits=1), warnings.catch_warnings():
        warnings.filterwarnings("ignore", MANY_LABELS, UserWarning)
        model.fit(features, labels, sample_weight=weights)
    return model


def score_model(model: Model, test: Features, n_labels: int) -> Floats:
    """(n, k) log-probabilities of a trained one."""
    scores = np.full((test.shape[0], n_labels), np.log(PROBABILITY_FLOOR))
    if isinstance(model, int):
        scores[:, model] = 0.0
        return scores
    with find_threads().limit(limits=1):
        scores[:, model.classes_] = np.log(np.maximum(model.predict_proba(test), PROBABILITY_FLOOR))
    return scores


@cache
def find_threads() -> ThreadpoolController:
    """The controller that holds small fits to one thread."""
    return ThreadpoolController()
