"""An audit says how reliable a scorer is, and when that is not known well enough."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from counterpoise.core.records import Floats, Integers
from counterpoise.scorers import audits
from counterpoise.scorers.audits import audit, measure_auroc


def answer(answers: list[int], n_labels: int = 2, confidence: float = 0.9) -> Floats:
    """Probabilities of a scorer that gives these answers."""
    table = np.full((len(answers), n_labels), (1 - confidence) / (n_labels - 1))
    table[np.arange(len(answers)), answers] = confidence
    return table


def draw_scores(generator: np.random.Generator, truth: Integers, distance: float) -> Floats:
    """Scores with an AUROC of normcdf(distance / sqrt 2)."""
    sure = 1 / (1 + np.exp(-generator.normal(distance * truth)))
    return np.column_stack([1 - sure, sure])


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(180, 200, 0.851, 0.934), (45, 50, 0.786, 0.957), (0, 100, 0.0, 0.037)]
)
def test_accuracy_has_its_wilson_interval(k: int, n: int, low: float, high: float) -> None:
    truth = np.arange(n) % 2
    answers = [int(label) if row < k else 1 - int(label) for row, label in enumerate(truth)]
    result = audit(answer(answers), truth)
    assert (result.n, result.accuracy) == (n, k / n)
    assert (result.low, result.high) == pytest.approx((low, high), abs=5e-4)


def test_kappa_brier_and_the_accuracy_of_each_label() -> None:
    # 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: agreement 0.7, by chance 0.5.
    truth = np.array([1] * 25 + [0] * 25)
    result = audit(answer([1] * 20 + [0] * 5 + [1] * 10 + [0] * 15, confidence=0.8), truth)
    assert result.kappa == pytest.approx(0.4)
    assert result.by_label == {0: 0.6, 1: 0.8}
    assert result.brier == pytest.approx(0.7 * 2 * 0.2**2 + 0.3 * 2 * 0.8**2)
    assert audit(answer([1] * 50), truth).kappa == 0


def test_chance_and_too_few_rows_are_weak_and_skill_is_not() -> None:
    generator = np.random.default_rng(3)
    truth = np.array([0] * 30 + [1] * 170)
    assert all(audit(draw_scores(generator, truth, 0.0), truth).is_weak for _ in range(5))
    assert not audit(draw_scores(generator, truth, 2.0), truth).is_weak
    backwards = audit(draw_scores(generator, truth, -2.0), truth)
    assert backwards.is_weak and backwards.auc < 0.4
    # A perfect score on four rows of a label may be luck, on twenty hardly.
    few, many = (np.array([0] * rare + [1] * 100) for rare in (4, 20))
    assert audit(answer(few.tolist()), few).is_weak
    sure = audit(answer(many.tolist()), many)
    assert not sure.is_weak and sure.auc_low < 1 == sure.auc


def test_the_interval_covers_the_true_auroc() -> None:
    generator = np.random.default_rng(8)
    truth = np.array([0] * 40 + [1] * 60)
    right = norm.cdf(1.0 / np.sqrt(2))
    ends = [measure_auroc(draw_scores(generator, truth, 1.0), truth) for _ in range(30)]
    covered = [low <= right <= high for _, low, high in ends]
    assert np.mean(covered) >= 0.85
    assert all(low < value < high < low + 0.3 for value, low, high in ends)


def test_one_answer_only_has_no_auroc_and_may_decide_nothing() -> None:
    result = audit(answer([0, 0, 1]), np.zeros(3, dtype=np.int64))
    assert np.isnan([result.auc, result.auc_low, result.auc_high]).all() and result.is_weak


@pytest.mark.parametrize(("shape", "n"), [((0, 2), 0), ((3, 2), 4), ((3,), 3)])
def test_shapes_that_do_not_belong_together_are_refused(shape: tuple[int, ...], n: int) -> None:
    with pytest.raises(ValueError, match=f"for {n} answers"):
        audit(np.zeros(shape), np.zeros(n, dtype=np.int64))


def test_as_many_draws_at_a_time_as_fit_give_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    truth = generator.integers(0, 3, 90)
    scores = 2 * generator.random((90, 3)) + np.eye(3)[truth]
    at_once = measure_auroc(scores, truth)
    monkeypatch.setattr(audits, "_MOST_CELLS", 7 * len(truth))
    assert measure_auroc(scores, truth) == at_once
    assert at_once[1] < at_once[0] < at_once[2]
