"""An index that grows: the kind that fits, checked against exact search, the same after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from counterpoise_retrievers import stored_index
from counterpoise_retrievers.faiss_index import FaissIndex
from counterpoise_retrievers.stored_index import StoredIndex, choose_kind
from tests.test_hard_negatives import make_vectors

Floats = NDArray[np.float32]

DIMENSION = 16
SIZES: dict[str, dict[str, Any]] = {
    "flat": {"flat_rows": 10_000},
    "hnsw": {"flat_rows": 100, "graph_rows": 10_000},
    "ivf": {"flat_rows": 100, "graph_rows": 100},
    "ivf_sq8": {"flat_rows": 100, "graph_rows": 100, "memory_gib": 1e-4},
}


class StoppedError(Exception):
    pass


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_index, "_ROWS_A_PART", 500)
    monkeypatch.setattr(stored_index, "_ROWS_A_CHECKPOINT", 500)


def search_exactly(rows: Floats, queries: Floats, k: int) -> NDArray[np.int64]:
    index = FaissIndex(DIMENSION)
    index.add(rows)
    return index.search(queries, k)[1]


@pytest.mark.parametrize("kind", SIZES)
def test_each_kind_finds_what_exact_search_finds(tmp_path: Path, kind: str) -> None:
    rows, queries = make_vectors(3000, DIMENSION, seed=1), make_vectors(200, DIMENSION, seed=2)
    index = StoredIndex(tmp_path, DIMENSION, **SIZES[kind])
    index.add(rows)
    scores, found = index.search(queries, 10)
    assert index.state.kind == kind
    assert index.state.recall >= 0.95
    true = search_exactly(rows, queries, 10)
    recall = np.mean([np.isin(true[row], found[row]).mean() for row in range(200)])
    assert recall == 1.0 if kind == "flat" else recall > 0.9
    exact = np.einsum("qkd,qd->qk", rows[found].astype(np.float64), queries.astype(np.float64))
    np.testing.assert_allclose(scores, exact, atol=1e-6)
    assert (np.diff(scores, axis=1) <= 0).all()
    again = StoredIndex(tmp_path, DIMENSION, **SIZES[kind])
    assert again.state == index.state
    np.testing.assert_array_equal(again.search(queries, 10)[1], found)


@pytest.mark.parametrize("kind", ["hnsw", "ivf", "ivf_sq8"])
def test_interrupted_build_goes_on_and_gives_the_same(tmp_path: Path, kind: str) -> None:
    rows, queries = make_vectors(3000, DIMENSION, seed=3), make_vectors(100, DIMENSION, seed=4)

    def stop(n_indexed: int, n_rows: int) -> None:
        if n_indexed >= 1500:
            raise StoppedError

    whole = StoredIndex(tmp_path / "whole", DIMENSION, **SIZES[kind])
    whole.add(rows)
    cut = StoredIndex(tmp_path / "cut", DIMENSION, **SIZES[kind])
    cut.add(rows)
    with pytest.raises(StoppedError):
        cut.build(stop)
    steps: list[int] = []
    resumed = StoredIndex(tmp_path / "cut", DIMENSION, **SIZES[kind])
    resumed.build(lambda n_indexed, n_rows: steps.append(n_indexed))
    assert steps == [2000, 2500, 3000]
    for one, other in zip(whole.search(queries, 10), resumed.search(queries, 10), strict=True):
        np.testing.assert_array_equal(one, other)


def test_appended_rows_are_found_and_the_kind_follows_the_size(tmp_path: Path) -> None:
    rows = make_vectors(3000, DIMENSION, seed=5)
    sizes: dict[str, Any] = {"flat_rows": 500, "graph_rows": 1200}
    kinds = []
    for start, stop in [(0, 400), (400, 1000), (1000, 2000), (2000, 3000)]:
        index = StoredIndex(tmp_path, DIMENSION, **sizes)
        index.add(rows[start:stop])
        _, found = index.search(rows[:stop], 1)
        kinds.append(index.state.kind)
        assert np.mean(found[:, 0] == np.arange(stop)) > 0.97
    assert kinds == ["flat", "hnsw", "ivf", "ivf"]
    assert len(list(tmp_path.glob("part-*.faiss"))) == 6  # the last thousand joined the lists that were there
    assert not (tmp_path / "graph.faiss").exists()


def test_half_a_row_of_a_dead_writer_does_not_count(tmp_path: Path) -> None:
    rows = make_vectors(50, DIMENSION)
    index = StoredIndex(tmp_path, DIMENSION)
    index.add(rows[:20])
    with (tmp_path / "rows.f32").open("ab") as file:
        file.write(b"half a row")
    index = StoredIndex(tmp_path, DIMENSION)
    assert len(index) == 20
    index.add(rows[len(index) :])
    np.testing.assert_array_equal(index.vectors, rows)
    np.testing.assert_array_equal(index.search(rows, 3)[1], search_exactly(rows, rows, 3))


def test_kinds_by_rows_and_memory() -> None:
    gib = 2**30
    assert choose_kind(50_000, 384, 4 * gib, 50_000, 100_000) == "flat"
    assert choose_kind(100_000, 384, 4 * gib, 50_000, 100_000) == "hnsw"
    assert choose_kind(100_000, 384, 0.2 * gib, 50_000, 100_000) == "ivf_sq8"
    assert choose_kind(1_000_000, 384, 4 * gib, 50_000, 100_000) == "ivf"
    assert choose_kind(4_000_000, 384, 4 * gib, 50_000, 100_000) == "ivf_sq8"


def test_wrong_use_is_said(tmp_path: Path) -> None:
    index = StoredIndex(tmp_path, DIMENSION)
    assert index.search(make_vectors(2, DIMENSION), 3)[1].shape == (2, 0)
    index.add(make_vectors(5, DIMENSION))
    index.build()
    with pytest.raises(ValueError, match=r"\(n, 16\) is needed"):
        index.add(make_vectors(5, 3))
    with pytest.raises(ValueError, match="NaN"):
        index.add(np.full((1, DIMENSION), np.nan))
    with pytest.raises(ValueError, match="k: a positive"):
        index.search(make_vectors(2, DIMENSION), 0)
    (tmp_path / "state.json").write_text('{"dimension": 3}', encoding="utf-8")
    with pytest.raises(ValueError, match="holds rows of 3 numbers"):
        StoredIndex(tmp_path, DIMENSION)
    (tmp_path / "state.json").write_text("[", encoding="utf-8")
    with pytest.raises(ValueError, match="no readable state"):
        StoredIndex(tmp_path, DIMENSION)


def test_rows_of_another_dimension_are_refused_before_anything_is_indexed(tmp_path: Path) -> None:
    StoredIndex(tmp_path, DIMENSION).add(make_vectors(10, DIMENSION))
    with pytest.raises(ValueError, match="holds rows of 16 numbers, not 8"):
        StoredIndex(tmp_path, 8)


def test_langchain_store_over_an_index_in_a_folder(tmp_path: Path) -> None:
    from counterpoise_retrievers.langchain import FaissVectorStore
    from tests.made_up import ENCODER

    store = FaissVectorStore(ENCODER, index=StoredIndex(tmp_path, ENCODER.dimension))
    store.add_texts(["warm soup", "rude waiter", "sweet cake"])
    assert [each.page_content for each in store.similarity_search("the waiter", k=1)] == ["rude waiter"]
    with pytest.raises(ValueError, match="found 3 rows"):
        FaissVectorStore(ENCODER, index=StoredIndex(tmp_path, ENCODER.dimension))
