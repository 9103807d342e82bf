"""Effect sizes, tests and residuals, against the formulas, other implementations and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from counterpoise.balance.association import (
    adjust_holm,
    cramers_v,
    log_odds,
    measure_association,
    measure_residuals,
    permutation_p_value,
)
from counterpoise.core.records import Integers


def draw_table(generator: np.random.Generator, v: float, n: int) -> Integers:
    """A 2 x 2 table of n rows whose true V is `v`: (1, 2, 2)."""
    shares = np.asarray([1 + v, 1 - v, 1 - v, 1 + v]) / 4
    return generator.multinomial(n, shares).reshape(1, 2, 2)


def test_v_is_bergsmas() -> None:
    table = np.asarray([[30, 10, 20], [15, 25, 20]])
    n, phi_squared = 120, stats.chi2_contingency(table, correction=False).statistic / 120
    rows, columns = 2 - 1 / (n - 1), 3 - 4 / (n - 1)
    expected = np.sqrt((phi_squared - 2 / (n - 1)) / (min(rows, columns) - 1))
    assert float(cramers_v(table[None])) == pytest.approx(expected)


def test_v_ends_at_none_and_full_association() -> None:
    assert float(cramers_v(np.asarray([[[50, 50], [50, 50]]]))) == 0
    assert float(cramers_v(np.asarray([[[50, 0], [0, 50]]]))) == pytest.approx(1)
    assert float(cramers_v(np.asarray([[[50, 0], [50, 0]]]))) == 0


@pytest.mark.parametrize("v", [0.1, 0.3])
def test_the_interval_of_v_covers_the_truth(v: float) -> None:
    generator = np.random.default_rng(5)
    found = [measure_association(draw_table(generator, v, 400)) for _ in range(200)]
    assert 0.90 <= np.mean([one.low <= v <= one.high for one in found]) <= 0.99


def test_both_ways_to_a_p_value_agree() -> None:
    table = draw_table(np.random.default_rng(3), 0.12, 300)
    found = measure_association(table)
    assert found.method == "chi-square"
    assert permutation_p_value(table, found.statistic) == pytest.approx(found.p_value, abs=0.03)


def test_thin_tables_are_permuted_and_keep_their_level() -> None:
    generator = np.random.default_rng(7)
    found = [
        measure_association(generator.multinomial(40, np.full(8, 1 / 8)).reshape(1, 2, 4)) for _ in range(200)
    ]
    assert {one.method for one in found} <= {"permutation", "chi-square"}
    assert sum(one.method == "permutation" for one in found) > 150
    assert np.mean([one.p_value <= 0.05 for one in found]) <= 0.09


def test_a_pooled_association_that_strata_explain_is_none_within_them() -> None:
    strata = np.asarray([[[90, 10], [9, 1]], [[1, 9], [10, 90]]])
    pooled, within = measure_association(strata.sum(axis=0)[None]), measure_association(strata)
    assert pooled.v > 0.6 and pooled.p_value < 1e-6
    assert within.v == 0 and within.p_value > 0.5


def test_one_value_or_one_label_is_no_association() -> None:
    found = measure_association(np.asarray([[[7, 0], [9, 0]]]))
    assert (found.v, found.p_value) == (0.0, 1.0)


def test_log_odds_add_half_to_every_count() -> None:
    odds = log_odds(np.asarray([[10, 0], [5, 5]]))
    assert odds[0, 1] == pytest.approx(np.log(0.5 * 5.5 / (10.5 * 5.5)))
    assert odds[0, 0] == pytest.approx(-odds[0, 1])


def test_holm_steps_down() -> None:
    assert adjust_holm(np.asarray([0.04, 0.01, 0.5])).tolist() == pytest.approx([0.08, 0.03, 0.5])


def test_residuals_follow_their_formulas() -> None:
    # 1,000 rows: label 1 with the concept 300, without 200; label 0 with it 100, without 400.
    present, known = np.asarray([[100, 300]]), np.asarray([[500, 500]])
    found = measure_residuals(present, known)
    assert found.rates[0] == pytest.approx(0.4) and found.r1[0] == 0
    assert found.correlations[0, 1] == pytest.approx(300 / 400 - 200 / 600)
    assert found.r2[0, 1] == pytest.approx(0.4 * 0.6 * found.correlations[0, 1])
    assert found.hinge_sum == pytest.approx((found.r2 - 2 * found.standard_errors).sum())


def test_the_standard_error_of_r2_is_that_of_a_mean() -> None:
    generator = np.random.default_rng(11)
    has, label = generator.random(4_000) < 0.3, generator.random(4_000) < 0.5
    terms = (has - has.mean()) * label
    found = measure_residuals(
        np.asarray([[(has & ~label).sum(), (has & label).sum()]]), np.asarray([[(~label).sum(), label.sum()]])
    )
    assert found.standard_errors[0, 1] == pytest.approx(terms.std() / np.sqrt(4_000))
    assert found.r2[0, 1] == pytest.approx(abs(terms.mean()))


def test_a_wanted_rate_gives_a_first_order_residual() -> None:
    found = measure_residuals(np.asarray([[200, 200]]), np.asarray([[500, 500]]), np.asarray([0.5]))
    assert found.r1[0] == pytest.approx(0.1)
    assert found.hinge_sum == pytest.approx(
        0.1 - 2 * np.sqrt(0.4 * 0.6 / 1000) + np.maximum(0, found.r2 - 2 * found.standard_errors).sum()
    )
