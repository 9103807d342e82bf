"""LangChain's view of a `FaissIndex`: a vector store, and with it a retriever.

store = FaissVectorStore(encoder)
store.add_texts(["good food", "slow service"], metadatas=[{"stars": 5}, {"stars": 1}])
store.similarity_search("the waiter", k=1)
retriever = store.as_retriever(search_kwargs={"k": 5})
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict

from counterpoise_retrievers.encoder_protocol import Encoder
from counterpoise_retrievers.faiss_index import FaissIndex
from counterpoise_retrievers.stored_index import StoredIndex


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

    Args:
        encoder: for passages.
        query_encoder: for queries, where they are encoded otherwise.
        index: where the vectors go, empty; a new `FaissIndex` where it is None.
    """

    def __init__(
        self,
        encoder: Encoder,
        query_encoder: Encoder | None = None,
        index: FaissIndex | StoredIndex | None = None,
    ) -> None:
        self._embeddings = EncoderEmbeddings(encoder, query_encoder)
        self.index = FaissIndex(encoder.dimension) if index is None else index
        if len(self.index):
            raise ValueError(f"index: an empty one is needed, found {len(self.index)} rows without documents")
        self._documents: list[Document] = []

    @property
    def embeddings(self) -> EncoderEmbeddings:
        """What encodes passages and queries."""
        return self._embeddings

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts; their ids are their positions where none are given.

        Raises:
            ValueError: another number of metadata or ids than of texts.
        """
        passages = list(texts)
        first = len(self._documents)
        names = ids or [str(first + place) for place in range(len(passages))]
        rows = zip(passages, metadatas or [{} for _ in passages], names, strict=True)
        documents = [Document(page_content=text, metadata=data, id=name) for text, data, name in rows]
        self.index.add(self._embeddings.encoder.encode(passages))
        self._documents.extend(documents)
        return names

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Find the k documents nearest to a query, nearest first."""
        return [document for document, _ in self.similarity_search_with_score(query, k)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Find the k documents nearest to a query, with their cosines."""
        scores, positions = self.index.search(self._embeddings.query_encoder.encode([query]), k)
        pairs = zip(scores[0].tolist(), positions[0].tolist(), strict=True)
        return [(self._documents[position], score) for score, position in pairs if position >= 0]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> FaissVectorStore:
        """Make a store of texts, with any LangChain `Embeddings`."""
        from counterpoise_retrievers.remote_encoders import LangChainEncoder

        given = embedding if isinstance(embedding, EncoderEmbeddings) else None
        encoder = given.encoder if given else LangChainEncoder(embedding, type(embedding).__name__)
        store = cls(encoder, given.query_encoder if given else None)
        store.add_texts(texts, metadatas, ids=ids)
        return store


class FaissRetriever(BaseRetriever):
    """A retriever over a `FaissVectorStore`; adds the cosine to each document's metadata as `score`."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    store: FaissVectorStore
    k: int = 4

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        found = self.store.similarity_search_with_score(query, self.k)
        return [
            Document(page_content=each.page_content, metadata={**each.metadata, "score": score}, id=each.id)
            for each, score in found
        ]
