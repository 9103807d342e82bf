"""Encoders that run elsewhere: a server with OpenAI's `/v1/embeddings`, or any LangChain `Embeddings`.

encoder = EndpointEncoder("http://localhost:8000/v1", "BAAI/bge-m3", max_tokens=8192)
queries = PrefixedEncoder(encoder, "query: ")
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from counterpoise_retrievers.arrays import Vectors, check_vectors, normalise_rows
from counterpoise_retrievers.encoder_protocol import Encoder, find_identity, mend_text

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

_CHARACTERS_A_TOKEN = 3
"""Fewer than most languages have, so that a piece of text fits the window without the server's tokenizer."""

_EMPTY = "."
"""Servers refuse empty input; this stands for it."""


class EndpointEncoder:
    """An encoder behind `/v1/embeddings`, as vLLM and others serve it.

    Texts longer than the window are cut into pieces of `3 * max_tokens` characters, whose vectors are
    averaged with their lengths as weights. Servers may round differently from batch to batch; `CachedEncoder`
    makes the first answer the only one.

    Args:
        url: the server's base address, ending in `/v1`.
        model: the name of the model there.
        api_key: sent as the bearer token; none where it is empty.
        max_tokens: the model's window.
        batch_size: texts in a request.
        concurrency: requests at once.
        timeout_seconds: for one request.
        max_attempts: times a request is sent where the server fails, refuses connections or is overloaded.
    """

    identity = ""
    """Its name says all."""

    def __init__(
        self,
        url: str,
        model: str,
        api_key: str = "",
        *,
        max_tokens: int = 512,
        batch_size: int = 32,
        concurrency: int = 4,
        timeout_seconds: float = 60.0,
        max_attempts: int = 5,
    ) -> None:
        from openai import OpenAI

        self.name = model
        self.max_tokens = max_tokens
        self._url = url
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._max_attempts = max_attempts
        self._client = OpenAI(base_url=url, api_key=api_key or "none", max_retries=0, timeout=timeout_seconds)

    @cached_property
    def dimension(self) -> int:
        """Numbers in a vector, found by asking once."""
        return int(self._request([_EMPTY]).shape[1])

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts.

        Args:
            texts: n texts, of any length.

        Returns:
            (n, dimension) float32, rows of length 1, in the order of the texts.

        Raises:
            ValueError: the server refuses the request (key, model, input) or its answer cannot be used.
            ConnectionError: the server does not answer, also after `max_attempts`.
        """
        if len(texts) == 0:
            return np.empty((0, self.dimension), dtype=np.float32)
        pieces, owners = cut_texts([mend_text(text) for text in texts], _CHARACTERS_A_TOKEN * self.max_tokens)
        batches = [
            pieces[start : start + self._batch_size] for start in range(0, len(pieces), self._batch_size)
        ]
        pool = ThreadPoolExecutor(self._concurrency)
        try:
            found = list(pool.map(self._request, batches))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C nobody waits for what was asked
        dimensions: set[int] = {part.shape[1] for part in found}
        if "dimension" in self.__dict__:  # else nobody has asked for it yet
            dimensions.add(self.dimension)
        if len(dimensions) > 1:
            sizes = " and ".join(map(str, sorted(dimensions)))
            raise ValueError(
                f"{self._url}: vectors of {self.name} have {sizes} numbers; did its model change?"
            )
        return average_pieces(np.concatenate(found), pieces, owners, self.name)

    def _request(self, texts: list[str]) -> Vectors:
        import openai
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(self._max_attempts),
            wait=wait_random_exponential(multiplier=0.2, max=20),
            reraise=True,
        )
        try:
            answer = retrying(
                self._client.embeddings.create, input=texts, model=self.name, encoding_format="float"
            )
        except openai.APIError as error:
            message = f"{self._url}: embeddings of {self.name}: {error}"
            raise (ConnectionError if _may_pass(error) else ValueError)(message) from error
        items = sorted(answer.data, key=lambda item: item.index)
        if [item.index for item in items] != list(range(len(texts))):
            raise ValueError(f"{self._url}: {len(items)} embeddings came back for {len(texts)} texts")
        vectors = check_vectors([item.embedding for item in items], what=f"{self._url}: embeddings")
        return normalise_rows(vectors, what=f"{self._url}: embeddings")


class LangChainEncoder:
    """An encoder from a LangChain `Embeddings`.

    Args:
        embeddings: what encodes.
        name: names the vectors in caches and reports.
        max_tokens: the window, as far as it is known.
        for_queries: encode with `embed_query`, one text after the other, instead of `embed_documents`: models with
            prefixes tell the two apart.
    """

    identity = ""
    """Its name says all."""

    def __init__(
        self, embeddings: Embeddings, name: str, *, max_tokens: int = 512, for_queries: bool = False
    ) -> None:
        self.name = f"{name} (queries)" if for_queries else name
        self.max_tokens = max_tokens
        self._embeddings = embeddings
        self._for_queries = for_queries

    @cached_property
    def dimension(self) -> int:
        """Numbers in a vector, found by encoding a word."""
        return len(self._embeddings.embed_query(_EMPTY))

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts: (n, dimension) float32, rows of length 1; ValueError where they cannot be used."""
        if len(texts) == 0:
            return np.empty((0, self.dimension), dtype=np.float32)
        given = [mend_text(text) or _EMPTY for text in texts]
        rows = (
            [self._embeddings.embed_query(text) for text in given]
            if self._for_queries
            else self._embeddings.embed_documents(given)
        )
        vectors = check_vectors(rows, self.dimension, what=self.name)
        if len(vectors) != len(texts):
            raise ValueError(f"{self.name}: {len(vectors)} vectors came back for {len(texts)} texts")
        return normalise_rows(vectors, what=self.name)


class PrefixedEncoder:
    """Another encoder with a fixed text put in front: what models with query and passage prefixes ask for.

    Around a `CachedEncoder` the vectors are cached with their prefix.

    Args:
        encoder: what encodes.
        prefix: `"query: "` or whatever the model was trained with.
    """

    def __init__(self, encoder: Encoder, prefix: str) -> None:
        self.name = f"{encoder.name} {prefix!r}"
        self.max_tokens = encoder.max_tokens
        self.dimension = encoder.dimension
        self.identity = find_identity(encoder)
        self._encoder = encoder
        self._prefix = prefix

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts with the prefix in front: (n, dimension) float32, rows of length 1."""
        return self._encoder.encode([self._prefix + text for text in texts])


def _may_pass(error: Any) -> bool:
    """Tell whether sending a request again may help: no answer, overload, or the server's own failure."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return error.status_code in {408, 409, 429} or error.status_code >= 500
    return isinstance(error, openai.APIConnectionError)


def average_pieces(vectors: Vectors, pieces: Sequence[str], owners: Sequence[int], what: str) -> Vectors:
    """(n, d) vectors of texts: the means of those of their pieces, with the pieces' lengths as weights.

    Args:
        vectors: (m, d) of the pieces.
        pieces: m pieces, as `cut_texts` gives them.
        owners: (m,) the place of the text that each belongs to; every one of n texts has a piece.
        what: for errors.
    """
    weights = np.array([len(piece) for piece in pieces], dtype=np.float64)
    sums = np.zeros((max(owners) + 1, vectors.shape[1]))
    np.add.at(sums, owners, vectors * weights[:, None])
    return normalise_rows(sums, what=what)


def cut_texts(texts: Sequence[str], n_characters: int) -> tuple[list[str], list[int]]:
    """Cut texts into pieces of at most `n_characters`; give the pieces and the text each belongs to."""
    pieces: list[str] = []
    owners: list[int] = []
    for owner, text in enumerate(texts):
        for start in range(0, max(1, len(text)), n_characters):
            piece = text[start : start + n_characters]
            pieces.append(_EMPTY if not piece or piece.isspace() else piece)
            owners.append(owner)
    return pieces, owners
