"""Groups of near-duplicate texts: found, not found, and the same in every order."""

from __future__ import annotations

import csv
import gzip
import itertools
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from counterpoise_retrievers.near_duplicates import choose_width, group_near_duplicates, measure_similarity
from counterpoise_retrievers.text_sketches import sketch_texts

pytestmark = pytest.mark.slow


def shingle(text: str) -> set[object]:
    words = text.casefold().replace(".", "").replace(",", "").split()
    return {*words, *itertools.pairwise(words)}


def read_partition(groups: np.ndarray, ids: list[int]) -> set[frozenset[int]]:
    members = defaultdict(set)
    for group, each in zip(groups.tolist(), ids, strict=True):
        members[group].add(each)
    return {frozenset(each) for each in members.values()}


def make_texts(n_texts: int, source: random.Random) -> list[str]:
    """Sentences over 400 words with the frequencies of a language, 8 to 40 words long."""
    words = [
        f"{first}{second}{third}" for first in "bdfglmst" for second in "aeiou" for third in "lnrstkmpdg"
    ]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    return [" ".join(source.choices(words, weights, k=source.randint(8, 40))) for _ in range(n_texts)]


def test_equal_but_for_case_space_and_punctuation() -> None:
    texts = [
        "A good day, Sir!",
        "a GOOD  day\tsir",
        "Straße",
        "STRASSE!",
        "ok",
        "ok.",
        "ok go",
        "go ok",
        "",
        " \n",
        "!!",
        "??",
    ]
    assert group_near_duplicates(texts).tolist() == [0, 0, 2, 2, 4, 4, 6, 7, 8, 8, 10, 11]


def test_texts_of_two_words_are_grouped_only_where_equal() -> None:
    assert group_near_duplicates(["good food", "good foods", "Good food."]).tolist() == [0, 1, 0]


def test_scripts_without_spaces_are_compared_by_character() -> None:
    base = "食物很好吃但是服务太慢了服务员两次忘记了我们的饮料所以我们很失望"
    assert group_near_duplicates([base, base[:-1], base[:10], base[::-1]]).tolist() == [0, 0, 2, 3]


def test_groups_are_those_of_exact_comparison_and_do_not_depend_on_order() -> None:
    source = random.Random(5)
    texts = make_texts(700, source)
    for text in source.sample(texts, 150):  # variants at all distances, some of them around the threshold
        words = text.split()
        for _ in range(source.randint(1, 5)):
            words[source.randrange(len(words))] = "novelty"
        texts.append(" ".join(words))
    sets = [shingle(text) for text in texts]
    similarity = np.array([[len(a & b) / len(a | b) for b in sets] for a in sets])
    # Pairs at the very threshold may fall either way, since shingles are hashed to 16 bits.
    sure, possible = np.argwhere(similarity >= 0.84), similarity >= 0.76
    groups = group_near_duplicates(texts)
    assert len(sure) - len(texts) > 60
    assert (groups[sure[:, 0]] == groups[sure[:, 1]]).all()
    for members in read_partition(groups, list(range(len(texts)))):
        if len(members) == 2:
            assert possible[tuple(members)]
    for key in range(3):
        ids = random.Random(key).sample(range(len(texts)), len(texts))
        shuffled = group_near_duplicates([texts[each] for each in ids])
        assert read_partition(shuffled, ids) == read_partition(groups, list(range(len(texts))))


def test_numbers_are_first_positions_and_every_form_of_input_gives_the_same() -> None:
    texts = make_texts(5000, random.Random(2))
    texts[4500:4520] = [text + " indeed" for text in texts[100:120]]
    groups = group_near_duplicates(texts)
    assert groups.dtype == np.int64 and (groups <= np.arange(5000)).all() and (groups[groups] == groups).all()
    assert groups[4500:4520].tolist() == list(range(100, 120))
    column = pa.chunked_array([texts[:1], texts[1:3000], [], texts[3000:]])
    batches = (texts[start : start + 700] for start in range(0, 5000, 700))
    for form in (
        column,
        batches,
        np.array(texts, dtype=object),
        pa.array(texts),
        column.cast(pa.string()).chunks,
    ):
        assert np.array_equal(group_near_duplicates(form), groups)
    assert group_near_duplicates([]).shape == (0,)
    assert group_near_duplicates([None, "a b c", ""]).tolist() == [0, 1, 0]


def test_a_crowd_of_variants_is_one_group() -> None:
    frame = " ".join(f"word{place}" for place in range(40))
    texts = [f"{frame} number {place}" for place in range(3000)]
    assert set(group_near_duplicates(texts).tolist()) == {0}


def test_similarity_of_long_texts_is_estimated_well() -> None:
    source = random.Random(9)
    words = [f"w{place}" for place in range(100_000)]
    errors = []
    for n_words, n_changed in [(400, 20), (400, 60), (3000, 100), (3000, 900)] * 8:
        first = source.sample(words, n_words)
        second = first[:-n_changed] + source.sample(words, n_changed)
        if n_changed == 100:
            second = second[:-400]  # sets of different sizes
        texts = [" ".join(first), " ".join(second)]
        a, b = map(shingle, texts)
        sketches = sketch_texts(texts)
        estimate = measure_similarity(sketches, np.array([0], np.int32), np.array([1], np.int32))[0]
        errors.append(estimate - len(a & b) / len(a | b))
    assert abs(np.mean(errors)) < 0.03 and np.std(errors) < 0.06


@pytest.mark.data
def test_planted_near_duplicates_are_found_in_real_texts_and_nothing_else(data_dir: Path) -> None:
    with gzip.open(data_dir / "davidson_hate" / "tweets.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row["text"] for row in csv.DictReader(file)][:8000]
    before = group_near_duplicates(rows)
    source = random.Random(1)
    long = [place for place, text in enumerate(rows) if len(text.split()) >= 14 and before[place] == place]
    planted = source.sample(long, 20)
    for number, place in enumerate(planted):
        words = rows[place].split()
        middle = len(words) // 2
        changed = [
            [*words[:middle], "really", *words[middle:]],
            [*words[: middle - 1], *words[middle:]],
            [*words[:-1], "today"],
            [*map(str.upper, words), "!!!"],
        ][number % 4]
        rows.append(" ".join(changed))
    after = group_near_duplicates(rows)
    assert np.array_equal(after[:8000], before)  # planted texts join no others together
    assert after[8000:].tolist() == planted
    # Tweets that merely sound alike stay apart: those grouped share four fifths of their words and pairs.
    assert 0.97 < len(np.unique(before)) / len(before) < 1


def test_bands_and_wrong_inputs() -> None:
    for threshold in (0.3, 0.5, 0.8, 0.9, 0.99):
        width = choose_width(threshold)
        assert width == 1 or 1 - (1 - threshold**width) ** 16 >= 0.999
    for wrong in (0, 1.01, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            group_near_duplicates(["a"], wrong)
    with pytest.raises(ValueError, match="one string"):
        group_near_duplicates("a text")
    with pytest.raises(ValueError, match="strings are needed"):
        group_near_duplicates(["a text", 3])
