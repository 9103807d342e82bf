"""How far a model is believed beside a classifier, and who decides."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.weighing import CLASSIFIER, MODEL, NOBODY, STACK, Weighing, weigh

K = 4


def draw_truth(n: int, seed: int) -> Integers:
    return np.random.default_rng(seed).integers(0, K, n)


def answer(truth: Integers, right: float, seed: int) -> Floats:
    """Probabilities of somebody who is right so often, and always as sure."""
    source = np.random.default_rng(seed)
    said = np.where(source.random(len(truth)) < right, truth, (truth + source.integers(1, K, len(truth))) % K)
    return np.where(np.arange(K) == said[:, None], 0.9, 0.1 / (K - 1))


def weigh_two(first: float, second: float, n: int = 40, seed: int = 0) -> Weighing:
    truth = draw_truth(n, seed)
    return weigh(answer(truth, first, seed + 1), answer(truth, second, seed + 2), truth)


@pytest.mark.parametrize("seed", range(0, 50, 5))
def test_who_knows_decides_and_who_does_not_changes_nothing(seed: int) -> None:
    assert weigh_two(0.25, 0.9, seed=seed).decides in (MODEL, STACK)
    both = weigh_two(0.7, 0.9, seed=seed)
    assert both.is_earned and both.gain > 3
    assert both.model > both.powers[both.decides][0], "the better one has more weight"
    wrong = weigh_two(0.8, 0.0, seed=seed)
    assert wrong.decides == CLASSIFIER and not wrong.is_earned and wrong.model == 0


def test_a_model_at_chance_is_let_in_by_few_of_many_draws() -> None:
    drawn = [weigh_two(0.8, 0.25, seed=1000 + 3 * draw).is_earned for draw in range(100)]
    assert np.mean(drawn) <= 0.05
    flat = weigh_two(0.8, 0.8)
    silent = weigh(answer(draw_truth(40, 0), 0.8, 1), np.full((40, K), 1 / K), draw_truth(40, 0))
    assert silent.decides == CLASSIFIER and flat.n == silent.n == 40


def test_both_together_are_as_sure_as_known_rows_say() -> None:
    truth = draw_truth(4_000, 1)
    first, second = answer(truth, 0.6, 2), answer(truth, 0.8, 3)
    found = weigh(first[:60], second[:60], truth[:60])
    united = found.unite(first, second)
    assert united.sum(axis=1) == pytest.approx(1)
    right = united.argmax(axis=1) == truth
    assert right.mean() >= 0.79
    assert abs(united.max(axis=1).mean() - right.mean()) < 0.08
    # Where the model was not asked the classifier has it for itself.
    second[0] = np.nan
    assert found.unite(first, second)[0] == pytest.approx(found.temper(first)[0])


def test_copies_count_as_one_row_and_evidence_is_of_all_four() -> None:
    truth = draw_truth(40, 3)
    first, second = answer(truth, 0.7, 4), answer(truth, 0.8, 5)
    once = weigh(first, second, truth)
    places = np.repeat(np.arange(40), 5)
    groups = np.array([f"group {place}" for place in places], dtype=object)
    many = weigh(first[places], second[places], truth[places], groups)
    assert many.evidence[STACK] == pytest.approx(once.evidence[STACK], rel=0.1)
    assert set(once.evidence) == {NOBODY, CLASSIFIER, MODEL, STACK}
    with pytest.raises(ValueError, match="known rows"):
        weigh(first, np.full_like(second, np.nan), truth)
