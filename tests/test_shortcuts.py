"""What predicts a label alone: columns, words, clusters."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from counterpoise.balance.lint import shortcuts
from counterpoise.balance.lint.columns import TextColumn, bin_lengths
from counterpoise.balance.lint.shortcuts import (
    choose_words,
    find_clusters,
    find_words,
    measure_groups,
    measure_predictor,
)

FILLER = ["the", "a", "one", "of", "to", "and", "in", "it", "that", "was", "for", "on", "with", "as", "at"]


def make_texts(texts: list[str]) -> TextColumn:
    return TextColumn((pa.table({"text": texts}),))


def test_a_column_that_is_the_label_predicts_it_and_noise_does_not() -> None:
    generator = np.random.default_rng(1)
    labels = (generator.random(2_000) < 0.2).astype(np.int64)
    folds, noise = generator.integers(0, 5, 2_000), generator.integers(0, 10, 2_000)
    assert measure_predictor(labels, labels, folds, 2, 2).balanced_accuracy == 1.0
    found = measure_predictor(labels, noise, folds, 2, 10)
    assert (
        found.chance == 0.5 and found.low <= 0.5 and found.balanced_accuracy == pytest.approx(0.5, abs=0.06)
    )


def test_a_constant_column_tells_nothing_however_skewed_the_labels() -> None:
    labels = np.asarray([0] * 90 + [1] * 10)
    found = measure_predictor(labels, np.zeros(100, dtype=np.int64), np.arange(100) % 5, 2, 1)
    assert found.balanced_accuracy == 0.5


def test_rare_words_of_a_skewed_data_set_are_judged_by_the_exact_tail() -> None:
    # 5 of 8 rows of a label that 2% have: z is 13, but with 20,000 words looked at it is no wonder.
    counts = np.zeros((2, 20_000), dtype=np.int64)
    counts[0] = 8
    counts[:, 0] = (5, 3)
    assert measure_groups(counts, np.asarray([9_800, 200])) == []
    counts[:, 0] = (0, 8)
    ((position, effect),) = measure_groups(counts, np.asarray([9_800, 200]))
    assert (position, effect.label, effect.precision, effect.coverage) == (0, 1, 1.0, 0.04)
    assert effect.lift == 1.0 and effect.p_value < 1e-4


def test_find_words_finds_a_sign_and_not_the_filler() -> None:
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 2, 600)
    ends = [" ##" if label and row % 3 else "" for row, label in enumerate(labels)]
    texts = [" ".join(generator.choice(FILLER, 8)) + end for end in ends]
    found, n_words = find_words(make_texts(texts), labels, 2)
    assert [word.word for word in found] == ["##"] and n_words == len(FILLER) + 1
    assert found[0].effect.precision == 1.0 and found[0].effect.label == 1
    assert found[0].effect.coverage == pytest.approx(2 / 3, abs=0.06)


def test_find_words_reads_batches_as_it_reads_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.arange(300) % 2
    texts = make_texts([f"alpha beta {'gamma' if label else 'delta'}" for label in labels])
    whole = find_words(texts, labels, 2)
    monkeypatch.setattr("counterpoise.balance.lint.columns.BATCH_ROWS", 7)
    assert find_words(texts, labels, 2) == whole and len(whole[0]) == 2


def test_the_vocabulary_stays_bounded_and_keeps_the_frequent_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "MOST_COUNTED", 50)
    texts = make_texts([f"common once{row} {'often' if row % 2 else 'seldom'}" for row in range(400)])
    monkeypatch.setattr("counterpoise.balance.lint.columns.BATCH_ROWS", 20)
    assert choose_words(texts) == ["common", "often", "seldom"]


def test_bin_lengths_are_ranges_that_every_length_falls_into() -> None:
    lengths = np.asarray([1, 1, 1, 1, 5, 6, 7, 8, 9, 30, 31, 32], dtype=np.int32)
    bins = bin_lengths(lengths)
    assert bins.values[0] == "1" and bins.values[-1].endswith("32")
    for length, code in zip(lengths, bins.codes, strict=True):
        low, _, high = bins.values[code].partition(" to ")
        assert int(low) <= length <= int(high or low)


@pytest.mark.data
def test_clusters_of_news_are_described_by_their_topic(data_dir: Path) -> None:
    path = data_dir / "noisy_ag_news" / "clean_test_2k.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["true_label"] for row in rows})
    labels = np.asarray([names.index(row["true_label"]) for row in rows])
    texts = make_texts([row["text"] for row in rows])
    found, n_clusters = find_clusters(texts, labels, len(names))
    assert n_clusters == 33 and len(found) >= 10
    topics = {word for cluster in found if names[cluster.effect.label] == "Sports" for word in cluster.words}
    assert {"game", "season"} & topics
    shuffled = np.random.default_rng(4).permutation(labels)
    assert not find_clusters(texts, shuffled, len(names))[0]
