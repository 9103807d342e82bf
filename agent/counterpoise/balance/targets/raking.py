"""Raking: weights under which several margins are met at once, without a new row.

Margins are met in turn until all of them are (iterative proportional fitting). Targets that no weights meet do not
fail, they oscillate: where sweeps no longer help, the margins that stay off are named. An empty level stays empty: only
new rows fill it.

Papers: Deming, Stephan (1940) "On a Least Squares Adjustment of a Sampled Frequency Table When the Expected Marginal
Totals are Known"; Liu et al. (2024) "The Benefits of Balance".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.core.records import Floats, Integers

TOLERANCE = 1e-4
MOST_SWEEPS = 200
SMALLEST_WEIGHT, LARGEST_WEIGHT = 0.2, 5.0

_LEAST_FACTOR = 1e-9  # a level that should have nothing keeps a trace, so that its logarithm is a number


@dataclass(frozen=True, slots=True)
class Margin:
    """One column whose levels should have certain shares of the weight.

    Args:
        name: for people, "" where the levels say it themselves.
        levels: (n,) the level of each row, 0..k-1; -1 where it has none: such rows keep their weight.
        shares: (k,) wanted shares, 0 or more, of what is known; scaled to sum to 1.
        level_names: (k,) for people.
    """

    name: str
    levels: Integers
    shares: Floats
    level_names: tuple[str, ...]

    def describe(self, level: int) -> str:
        """A level for people: `source=web`."""
        return f"{self.name}={self.level_names[level]}" if self.name else self.level_names[level]


@dataclass(frozen=True, slots=True)
class Raked:
    """Weights and what they meet.

    Args:
        weights: (n,) mean 1, within `SMALLEST_WEIGHT` and `LARGEST_WEIGHT` times about the mean.
        effective_size: (sum w)^2 / sum w^2, 1..n: rows of equal weight that would tell as much.
        empty: levels without a row that should have some.
        missed: level -> (share, wanted share) where they stay further apart than the tolerance.
        n_sweeps: that were made.
    """

    weights: Floats
    effective_size: float
    empty: tuple[str, ...]
    missed: dict[str, tuple[float, float]]
    n_sweeps: int

    @property
    def is_met(self) -> bool:
        """Whether every margin is as wanted."""
        return not self.empty and not self.missed


def rake(
    margins: Sequence[Margin],
    n_rows: int,
    *,
    base: Floats | None = None,
    tolerance: float = TOLERANCE,
    bounds: tuple[float, float] = (SMALLEST_WEIGHT, LARGEST_WEIGHT),
) -> Raked:
    """Weigh rows so that all margins have their shares.

    Args:
        margins: what should be met.
        n_rows: n.
        base: (n,) weights to begin with, above 0; None for 1 each.
        tolerance: of a share, 0..1.
        bounds: weights are cut to these, and the margins met again as far as these let them.

    Returns:
        The weights. Which margins they leave is told, never raised: empty levels and targets that contradict one
        another are found in data.
    """
    weights = np.ones(n_rows) if base is None else base / base.mean()
    empty = tuple(
        margin.describe(int(level))
        for margin in margins
        for level in np.flatnonzero(_count(margin, np.ones(n_rows)) == 0)
        if margin.shares[level] > 0
    )
    weights, n_sweeps = _sweep(margins, weights, tolerance, None)
    if n_rows and (weights.min() < bounds[0] or weights.max() > bounds[1]):
        weights, more = _sweep(margins, np.clip(weights, *bounds), tolerance, bounds)
        n_sweeps += more
    size = float(weights.sum() ** 2 / (weights @ weights)) if n_rows else 0.0
    return Raked(weights, size, empty, find_missed(margins, weights, tolerance), n_sweeps)


def find_missed(
    margins: Sequence[Margin], weights: Floats, tolerance: float = TOLERANCE
) -> dict[str, tuple[float, float]]:
    """Level -> (share, wanted share) of those that are further apart than the tolerance; empty levels left out."""
    missed = {}
    for margin in margins:
        mass, wanted = _count(margin, weights), _find_wanted(margin)
        shares = mass / max(mass.sum(), 1e-12)
        for level in np.flatnonzero((np.abs(shares - wanted) > 10 * tolerance) & (mass > 0)):
            missed[margin.describe(int(level))] = float(shares[level]), float(wanted[level])
    return missed


def _sweep(
    margins: Sequence[Margin], weights: Floats, tolerance: float, bounds: tuple[float, float] | None
) -> tuple[Floats, int]:
    """Weights and how many sweeps it took; of margins that contradict one another a middle between them."""
    for sweep in range(1, MOST_SWEEPS + 1):
        furthest, steps = 0.0, []
        for margin in margins:
            mass, wanted = _count(margin, weights), _find_wanted(margin)
            total = mass.sum()
            if not total:
                continue
            furthest = max(furthest, float(np.abs(mass / total - wanted)[mass > 0].max()))
            factors = np.divide(wanted * total, mass, out=np.ones_like(mass), where=mass > 0)
            known = margin.levels >= 0
            weights = weights.copy()
            weights[known] *= np.maximum(factors[margin.levels[known]], _LEAST_FACTOR)
            steps.append(weights)
        if sweep == MOST_SWEEPS and steps:
            # Whoever came last would be met and the others not at all.
            weights = np.exp(np.mean([np.log(step) for step in steps], axis=0))
        weights = weights / weights.mean()
        if bounds is not None:
            weights = np.clip(weights, *bounds)
        if furthest <= tolerance:
            break
    return weights / weights.mean(), sweep


def _count(margin: Margin, weights: Floats) -> Floats:
    known = margin.levels >= 0
    mass = np.bincount(margin.levels[known], weights=weights[known], minlength=len(margin.shares))
    return np.asarray(mass, dtype=np.float64)


def _find_wanted(margin: Margin) -> Floats:
    """(k,) shares among the levels that have rows: what an empty one should have goes to the others."""
    there = np.bincount(margin.levels[margin.levels >= 0], minlength=len(margin.shares)) > 0
    wanted = np.where(there, margin.shares, 0.0)
    return np.asarray(wanted / max(wanted.sum(), 1e-12))
