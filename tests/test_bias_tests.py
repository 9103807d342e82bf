"""Retrievers with a planted preference are caught; one without is not."""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pytest
from numpy.typing import NDArray

from counterpoise_retrievers.bias_tests import BiasTest, make_items, make_pairs, run_bias_tests

SOURCE = random.Random(0)
LETTERS = "bdfghklmnprtv"
VOCABULARY = sorted(
    {"".join(SOURCE.choice(LETTERS) + SOURCE.choice("aeiou") for _ in range(3)) for _ in range(400)}
)
PASSAGES = [
    " ".join(" ".join(SOURCE.sample(VOCABULARY, 12)).capitalize() + "." for _ in range(7)) for _ in range(400)
]
ITEMS = make_items(PASSAGES, n_items=200)


def read_words(text: str) -> list[str]:
    return text.casefold().replace(".", " ").replace(":", " ").split()


class FakeRetriever:
    """Counts the query's words that a passage has, each once, in either number; with a planted preference."""

    def __init__(
        self, *, shorter: float = 0, earlier: float = 0, literal: float = 0, repeated: float = 0
    ) -> None:
        self.weights = shorter, earlier, literal, repeated

    def __call__(self, queries: Sequence[str], passages: Sequence[str]) -> NDArray[np.float64]:
        return np.array([self.score(one, other) for one, other in zip(queries, passages, strict=True)])

    def score(self, query: str, passage: str) -> float:
        wanted, words = set(read_words(query)), read_words(passage)
        stems = {word.removesuffix("s") for word in words}
        roots = {word.removesuffix("s") for word in wanted}
        shorter, earlier, literal, repeated = self.weights
        found = sum(word.removesuffix("s") in stems for word in wanted) / len(wanted)
        first = min(
            (place for place, word in enumerate(words) if word.removesuffix("s") in roots), default=99
        )
        noise = int.from_bytes(blake2b(f"{query}|{passage}".encode(), digest_size=4).digest()) / 2**32
        return (
            found
            + 0.05 * noise
            - shorter * len(words)
            - earlier * first
            + literal * sum(word in words for word in wanted)
            + repeated * sum(word.removesuffix("s") in roots for word in words)
        )


def run(retriever: FakeRetriever) -> dict[str, BiasTest]:
    return {result.name: result for result in run_bias_tests(ITEMS, retriever)}


def test_a_retriever_without_preference_passes() -> None:
    results = run(FakeRetriever())
    assert len(ITEMS) == 200
    assert {name: result.passes for name, result in results.items()} == {
        "brevity": True,
        "position": True,
        "literal": None,
        "repetition": None,
        "foil": True,
    }
    assert all(result.p > 0.01 for name, result in results.items() if name != "foil")


@pytest.mark.parametrize(
    ("planted", "name"),
    [
        ({"shorter": 0.01}, "brevity"),
        ({"earlier": 0.01}, "position"),
        ({"literal": 0.1}, "literal"),
        ({"repeated": 0.1}, "repetition"),
    ],
)
def test_a_planted_preference_is_caught_by_its_test(planted: dict[str, float], name: str) -> None:
    results = run(FakeRetriever(**planted))
    assert results[name].low > 0.8
    assert results[name].difference_low > 0
    assert results[name].p < 1e-6
    assert results[name].passes in (False, None)
    if name != "position":
        assert results["position"].passes


def test_a_preference_for_short_passages_that_repeat_fails_the_foil() -> None:
    result = run(FakeRetriever(shorter=0.1, repeated=0.5))["foil"]
    assert result.passes is False
    assert result.high < 0.5


def test_pairs_differ_in_one_thing_only() -> None:
    pairs = make_pairs(ITEMS)
    for item, (_, alone, among) in zip(ITEMS, pairs["brevity"], strict=True):
        assert alone == item.evidence
        assert among.startswith(alone)
    for _, first, last in pairs["position"]:
        assert sorted(first.split()) == sorted(last.split())
    for _, plain, varied in pairs["literal"]:
        assert len(plain.split()) == len(varied.split())
        assert plain != varied
    for item in ITEMS:
        assert item.head in read_words(item.query)
        assert item.head in read_words(item.evidence)
        assert item.other not in PASSAGES[0] or item.other != item.evidence


def test_one_more_passage_changes_hardly_any_item_and_their_order_none() -> None:
    few = {item.query for item in make_items(PASSAGES, n_items=100)}
    more = {item.query for item in make_items([*PASSAGES, PASSAGES[0].upper()], n_items=100)}
    assert len(few & more) >= 95
    turned = {item.query for item in make_items(PASSAGES[::-1], n_items=100)}
    assert len(few & turned) >= 99


def test_queries_of_the_users_own_are_used() -> None:
    words = read_words(PASSAGES[3])
    query = "what is " + " ".join(words[12:18])
    (item,) = make_items(PASSAGES, asked=[(query, 3), ("nothing like it", 4)])
    assert item.query == query
    assert set(words[12:18]) <= set(read_words(item.evidence))


def test_scores_that_cannot_be_used_are_said() -> None:
    with pytest.raises(ValueError, match="200 finite numbers"):
        run_bias_tests(ITEMS, lambda queries, passages: np.zeros(3))
    assert run_bias_tests([], FakeRetriever()) == []
