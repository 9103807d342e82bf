"""Logit adjustment by as much of the label shares as rows that were left out bear out."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from counterpoise.core.records import Floats, Integers
from counterpoise.students.base import FitTask, Treatment
from counterpoise.students.left_out import SHARE_SPREAD
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.weights import adjust, log_prior

_LOG_SHARPNESS = (-1.0, 3.0)


class ShrunkPrior(Treatment):
    """The label shares are taken out of the scores with a tau that is tuned (Menon et al., 2021, Long-tail learning).

    With few rows of a label a regularised student lets the shares into its scores by less than they are or by more: one
    number for all labels says how much, where `tuned_offsets` has one for each.
    """

    name = "shrunk_prior"
    meaning = "logit adjustment by a part of the label shares, tuned on rows that are left out"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities less tau times the logs of the label shares; tau is 1 where no row can be left out."""
        scores, known = task.left_out
        labels = task.labels[known]
        adjusted = adjust(task.plain, task.labels, task.n_labels)
        if len(np.unique(labels)) < 2:
            return adjusted
        prior = log_prior(task.labels, np.ones(len(task.labels)), task.n_labels)
        return adjusted + (1 - find_tau(scores[known], labels, prior)) * prior


def find_tau(scores: Floats, labels: Integers, prior: Floats) -> float:
    """The tau under which the log-loss is least, labels weighed alike, at the best temperature.

    Args:
        scores: (n, k) log-scores of rows that nothing was learned from, under tau = 1.
        labels: (n,) label indices, two or more of them different.
        prior: (k,) logs of the label shares.
    """
    logs = np.maximum(log_softmax(scores, axis=1), np.log(PROBABILITY_FLOOR))
    weights = 1 / np.bincount(labels)[labels]
    weights /= weights.sum()
    firm = (weights**2).sum() / SHARE_SPREAD**2
    rows = np.arange(len(labels))

    def measure(values: Floats) -> float:
        said = log_softmax(np.exp(values[0]) * (logs + values[1] * prior), axis=1)
        return float(firm * values[1] ** 2 / 2 - weights @ said[rows, labels])

    found = minimize(measure, np.zeros(2), method="L-BFGS-B", bounds=[_LOG_SHARPNESS, (-1.0, 1.0)]).x
    return float(1 - found[1])
