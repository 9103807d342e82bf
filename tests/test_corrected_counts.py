"""Corrected counts: right where the scorer's errors are known, modest where they are not."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.balance.corrected_counts import (
    KnownAnswers,
    correct_by_prediction,
    correct_by_rates,
    correct_cells,
    find_corrected_deficits,
)
from counterpoise.core.plans import Cell
from counterpoise.core.records import ConceptColumns, Records, State
from tests.made_up import make_records


def test_rates_give_the_worked_example() -> None:
    share = correct_by_rates(1200, 10_000, 80, 100, 95, 100)
    assert share.value == pytest.approx(0.0933, abs=5e-5) and share.raw == 0.12
    assert share.standard_error == pytest.approx(0.027, abs=5e-4)
    assert share.low < share.value < share.high and share.method == "rates"


def test_a_scorer_that_knows_nothing_is_not_corrected() -> None:
    share = correct_by_rates(500, 1000, 60, 100, 60, 100)
    assert (share.method, share.value, share.low, share.high) == ("raw", 0.5, 0.0, 1.0)


@pytest.mark.parametrize("prevalence", [0.05, 0.10])
def test_intervals_cover_and_the_plain_count_is_far_off(prevalence: float) -> None:
    generator = np.random.default_rng(5)
    covered, plain, ours = [], [], []
    for _ in range(2000):
        n_with = int(generator.binomial(10_000, prevalence))
        flagged = int(generator.binomial(n_with, 0.8) + generator.binomial(10_000 - n_with, 0.1))
        found, cleared = int(generator.binomial(200, 0.8)), int(generator.binomial(200, 0.9))
        share = correct_by_rates(flagged, 10_000, found, 200, cleared, 200)
        covered.append(share.low <= prevalence <= share.high)
        plain.append(abs(share.raw - prevalence))
        ours.append(abs(share.value - prevalence))
    assert 0.94 <= np.mean(covered) <= 0.96
    assert np.mean(plain) / np.mean(ours) >= 2.5


def test_random_answers_correct_any_scorer_and_outdo_answers_alone() -> None:
    generator = np.random.default_rng(6)
    covered, ours, alone = [], [], []
    for _ in range(400):
        truth = (generator.random(4000) < 0.3).astype(np.int64)
        right = generator.random(4000) < np.where(truth == 1, 0.95, 0.8)
        judged = np.where(right, truth, 1 - truth).astype(np.float64)
        share = correct_by_prediction(judged[200:], judged[:200], truth[:200])
        covered.append(share.low <= 0.3 <= share.high)
        ours.append(abs(share.value - 0.3))
        alone.append(abs(truth[:200].mean() - 0.3))
    assert 0.90 <= np.mean(covered) <= 0.98 and np.mean(ours) < 0.85 * np.mean(alone)


def test_a_useless_scorer_costs_nothing_and_few_answers_are_no_proof() -> None:
    generator = np.random.default_rng(7)
    truth = (generator.random(100) < 0.4).astype(np.int64)
    share = correct_by_prediction(generator.random(5000), generator.random(100), truth)
    assert share.value == pytest.approx(truth.mean(), abs=0.03)
    agreed = correct_by_prediction(np.zeros(100), np.zeros(10), np.zeros(10, dtype=np.int64))
    assert agreed.value == 0 and agreed.high > 0.1
    with pytest.raises(ValueError, match="1 answers"):
        correct_by_prediction(np.zeros(3), np.zeros(1), np.zeros(1, dtype=np.int64))


def make_counted(n_bad: int, n_good: int, bad_share: float, good_share: float) -> tuple[Records, np.ndarray]:
    """Records whose concept is `music` in so many of each label, and the truth; the scorer errs on a tenth."""
    generator = np.random.default_rng(8)
    labels = [0] * n_bad + [1] * n_good
    chance = np.where(np.array(labels) == 0, bad_share, good_share)
    truth = (generator.random(len(labels)) < chance).astype(np.int64)
    judged = np.where(generator.random(len(labels)) < 0.9, truth, 1 - truth)
    states = np.where(judged == 1, State.PRESENT, State.ABSENT).astype(np.int8)[:, None]
    columns = ConceptColumns(("music",), states, judged[:, None].astype(np.float64))
    texts = [f"text {row}" for row in range(len(labels))]
    return make_records(texts, labels, concepts=columns), truth


def test_only_cells_that_surely_lack_records_are_deficits() -> None:
    bad = Cell("bad", concept="music")
    for bad_share, is_sure in ((0.05, True), (0.45, False)):
        records, truth = make_counted(400, 400, bad_share, 0.5)
        rows = np.concatenate([np.arange(0, 400, 10), np.arange(400, 800, 10)])
        counts = correct_cells(records, {"music": KnownAnswers(rows, truth[rows])})
        count = counts[bad]
        assert count.low <= truth[:400].sum() <= count.high and count.method == "prediction_powered"
        found = find_corrected_deficits(records, counts)
        assert [deficit.cell for deficit in found] == ([bad] if is_sure else [])
        if is_sure:
            assert count.raw > 1.5 * truth[:400].sum(), "the plain count is misled by the errors"
            assert abs(count.value - truth[:400].sum()) < abs(count.raw - truth[:400].sum())


def test_a_label_without_answers_of_its_own_borrows_and_known_answers_bound_it() -> None:
    records, truth = make_counted(6, 400, 0.0, 0.6)
    rows = np.concatenate([[0, 1], np.arange(6, 406, 10)])
    counts = correct_cells(records, {"music": KnownAnswers(rows, truth[rows])})
    few, many = counts[Cell("bad", concept="music")], counts[Cell("good", concept="music")]
    assert few.method == "pooled" and 0 <= few.low <= few.high <= 4, "two of six are known to be without"
    assert many.method == "prediction_powered"
    assert find_corrected_deficits(records, counts)[0].cell == few.cell
    assert correct_cells(records, {}) == {} and find_corrected_deficits(records, {}) == []
