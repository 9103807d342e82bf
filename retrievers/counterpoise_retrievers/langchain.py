"""LangChain's view of a `FaissIndex`: a vector store, and with it a retriever.

store = FaissVectorStore(encoder)                       # an encoder of ours, or any LangChain Embeddings
store.add_texts(["good food", "slow service"], metadatas=[{"stars": 5}, {"stars": 1}], ids=["a", "b"])
store.similarity_search("the waiter", k=1, filter={"stars": {"$lt": 3}})
store.as_retriever(search_type="mmr", search_kwargs={"k": 5, "filter": {"stars": [4, 5]}})
store.save("store"); FaissVectorStore.load("store", encoder)

An argument that is not known is a `TypeError` that names it. The async twins are LangChain's own, in threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict

from counterpoise_retrievers.arrays import Vectors, check_vectors, normalise_rows
from counterpoise_retrievers.document_index import DocumentIndex
from counterpoise_retrievers.encoder_protocol import Encoder
from counterpoise_retrievers.faiss_index import FaissIndex
from counterpoise_retrievers.metadata_filters import check_condition, is_met
from counterpoise_retrievers.neighbours import pick_diverse
from counterpoise_retrievers.remote_encoders import LangChainEncoder
from counterpoise_retrievers.stored_documents import (
    StoredDocument,
    StoreHead,
    read_documents,
    write_documents,
)
from counterpoise_retrievers.stored_index import StoredIndex

Filter = Mapping[str, Any] | Callable[[Document], Any]
"""A condition on metadata (see `metadata_filters`), or a function that is true for documents to be kept."""

_ROWS_A_BLOCK = 8192


class EncoderEmbeddings(Embeddings):
    """An `Encoder` as LangChain `Embeddings`.

    Args:
        encoder: for passages.
        query_encoder: for queries, where they are encoded otherwise (a prefix); else the same.
    """

    def __init__(self, encoder: Encoder, query_encoder: Encoder | None = None) -> None:
        self.encoder = encoder
        self.query_encoder = query_encoder or encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Encode passages."""
        rows: list[list[float]] = self.encoder.encode(texts).tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        """Encode one query."""
        row: list[float] = self.query_encoder.encode([text])[0].tolist()
        return row


class FaissVectorStore(VectorStore):
    """Documents beside a `FaissIndex`.

    A document whose id is given again replaces the one that had it.

    Args:
        encoder: for passages; or a LangChain `Embeddings`, for both.
        query_encoder: for queries, where they are encoded otherwise.
        index: where the vectors go, empty; a new `FaissIndex` where it is None.

    Raises:
        ValueError: the index holds rows already.
    """

    def __init__(
        self,
        encoder: Encoder | Embeddings,
        query_encoder: Encoder | None = None,
        index: FaissIndex | StoredIndex | None = None,
    ) -> None:
        self._given = encoder if isinstance(encoder, Embeddings) else None
        self._encoders = _make_encoders(encoder, query_encoder)
        empty = FaissIndex(self._encoders.encoder.dimension) if index is None else index
        self._documents: DocumentIndex[Document] = DocumentIndex(empty)

    def __len__(self) -> int:
        """Number of documents."""
        return len(self._documents.rows)

    @property
    def index(self) -> FaissIndex | StoredIndex:
        """Where the vectors are; it may hold rows of documents that are gone."""
        return self._documents.index

    @property
    def embeddings(self) -> Embeddings:
        """What encodes passages and queries."""
        return self._given or self._encoders

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts, or replace those whose ids are there already.

        Args:
            texts: n texts.
            metadatas: one mapping a text, or None.
            ids: one a text; a number that no document has is taken for None. Of texts with one id the last stays.
            batch_size: texts that are encoded at once; all where it is None. LangChain's `index` sets it.
            **kwargs: nothing more is known.

        Returns:
            The n ids.

        Raises:
            TypeError: a text or an id of another type, or an unknown argument.
            ValueError: another number of metadata or ids than of texts.
        """
        _refuse("add_texts", kwargs)
        passages = _list_texts(texts, "texts")
        data = _fit(metadatas, len(passages), "metadatas")
        names = _fit(ids, len(passages), "ids")
        # Encoded before anything changes, and outside the lock.
        step = max(1, len(passages) if batch_size is None else batch_size)
        batches = [passages[start : start + step] for start in range(0, max(1, len(passages)), step)]
        vectors = np.concatenate([self._encoders.encoder.encode(batch) for batch in batches])
        with self._documents.lock:
            given = self._documents.name([_check_id(name, place) for place, name in enumerate(names)])
            last = {name: place for place, name in enumerate(given)}
            items = {
                name: Document(page_content=passages[place], metadata=dict(data[place] or {}), id=name)
                for name, place in last.items()
            }
            self._documents.add(items, vectors[list(last.values())])
        return given

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents; ids that are not there are passed over.

        Args:
            ids: which; None for all.
            **kwargs: nothing more is known.

        Raises:
            TypeError: ids is a text, or an unknown argument.
        """
        _refuse("delete", kwargs)
        self._documents.delete(None if ids is None else _list_texts(ids, "ids"))
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents with these ids, in their order; those that are not there are left out."""
        with self._documents.lock:
            rows = self._documents.rows
            return [self._copy(rows[name]) for name in _list_texts(ids, "ids") if name in rows]

    def similarity_search(
        self,
        query: str,
        k: int = 4,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Find the k documents nearest to a query, nearest first.

        Args:
            query: the text.
            k: how many; where there are k that the filter keeps, k are found.
            filter: which documents may be found.
            **kwargs: nothing more is known.

        Raises:
            TypeError: an unknown argument or operator of a filter.
            ValueError: k is below 1.
        """
        _refuse("similarity_search", kwargs)
        return [document for document, _ in self.similarity_search_with_score(query, k, filter)]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = 4,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[tuple[Document, float]]:
        """Find the k documents nearest to a query, with their cosines; as `similarity_search`."""
        _refuse("similarity_search_with_score", kwargs)
        return self._list_found(self._encoders.query_encoder.encode([query]), k, filter)

    def similarity_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Find the k documents nearest to a vector, nearest first; as `similarity_search`."""
        _refuse("similarity_search_by_vector", kwargs)
        return [document for document, _ in self._list_found(_as_query(embedding), k, filter)]

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Find k documents that are near to a query and unlike each other (maximal marginal relevance).

        Args:
            query: the text.
            k: how many.
            fetch_k: out of so many nearest ones, k at least.
            lambda_mult: 1 looks at nearness only, 0 at diversity only.
            filter: which documents may be found.
            **kwargs: nothing more is known.

        Raises:
            TypeError: an unknown argument or operator of a filter.
            ValueError: k or fetch_k below 1, or lambda_mult outside 0..1.
        """
        _refuse("max_marginal_relevance_search", kwargs)
        vector = self._encoders.query_encoder.encode([query])
        return self._diversify(vector, k, fetch_k, lambda_mult, filter)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filter | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """The same for a vector."""
        _refuse("max_marginal_relevance_search_by_vector", kwargs)
        return self._diversify(_as_query(embedding), k, fetch_k, lambda_mult, filter)

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        index: FaissIndex | StoredIndex | None = None,
        **kwargs: Any,
    ) -> FaissVectorStore:
        """Make a store of texts, with any LangChain `Embeddings`; as `add_texts`."""
        _refuse("from_texts", kwargs)
        store = cls(embedding, index=index)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def save(self, folder: str | Path) -> None:
        """Write documents and vectors into a folder, whole or not at all; see `stored_documents`.

        Raises:
            ValueError: metadata that JSON would change, or a folder that holds other files.
            OSError: the folder cannot be written.
        """
        with self._documents.lock:
            rows = np.array(sorted(self._documents.rows.values()), dtype=np.int64)
            documents = [self._documents.get(row) for row in rows]
            name, dimension = self._encoders.encoder.name, self.index.dimension
            head = StoreHead(name, dimension, len(documents), self._documents.next_id)
            stored = [StoredDocument(str(one.id), one.page_content, one.metadata) for one in documents]
            write_documents(Path(folder), head, stored, self.index.vectors, rows)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        encoder: Encoder | Embeddings,
        query_encoder: Encoder | None = None,
        index: FaissIndex | StoredIndex | None = None,
    ) -> FaissVectorStore:
        """Read a store that was saved.

        Args:
            folder: where it is.
            encoder: the one it was made with.
            query_encoder: for queries, where they are encoded otherwise.
            index: where the vectors go, as for a new store.

        Raises:
            ValueError: no store, a damaged one, or one of another encoder.
        """
        head, documents, vectors = read_documents(Path(folder))
        name = _make_encoders(encoder, query_encoder).encoder.name
        if name != head.encoder:
            raise ValueError(f"{folder}: was written with the encoder '{head.encoder}', found '{name}'")
        store = cls(encoder, query_encoder, index)
        if store.index.dimension != head.dimension:
            found = store.index.dimension
            raise ValueError(f"{folder}: holds rows of {head.dimension} numbers, the encoder gives {found}")
        for start in range(0, len(documents), _ROWS_A_BLOCK):
            block = documents[start : start + _ROWS_A_BLOCK]
            items = {
                one.id: Document(page_content=one.text, metadata=one.metadata, id=one.id) for one in block
            }
            store._documents.add(items, vectors[start : start + len(block)])
        store._documents.next_id = head.next_id
        return store

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """Relevance is the cosine, as the other searches show it; 0 where that is negative."""
        return lambda cosine: min(1.0, max(0.0, cosine))

    def _copy(self, row: int) -> Document:
        """A document of the caller's own: what is changed in it does not change the store."""
        one = self._documents.get(row)
        return Document(page_content=one.page_content, metadata=dict(one.metadata), id=one.id)

    def _list_found(self, query: Vectors, k: int, condition: Filter | None) -> list[tuple[Document, float]]:
        with self._documents.lock:
            found = self._documents.find(query, k, _make_test(condition))
            return [(self._copy(row), score) for row, score in found]

    def _diversify(
        self, query: Vectors, k: int, fetch_k: int, lambda_mult: float, condition: Filter | None
    ) -> list[Document]:
        if fetch_k < 1 or not 0 <= lambda_mult <= 1:
            found = f"{fetch_k} and {lambda_mult}"
            raise ValueError(f"fetch_k: a positive number, lambda_mult: 0 to 1 is needed, found {found}")
        if isinstance(k, bool) or k < 1:
            raise ValueError(f"k: a positive number is needed, found {k}")
        with self._documents.lock:
            nearest = self._documents.find(query, max(k, fetch_k), _make_test(condition))
            if not nearest:
                return []
            rows = [row for row, _ in nearest]
            picked = pick_diverse([score for _, score in nearest], self.index.vectors[rows], k, lambda_mult)
            return [self._copy(rows[place]) for place in picked]


class FaissRetriever(BaseRetriever):
    """A retriever over a `FaissVectorStore`; adds the cosine to each document's metadata as `score`.

    Args:
        store: where to look.
        k: documents wanted; `invoke(query, k=2)` asks for another number once.
        filter: which documents may be found, as for `FaissVectorStore.similarity_search`.
        score_threshold: the least cosine.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    store: FaissVectorStore
    k: int = 4
    filter: Any = None
    score_threshold: float | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        asked = {"k": self.k, "filter": self.filter, "score_threshold": self.score_threshold}
        _refuse("invoke", {name: value for name, value in kwargs.items() if name not in asked})
        asked |= kwargs
        least = asked.pop("score_threshold")
        found = self.store.similarity_search_with_score(query, **asked)
        return [
            Document(page_content=each.page_content, metadata={**each.metadata, "score": score}, id=each.id)
            for each, score in found
            if least is None or score >= least
        ]


def _make_encoders(encoder: Encoder | Embeddings, query_encoder: Encoder | None) -> EncoderEmbeddings:
    """Both encoders; those of a LangChain `Embeddings` tell passages and queries apart as it does."""
    if isinstance(encoder, EncoderEmbeddings):
        return EncoderEmbeddings(encoder.encoder, query_encoder or encoder.query_encoder)
    if not isinstance(encoder, Embeddings):
        return EncoderEmbeddings(encoder, query_encoder)
    model = getattr(encoder, "model", "") or getattr(encoder, "model_name", "")
    name = type(encoder).__name__ + (f":{model}" if isinstance(model, str) and model else "")
    queries = query_encoder or LangChainEncoder(encoder, name, for_queries=True)
    return EncoderEmbeddings(LangChainEncoder(encoder, name), queries)


def _make_test(condition: Filter | None) -> Callable[[Document], Any] | None:
    """A filter as a function of a document.

    Raises:
        TypeError: it is neither a mapping nor a function, or has an operator that is not known.
    """
    if condition is None:
        return None
    if isinstance(condition, Mapping):
        wanted = condition
        check_condition(wanted)
        return lambda document: is_met(wanted, document.metadata)
    if callable(condition):
        return condition
    raise TypeError(f"filter: a mapping or a function of a Document is needed, found {condition!r:.60}")


def _as_query(embedding: Sequence[float]) -> Vectors:
    return normalise_rows(check_vectors([embedding], what="embedding"), what="embedding")


def _refuse(method: str, kwargs: Mapping[str, Any]) -> None:
    """Name an argument that nobody knows, instead of passing over it."""
    for name in kwargs:
        raise TypeError(f"{method}() got an unexpected argument '{name}'")


def _list_texts(values: Iterable[Any], what: str) -> list[str]:
    if isinstance(values, str | bytes):
        raise TypeError(f"{what}: a list is needed, found the text {values!r:.40}")
    texts = list(values)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{what}: a text is needed, found {text!r:.40} at place {place}")
    return texts


def _check_id(name: Any, place: int) -> str | None:
    if isinstance(name, bool) or not isinstance(name, str | int | None):
        raise TypeError(f"ids: a text is needed, found {name!r:.40} at place {place}")
    return None if name is None else str(name)


def _fit(values: Sequence[Any] | None, n: int, what: str) -> list[Any]:
    """One value a text; None for each where none are given."""
    listed = [None] * n if values is None else list(values)
    if len(listed) != n:
        raise ValueError(f"{what}: one for each text is needed, found {len(listed)} for {n} texts")
    return listed
