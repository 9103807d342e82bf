"""The encoder that a command or a call names: pinned, in a folder, behind an endpoint, or the caller's own.

Queries and passages may be encoded with prefixes; vectors are kept on disk by content and encoded once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from counterpoise.core.assets import MINILM, MINILM_TOKENIZER, ensure_asset, find_cache_dir
from counterpoise.core.errors import DataError, JobError, ServerError
from counterpoise.core.event_kinds import Downloading, Encoding
from counterpoise.core.events import Listener, current_listener, listening, tell_progress
from counterpoise.core.redactions import keep_secret, keep_secrets_of
from counterpoise_retrievers.arrays import Vectors
from counterpoise_retrievers.encoders import (
    CachedEncoder,
    Encoder,
    EndpointEncoder,
    OnnxEncoder,
    PrefixedEncoder,
)


@dataclass(frozen=True)
class EncoderPair:
    """What encodes queries and what encodes passages."""

    queries: Encoder
    passages: Encoder

    @property
    def name(self) -> str:
        """How reports call it."""
        return self.passages.name

    def encode_queries(self, texts: list[str]) -> Vectors:
        """(n, dimension); ServerError where the endpoint fails, DataError where it cannot be used."""
        return _encode(self.queries, texts)

    def encode_passages(self, texts: list[str]) -> Vectors:
        """(n, dimension); ServerError where the endpoint fails, DataError where it cannot be used."""
        return _encode(self.passages, texts)


def make_encoder(folder: str, cache_dir: Path, listener: Listener | None = None) -> OnnxEncoder:
    """The pinned encoder, or the one in a folder of the user's.

    Args:
        folder: of the user's; "" for the pinned one.
        cache_dir: where the pinned weights are kept.
        listener: told of downloads; None for whoever listens.

    Raises:
        JobError: the folder has no model.onnx or tokenizer.json.
        AssetError: the pinned weights cannot be had.
    """
    if not folder:
        with listening(listener or current_listener()):
            model = ensure_asset(MINILM, cache_dir, tell_progress(partial(Downloading, MINILM.name)))
            tokenizer = ensure_asset(
                MINILM_TOKENIZER, cache_dir, tell_progress(partial(Downloading, MINILM_TOKENIZER.name))
            )
        return OnnxEncoder(model, tokenizer, name=f"{MINILM.name}@{MINILM.sha256[:12]}")
    model, tokenizer = Path(folder) / "model.onnx", Path(folder) / "tokenizer.json"
    for path in (model, tokenizer):
        if not path.is_file():
            raise JobError(
                f"no {path.name} in it", where=f"encoder: {folder}", hint="name a folder that has both"
            )
    return OnnxEncoder(
        model, tokenizer, name=f"{Path(folder).name}@{sha256(model.read_bytes()).hexdigest()[:12]}"
    )


def open_encoders(
    encoder: str | Encoder = "",
    *,
    model: str = "",
    query_prefix: str = "",
    passage_prefix: str = "",
    api_key_env: str = "",
    cache_dir: Path | None = None,
) -> EncoderPair:
    """Open the encoder somebody named.

    Args:
        encoder: "" or "minilm" for the pinned one, a folder with `model.onnx` and `tokenizer.json`, the URL of a server
            with `/v1/embeddings`, or any object with the protocol of `Encoder`.
        model: the model's name, for a URL.
        query_prefix: put in front of queries.
        passage_prefix: put in front of passages.
        api_key_env: environment variable that holds the server's key.
        cache_dir: where vectors and weights are kept.

    Raises:
        JobError: a URL without a model, a folder without a file, a variable that is not set.
        AssetError: the pinned weights cannot be had.
    """
    folder = find_cache_dir(cache_dir)
    if not isinstance(encoder, str):
        plain: Encoder = encoder
    elif encoder.startswith(("http://", "https://")):
        if not model:
            raise JobError(
                "a server needs the name of its model", where=f"encoder: {encoder}", hint="name it"
            )
        if api_key_env and not os.environ.get(api_key_env):
            raise JobError(
                f"the environment variable {api_key_env} is not set", where="encoder", hint="set it"
            )
        keep_secret(os.environ.get(api_key_env, ""))
        keep_secrets_of(encoder)
        plain = EndpointEncoder(encoder, model, os.environ.get(api_key_env, "") if api_key_env else "")
    else:
        plain = make_encoder("" if encoder == "minilm" else encoder, folder)
    cached = CachedEncoder(
        plain,
        folder / "vectors",
        on_progress=tell_progress(Encoding),
    )
    return EncoderPair(
        PrefixedEncoder(cached, query_prefix) if query_prefix else cached,
        PrefixedEncoder(cached, passage_prefix) if passage_prefix else cached,
    )


def _encode(encoder: Encoder, texts: list[str]) -> Vectors:
    try:
        return encoder.encode(texts)
    except ConnectionError as error:
        raise ServerError(str(error), where="encoder", hint="run again: what is encoded is kept") from error
    except ValueError as error:
        raise DataError(str(error), where="encoder") from error
