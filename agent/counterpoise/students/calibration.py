"""Calibrating a classifier's label probabilities, on rows whose labels are known and on a pool's own shares."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from counterpoise.core.records import Floats, Integers
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.weights import balance_weights

_EM_STEPS = 500
_EM_TOLERANCE = 1e-7


def calibrate_labels(out_of_fold: Floats, labels: Integers, scores: Floats) -> Floats:
    """Calibrate probabilities for data in which every label is as likely (Platt 1999, for k labels).

    Args:
        out_of_fold: (n, k) probabilities to learn from.
        labels: (n,) the right answers.
        scores: (m, k) probabilities to calibrate.

    Returns:
        (m, k) calibrated probabilities under equal label shares, rows summing to 1.
    """
    n_labels = out_of_fold.shape[1]
    present = np.unique(labels)
    model = LogisticRegression(C=1000.0, max_iter=1000)
    model.fit(
        centre_logs(out_of_fold, PROBABILITY_FLOOR), labels, sample_weight=balance_weights(labels, n_labels)
    )
    calibrated = np.full((len(scores), n_labels), PROBABILITY_FLOOR)
    calibrated[:, present] = np.maximum(
        model.predict_proba(centre_logs(scores, PROBABILITY_FLOOR)), PROBABILITY_FLOOR
    )
    return np.asarray(calibrated / calibrated.sum(axis=1, keepdims=True))


def estimate_shares(likelihoods: Floats) -> Floats:
    """Shares of the labels in unlabelled data, by expectation maximisation.

    Args:
        likelihoods: (m, k) probabilities that hold where every label is as likely.

    Returns:
        (k,) shares, summing to 1; equal ones for an empty pool.
    """
    n_labels = likelihoods.shape[1]
    shares = np.full(n_labels, 1.0 / n_labels)
    for _ in range(_EM_STEPS if len(likelihoods) else 0):
        weighted = likelihoods * shares
        updated = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        moved = float(np.abs(updated - shares).max())
        shares = updated
        if moved < _EM_TOLERANCE:
            break
    return shares


def centre_logs(probabilities: Floats, floor: float) -> Floats:
    """(n, k) logs of probabilities less their mean over the answers, for a linear model; `floor` is the least."""
    logs = np.log(np.maximum(probabilities, floor))
    return np.asarray(logs - logs.mean(axis=1, keepdims=True))
