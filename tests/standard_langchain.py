"""LangChain's standard tests over our vector store and retriever, for `make test-extras` (test_langchain_extras.py).

They bring plugins of pytest and run in an environment of their own, which is why no test is collected from this file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from counterpoise_retrievers.langchain import FaissRetriever, FaissVectorStore
from counterpoise_retrievers.stored_index import StoredIndex


class TestStore(VectorStoreIntegrationTests):  # type: ignore[misc]
    @pytest.fixture
    def vectorstore(self) -> FaissVectorStore:
        return FaissVectorStore(self.get_embeddings())


class TestStoreInAFolder(VectorStoreIntegrationTests):  # type: ignore[misc]
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[FaissVectorStore]:
        with StoredIndex(tmp_path, 6) as index:
            yield FaissVectorStore(self.get_embeddings(), index=index)


def make_filled_store() -> FaissVectorStore:
    store = FaissVectorStore(VectorStoreIntegrationTests.get_embeddings())
    store.add_texts([f"page {place}" for place in range(5)])
    return store


class TestRetriever(RetrieversIntegrationTests):  # type: ignore[misc]
    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return FaissRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": make_filled_store()}

    @property
    def retriever_query_example(self) -> str:
        return "page 3"


def as_retriever(k: int = 4) -> BaseRetriever:
    return make_filled_store().as_retriever(search_kwargs={"k": k})


class TestRetrieverOfTheStore(RetrieversIntegrationTests):  # type: ignore[misc]
    @property
    def retriever_constructor(self) -> Any:
        return as_retriever

    @property
    def retriever_query_example(self) -> str:
        return "page 3"
