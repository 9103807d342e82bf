"""What an added record is worth: how many real rows of its label it stands for, for one student on this data.

Own rows that were left out are scored with and without the added ones. How much log-loss these take away is set against
what real rows take away. Where a label has n rows, m more take away about ``c (1 - sqrt(n / (n + m)))`` of the loss:
the part c of it falls with the root of the number of rows (Hestness et al., 2017, Deep learning scaling is
predictable, empirically), the rest no row takes away. So added rows stand for ``n (1 / (1 - r / c)^2 - 1)`` real ones
where they take away the part r. What c is shows in what the last doubling of the own rows took away, roughly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from counterpoise.core.records import Floats, Integers
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.metrics import draw_counts

N_DRAWS = 1000
LEARNABLE = 0.4
"""The part of the loss that more rows take away, before it is measured; its logarithm counts as much as the measured
one. This and the two spreads were set on CEBaB and text messages (`evals worth` reports on these too: it flatters)."""

LEARNABLE_SPREAD = 0.4
"""Standard deviation of the logarithm of what is then taken for it."""

NOISE = 0.17
"""Standard deviation of what rows that are worth nothing seem to take away, in units of what can be taken away."""

_SEED = 13
_LARGEST_PART = 0.95
_LEAST_LEARNABLE = 0.02


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


def estimate_learnable(
    half: Sequence[Floats], whole: Floats, labels: Integers, n_half: float, n_whole: float
) -> float:
    """The part of the loss that more rows of the rare labels take away, from what the last doubling took away.

    Args:
        half: (n, k) log-scores of rows that were left out, by students of so many rows of these labels; one or more.
        whole: the same by a student of all of them.
        labels: (n,) label indices.
        n_half: rows of such a label that were learned from, in the mean,
        n_whole: and of how many by a student of all.

    Returns:
        0.02 to 1: the geometric mean of what was measured and of `LEARNABLE`.
    """
    weights = 1 / np.bincount(labels)[labels]
    before = np.mean([weights @ _lose(scores, labels) for scores in half])
    taken = 1 - weights @ _lose(whole, labels) / before
    measured = float(np.clip(taken / (1 - np.sqrt(n_half / n_whole)), _LEAST_LEARNABLE, 1.0))
    return float(np.sqrt(LEARNABLE * measured))


def measure_worth(
    before: Floats, after: Floats, labels: Integers, n_own: float, n_added: float, learnable: float
) -> Worth:
    """Set what added rows take away from the loss against what real rows would.

    Args:
        before: (n, k) log-scores of own rows that were left out, by whoever knew no added row.
        after: the same by whoever knew added rows as well.
        labels: (n,) label indices.
        n_own: own rows of a label with added ones that were learned from, in the mean.
        n_added: added rows of such a label that were learned from, in the mean; more than 0.
        learnable: see `estimate_learnable`.

    Returns:
        Median and interval over resamples of the rows, labels weighed alike, and draws of what is learnable.
    """
    generator = np.random.default_rng(_SEED)
    weights = draw_counts(labels, N_DRAWS, generator) / np.bincount(labels)[labels]
    losses = [weights @ _lose(scores, labels) for scores in (before, after)]
    part = np.minimum(learnable * np.exp(LEARNABLE_SPREAD * generator.standard_normal(N_DRAWS)), 1.0)
    taken = 1 - losses[1] / losses[0] + NOISE * learnable * generator.standard_normal(N_DRAWS)
    share = np.clip(taken / part, 0.0, _LARGEST_PART)
    worth = np.clip(n_own * (1 / (1 - share) ** 2 - 1) / n_added, 0.0, 1.0)
    low, value, high = np.quantile(worth, [0.025, 0.5, 0.975])
    return Worth(float(value), float(low), float(high))


def _lose(scores: Floats, labels: Integers) -> Floats:
    """(n,) log-loss of each row."""
    logs = log_softmax(scores, axis=1)[np.arange(len(labels)), labels]
    return -np.maximum(logs, np.log(PROBABILITY_FLOOR))
