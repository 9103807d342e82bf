"""Mining gives what sorting all scores gives, whatever the blocks, margins, ties and positives."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from counterpoise_retrievers import hard_negatives
from counterpoise_retrievers.faiss_index import FaissIndex
from counterpoise_retrievers.hard_negatives import ScoreLimits, mine_hard_negatives

Floats = NDArray[np.float32]


def make_vectors(n_rows: int, dimension: int = 24, seed: int = 0, n_centres: int = 30) -> Floats:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(n_centres, dimension))
    rows = centres[generator.integers(0, n_centres, n_rows)] + generator.normal(size=(n_rows, dimension))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def mine_by_sorting(
    queries: Floats,
    passages: Floats,
    positives: Sequence[Sequence[int]],
    n_negatives: int,
    range_min: int,
    range_max: int,
    limit: Any,
) -> NDArray[np.int64]:
    wanted = np.full((len(queries), n_negatives), -1, dtype=np.int64)
    for row, known in enumerate(positives):
        scores = np.einsum(
            "nd,nd->n",
            passages.astype(np.float64),
            np.tile(queries[row].astype(np.float64), (len(passages), 1)),
        )
        ranked = [place for place in np.argsort(-scores, kind="stable").tolist() if place not in known]
        lowest = min((scores[place] for place in known), default=float("inf"))
        highest = limit(lowest) if known else limit(1e9)
        kept = [place for place in ranked[range_min:range_max] if scores[place] <= highest][:n_negatives]
        wanted[row, : len(kept)] = kept
    return wanted


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hard_negatives, "_PASSAGES_A_BLOCK", 64)
    monkeypatch.setattr(hard_negatives, "_FEWEST_QUERIES", 1)


CASES: list[tuple[dict[str, Any], Any]] = [
    ({"range_max": 5}, lambda low: np.inf),
    ({"range_min": 3, "range_max": 40}, lambda low: np.inf),
    ({"range_max": 50, "relative_margin": 0.05}, lambda low: low - 0.05 * abs(low)),
    ({"range_min": 2, "range_max": 30, "relative_margin": 0.3}, lambda low: low - 0.3 * abs(low)),
    ({"range_max": 60, "absolute_margin": 0.2}, lambda low: low - 0.2),
    ({"range_max": 60, "max_score": 0.3}, lambda low: 0.3),
    (
        {"range_max": 900, "max_score": -0.2, "relative_margin": 0.1},
        lambda low: min(-0.2, low - 0.1 * abs(low)),
    ),
]


BAND = ScoreLimits(relative_margin=0.05)


def gather_limits(options: dict[str, Any]) -> dict[str, Any]:
    """The options with what limits scores as one of them."""
    names = [one.name for one in fields(ScoreLimits)]
    limits = ScoreLimits(**{name: options[name] for name in names if name in options})
    return {name: value for name, value in options.items() if name not in names} | {"limits": limits}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("options", "limit"), CASES)
def test_same_negatives_as_sorting_all_scores(options: dict[str, Any], limit: Any) -> None:
    queries, passages = make_vectors(45, seed=1), make_vectors(900, seed=2)
    passages[300:340] = passages[300]  # ties across blocks
    queries[4] = passages[300]
    generator = np.random.default_rng(3)
    positives = [generator.choice(900, size=row % 4, replace=False).tolist() for row in range(45)]
    given = {"range_min": 0, **options}
    wanted = mine_by_sorting(queries, passages, positives, 5, given["range_min"], given["range_max"], limit)
    mined = mine_hard_negatives(
        queries, passages, positives, n_negatives=5, block_queries=7, **gather_limits(options)
    )
    np.testing.assert_array_equal(mined.indices, wanted)
    np.testing.assert_array_equal(np.isneginf(mined.scores), wanted < 0)
    there = wanted >= 0
    exact = np.einsum(
        "nd,nd->n",
        passages[wanted[there]].astype(np.float64),
        queries[np.nonzero(there)[0]].astype(np.float64),
    )
    np.testing.assert_allclose(mined.scores[there], exact, atol=1e-7)
    assert np.isnan(mined.positive_scores).tolist() == [not each for each in positives]


def test_blocks_other_queries_and_kind_of_source_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, passages = make_vectors(60, seed=4), make_vectors(3000, seed=5)
    positives = [[row] for row in range(60)]
    whole = mine_hard_negatives(queries, passages, positives, n_negatives=8, limits=BAND)
    passages.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=passages.shape)
    index = FaissIndex(24)
    index.add(passages)
    monkeypatch.setattr(hard_negatives, "_PASSAGES_A_BLOCK", 257)
    sources: list[Any] = [mapped, index, passages.astype(np.float64), passages.tolist()]
    for source in sources:
        mined = mine_hard_negatives(queries, source, positives, n_negatives=8, limits=BAND, block_queries=13)
        np.testing.assert_array_equal(mined.indices, whole.indices)
        np.testing.assert_array_equal(mined.scores, whole.scores)
    alone = mine_hard_negatives(queries[7:8], mapped, [[7]], n_negatives=8, limits=BAND)
    np.testing.assert_array_equal(alone.indices[0], whole.indices[7])


def test_positives_and_their_band_never_come_back() -> None:
    passages = make_vectors(500, seed=6)
    queries = passages[:40]
    positives = [[row, row + 40] for row in range(40)]
    mined = mine_hard_negatives(queries, passages, positives, n_negatives=20, limits=BAND)
    for row in range(40):
        found = mined.indices[row][mined.indices[row] >= 0]
        assert not set(found.tolist()) & {row, row + 40}
        lowest = float(mined.positive_scores[row])
        assert lowest == pytest.approx(float(queries[row] @ passages[row + 40]), abs=1e-6)
        assert (mined.scores[row][: len(found)] <= lowest - 0.05 * abs(lowest)).all()


def test_memory_grows_with_what_is_kept_not_with_the_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One thread: whether the peaks of several meet is chance.
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    peaks = []
    for n_passages in (20_000, 200_000):
        make_vectors(n_passages, 16).tofile(tmp_path / "rows")
        mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=(n_passages, 16))
        queries = make_vectors(200, 16, seed=8)
        tracemalloc.start()
        mine_hard_negatives(queries, mapped, [[row] for row in range(200)], n_negatives=10)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # Ten times the corpus: 13 MB, and 160 MB for all its scores.
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"positives": [[0]]}, "2 lists are needed, found 1"),
        ({"positives": [[0], [9]]}, "rows 0 to 8 are there, found 0 to 9"),
        ({"n_negatives": 0}, "out of range"),
        ({"range_min": 4, "range_max": 4}, "out of range"),
        ({"relative_margin": -0.1}, "must not be negative"),
        ({"passages": make_vectors(9, 23)}, r"\(n, 24\) is needed"),
        ({"passages": np.full((9, 24), np.nan)}, "row 0 holds NaN"),
    ],
)
def test_wrong_use_is_said(options: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {
        "query_vectors": make_vectors(2),
        "passages": make_vectors(9),
        "positives": [[0], [1]],
        "n_negatives": 3,
        **options,
    }
    with pytest.raises(ValueError, match=said):
        mine_hard_negatives(
            given.pop("query_vectors"), given.pop("passages"), given.pop("positives"), **gather_limits(given)
        )


def test_fewer_passages_than_wanted() -> None:
    mined = mine_hard_negatives(make_vectors(2), make_vectors(3), [[0, 1, 2], []], n_negatives=4)
    assert mined.indices[0].tolist() == [-1] * 4
    assert sorted(mined.indices[1].tolist()) == [-1, 0, 1, 2]
