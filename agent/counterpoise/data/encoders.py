"""The encoder that a command or a call names: pinned, in a folder, behind an endpoint, or the caller's own.

Queries and passages may be encoded with prefixes; vectors are kept on disk by content and encoded once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from weakref import finalize

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.errors import DataError, JobError, ServerError
from counterpoise.core.event_kinds import Encoding
from counterpoise.core.events import Listener, current_listener, listening, tell_progress
from counterpoise.core.hub_files import is_hub_id
from counterpoise.core.redactions import keep_secret, keep_secrets_of
from counterpoise.data.encoder_choice import EncoderChoice, is_folder, open_registered, resolve_encoder
from counterpoise.data.guarded_encoder import GuardedEncoder
from counterpoise.data.hub_encoder import open_hub_encoder
from counterpoise.data.served_encoder import ServedEncoder
from counterpoise_retrievers.arrays import Vectors
from counterpoise_retrievers.encoders import (
    CachedEncoder,
    Encoder,
    EndpointEncoder,
    OnnxEncoder,
    PrefixedEncoder,
    find_identity,
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


def make_encoder(chosen: str, cache_dir: Path, listener: Listener | None = None) -> Encoder:
    """The encoder of a name or a folder.

    Args:
        chosen: a folder of the user's, or a registered name (see `encoder_choice`); "" for the pinned one.
        cache_dir: where the pinned weights are kept.
        listener: told of downloads; None for whoever listens.

    Raises:
        JobError: the folder has no model.onnx or tokenizer.json, or nothing has the name.
        AssetError: the pinned weights cannot be had.
    """
    folder = resolve_encoder(chosen, Path.cwd())
    if isinstance(folder, str) and is_hub_id(folder):
        return open_hub_encoder(folder, cache_dir)
    if not isinstance(folder, str) or not is_folder(folder):
        with listening(listener or current_listener()):
            return open_registered(str(folder), cache_dir)
    model, tokenizer = Path(folder) / "model.onnx", Path(folder) / "tokenizer.json"
    for path in (model, tokenizer):
        if not path.is_file():
            raise JobError(
                f"no {path.name} in it", where=f"encoder: {chosen}", hint="name a folder that has both"
            )
    return OnnxEncoder(
        model, tokenizer, name=f"{Path(folder).name}@{sha256(model.read_bytes()).hexdigest()[:12]}"
    )


def open_cached(chosen: EncoderChoice, cache_dir: Path) -> CachedEncoder:
    """The encoder somebody chose, its vectors kept.

    Vectors of an encoder that states what they go by (`identity`) are kept below `cache_dir` for all later runs; those
    of one that does not, for as long as the encoder is used: nobody could tell when they are those of an older version.

    Args:
        chosen: a folder, a registered name, or the encoder.
        cache_dir: where vectors and weights are kept.

    Raises:
        JobError: as `make_encoder`.
        AssetError: the pinned weights cannot be had.
    """
    encoder = open_choice(chosen, cache_dir)
    tell = tell_progress(Encoding)
    if find_identity(encoder) is not None:
        return CachedEncoder(encoder, cache_dir / "vectors", on_progress=tell)
    folder = Path(mkdtemp(prefix="counterpoise-vectors-"))
    cached = CachedEncoder(encoder, folder, on_progress=tell)
    finalize(cached, rmtree, folder, ignore_errors=True)
    return cached


def open_choice(chosen: EncoderChoice, cache_dir: Path) -> Encoder:
    """The encoder somebody chose, as it is; arguments and errors as of `open_cached`."""
    if isinstance(chosen, str):
        return make_encoder(chosen, cache_dir)
    return GuardedEncoder(chosen.open() if isinstance(chosen, ServedEncoder) else chosen)


def open_encoders(
    encoder: EncoderChoice = "",
    *,
    model: str = "",
    query_prefix: str = "",
    passage_prefix: str = "",
    api_key_env: str = "",
    cache_dir: Path | None = None,
) -> EncoderPair:
    """Open the encoder somebody named.

    Args:
        encoder: a registered name ("" or "minilm" for the pinned one), a folder with `model.onnx` and `tokenizer.json`,
            the URL of a server with `/v1/embeddings`, or any object with the protocol of `Encoder`.
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
    chosen: EncoderChoice = encoder
    if isinstance(encoder, str) and encoder.startswith(("http://", "https://")):
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
        chosen = EndpointEncoder(encoder, model, os.environ.get(api_key_env, "") if api_key_env else "")
    cached = open_cached(chosen, folder)
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
