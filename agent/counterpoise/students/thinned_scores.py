"""Scores of rows by a classifier that was trained without some of the others, for hundreds of choices of these.

A logistic regression for each of them takes minutes. A ridge regression of the labels on the same features has its
answer in closed form: with G the inverse of the training rows' kernel plus its penalty, leaving out rows R changes the
predictions by what G says of R alone, a system of as many equations as rows are left out (the identity behind
leave-one-out residuals; Rifkin and Lippert, 2007, Notes on Regularized Least Squares). Predictions are shares of
labels, divided by those of the training rows as logit adjustment does, so that thinning a label moves no threshold.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve, lapack

from counterpoise.core.records import Floats, Integers
from counterpoise.students.linear import INVERSE_REGULARISATION, Features, find_threads

_PENALTY = 4 / INVERSE_REGULARISATION
"""The penalty under which a squared loss bends as a logistic loss does at even odds."""

_CONSTANT = 100.0
"""What the constant adds to the kernel: so much that it is hardly penalised."""


class ThinnedScores:
    """A classifier trained on some rows, and what it would say had it been trained without some of these.

    Args:
        features: (n, d) of the training rows, dense or sparse.
        labels: (n,) label indices.
        test: (m, d) of the rows to score.
        n_labels: k.
    """

    def __init__(self, features: Features, labels: Integers, test: Features, n_labels: int) -> None:
        with find_threads().limit(limits=1):
            kernel = _multiply(features, features) + _CONSTANT
            kernel[np.diag_indices_from(kernel)] += _PENALTY
            factor, _ = cho_factor(kernel, lower=True, overwrite_a=True, check_finite=False)
            inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
            lower = np.tril(inverse, -1)
            self._inverse = lower + lower.T
            self._inverse[np.diag_indices_from(lower)] = np.diag(inverse)
            self._targets = np.eye(n_labels)[labels]
            self._duals = self._inverse @ self._targets
            self._spread = (_multiply(test, features) + _CONSTANT) @ self._inverse
            self._plain = self._spread @ self._targets

    def score_without(self, left_out: Integers) -> Floats:
        """(m, k) scores without the training rows at these positions: predicted shares over shares; see above.

        The largest of a row is the answer, and within a column they rank. A label of which no row is left has the
        least score of all.
        """
        shares = self._targets.sum(axis=0) - self._targets[left_out].sum(axis=0)
        found = self._plain
        if len(left_out):
            with find_threads().limit(limits=1):
                block = cho_factor(self._inverse[np.ix_(left_out, left_out)], lower=True, check_finite=False)
                found = found - self._spread[:, left_out] @ cho_solve(
                    block, self._duals[left_out], check_finite=False
                )
        is_there = shares > 0
        scores = np.zeros(found.shape)
        scores[:, is_there] = found[:, is_there] * (shares.sum() / shares[is_there])
        scores[:, ~is_there] = scores.min() - 1
        return scores


def _multiply(first: Features, second: Features) -> Floats:
    product = first @ second.T
    return np.asarray(product.toarray() if hasattr(product, "toarray") else product, dtype=np.float64)
