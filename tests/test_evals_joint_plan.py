"""The evaluation of joint plans on made-up texts: what is bought, what it evens out, and what is told of it."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.core.plans import Cell
from evals.concept_texts import SKEW, Texts
from evals.edit_cases import CONCEPTS
from evals.joint_plan import (
    BASELINE,
    ONE_PASS,
    Shop,
    buy_in_turn,
    buy_jointly,
    draw_skewed,
    measure_evenness,
    run_draw,
    summarise,
)
from tests.made_up import as_objects


def make_texts(n: int, seed: int = 0) -> Texts:
    """Texts that name their label and their concepts in words; every concept in a third of them."""
    generator = np.random.default_rng(seed)
    labels, concepts = generator.integers(0, 2, n), (generator.random((n, 4)) < 0.35).astype(np.int64)
    texts = [
        " ".join(
            [
                f"label{label if generator.random() < 0.8 else 1 - label}",
                *(name for name, has in zip(CONCEPTS, row, strict=True) if has),
                f"word{generator.integers(0, 50)}",
            ]
        )
        for label, row in zip(labels, concepts, strict=True)
    ]
    originals = as_objects([f"original {row}" for row in range(n)])
    return Texts(
        as_objects(texts), labels, concepts, originals, generator.normal(size=(n, 8)).astype(np.float32)
    )


@pytest.fixture(scope="module")
def train() -> Texts:
    return make_texts(2_000)


def test_own_texts_have_few_of_what_is_made_rare(train: Texts) -> None:
    own = train.take(draw_skewed(train, 100, 4, 0))
    assert np.bincount(own.labels).tolist() == [50, 50]
    for concept, label in SKEW:
        column = list(CONCEPTS).index(concept)
        assert (own.concepts[own.labels == label, column] == 1).sum() <= 4


def test_one_plan_evens_out_all_cells_with_fewer_texts_than_one_concept_at_a_time(train: Texts) -> None:
    own = draw_skewed(train, 100, 4, 0)
    free = np.setdiff1d(np.arange(len(train)), own)
    shop = Shop(train, free, "test")
    jointly, in_turn, once = buy_jointly(shop, own), buy_in_turn(shop, own), buy_in_turn(shop, own, 1)
    for bought in (jointly, in_turn, once):
        assert len(set(bought.tolist())) == len(bought)
        assert not set(bought.tolist()) & set(own.tolist())
    assert measure_evenness(shop.count(np.concatenate([own, jointly]))) == 1
    assert len(jointly) <= 0.75 * len(once) <= 0.75 * len(in_turn)
    skewed = shop.count(own)
    assert measure_evenness(skewed) < 1
    assert skewed[Cell("negative")] == skewed[Cell("positive")] == 50


def test_lines_are_paired_with_both_rivals(train: Texts) -> None:
    draw = run_draw(train, make_texts(800, seed=1), 100, 4, 0)
    lines = list(summarise("made", [draw, draw]))
    found = {(line.data, line.arm, line.metric): line for line in lines}
    assert found["made", "joint", "cells_even"].value == 1
    assert found["made", "joint", "saved_ratio"].value > 0
    for rival, metric in ((BASELINE, "difference"), (ONE_PASS, "difference_to_one_pass")):
        line = found["made/words", "joint", f"worst_cell_accuracy_{metric}"]
        values = [draw[arm, "worst_cell_accuracy:words"] for arm in ("joint", rival)]
        assert line.value == pytest.approx(values[0] - values[1])
        assert line.unit == "points"
