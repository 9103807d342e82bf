"""What an added record is worth: how many real rows of its label it stands for, for one student on this data.

Own rows that were left out are scored with and without the added ones. How much log-loss these take away is set against
what real rows take away. Where a label has n rows, m more take away about ``c (1 - sqrt(n / (n + m)))`` of the loss
(errors that fall with the root of the number of rows: Hestness et al., 2017, Deep learning scaling is predictable,
empirically). So the added rows stand for ``n (1 / (1 - r / c)^2 - 1)`` real ones where they take away the part r.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from counterpoise.core.records import Floats, Integers
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.metrics import draw_counts

N_DRAWS = 1000
_SEED = 13
_LARGEST_PART = 0.95


@dataclass(frozen=True, slots=True)
class Learnable:
    """The part of a student's log-loss that more rows of a rare label take away in the end, as far as is known.

    Args:
        part: 0 to 1, its median over data sets.
        spread: standard deviation of its logarithm.
        noise: standard deviation of the part of the loss that a worthless writer's rows seem to take away.
    """

    part: float
    spread: float
    noise: float


ON_WORDS, ON_VECTORS = Learnable(0.6, 0.25, 0.05), Learnable(0.27, 0.5, 0.05)
"""Priors, read off real rows that were added to CEBaB and to text messages (`evals worth` reports on these, too: there
they flatter)."""


@dataclass(frozen=True, slots=True)
class Worth:
    """Real rows that one added record stands for.

    Args:
        value: 0 to 1.
        low, high: the 95% interval.
    """

    value: float
    low: float
    high: float


def measure_worth(
    before: Floats, after: Floats, labels: Integers, n_own: float, n_added: float, learnable: Learnable
) -> Worth:
    """Set what added rows take away from the loss against what real rows would.

    Args:
        before: (n, k) log-scores of own rows that were left out, by whoever knew no added row.
        after: the same by whoever knew added rows as well.
        labels: (n,) label indices.
        n_own: own rows of a label with added ones that were learned from, in the mean.
        n_added: added rows of such a label that were learned from, in the mean; more than 0.
        learnable: what is known of the student.

    Returns:
        Median and interval over resamples of the rows, labels weighed alike, and draws of what is learnable.
    """
    generator = np.random.default_rng(_SEED)
    weights = draw_counts(labels, N_DRAWS, generator) / np.bincount(labels)[labels]
    losses = [weights @ _lose(scores, labels) for scores in (before, after)]
    part = learnable.part * np.exp(learnable.spread * generator.standard_normal(N_DRAWS))
    taken = 1 - losses[1] / losses[0] + learnable.noise * generator.standard_normal(N_DRAWS)
    share = np.clip(taken / part, 0.0, _LARGEST_PART)
    worth = np.clip(n_own * (1 / (1 - share) ** 2 - 1) / n_added, 0.0, 1.0)
    low, value, high = np.quantile(worth, [0.025, 0.5, 0.975])
    return Worth(float(value), float(low), float(high))


def _lose(scores: Floats, labels: Integers) -> Floats:
    """(n,) log-loss of each row."""
    logs = log_softmax(scores, axis=1)[np.arange(len(labels)), labels]
    return -np.maximum(logs, np.log(PROBABILITY_FLOOR))
