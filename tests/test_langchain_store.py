"""The LangChain vector store: filters, ids, deletion, diversity, thresholds, folders, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, index

from counterpoise_retrievers import document_index
from counterpoise_retrievers.langchain import FaissRetriever, FaissVectorStore
from counterpoise_retrievers.stored_index import StoredIndex
from tests.made_up import ENCODER

EMBEDDING = DeterministicFakeEmbedding(size=32)
PAGES = [
    Document(page_content=f"page {place}", metadata={"tenant": "ab"[place % 2], "year": 2000 + place})
    for place in range(400)
]


def make_store(pages: Sequence[Document] = PAGES[:8], **options: Any) -> FaissVectorStore:
    return FaissVectorStore.from_documents(list(pages), EMBEDDING, **options)


def list_ids(found: Sequence[Document]) -> list[str | None]:
    return [one.id for one in found]


def test_a_filter_is_obeyed_and_k_documents_come_where_there_are_k() -> None:
    store = make_store(PAGES)
    found = store.similarity_search("page 3", k=4, filter={"tenant": "a"})
    assert [one.metadata["tenant"] for one in found] == ["a"] * 4
    by_hand = [one for one in store.similarity_search("page 3", k=400) if one.metadata["tenant"] == "a"]
    assert list_ids(found) == list_ids(by_hand[:4]), "the nearest of those that it keeps"
    rare = store.similarity_search("page 3", k=4, filter=lambda one: one.metadata["year"] > 2396)
    assert {one.metadata["year"] for one in rare} == {2397, 2398, 2399}, "three there are, however far away"
    assert store.similarity_search("page 3", filter={"tenant": "c"}) == []
    assert list_ids(store.as_retriever(search_kwargs={"k": 1, "filter": {"year": 2007}}).invoke("x")) == ["7"]


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ({"tenant": "a", "year": 2002}, "2"),
        ({"year": [2001, 2003]}, "13"),
        ({"year": {"$gte": 2002, "$lt": 2004}}, "23"),
        ({"year": {"$in": [2000, 2007]}}, "07"),
        ({"year": {"$nin": list(range(2001, 2008))}}, "0"),
        ({"$or": [{"year": 2000}, {"tenant": "b", "year": {"$gt": 2005}}]}, "07"),
        ({"$and": [{"tenant": "a"}, {"$not": {"year": {"$lte": 2003}}}]}, "46"),
        ({"colour": {"$exists": False}, "tenant": {"$ne": "a"}, "year": 2005}, "5"),
        ({"colour": "red"}, ""),
        ({"year": {"$lt": "2004"}}, ""),
        ({}, "01234567"),
    ],
)
def test_conditions_on_metadata(condition: dict[str, Any], ids: str) -> None:
    assert sorted(map(str, list_ids(make_store().similarity_search("x", k=8, filter=condition)))) == list(ids)


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        ({"year": {"$regex": "20"}}, r"filter\['year'\]: '\$regex' is not known"),
        ({"$nor": [{"year": 2000}]}, r"'\$nor' is not known"),
        ({"year": {"$in": 2000}}, "needs a list"),
        ({"$or": {"year": 2000}}, "a list of mappings"),
        ("tenant == 'a'", "a mapping or a function of a Document"),
    ],
)
def test_a_filter_that_is_not_known_is_named(condition: Any, named: str) -> None:
    with pytest.raises(TypeError, match=named):
        make_store().similarity_search("page 3", filter=condition)


def test_an_argument_that_is_not_known_is_named() -> None:
    store = make_store()
    calls: list[Callable[[], Any]] = [
        lambda: store.similarity_search("x", where={"tenant": "a"}),
        lambda: store.similarity_search_with_score("x", where=1),
        lambda: store.similarity_search_by_vector([1.0] * 32, where=1),
        lambda: store.similarity_search_with_relevance_scores("x", where=1),
        lambda: store.max_marginal_relevance_search("x", where=1),
        lambda: store.max_marginal_relevance_search_by_vector([1.0] * 32, where=1),
        lambda: store.add_texts(["x"], where=1),
        lambda: store.add_documents(PAGES[:1], where=1),
        lambda: store.delete(["1"], where=1),
        lambda: make_store(where=1),
        lambda: store.as_retriever(search_kwargs={"where": 1}).invoke("x"),
        lambda: FaissRetriever(store=store).invoke("x", where=1),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="'where'"):
            call()
    assert len(store) == 8, "what is refused adds nothing"


def test_an_id_that_is_given_again_replaces() -> None:
    store = make_store()
    assert store.add_texts(["new"], ids=["3"]) == ["3"]
    assert len(store) == 8 and [one.page_content for one in store.get_by_ids(["3"])] == ["new"]
    assert [one.page_content for one in store.similarity_search("page 3", k=8)].count("page 3") == 0
    assert store.add_texts(["one", "two"], ids=["same", "same"]) == ["same", "same"]
    assert [one.page_content for one in store.get_by_ids(["same"])] == ["two"] and len(store) == 9


def test_automatic_ids_avoid_those_that_are_taken_and_fill_in_for_none() -> None:
    store = FaissVectorStore(EMBEDDING)
    assert store.add_texts(["a", "b", "c", "d"], ids=["1", None, "0", None]) == ["1", "2", "0", "3"]  # type: ignore[list-item]
    assert store.add_documents([Document(page_content="e"), Document(page_content="f", id="x")]) == ["4", "x"]
    store.delete(["4"])
    assert store.add_texts(["g"]) == ["5"], "the id of a document that is gone stays free"
    assert len({one.id for one in store.similarity_search("a", k=9)}) == len(store) == 6


def test_documents_are_deleted_and_found_by_id() -> None:
    store = make_store()
    store.delete(["2", "no such one"])
    assert list_ids(store.get_by_ids(["5", "2", "1"])) == ["5", "1"]
    assert "2" not in list_ids(store.similarity_search("page 2", k=8)) and len(store) == 7
    changed = store.get_by_ids(["1"])[0]
    changed.metadata["tenant"] = "changed"
    assert store.get_by_ids(["1"])[0].metadata["tenant"] == "b", "what is given back is a copy"
    store.delete()
    assert store.similarity_search("page 2") == [] == store.get_by_ids(["1"])
    for call in (lambda: store.delete("12"), lambda: store.add_texts("ab"), lambda: store.get_by_ids("1")):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a list is needed"):
            call()
    with pytest.raises(TypeError, match="texts: a text is needed, found None at place 1"):
        store.add_texts(["a", None])  # type: ignore[list-item]


def test_documents_may_be_replaced_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_index, "_LEAST_DEAD", 10)
    store = make_store()
    for turn in range(12):
        store.add_texts([f"text {turn}", "kept"], ids=["3", "5"])
    assert len(store.index) < 30 and len(store) == 8
    assert {one.page_content for one in store.get_by_ids(["3", "5", "0"])} == {"text 11", "kept", "page 0"}
    assert store.similarity_search("page 6", k=1)[0].id == "6"


def test_langchains_own_indexing_keeps_the_store_in_step() -> None:
    store, records = FaissVectorStore(EMBEDDING), InMemoryRecordManager("pages")
    records.create_schema()

    def bring(*texts: str) -> Any:
        pages = [Document(page_content=text, metadata={"source": "book"}) for text in texts]
        keys: dict[str, Any] = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
        return index(pages, records, store, **keys)

    assert bring("one", "two")["num_added"] == 2
    said = bring("two", "three")
    assert (said["num_added"], said["num_skipped"], said["num_deleted"]) == (1, 1, 1)
    assert {one.page_content for one in store.similarity_search("x", k=9)} == {"two", "three"}


def test_diverse_documents_are_near_and_unlike_each_other() -> None:
    texts = ["cold soup", "cold soup today", "cold soup here", "rude waiter", "cold cake"]
    store = FaissVectorStore(ENCODER)
    store.add_texts(texts, [{"n": place} for place in range(5)])
    plain = [one.page_content for one in store.similarity_search("cold soup", k=3)]
    diverse = [
        one.page_content
        for one in store.max_marginal_relevance_search("cold soup", k=3, fetch_k=5, lambda_mult=0.3)
    ]
    assert (
        {*plain} == {*texts[:3]} and diverse[0] == "cold soup" and {"rude waiter", "cold cake"} & {*diverse}
    )
    same = store.max_marginal_relevance_search("cold soup", k=3, lambda_mult=1.0)
    assert [one.page_content for one in same] == plain
    by_vector = store.embeddings.embed_query("cold soup")
    assert store.max_marginal_relevance_search_by_vector(by_vector, k=3, lambda_mult=1.0) == same
    odd = store.as_retriever(
        search_type="mmr", search_kwargs={"k": 2, "fetch_k": 1, "filter": {"n": {"$gt": 2}}}
    )
    assert {one.metadata["n"] for one in odd.invoke("cold soup")} == {3, 4}
    with pytest.raises(ValueError, match="lambda_mult: 0 to 1"):
        store.max_marginal_relevance_search("x", lambda_mult=1.5)


def test_relevance_is_the_cosine_and_a_threshold_holds() -> None:
    store = make_store()
    cosines = dict(
        zip(
            list_ids(store.similarity_search("page 3", k=8)),
            [score for _, score in store.similarity_search_with_score("page 3", k=8)],
            strict=True,
        )
    )
    relevant = store.similarity_search_with_relevance_scores("page 3", k=8)
    assert min(cosines.values()) < 0, "there are such"
    assert [score for _, score in relevant] == pytest.approx([max(0.0, score) for score in cosines.values()])
    strict = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"k": 8, "score_threshold": 0.9}
    )
    assert list_ids(strict.invoke("page 3")) == ["3"]
    own = FaissRetriever(store=store, k=8, score_threshold=0.9)
    assert (
        list_ids(own.invoke("page 3")) == ["3"] and len(own.invoke("page 3", score_threshold=None, k=2)) == 2
    )
    scaled = [7 * number for number in EMBEDDING.embed_query("page 3")]
    assert list_ids(store.similarity_search_by_vector(scaled, k=2)) == list_ids(
        store.similarity_search("page 3", k=2)
    )


async def test_the_async_methods_do_the_same() -> None:
    store = make_store(PAGES[:4])
    await store.aadd_texts(["more"], ids=["m"])
    assert list_ids(await store.asimilarity_search("more", k=1, filter={})) == ["m"]
    assert list_ids(await store.amax_marginal_relevance_search("more", k=1)) == ["m"]
    assert list_ids(await store.aget_by_ids(["m"])) == ["m"]
    await store.adelete(["m"])
    assert list_ids(await FaissRetriever(store=store, k=1).ainvoke("page 2")) == ["2"]
    with pytest.raises(TypeError, match="'where'"):
        await store.asimilarity_search("more", where=1)


def test_queries_are_encoded_as_queries() -> None:
    class Prefixed(DeterministicFakeEmbedding):
        def embed_query(self, text: str) -> list[float]:
            return super().embed_query(f"query: {text}")

    store = FaissVectorStore(Prefixed(size=16))
    store.add_texts(["query: soup", "soup"])
    assert store.similarity_search("soup", k=1)[0].page_content == "query: soup"


def test_a_store_is_saved_and_loaded(tmp_path: Path) -> None:
    store = make_store()
    store.add_texts(["new\n\u2028", ""], [{"tags": ["x", None], "deep": {"é": 1.5}}, {}], ids=["3", "empty"])
    store.delete(["0"])
    store.save(tmp_path / "store")
    assert sorted(one.name for one in (tmp_path / "store").iterdir()) == [
        "documents.jsonl",
        "store.json",
        "vectors.npy",
    ]
    again = FaissVectorStore.load(tmp_path / "store", EMBEDDING)
    assert again.similarity_search_with_score("page 4", k=20) == store.similarity_search_with_score(
        "page 4", k=20
    )
    assert again.get_by_ids(["3"]) == store.get_by_ids(["3"]) and len(again.index) == 8
    assert again.add_texts(["x"]) == store.add_texts(["x"]), "automatic ids go on"
    again.save(tmp_path / "store")
    assert len(FaissVectorStore.load(tmp_path / "store", EMBEDDING)) == 9
    with StoredIndex(tmp_path / "rows", 32) as rows:
        grown = FaissVectorStore.load(tmp_path / "store", EMBEDDING, index=rows)
        grown.delete(["1"])
        grown.save(tmp_path / "other")
    assert len(FaissVectorStore.load(tmp_path / "other", EMBEDDING)) == 8
    FaissVectorStore(EMBEDDING).save(tmp_path / "none")
    assert FaissVectorStore.load(tmp_path / "none", EMBEDDING).similarity_search("x") == []


def test_what_cannot_be_saved_or_loaded_is_said(tmp_path: Path) -> None:
    store = make_store()
    store.save(tmp_path / "store")
    store.add_texts(["x"], [{"when": {"at": (1, 2)}}], ids=["odd"])
    with pytest.raises(
        ValueError, match=r"document 'odd': metadata\['when'\]\['at'\]: a tuple cannot be stored"
    ):
        store.save(tmp_path / "store")
    assert len(FaissVectorStore.load(tmp_path / "store", EMBEDDING)) == 8, "what was there is there"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(ValueError, match=r"holds notes\.txt, which is not ours"):
        make_store().save(tmp_path / "mine")
    with pytest.raises(ValueError, match="was written with the encoder 'DeterministicFakeEmbedding'"):
        FaissVectorStore.load(tmp_path / "store", ENCODER)
    with pytest.raises(ValueError, match=r"no store\.json"):
        FaissVectorStore.load(tmp_path, EMBEDDING)
    lines = (tmp_path / "store" / "documents.jsonl").read_text().splitlines()
    for spoilt in (lines[:-1], [*lines[:-1], lines[0]], [*lines[:-1], "{"], [*lines[:-1], '{"id": 1}']):
        (tmp_path / "store" / "documents.jsonl").write_text("\n".join(spoilt) + "\n")
        with pytest.raises(ValueError, match="documents"):
            FaissVectorStore.load(tmp_path / "store", EMBEDDING)
    (tmp_path / "store" / "documents.jsonl").write_text("\n".join(lines) + "\n")
    np.save(tmp_path / "store" / "vectors.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ValueError, match="no readable vectors"):
        FaissVectorStore.load(tmp_path / "store", EMBEDDING)
    head = json.loads((tmp_path / "store" / "store.json").read_text())
    (tmp_path / "store" / "store.json").write_text(json.dumps(head | {"version": 9}))
    with pytest.raises(ValueError, match="version 1"):
        FaissVectorStore.load(tmp_path / "store", EMBEDDING)
