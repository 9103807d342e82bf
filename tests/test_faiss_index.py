"""FaissIndex: exact, ties in the order of adding, answers that do not depend on other queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import pytest

from counterpoise_retrievers.arrays import Vectors, normalise_rows
from counterpoise_retrievers.faiss_index import FaissIndex


def make_rows(n_rows: int, dimension: int = 24, key: int = 0) -> Vectors:
    return normalise_rows(np.random.default_rng(key).normal(size=(n_rows, dimension)))


def fill(rows: Vectors) -> FaissIndex:
    index = FaissIndex(rows.shape[1])
    index.add(rows)
    return index


def test_search_is_exact_and_ties_go_to_the_earlier_row() -> None:
    rows = make_rows(500)
    rows[100:400] = rows[50]  # far more equal rows than are asked for
    queries = np.concatenate([rows[50:51], rows[50:51] + 0.01 * make_rows(1, key=3), make_rows(30, key=1)])
    true = (queries.astype(np.float64) @ rows.T.astype(np.float64)).round(6)
    scores, positions = fill(rows).search(queries, 40)
    assert scores.dtype == np.float32 and positions.dtype == np.int64
    for query in range(len(queries)):
        expected = np.lexsort((np.arange(500), -true[query]))[:40]
        assert positions[query].tolist() == expected.tolist()
        np.testing.assert_allclose(scores[query], true[query, expected], atol=2e-6)
    assert positions[0].tolist() == [50, *range(100, 139)]


def test_ties_beyond_the_candidates_are_settled_by_looking_at_all_rows() -> None:
    rows = np.repeat(make_rows(2), 6000, axis=0)
    _, positions = fill(rows).search(rows[-1:], 5)
    assert positions.tolist() == [[6000, 6001, 6002, 6003, 6004]]


def test_an_answer_does_not_depend_on_the_other_queries() -> None:
    index, queries = fill(make_rows(3000)), make_rows(64, key=1)
    scores, positions = index.search(queries, 10)
    for query in range(64):
        alone = index.search(queries[query : query + 1], 10)
        assert (
            alone[0].tobytes() == scores[query].tobytes() and alone[1].tobytes() == positions[query].tobytes()
        )


def test_rows_are_appended_saved_and_loaded(tmp_path: Path) -> None:
    rows, queries = make_rows(90), make_rows(5, key=1)
    index = fill(rows[:60])
    index.add(rows[60:].astype(np.float64))
    assert len(index) == 90 and np.array_equal(index.vectors, rows)
    with pytest.raises(ValueError, match="read-only"):
        index.vectors[0] = 0
    index.save(tmp_path / "index")
    loaded = FaissIndex.load(tmp_path / "index")
    found, expected = loaded.search(queries, 4), index.search(queries, 4)
    assert found[0].tobytes() == expected[0].tobytes() and found[1].tobytes() == expected[1].tobytes()
    loaded.add(rows[:1])
    assert len(loaded) == 91 and [path.name for path in tmp_path.iterdir()] == ["index"]


def test_fewer_rows_than_asked_for(tmp_path: Path) -> None:
    rows = make_rows(3)
    assert fill(rows).search(rows, 10)[1].shape == (3, 3)
    FaissIndex(24).save(tmp_path / "empty")
    empty = FaissIndex.load(tmp_path / "empty")
    assert len(empty) == 0 and empty.search(rows, 10)[0].shape == (3, 0)
    assert fill(rows).search(rows[:0], 2)[1].shape == (0, 2)


def test_wrong_inputs_are_named(tmp_path: Path) -> None:
    index = fill(make_rows(3))
    with pytest.raises(ValueError, match="24 columns are needed, found 5"):
        index.add(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="row 1 holds NaN"):
        index.add(np.where(np.arange(2)[:, None] == 1, np.nan, np.ones((2, 24))))
    with pytest.raises(ValueError, match=r"shape \(24,\)"):
        index.search(np.zeros(24), 1)
    with pytest.raises(ValueError, match="real numbers"):
        index.search(np.array([["a"] * 24]), 1)
    with pytest.raises(ValueError, match="k: a positive number"):
        index.search(np.zeros((1, 24)), 0)
    (tmp_path / "broken").write_bytes(b"nothing")
    faiss.write_index(faiss.IndexFlatL2(3), str(tmp_path / "other"))
    for name in ("absent", "broken", "other"):
        with pytest.raises(ValueError, match=name):
            FaissIndex.load(tmp_path / name)
    with pytest.raises(OSError, match="cannot be written"):
        index.save(tmp_path / "no" / "folder")


class VowelEncoder:
    """Counts vowels."""

    name = "vowels"
    dimension = 5
    max_tokens = 100

    def encode(self, texts: Sequence[str]) -> Vectors:
        return normalise_rows(np.array([[text.count(vowel) + 0.01 for vowel in "aeiou"] for text in texts]))


def test_langchain_sees_the_index_as_a_store_and_a_retriever() -> None:
    from langchain_core.embeddings import DeterministicFakeEmbedding

    from counterpoise_retrievers.langchain import FaissRetriever, FaissVectorStore

    store = FaissVectorStore(VowelEncoder())
    assert store.add_texts(["aaa", "eee", "aai"], [{"n": 1}, {"n": 2}, {"n": 3}], ids=["x", "y", "z"]) == [
        "x",
        "y",
        "z",
    ]
    assert [each.id for each in store.similarity_search("aaaa", k=2)] == ["x", "z"]
    [found] = FaissRetriever(store=store, k=1).invoke("ee")
    assert (found.page_content, found.metadata["n"], found.id) == ("eee", 2, "y")
    assert found.metadata["score"] == pytest.approx(1, abs=1e-3)
    assert [each.id for each in store.as_retriever(search_kwargs={"k": 1}).invoke("aai")] == ["z"]
    made = FaissVectorStore.from_texts(["one", "two"], DeterministicFakeEmbedding(size=6))
    assert made.similarity_search("two", k=1)[0].page_content == "two"
    with pytest.raises(ValueError, match="metadatas: one for each text"):
        store.add_texts(["one more"], [{}, {}])
    assert len(store.index) == 3
