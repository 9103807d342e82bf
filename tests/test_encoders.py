"""Encoders: vectors depend on their text alone, and every encoder keeps the same protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from counterpoise_retrievers.encoders import (
    Encoder,
    EndpointEncoder,
    LangChainEncoder,
    OnnxEncoder,
    PrefixedEncoder,
)

TEXTS = [
    "The food was wonderful, but the waiter forgot our drinks twice.",
    "ok",
    "",
    "A dull film. " * 60,
    "Slow service; the soup was cold 😀 and far too salty!",
    "x",
    "Prices are fair and the garden is quiet in the evening.",
]


@pytest.fixture(scope="module")
def encoder() -> OnnxEncoder:
    from counterpoise.core.assets import ensure_asset

    model, tokenizer = ensure_asset("minilm-l6-v2"), ensure_asset("minilm-l6-v2-tokenizer")
    return OnnxEncoder(model, tokenizer, name="minilm", max_tokens=64)


@pytest.mark.assets
def test_a_vector_depends_on_its_text_alone(encoder: OnnxEncoder) -> None:
    together = encoder.encode(TEXTS)
    assert together.dtype == np.float32 and together.shape == (len(TEXTS), encoder.dimension)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    assert together.tobytes() == alone.tobytes()
    assert encoder.encode(TEXTS[::-1])[::-1].tobytes() == together.tobytes()
    assert encoder.encode(TEXTS * 3)[-len(TEXTS) :].tobytes() == together.tobytes()
    assert encoder.encode([]).shape == (0, encoder.dimension)


@pytest.mark.assets
def test_vectors_have_length_one_and_a_meaning(encoder: OnnxEncoder) -> None:
    vectors = encoder.encode([*TEXTS, " \n"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert np.array_equal(vectors[2], vectors[-1])  # no words, whatever the white space
    meal, tasty, car = encoder.encode(["a delicious meal", "the dinner was tasty", "the car has a flat tyre"])
    assert meal @ tasty > 0.6 and meal @ car < 0.2


@pytest.mark.assets
def test_long_texts_are_seen_to_their_end(encoder: OnnxEncoder) -> None:
    start = "The hotel was fine and the room was clean. " * 8
    n_start = int(encoder.count_tokens([start])[0])
    assert n_start == 80 and encoder.count_long([start, "short", "a " * 62, "a " * 63]) == 2
    plain, with_end = encoder.encode(
        [start, start + "But then the roof burned down in a terrible fire. " * 4]
    )
    fire = encoder.encode(["a terrible fire"])[0]
    assert with_end @ fire > plain @ fire + 0.1
    # Two windows of 62 and 18 tokens: 9 words and a full stop a sentence.
    words = start.replace(".", " .").split()
    first, second = encoder.encode([" ".join(words[:62]), " ".join(words[62:])]).astype(np.float64)
    expected = (62 * first + 18 * second) / np.linalg.norm(62 * first + 18 * second)
    np.testing.assert_allclose(plain, expected, atol=1e-6)


@pytest.mark.assets
def test_a_language_that_does_not_fit_is_seen(encoder: OnnxEncoder) -> None:
    fitting = [
        TEXTS,
        ["omg this sux sooo bad, ngl gonna b returnin it asap"],
        ["Das Essen war gut, wir kommen wieder."],
    ]
    foreign = [
        ["Еда была отличной, но обслуживание очень медленным"],
        ["食物很好吃，但是服务太慢了"],
        ["อาหารอร่อยมากแต่บริการช้ามาก"],
    ]
    assert all(encoder.unknown_token_ratio(texts) < 0.4 for texts in fitting)
    assert all(encoder.unknown_token_ratio(texts) > 0.6 for texts in foreign)
    assert encoder.unknown_token_ratio([""]) == 0


@pytest.mark.assets
def test_files_and_windows_that_do_not_fit_are_refused(encoder: OnnxEncoder, tmp_path: Path) -> None:
    from counterpoise.core.assets import ensure_asset

    model, tokenizer = ensure_asset("minilm-l6-v2"), ensure_asset("minilm-l6-v2-tokenizer")
    broken = tmp_path / "broken"
    broken.write_bytes(b"no model")
    for wrong in (tmp_path / "absent", broken):
        with pytest.raises(ValueError, match=wrong.name):
            OnnxEncoder(wrong, tokenizer, name="wrong")
        with pytest.raises(ValueError, match=wrong.name):
            OnnxEncoder(model, wrong, name="wrong")
    with pytest.raises(ValueError, match="1000 tokens"):  # the model has 512 positions
        OnnxEncoder(model, tokenizer, name="wrong", max_tokens=1000)
    with pytest.raises(ValueError, match="no room"):
        OnnxEncoder(model, tokenizer, name="wrong", max_tokens=2)


def embed(text: str) -> list[float]:
    """What the test server knows: how often a text has each vowel, and how long it is."""
    return [*(float(text.count(vowel)) for vowel in "aeiou"), float(len(text))]


class EmbeddingServer:
    """`/v1/embeddings` on 127.0.0.1; items come back in reverse order, as the protocol allows."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.failures: list[int] = []
        self.spoil: Callable[[list[dict[str, object]]], list[dict[str, object]]] = lambda items: items[::-1]
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = outer.failures.pop() if outer.failures else 200
                items: list[dict[str, object]] = [
                    {"object": "embedding", "index": place, "embedding": embed(text)}
                    for place, text in enumerate(body["input"])
                ]
                if status == 200:
                    outer.requests.append(body["input"])
                usage = {"prompt_tokens": 1, "total_tokens": 1}
                answer = {
                    "object": "list",
                    "model": body["model"],
                    "data": outer.spoil(items),
                    "usage": usage,
                }
                content = json.dumps(answer if status == 200 else {"error": {"message": "no"}}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    server = EmbeddingServer()
    yield server
    server.stop()


def normalise(rows: list[list[float]]) -> np.ndarray:
    return np.array([np.array(row) / np.linalg.norm(row) for row in rows], dtype=np.float32)


def test_endpoint_keeps_order_and_cuts_what_does_not_fit(server: EmbeddingServer) -> None:
    remote: Encoder = EndpointEncoder(server.url, "vowels", max_tokens=10, batch_size=3, concurrency=3)
    assert remote.dimension == 6
    texts = [f"text {'o' * length}" for length in range(11)]
    np.testing.assert_allclose(remote.encode(texts), normalise([embed(text) for text in texts]), atol=1e-6)
    assert max(len(batch) for batch in server.requests) == 3
    halves = ["a" * 30, "e" * 12]
    vector = remote.encode(["".join(halves)])[0]
    expected = sum(len(half) * normalise([embed(half)])[0] for half in halves)
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(remote.encode(["", "  "]), normalise([embed(".")] * 2), atol=1e-6)


def test_endpoint_sends_again_what_may_pass_and_names_what_does_not(server: EmbeddingServer) -> None:
    remote = EndpointEncoder(server.url, "vowels", max_attempts=3)
    server.failures = [503, 429]
    assert remote.encode(["aeiou"]).shape == (1, 6)
    server.failures = [401]
    with pytest.raises(ValueError, match=r"127\.0\.0\.1.*vowels"):
        remote.encode(["aeiou"])
    assert server.failures == []  # sent once
    server.failures = [500] * 3
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1"):
        remote.encode(["aeiou"])
    server.spoil = lambda items: items[:-1]
    with pytest.raises(ValueError, match="1 embeddings came back for 2 texts"):
        remote.encode(["a", "b"])
    server.spoil = lambda items: [{**item, "embedding": [0.0] * 6} for item in items]
    with pytest.raises(ValueError, match="row 0 is zero"):
        remote.encode(["a", "b"])
    server.stop()
    with pytest.raises(ConnectionError):
        EndpointEncoder(server.url, "vowels", max_attempts=2).encode(["a"])


def test_langchain_embeddings_and_prefixes() -> None:
    inner = DeterministicFakeEmbedding(size=8)
    plain: Encoder = LangChainEncoder(inner, "fake")
    rows = plain.encode(["query: a", "b", ""])
    np.testing.assert_allclose(rows[:2], normalise(inner.embed_documents(["query: a", "b"])), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    queries: Encoder = PrefixedEncoder(plain, "query: ")
    assert np.array_equal(queries.encode(["a"])[0], rows[0])
    assert (queries.dimension, queries.name) == (8, "fake 'query: '")
