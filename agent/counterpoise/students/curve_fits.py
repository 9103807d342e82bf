"""How error falls with rows: curves a + b n^(-p), each cell's own as far as its rows say, else that of all cells.

What a planner asks is how much the next rows bring, not how large the error is. The errors of one cell at several sizes
share the rows that they are measured on, so their differences are known better than they are, and the curve is fitted
to these. Its slope at the rows that there are, s = b p n^(-p), is the fall of error for one more logarithm of rows; p
bends it. Slopes, as shares of the error, and powers are drawn towards what all cells together say, as far as the spread
between cells is no larger than what chance gives (DerSimonian and Laird, 1986, Meta-analysis in clinical trials).

Papers: Hestness et al. (2017) "Deep Learning Scaling is Predictable, Empirically"; Cai et al. (2022) "Adaptive Sampling
Strategies to Construct Equitable Training Datasets".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.core.records import Floats

POWERS: Floats = np.geomspace(0.05, 1.0, 25)
"""Powers that are looked at: those of METHODS 8.2, evenly in their logarithms."""

_SURE = 1.96
_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True, slots=True)
class Curve:
    """Error at n rows: `floor + scale * n ** -power`.

    Args:
        floor: a, 0 or more: what no number of rows takes away.
        scale: b, 0 or more.
        power: p, 0.05 to 1.
    """

    floor: float
    scale: float
    power: float

    def expect_error(self, n_rows: float) -> float:
        """Error at so many rows, above 0."""
        return float(self.floor + self.scale * n_rows**-self.power)

    def expect_fall(self, n_rows: float, n_more: float) -> float:
        """What `n_more` rows beside `n_rows` take off the error, 0 or more.

        >>> round(Curve(0.1, 1.0, 0.5).expect_fall(25, 75), 3)
        0.1
        """
        return self.expect_error(n_rows) - self.expect_error(n_rows + n_more)

    def find_slope(self, n_rows: float) -> float:
        """Fall of the error for each row more, at so many rows: b p n^(-p - 1)."""
        return float(self.scale * self.power * n_rows ** (-self.power - 1))


@dataclass(frozen=True, slots=True)
class SizedErrors:
    """Errors at several sizes of one cell, measured on the same rows.

    Args:
        sizes: (s,) rows that were trained on, rising; the last is the most that can be.
        errors: (s,) error at each.
        covariance: (s, s) of these errors.
        level: the share of the last error that is the cell's own: what its slope is a share of when cells are compared.
            The error itself where nothing else is in it.
    """

    sizes: Floats
    errors: Floats
    covariance: Floats
    level: float

    @property
    def n_rows(self) -> float:
        """Rows at the last size."""
        return float(self.sizes[-1])


@dataclass(frozen=True, slots=True)
class FittedCurve:
    """What is known of one cell.

    Args:
        curve: its curve; None where its error is not surely falling ("no curve").
        error: at all its rows, as measured.
        slope: fall of error for one more logarithm of rows, b p n^(-p), drawn towards that of all cells; 0 or more.
        slope_error: its standard error.
        own_share: how much of the slope is the cell's own figures, 0..1; the rest is what all cells say.
    """

    curve: Curve | None
    error: float
    slope: float
    slope_error: float
    own_share: float


def fit_curves(points: Sequence[SizedErrors]) -> list[FittedCurve]:
    """The curve of each cell, with what cells have in common.

    Args:
        points: of each cell; one size alone says nothing of its slope, which is then that of all cells.

    Returns:
        In the order of `points`, which decides nothing else.
    """
    if not points:
        return []
    powers = _fit_powers(points)
    ratios = [_fit_slope(one, power) for one, power in zip(points, powers, strict=True)]
    shrunk = shrink([mean for mean, _ in ratios], [variance for _, variance in ratios])
    return [_make_curve(one, power, *found) for one, power, found in zip(points, powers, shrunk, strict=True)]


def shrink(means: Sequence[float], variances: Sequence[float]) -> list[tuple[float, float, float]]:
    """Draw figures of one kind towards their mean, as far as their spread is chance.

    Args:
        means: of each.
        variances: of each, 0 or more; infinite where nothing is known.

    Returns:
        For each its mean, its variance and the weight of its own figure, 0..1. Where nothing is known of any: mean 0,
        infinite variance.
    """
    values, known = np.asarray(means, np.float64), np.asarray(variances, np.float64)
    weights = 1 / np.maximum(known, _LEAST_VARIANCE)
    total = weights.sum()
    if not total:
        return [(0.0, float("inf"), 0.0)] * len(values)
    centre = float(weights @ values / total)
    scatter = float(weights @ (values - centre) ** 2) - (int((weights > 0).sum()) - 1)
    room = total - float(weights @ weights) / total
    between = max(0.0, scatter / room) if room > _LEAST_VARIANCE * total else 0.0
    pooled = 1 / (np.maximum(known, _LEAST_VARIANCE) + between)
    centre, centre_variance = float(pooled @ values / pooled.sum()), float(1 / pooled.sum())
    found = []
    for value, variance, mine in zip(values, known, pooled / pooled.sum(), strict=True):
        is_known = bool(np.isfinite(variance))
        own = between / (between + max(variance, _LEAST_VARIANCE)) if is_known else 0.0
        spread = own * variance if is_known else between
        found.append(
            (
                own * value + (1 - own) * centre,
                spread + (1 - own) ** 2 * centre_variance,
                own + (1 - own) * float(mine),
            )
        )
    return found


def _bend(one: SizedErrors, power: float) -> Floats:
    """(s - 1,) what the error is above the last one at the other sizes, for a slope of 1."""
    return np.asarray(((one.sizes[:-1] / one.n_rows) ** -power - 1) / power)


def _differ(one: SizedErrors) -> tuple[Floats, Floats]:
    """(s - 1,) how far errors stand above the last, and the (s - 1, s - 1) covariance of that."""
    n = len(one.sizes) - 1
    above = np.hstack([np.eye(n), -np.ones((n, 1))])
    return above @ one.errors, above @ one.covariance @ above.T


def _fit_slope(one: SizedErrors, power: float) -> tuple[float, float]:
    """The slope at a power as a share of the level, and its variance; infinite where there is one size alone."""
    if len(one.sizes) < 2 or one.level <= 0:
        return 0.0, float("inf")
    bend = _bend(one, power)
    falls, covariance = _differ(one)
    weights = bend / np.maximum(np.diag(covariance), _LEAST_VARIANCE)
    weights /= weights @ bend
    return float(weights @ falls) / one.level, float(weights @ covariance @ weights) / one.level**2


def _fit_powers(points: Sequence[SizedErrors]) -> list[float]:
    """The power of each cell: the mean of its logarithm given its errors, drawn towards that of all cells."""
    logs = np.log(POWERS)
    tables = []
    for one in points:
        table = np.zeros(len(POWERS))
        if len(one.sizes) > 2:
            falls, covariance = _differ(one)
            precision = np.linalg.pinv(covariance, rcond=1e-9, hermitian=True)
            for place, power in enumerate(POWERS):
                bend = _bend(one, power)
                slope = max(0.0, float(bend @ precision @ falls) / float(bend @ precision @ bend))
                rest = falls - slope * bend
                table[place] = -float(rest @ precision @ rest) / 2
        tables.append(table)
    means, variances = [], []
    flat = float(logs.var())
    for table in tables:
        chances = np.exp(table - table.max())
        chances /= chances.sum()
        mean = float(chances @ logs)
        variance = float(chances @ (logs - mean) ** 2)
        # What errors say beyond the even chances of all powers: nothing where the two are as wide.
        said = 1 / max(variance, _LEAST_VARIANCE) - 1 / flat
        means.append(mean)
        variances.append(1 / said if said > _LEAST_VARIANCE else float("inf"))
    together = np.sum(tables, axis=0)
    chances = np.exp(together - together.max())
    fallback = float(chances @ logs / chances.sum())
    shrunk = shrink(means, variances)
    return [
        float(np.exp(np.clip(mean if np.isfinite(variance) else fallback, logs[0], logs[-1])))
        for mean, variance, _ in shrunk
    ]


def _make_curve(one: SizedErrors, power: float, ratio: float, variance: float, own: float) -> FittedCurve:
    error = float(one.errors[-1])
    # No more can fall than there is: the floor is 0 or more.
    slope = float(min(max(0.0, ratio * one.level), power * error))
    slope_error = float(np.sqrt(variance)) * one.level
    is_falling = np.isfinite(variance) and ratio > _SURE * np.sqrt(variance) and slope > 0
    reducible = slope / power
    curve = Curve(error - reducible, reducible * one.n_rows**power, power) if is_falling else None
    return FittedCurve(curve, error, slope, slope_error, own)
