"""Texts made of own rows: chains of words, small changes, and what a student makes of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from counterpoise.students.easy_augmentation import WordNeighbours, change
from counterpoise.students.fitting import predict
from counterpoise.students.made_texts import find_words, thin_out
from counterpoise.students.markov_chain import count_steps, make_chains
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import BASELINE, TREATMENTS
from tests.made_up import VECTORS, WORDS, as_objects, write_sentences

WAYS = tuple(map(TREATMENTS.find, ("emco", "easy_augmentation")))
RARE = [["cold", "soup", "again"], ["slow", "waiter"]]
OTHERS = [["warm", "soup", "tonight"], ["lovely", "waiter", "and", "lovely", "wine"]]


def make_side(n_bad: int, n_good: int, seed: int) -> Rows:
    texts, labels = write_sentences(n_bad, n_good, seed)
    return make_rows(as_objects(texts), np.zeros((len(texts), 2), np.float32), np.array(labels))


def test_steps_start_from_words_of_the_label_and_other_labels_count_less() -> None:
    steps = count_steps(RARE, OTHERS, Counter(word for words in RARE for word in words))
    assert steps[""] == {"cold": 1.0, "slow": 1.0}
    assert steps["soup"] == {"again": 1.0, "tonight": 0.5} and steps["waiter"] == {"": 1.0, "and": 0.5}
    assert "warm" not in steps and "tonight" not in steps, "the chain leaves these by any word of the label"
    assert count_steps([["so", "so", "good"]], [], Counter(["so", "good"]))["so"] == {"good": 1.0}


def test_chains_are_as_long_as_own_texts_and_bring_words_in() -> None:
    made = make_chains(RARE, OTHERS, 300, np.random.default_rng(1))
    assert {len(text.split()) for text in made} == {2, 3}
    words = {word for text in made for word in text.split()}
    assert {"tonight", "and"} <= words and "warm" not in words, "no step leads from the label to it"
    assert make_chains([["so", "so"]], [], 2, np.random.default_rng(1)) == ["so so", "so so"]
    assert make_chains([], OTHERS, 2, np.random.default_rng(1)) == ["", ""]


def test_a_changed_text_has_the_words_of_its_source_and_of_those_near() -> None:
    source = ["the", "soup", "was", "cold", "and", "the", "waiter", "was", "rude", "to", "us", "all"]
    generator = np.random.default_rng(3)
    made = [
        change(source, lambda word: ["icy"] if word == "cold" else [], generator).split() for _ in range(400)
    ]
    lengths = {len(words) for words in made}
    assert lengths == {len(source) - 1, len(source), len(source) + 1}
    assert {word for words in made for word in words} == {*source, "icy"}
    assert any(sorted(words) == sorted(source) and words != source for words in made), "swapped"
    assert (
        change(["one"], lambda word: ["two"], generator) == "one"
        and change([], lambda word: [], generator) == ""
    )


def test_near_words_stand_between_the_same_words() -> None:
    near = WordNeighbours(
        [f"the {dish} was {word}".split() for dish in ("soup", "fish") for word in ("cold", "warm")]
    )
    assert near.find("soup") == ["fish"] and near.find("cold") == ["warm"] and near.find("sea") == []
    assert WordNeighbours([["alone"]]).find("alone") == [] and WordNeighbours([]).find("x") == []
    assert find_words("Crème brûlée, 2 PIECES!") == ["crème", "brûlée", "2", "pieces"]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_made_texts_leave_the_label_shares_and_rank_as_well(way: object) -> None:
    found = TREATMENTS.find(getattr(way, "name", ""))
    own, test = make_side(6, 60, 5), make_side(60, 60, 6)
    plain, told = (predict(one, WORDS, own, test, 2) for one in (BASELINE, found))
    assert abs((told.argmax(axis=1) == 0).mean() - (plain.argmax(axis=1) == 0).mean()) < 0.2
    assert np.corrcoef(plain[:, 0] - plain[:, 1], told[:, 0] - told[:, 1])[0, 1] > 0.8
    assert predict(found, WORDS, own, test, 2).tobytes() == told.tobytes()
    assert predict(found, WORDS, own, test, 2, seed=1).tobytes() != told.tobytes()
    even = make_side(20, 20, 7)
    assert predict(found, WORDS, even, test, 2).tobytes() == predict(BASELINE, WORDS, even, test, 2).tobytes()
    assert not found.suits(VECTORS)


def test_what_is_learned_from_is_thinned_out_evenly() -> None:
    assert thin_out(np.arange(10)).tolist() == list(range(10)) and len(thin_out(np.arange(0))) == 0
    kept = thin_out(np.arange(50_000))
    assert len(kept) == 5_000 and kept[0] == 0 and kept[-1] == 49_999 and np.diff(kept).max() <= 11
