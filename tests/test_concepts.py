"""Concepts: present where the similarity is surely high, absent where surely low, unknown between."""

from __future__ import annotations

import random

import numpy as np
import pytest

from counterpoise.concepts import calibrate_similarities, label_concepts
from counterpoise.records import State
from tests.made_up import ENCODER

CONCEPTS = {"food": "soup bread fish cake lamb", "music": "band song piano loud tune"}


def write(n: int, concept: str, seed: int) -> list[str]:
    source = random.Random(seed)
    words = CONCEPTS[concept].split()
    return [" ".join([*source.sample(words, 3), f"word{source.randrange(99)}"]) for _ in range(n)]


def test_what_a_text_is_about_is_found() -> None:
    texts = write(30, "food", 1) + write(50, "music", 2)
    columns = label_concepts(ENCODER.encode(texts), CONCEPTS, ENCODER)
    food, music = columns.states.T
    assert columns.names == ("food", "music") and columns.scorer == "similarity (words)"
    assert (food[:30] == State.PRESENT).mean() > 0.9 and (food[30:] == State.ABSENT).mean() > 0.9
    assert (music[:30] == State.ABSENT).mean() > 0.9 and (music[30:] == State.PRESENT).mean() > 0.9


def test_added_texts_cannot_move_the_thresholds() -> None:
    reference = ENCODER.encode(write(30, "food", 1) + write(50, "music", 2))
    added = ENCODER.encode(write(200, "food", 3))
    together = label_concepts(added, CONCEPTS, ENCODER, reference)
    alone = label_concepts(added[:1], CONCEPTS, ENCODER, reference)
    np.testing.assert_allclose(together.probabilities[:1], alone.probabilities, atol=1e-6)
    shuffled = np.random.default_rng(0).permutation(len(reference))
    again = label_concepts(added, CONCEPTS, ENCODER, reference[shuffled])
    np.testing.assert_allclose(again.probabilities, together.probabilities, atol=1e-6)
    moved = label_concepts(added, CONCEPTS, ENCODER)
    assert np.abs(moved.probabilities - together.probabilities).max() > 0.1


def test_between_the_groups_a_concept_is_unknown_and_probability_rises_with_similarity() -> None:
    generator = np.random.default_rng(4)
    reference = np.concatenate([generator.normal(0.1, 0.05, 150), generator.normal(0.5, 0.05, 50)])
    grid = np.linspace(-1, 1, 201)
    probabilities = calibrate_similarities(reference, grid)
    assert (np.diff(probabilities) >= 0).all() and probabilities[0] < 0.01 and probabilities[-1] > 0.99
    assert 0.2 < grid[np.searchsorted(probabilities, 0.5)] < 0.4


@pytest.mark.parametrize("n_texts", [0, 1, 19])
def test_few_texts_say_nothing(n_texts: int) -> None:
    columns = label_concepts(ENCODER.encode(write(n_texts, "food", 1)), CONCEPTS, ENCODER)
    assert columns.states.shape == (n_texts, 2) and (columns.states == State.UNKNOWN).all()


def test_equal_texts_say_nothing_and_no_concepts_give_no_columns() -> None:
    vectors = ENCODER.encode(["soup"] * 40)
    assert (label_concepts(vectors, CONCEPTS, ENCODER).states == State.UNKNOWN).all()
    assert label_concepts(vectors, {}, ENCODER).states.shape == (40, 0)
