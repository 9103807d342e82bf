"""Searching by words, and one ranking out of several."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from counterpoise_retrievers.bm25 import BM25Index
from counterpoise_retrievers.fusion import fuse_rankings

TEXTS = (
    "wing flutter at high speed",
    "heat flow in a slab",
    "wing wing heat",
    "",
    "flutter of a wing at low speed and at high speed",
)


def weigh(query: str, place: int) -> float:
    """BM25 by its formula."""
    stop = {"at", "in", "a", "of", "and"}
    bags = [Counter(word for word in text.split() if len(word) > 1 and word not in stop) for text in TEXTS]
    mean = sum(bag.total() for bag in bags) / len(bags)
    weight = 0.0
    for word in query.split():
        n_with = sum(word in bag for bag in bags)
        count = bags[place][word]
        idf = math.log(1 + (len(bags) - n_with + 0.5) / (n_with + 0.5))
        weight += idf * count / (count + 1.5 * (1 - 0.75 + 0.75 * bags[place].total() / mean))
    return weight


def test_weights_follow_the_formula_and_order() -> None:
    scores, places = BM25Index(TEXTS).search(["wing heat", "speed"], k=5)
    for row, query in enumerate(["wing heat", "speed"]):
        wanted = sorted(range(5), key=lambda place: (-round(weigh(query, place), 6), place))
        wanted = [place for place in wanted if weigh(query, place) > 0]
        assert places[row].tolist() == wanted + [-1] * (5 - len(wanted))
        assert scores[row, : len(wanted)] == pytest.approx(
            [weigh(query, place) for place in wanted], rel=1e-5
        )


def test_ties_go_to_the_earlier_text_and_nothing_shared_is_not_found() -> None:
    index = BM25Index(["same words here"] * 30 + ["other"])
    _, places = index.search(["words", "nothing", "", "the of"], k=4)
    assert places.tolist() == [[0, 1, 2, 3], [-1] * 4, [-1] * 4, [-1] * 4]
    assert BM25Index(["the", ""]).search(["the"], 3)[1].tolist() == [[-1, -1]]
    assert BM25Index(["the hat", ""], stop_words="").search(["the"], 3)[1].tolist() == [[0, -1]]


def test_saved_index_answers_alike(tmp_path: Path) -> None:
    index = BM25Index(TEXTS)
    index.save(tmp_path / "words")
    loaded = BM25Index.load(tmp_path / "words")
    assert len(loaded) == len(TEXTS)
    for one, other in zip(index.search(["wing heat"], 3), loaded.search(["wing heat"], 3), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="no readable"):
        BM25Index.load(tmp_path)
    with pytest.raises(ValueError, match="at least one"):
        BM25Index([])
    with pytest.raises(ValueError, match="k: a positive"):
        index.search(["wing"], 0)


def test_fusion_adds_reciprocal_ranks() -> None:
    weights, places = fuse_rankings([[[7, 3, 5]], [[3, 9, -1]]], k=5)
    assert places.tolist() == [[3, 7, 9, 5, -1]]
    assert weights[0, 0] == pytest.approx(1 / 62 + 1 / 61)
    assert weights[0, 1:].tolist() == pytest.approx([1 / 61, 1 / 62, 1 / 63, 0])
    assert fuse_rankings([[[4, 2]], [[2, 4]]], k=1)[1].tolist() == [[2]]
    with pytest.raises(ValueError, match="same n"):
        fuse_rankings([[[1]], [[1], [2]]], 3)
    with pytest.raises(ValueError, match="positive"):
        fuse_rankings([[[1]]], 0)
