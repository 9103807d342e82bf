"""Views of the right label weighed by few answers, however many labels there are: all labels share the weights.

A classifier with weights of its own for every label needs answers of every label. Where some label has none among the
answers that it may learn from, one conditional logit takes its place (McFadden, 1974, Conditional logit analysis of
qualitative choice behavior): of row i the chance of label j rises with the log-probability that each view gives it, and
falls or rises by one number where j is the label that was given. Ten answers say something of three or four weights.

>>> import numpy as np
>>> view = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])
>>> given = np.array([0, 0, 0, 1])
>>> model = fit_shared([view], given, np.array([0, 1, 2, 3]), np.array([0, 1, 0, 0]))
>>> bool(score_shared(model, [view], given).argmax(axis=1)[1] == 1)
True
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from counterpoise.core.records import Floats, Integers

_FLOOR = 1e-3
_PULL = 0.5
"""Half the squared weights, added to the loss: without it a handful of answers that agree gives weights without end."""


def fit_shared(views: Sequence[Floats], given: Integers, known: Integers, truth: Integers) -> Floats:
    """Learn the weights from answers.

    Args:
        views: (n, k) probabilities each.
        given: (n,) given label indices.
        known: (m,) positions of the rows whose right label is known.
        truth: (m,) their right label indices.

    Returns:
        (v + 1,) weights: of each view, and of being the label that was given.
    """
    features = _describe([view[known] for view in views], given[known])
    right = features[np.arange(len(known)), truth]
    # Where the answers say nothing, all views together say what one would.
    start = np.append(np.full(len(views), 1.0 / len(views)), 0.0)

    def measure(weights: Floats) -> tuple[float, Floats]:
        scores = features @ weights
        chances = softmax(scores, axis=1)
        off = weights - start
        loss = float((logsumexp(scores, axis=1) - right @ weights).sum() + _PULL * off @ off)
        slope = np.einsum("mk,mkf->f", chances, features) - right.sum(axis=0) + 2 * _PULL * off
        return loss, slope

    found = minimize(measure, start, jac=True, method="L-BFGS-B")
    return np.asarray(found.x, dtype=np.float64)


def score_shared(weights: Floats, views: Sequence[Floats], given: Integers) -> Floats:
    """(n, k) probabilities of the right label by weights of `fit_shared`."""
    scores = np.zeros_like(views[0])
    for weight, view in zip(weights[:-1], views, strict=True):
        scores += weight * np.log(np.maximum(view, _FLOOR))
    scores[np.arange(len(given)), given] += weights[-1]
    return np.asarray(softmax(scores, axis=1))


def _describe(views: Sequence[Floats], given: Integers) -> Floats:
    """(m, k, v + 1): log-probabilities of each label by each view, and whether it is the given one."""
    is_given = np.eye(views[0].shape[1])[given]
    return np.stack([*(np.log(np.maximum(view, _FLOOR)) for view in views), is_given], axis=2)
