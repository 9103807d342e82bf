"""The same weights from the hub, a folder, a server and LangChain are the same vectors; what fails is one line."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from counterpoise.core.assets import ensure_asset
from counterpoise.core.errors import AssetError, DataError, JobError, ServerError
from counterpoise.core.hub_files import is_hub_id
from counterpoise.data.encoders import make_encoder, open_cached
from counterpoise.tasks.text.job import Job
from counterpoise_retrievers.encoders import Encoder

TEXTS = ["The soup was cold, and the waiter rude.", "ok", "", "Die Suppe war kalt 😀", "slow service " * 90]
REPOSITORY = "somebody/small-encoder"
COMMIT = "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a"

pytestmark = [pytest.mark.assets, pytest.mark.processes]


class Hub(ThreadingHTTPServer):
    """Speaks as much of the hub's protocol as a download needs."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.files = files
        self.asked: list[str] = []
        self.damaged = ""


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the tests look at what was asked."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(self.path.split("?")[0])
        self.server.asked.append(path)
        repository, _, rest = path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if repository != REPOSITORY or revision not in ("main", COMMIT, COMMIT[:7]):
            error = "RepoNotFound" if repository != REPOSITORY else "RevisionNotFound"
            self._send(404, b"", {"X-Error-Code": error, "X-Error-Message": "no"})
        elif name not in self.server.files:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            content = self.server.files[name]
            headers = {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            if name == self.server.damaged:
                content = content[:-1] + b"?"
            self._send(200, content, headers, with_body=with_body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, with_body: bool = True) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)


@contextmanager
def serve_hub(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub(files)
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{hub.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        address + "/{repo_id}/resolve/{revision}/{filename}",
    )
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


def read_files(**more: object) -> dict[str, bytes]:
    settings = {
        name.replace("__", "/").replace("_json", ".json"): json.dumps(value).encode()
        for name, value in more.items()
    }
    return {
        "onnx/model.onnx": ensure_asset("minilm-l6-v2").read_bytes(),
        "tokenizer.json": ensure_asset("minilm-l6-v2-tokenizer").read_bytes(),
        "sentence_bert_config.json": b'{"max_seq_length": 256}',
    } | settings


class Wrapped(Embeddings):
    """LangChain's interface around an encoder."""

    model = "wrapped"

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [row.tolist() for row in self._encoder.encode(texts)]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class EmbeddingsHandler(BaseHTTPRequestHandler):
    """`/v1/embeddings` of an encoder."""

    encoder: Encoder
    n_left_out = 0
    dimension: int | None = None

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        texts: Sequence[str] = body["input"]
        rows = self.encoder.encode(texts)[: len(texts) - self.n_left_out]
        data = [
            {"object": "embedding", "index": place, "embedding": row[: self.dimension].tolist()}
            for place, row in enumerate(rows)
        ]
        content = json.dumps(
            {
                "object": "list",
                "data": data,
                "model": body["model"],
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            }
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content.encode())


@contextmanager
def serve_embeddings(encoder: Encoder, n_left_out: int = 0) -> Iterator[str]:
    handler = type("Handler", (EmbeddingsHandler,), {"encoder": encoder, "n_left_out": n_left_out})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def make_job(encoder: object) -> Job:
    return Job.make(data="reviews.csv", text="review", label="stars", encoder=encoder)


def test_the_same_weights_are_the_same_vectors_wherever_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = make_encoder("", ensure_asset("minilm-l6-v2").parents[2])
    expected = pinned.encode(TEXTS)
    folder = tmp_path / "folder"
    folder.mkdir()
    files = read_files()
    (folder / "model.onnx").write_bytes(files["onnx/model.onnx"])
    (folder / "tokenizer.json").write_bytes(files["tokenizer.json"])
    found = {"folder": open_cached(make_job(folder).encoder, tmp_path).encode(TEXTS)}
    found["langchain"] = open_cached(make_job(Wrapped(pinned)).encoder, tmp_path).encode(TEXTS)
    with serve_hub(files, monkeypatch):
        job = make_job(REPOSITORY)
        assert job.encoder == REPOSITORY
        found["hub"] = open_cached(job.encoder, tmp_path).encode(TEXTS)
    with serve_embeddings(pinned) as url:
        job = make_job({"url": url, "model": "small", "max_tokens": 8192})
        found["server"] = open_cached(job.encoder, tmp_path).encode(TEXTS)
    for where, vectors in found.items():
        # A server and LangChain have no word for the empty text.
        np.testing.assert_allclose(
            np.delete(vectors, 2, axis=0), np.delete(expected, 2, axis=0), atol=1e-4, err_msg=where
        )


def test_a_repository_says_how_its_vectors_are_made_and_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = read_files(
        **{
            "1_Pooling__config_json": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
            "config_sentence_transformers_json": {
                "prompts": {"query": "query: ", "classification": "classify: "}
            },
        }
    )
    assert "1_Pooling/config.json" in files
    with serve_hub(files, monkeypatch) as hub:
        first = make_encoder(f"{REPOSITORY}@{COMMIT[:7]}", tmp_path)
        assert first.name.startswith(f"{REPOSITORY}@") and getattr(first, "identity", "") == "cls classify:"
        assert first.max_tokens == 256
        plain = make_encoder("", ensure_asset("minilm-l6-v2").parents[2])
        assert not np.allclose(first.encode(TEXTS[:1]), plain.encode(TEXTS[:1]), atol=0.05)
        before = [path for path in hub.asked if path.endswith("model.onnx")]
        assert before
    # Offline the files are here.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    again = make_encoder(f"{REPOSITORY}@{COMMIT}", tmp_path)
    assert np.array_equal(again.encode(TEXTS), first.encode(TEXTS))


def test_what_the_hub_cannot_give_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_hub({"tokenizer.json": b"{}", "pytorch_model.bin": b"pickled"}, monkeypatch) as hub:
        for chosen, line in {
            REPOSITORY: ": has no onnx/model.onnx and no model.onnx; name a repository with ONNX",
            f"{REPOSITORY}@nothing": "no revision 'nothing'",
            "nobody/here": "encoder: nobody/here: no such repository on the hub, or it is private",
        }.items():
            with pytest.raises(JobError) as caught:
                make_encoder(chosen, tmp_path / "a")
            assert line in str(caught.value) and "\n" not in str(caught.value)
        assert not any(path.endswith(".bin") for path in hub.asked), "no pickle is looked at"
        hub.files |= read_files(tokenizer_json={"not": "one"})
        with pytest.raises(JobError, match="no readable tokenizer"):
            make_encoder(REPOSITORY, tmp_path / "b")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(AssetError, match=r"the hub cannot be reached, and onnx/model\.onnx is not here"):
        make_encoder(REPOSITORY, tmp_path / "c")


def test_weights_of_another_hash_than_the_hub_has_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_hub(read_files(), monkeypatch) as hub:
        hub.damaged = "onnx/model.onnx"
        with pytest.raises(AssetError) as caught:
            open_cached(REPOSITORY, tmp_path)
        assert "model.onnx has the hash" in str(caught.value) and "\n" not in str(caught.value)
        assert not list(tmp_path.rglob("*.vectors")) and not list(tmp_path.rglob("model.onnx"))
        hub.damaged = ""
        assert open_cached(REPOSITORY, tmp_path).encode(TEXTS[:1]).shape == (1, 384)


def test_a_dimension_that_changes_is_one_line_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    pinned = make_encoder("", ensure_asset("minilm-l6-v2").parents[2])
    with serve_embeddings(pinned) as url:
        choice = make_job({"url": url, "model": "small"}).encoder
        cached = open_cached(choice, tmp_path)
        first = cached.encode(TEXTS[:2])
        stored = {path.name: path.read_bytes() for path in (tmp_path / "vectors").iterdir()}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(EmbeddingsHandler, "dimension", 100)
            with pytest.raises(DataError) as caught:
                cached.encode(["another text", *TEXTS])
        said = str(caught.value)
        assert "vectors of small have 100 and 384 numbers" in said and "\n" not in said
        assert {path.name: path.read_bytes() for path in (tmp_path / "vectors").iterdir()} == stored
        assert np.array_equal(cached.encode(TEXTS[:2]), first)
        assert cached.encode(["another text"]).shape == (1, 384)


def test_what_a_server_does_wrong_is_one_line_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    pinned = make_encoder("", ensure_asset("minilm-l6-v2").parents[2])
    with serve_embeddings(pinned, n_left_out=1) as url:
        choice = make_job({"url": url, "model": "small"}).encoder
        with pytest.raises(DataError, match="0 embeddings came back for 1 texts"):
            open_cached(choice, tmp_path).encode(TEXTS)
    with serve_embeddings(pinned) as url:
        whole = open_cached(make_job({"url": url, "model": "small"}).encoder, tmp_path)
        assert whole.encode(TEXTS).shape == (5, 384)
    gone = make_job({"url": "http://127.0.0.1:9/v1", "model": "other"}).encoder
    with pytest.raises(ServerError, match="run again: what is encoded is kept"):
        open_cached(gone, tmp_path).encode(["a text of which nothing is kept"])


@pytest.mark.parametrize(
    ("encoder", "line"),
    [
        ("http://localhost:8000/v1", "a server needs the name of its model"),
        ({"url": "localhost", "model": "m"}, "write an address such as http://localhost:8000/v1"),
        ({"url": "http://localhost:1/v1"}, "missing"),
        (
            {"url": "http://localhost:1/v1", "modell": "m"},
            "key 'encoder': key 'modell': unknown key; did you mean 'model'?",
        ),
        (3, "has no `name`"),
        ("nomik", "did you mean 'nomic'?"),
    ],
)
def test_an_encoder_that_cannot_be_is_one_line(encoder: object, line: str) -> None:
    with pytest.raises(JobError) as caught:
        make_job(encoder)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_a_job_with_a_server_is_written_down_and_read_again(tmp_path: Path) -> None:
    job = make_job({"url": "http://localhost:8000/v1", "model": "BAAI/bge-m3", "prefix": "query: "})
    (tmp_path / "job.yaml").write_text(job.dump(), encoding="utf-8")
    again = Job.load(tmp_path / "job.yaml")
    assert again == job and again.fingerprint() == job.fingerprint()
    elsewhere = make_job({"url": "http://other:8000/v1", "model": "BAAI/bge-m3", "prefix": "query: "})
    assert elsewhere.fingerprint() == job.fingerprint() != make_job("BAAI/bge-m3").fingerprint()


@pytest.mark.parametrize(
    ("chosen", "is_one"),
    [
        ("BAAI/bge-m3", True),
        ("a/b@main", True),
        ("minilm", False),
        ("/a/b", False),
        ("./a", False),
        ("a/b/c", False),
    ],
)
def test_a_repository_is_told_from_a_path(chosen: str, *, is_one: bool) -> None:
    assert is_hub_id(chosen) == is_one
