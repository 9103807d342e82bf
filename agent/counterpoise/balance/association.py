"""How strongly a column goes with the label, how sure that is, and the residuals of a data set as a whole.

All functions work on tables of counts, so that their cost does not grow with the number of rows. Rows must be
independent of each other for the tests to hold: hand over one row of each group of near-duplicates.

Papers: Bergsma (2013) "A bias-correction for Cramér's V and Tschuprow's T". Patefield (1981) "Algorithm AS
159". Phipson, Smyth (2010) "Permutation P-values Should Never Be Zero". Alabdulmohsin et al. (2024) "CLIP the
Bias" for the residuals; tolerances and hinge sum are our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from counterpoise.balance.counts import cross_table
from counterpoise.core.records import Floats, Integers

N_PERMUTATIONS = 2_000
MOST_PERMUTATIONS = 20_000
N_BOOTSTRAP = 1_000
LEAST_EXPECTED = 5.0
GENERATOR_SEED = 20_240_229
"""Permutations and bootstrap draws start here, so that the same table gives the same p-value."""

_CELLS_AT_ONCE = 500_000


@dataclass(frozen=True, slots=True)
class Association:
    """One column against the label.

    Args:
        n: independent rows that were counted.
        v: bias-corrected Cramér's V, 0..1.
        low: lower end of its 95% bootstrap interval.
        high: upper end.
        statistic: chi-square.
        p_value: of no association.
        method: how the p-value was found.
        q_value: after Benjamini and Hochberg among the columns of the same kind.
        adjusted_p: after Holm among the columns of the same kind, times the number of kinds; at most 1.
    """

    n: int
    v: float
    low: float
    high: float
    statistic: float
    p_value: float
    method: Literal["chi-square", "permutation"]
    q_value: float = 1.0
    adjusted_p: float = 1.0


@dataclass(frozen=True, slots=True)
class Residuals:
    """How far K indicators (a concept, a value) are from target rates and from independence of L labels.

    Args:
        rates: (K,) share of rows that have the indicator.
        r1: (K,) |rate - target|, 0 where the target is the rate itself.
        r2: (K, L) |mean of (indicator - target) x label|, in probability units.
        standard_errors: (K, L) of r2.
        correlations: (K, L) P(label | indicator) - P(label | no indicator), -1..1.
        hinge_sum: S, what r1 and r2 exceed their tolerances by, summed up; 0 is balanced.
    """

    rates: Floats
    r1: Floats
    r2: Floats
    standard_errors: Floats
    correlations: Floats
    hinge_sum: float


def cramers_v(tables: NDArray[Any], *, extra_bias: float = 0.0) -> Any:
    """Bias-corrected Cramér's V, with strata the one within them.

    Args:
        tables: (..., S, r, k) counts of S strata (1 where there are none); empty rows and columns do not
            count.
        extra_bias: how many times the bias of sampling is taken off again; 1 for bootstrap draws, which
            carry the noise of the sample and their own.

    Returns:
        (...) in 0..1; 0 where fewer than two rows or columns are left.
    """
    pooled = tables.sum(axis=-3)
    n = np.maximum(pooled.sum(axis=(-2, -1)), 2)
    n_rows = (pooled.sum(axis=-1) > 0).sum(axis=-1)
    n_columns = (pooled.sum(axis=-2) > 0).sum(axis=-1)
    bias = (n_rows - 1) * (n_columns - 1) / (n - 1)
    phi_squared = np.maximum(0.0, chi_square(tables) / n - (1 + extra_bias) * bias)
    rows = n_rows - (n_rows - 1) ** 2 / (n - 1)
    columns = n_columns - (n_columns - 1) ** 2 / (n - 1)
    room = np.minimum(rows, columns) - 1
    defined = (np.minimum(n_rows, n_columns) > 1) & (room > 0)
    return np.where(defined, np.minimum(1.0, np.sqrt(phi_squared / np.where(defined, room, 1.0))), 0.0)


def expected_counts(tables: NDArray[Any]) -> Floats:
    """What independence within each stratum would give, strata added up: (..., S, r, k) to (..., r, k)."""
    totals = np.maximum(tables.sum(axis=(-2, -1), keepdims=True), 1)
    expected = tables.sum(axis=-1, keepdims=True) * (tables.sum(axis=-2, keepdims=True) / totals)
    return np.asarray(expected.sum(axis=-3), dtype=np.float64)


def chi_square(tables: NDArray[Any]) -> Any:
    """Sum of (observed - expected)^2 / expected over the cells, strata pooled: (..., S, r, k) to (...)."""
    expected = expected_counts(tables)
    surplus = tables.sum(axis=-3) - expected
    return np.divide(surplus**2, expected, out=np.zeros_like(expected), where=expected > 0).sum(axis=(-2, -1))


def count_strata(
    labels: Integers,
    values: Integers,
    n_labels: int,
    n_values: int,
    strata: Integers | None = None,
) -> Integers:
    """Counts of label and value in each stratum: (S, n_labels, n_values), S = 1 without strata."""
    if strata is None:
        return cross_table(labels, values, n_labels, n_values)[None]
    n_strata = int(strata.max(initial=0)) + 1
    flat = np.where(values >= 0, strata * n_values + values, -1)
    table = cross_table(labels, flat, n_labels, n_strata * n_values)
    return table.reshape(n_labels, n_strata, n_values).transpose(1, 0, 2)


def measure_association(tables: Integers) -> Association:
    """Effect size with interval and test of one column.

    The test is the chi-square one where every expected count reaches 5. Else, and always with strata,
    labels are permuted within the strata: 2,000 draws of tables with the same margins, 20,000 where fewer
    than 10 of the first draws reach the observed statistic.

    Args:
        tables: (S, r, k) counts of label (rows) and value (columns) in S strata.

    Returns:
        The association; p-value 1 where fewer than two labels or values occur.
    """
    from scipy import stats

    pooled = tables.sum(axis=0)
    tables = tables[:, pooled.sum(axis=1) > 0][:, :, pooled.sum(axis=0) > 0]
    n = int(pooled.sum())
    if min(tables.shape[1:]) < 2:
        return Association(n, 0.0, 0.0, 0.0, 0.0, 1.0, "chi-square")
    statistic = float(chi_square(tables))
    v, draws = float(cramers_v(tables)), _draw_bootstrap(tables)
    if len(tables) == 1 and expected_counts(tables).min() >= LEAST_EXPECTED:
        freedom = (tables.shape[1] - 1) * (tables.shape[2] - 1)
        p_value, method = float(stats.chi2.sf(statistic, freedom)), "chi-square"
    else:
        p_value, method = permutation_p_value(tables, statistic), "permutation"
    return Association(
        n=n,
        v=v,
        low=min(v, float(np.quantile(draws, 0.025))),
        high=max(v, float(np.quantile(draws, 0.975))),
        statistic=statistic,
        p_value=p_value,
        method="chi-square" if method == "chi-square" else "permutation",
    )


def permutation_p_value(tables: Integers, statistic: float) -> float:
    """Share of tables with the same margins in each stratum whose chi-square reaches `statistic`.

    Args:
        tables: (S, r, k) counts.
        statistic: the observed one.

    Returns:
        (1 + reached) / (1 + drawn), never 0.
    """
    generator = np.random.default_rng(GENERATOR_SEED)
    expected = expected_counts(tables)
    reached = drawn = 0
    # A fixed look after the first draws: those who are far from significant there need no finer p-value.
    for wanted in (N_PERMUTATIONS, MOST_PERMUTATIONS):
        for pooled in _draw_tables(tables, wanted - drawn, generator):
            surplus = (pooled - expected) ** 2
            drawn_statistics = np.divide(surplus, expected, out=np.zeros(surplus.shape), where=expected > 0)
            reached += int((drawn_statistics.sum(axis=(1, 2)) >= statistic * (1 - 1e-12)).sum())
        drawn = wanted
        if reached >= 10:
            break
    return (1 + reached) / (1 + drawn)


def log_odds(table: Integers) -> Floats:
    """Log odds ratio of each cell against the rest, 0.5 added to each of the four counts: (r, k)."""
    cell = table.astype(np.float64)
    row, column, n = cell.sum(axis=1, keepdims=True), cell.sum(axis=0, keepdims=True), cell.sum()
    neither = n - row - column + cell
    return np.asarray(np.log((cell + 0.5) * (neither + 0.5) / ((row - cell + 0.5) * (column - cell + 0.5))))


def adjust_holm(p_values: Floats) -> Floats:
    """P-values after Holm's step-down correction, (m,) in the given order, at most 1."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def measure_residuals(
    present: Integers,
    known: Integers,
    target_rates: Floats | None = None,
    *,
    rate_tolerance: float = 0.02,
    association_tolerance: float = 0.01,
) -> Residuals:
    """First- and second-order residuals and their hinge sum.

    Args:
        present: (K, L) rows of each label that have the indicator.
        known: (K, L) rows of each label where the indicator is known.
        target_rates: (K,) wanted rates in 0..1, NaN (or no array) for the current rate.
        rate_tolerance: of r1, raised to 2 standard errors where sampling noise is larger.
        association_tolerance: of r2, raised in the same way.

    Returns:
        The residuals.
    """
    n = np.maximum(known.sum(axis=1), 1).astype(np.float64)
    rates = present.sum(axis=1) / n
    targets = rates if target_rates is None else np.where(np.isnan(target_rates), rates, target_rates)
    r1 = np.abs(rates - targets)
    rate_errors = np.sqrt(rates * (1 - rates) / n)
    off = targets[:, None]
    mean = (present - off * known) / n[:, None]
    square = (present * (1 - off) ** 2 + (known - present) * off**2) / n[:, None]
    standard_errors = np.sqrt(np.maximum(0.0, square - mean**2) / n[:, None])
    with_it = np.maximum(present.sum(axis=1, keepdims=True), 1)
    without = known - present
    correlations = present / with_it - without / np.maximum(without.sum(axis=1, keepdims=True), 1)
    r2 = np.abs(mean)
    hinge = np.maximum(0.0, r1 - np.maximum(rate_tolerance, 2 * rate_errors)).sum()
    hinge += np.maximum(0.0, r2 - np.maximum(association_tolerance, 2 * standard_errors)).sum()
    return Residuals(rates, r1, r2, standard_errors, correlations, float(hinge))


def _draw_bootstrap(tables: Integers) -> Floats:
    """V of tables drawn from the observed shares."""
    generator = np.random.default_rng(GENERATOR_SEED)
    n = int(tables.sum())
    shares = tables.ravel() / n
    at_once = max(1, _CELLS_AT_ONCE // shares.size)
    draws = []
    for start in range(0, N_BOOTSTRAP, at_once):
        size = min(at_once, N_BOOTSTRAP - start)
        drawn = generator.multinomial(n, shares, size=size).reshape(size, *tables.shape)
        draws.append(cramers_v(drawn, extra_bias=1.0))
    return np.concatenate(draws)


def _draw_tables(tables: Integers, count: int, generator: np.random.Generator) -> Iterator[Integers]:
    """`count` tables with the margins of every stratum, strata added up, a block at a time: (b, r, k)."""
    from scipy import stats

    at_once = max(1, _CELLS_AT_ONCE // tables[0].size)
    for start in range(0, count, at_once):
        size = min(at_once, count - start)
        pooled = np.zeros((size, *tables.shape[1:]), dtype=np.int64)
        for table in tables:
            if table.any():
                margins = stats.random_table(table.sum(axis=1), table.sum(axis=0))
                pooled += margins.rvs(size=size, method="patefield", random_state=generator)
        yield pooled
