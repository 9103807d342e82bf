"""Encoders of the hub: `BAAI/bge-small-en-v1.5`, or with a revision `BAAI/bge-small-en-v1.5@5c38ec7`.

What is fetched are ONNX files and JSON, of one commit: no file of a kind that could run code is looked at. How the
states of the tokens are pooled, the window, and the prefix for classification are read from the repository's own
settings, as sentence-transformers writes them.
"""

from __future__ import annotations

import json
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.core.errors import JobError
from counterpoise.core.hub_files import HubFiles

if TYPE_CHECKING:
    from counterpoise_retrievers.onnx_encoder import OnnxEncoder, Pooling

MODELS = ("onnx/model.onnx", "model.onnx")
_DEFAULT_WINDOW = 512
_LONGEST_WINDOW = 8192


def open_hub_encoder(chosen: str, cache_dir: Path) -> OnnxEncoder:
    """Fetch the files of a repository where they are not there yet, and open its encoder.

    Args:
        chosen: `owner/name`, with `@revision` behind it or without.
        cache_dir: where files are kept.

    Raises:
        JobError: there is no such repository or revision, or it has no ONNX files.
        AssetError: the hub cannot be reached and the files are not here, or its weights are not what it says.
    """
    from counterpoise_retrievers.onnx_encoder import OnnxEncoder

    repository, _, revision = chosen.partition("@")
    fetch = HubFiles(
        repository,
        revision or None,
        cache_dir / "hub",
        key="encoder",
        instead="a folder with model.onnx and tokenizer.json",
    )
    model = next((path for name in MODELS if (path := fetch(name)) is not None), None)
    tokenizer = fetch("tokenizer.json")
    if model is None or tokenizer is None:
        what = f"no {' and no '.join(MODELS)}" if model is None else "no tokenizer.json"
        raise JobError(
            f"has {what}",
            where=f"encoder: {chosen}",
            hint="name a repository with ONNX files (most encoders have a copy with them), or a server's `/v1` address",
        )
    fetch(f"{model.relative_to(fetch.snapshot)}_data", is_needed=False)  # where weights of more than 2 GB lie
    with model.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    fetch.check_hash(model, digest)
    try:
        return OnnxEncoder(
            model,
            tokenizer,
            name=f"{repository}@{digest[:12]}",
            max_tokens=_read_window(fetch),
            pooling=_read_pooling(fetch),
            prefix=_read_prefix(fetch),
        )
    except ValueError as error:
        raise JobError(
            str(error), where=f"encoder: {chosen}", hint="another repository of the model may do"
        ) from error


def _read_json(fetch: HubFiles, name: str) -> dict[str, Any]:
    path = fetch(name, is_needed=False)
    if path is None:
        return {}
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}


def _read_pooling(fetch: HubFiles) -> Pooling:
    settings = _read_json(fetch, "1_Pooling/config.json")
    if settings.get("pooling_mode_cls_token"):
        return "cls"
    return "last" if settings.get("pooling_mode_lasttoken") else "mean"


def _read_window(fetch: HubFiles) -> int:
    """The window that the encoder was made for; what its tokenizer alone would allow may be without end."""
    for name, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        value = _read_json(fetch, name).get(key)
        if isinstance(value, int) and 8 <= value <= _LONGEST_WINDOW:
            return value
    return _DEFAULT_WINDOW


def _read_prefix(fetch: HubFiles) -> str:
    """What is put in front of texts to classify, where the repository says so."""
    prompts = _read_json(fetch, "config_sentence_transformers.json").get("prompts")
    if not isinstance(prompts, dict):
        return ""
    return str(next((prompts[name] for name in ("classification", "query") if prompts.get(name)), ""))
