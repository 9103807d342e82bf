"""What a student that trains an encoder begins with: pinned weights, a folder, or a repository of the hub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache, partial
from hashlib import file_digest
from pathlib import Path
from typing import Any, Protocol

from counterpoise.core.assets import MINILM_FULL, MINILM_TOKENIZER, ensure_asset, is_present
from counterpoise.core.errors import JobError
from counterpoise.core.event_kinds import Downloading
from counterpoise.core.events import tell_progress
from counterpoise.core.hub_files import HubFiles, is_hub_id

FILES = CONFIG, MODEL, TOKENIZER = "config.json", "model.safetensors", "tokenizer.json"

_MINILM_CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "attention_probs_dropout_prob": 0.1,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 384,
    "initializer_range": 0.02,
    "intermediate_size": 1536,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 6,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
"""Of all-MiniLM-L6-v2, as its config.json has it."""


@dataclass(frozen=True, slots=True)
class OpenedWeights:
    """An encoder that can be trained.

    Args:
        config: what transformers builds the model from.
        model: a safetensors file.
        tokenizer: tokenizer.json.
        sha256: of the model and the tokenizer.
    """

    config: dict[str, Any]
    model: Path
    tokenizer: Path
    sha256: tuple[str, str]


class Weights(Protocol):
    """Where the weights of an encoder come from.

    Attributes:
        name: how a student on them is called in words.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    def check(self) -> None:
        """Refuse what cannot be there, without fetching anything.

        Raises:
            JobError: says what is missing.
        """
        ...

    def is_at_hand(self, cache_dir: Path) -> bool:
        """Whether nothing has to be fetched."""
        ...

    def place(self, cache_dir: Path) -> Weights:
        """The weights as they are in a run, whose name says which ones they are.

        Raises:
            AssetError, JobError: they cannot be had.
        """
        ...

    def open(self, cache_dir: Path) -> OpenedWeights:
        """Fetch what is not here yet.

        Raises:
            AssetError: it cannot be had.
            JobError: it is no encoder that can be trained.
        """
        ...


@dataclass(frozen=True, slots=True)
class PinnedWeights:
    """all-MiniLM-L6-v2 in full precision, fetched once (91 MB)."""

    name: str = "all-MiniLM-L6-v2"

    def check(self) -> None:
        """Nothing can be wrong."""

    def is_at_hand(self, cache_dir: Path) -> bool:
        """Whether both files were fetched."""
        return is_present(MINILM_FULL, cache_dir) and is_present(MINILM_TOKENIZER, cache_dir)

    def place(self, cache_dir: Path) -> Weights:
        """Here itself; its files are fetched when they are needed."""
        return self

    def open(self, cache_dir: Path) -> OpenedWeights:
        """Fetch both files; their hashes are checked."""
        model, tokenizer = (
            ensure_asset(asset, cache_dir, tell_progress(partial(Downloading, asset.name)))
            for asset in (MINILM_FULL, MINILM_TOKENIZER)
        )
        return OpenedWeights(_MINILM_CONFIG, model, tokenizer, (MINILM_FULL.sha256, MINILM_TOKENIZER.sha256))


@dataclass(frozen=True, slots=True)
class FolderWeights:
    """A folder as transformers writes it, with `config.json`, `model.safetensors` and `tokenizer.json`.

    Weights in other forms (`pytorch_model.bin`) are not read: loading them runs code that is in them.

    Args:
        folder: its absolute path.
        called: the name of what it is a copy of; "" for that of the folder.
    """

    folder: Path
    called: str = ""

    @property
    def name(self) -> str:
        """The folder's, with the beginning of the hash of the weights where they are there."""
        called, model = self.called or self.folder.name, self.folder / MODEL
        return f"{called}@{_hash(model)[:12]}" if model.is_file() else called

    def check(self) -> None:
        """Refuse a folder that lacks one of the files."""
        missing = next((name for name in FILES if not (self.folder / name).is_file()), None)
        if missing is not None:
            raise JobError(
                f"{self.folder} has no {missing}",
                where="key 'students'",
                hint=f"name a folder with {', '.join(FILES)}, as `save_pretrained` writes it",
            )

    def is_at_hand(self, cache_dir: Path) -> bool:
        """It is."""
        return True

    def place(self, cache_dir: Path) -> Weights:
        """Here itself."""
        return self

    def open(self, cache_dir: Path) -> OpenedWeights:
        """Read its settings, and take the hashes of its files."""
        self.check()
        config, model, tokenizer = (self.folder / name for name in FILES)
        try:
            settings = json.loads(config.read_text(encoding="utf-8"))
        except ValueError as error:
            raise JobError(f"is no JSON ({error})", where=str(config)) from error
        if not isinstance(settings, dict) or "model_type" not in settings:
            raise JobError("has no model_type", where=str(config), hint="take it from the model's repository")
        return OpenedWeights(settings, model, tokenizer, (_hash(model), _hash(tokenizer)))


@dataclass(frozen=True, slots=True)
class HubWeights:
    """A repository of the hub with the same three files; nothing else is fetched.

    Args:
        chosen: `owner/name`, with `@revision` behind it or without.
    """

    chosen: str

    @property
    def name(self) -> str:
        """As the job has it."""
        return self.chosen

    def check(self) -> None:
        """Nothing can be said without asking the hub."""

    def is_at_hand(self, cache_dir: Path) -> bool:
        """That is not known before the hub was asked."""
        return False

    def place(self, cache_dir: Path) -> Weights:
        """The folder that the files were fetched into."""
        repository, _, revision = self.chosen.partition("@")
        instead = f"a folder with {', '.join(FILES)}"
        fetch = HubFiles(repository, revision or None, cache_dir / "hub", key="students", instead=instead)
        for name in FILES:
            if fetch(name) is None:
                raise JobError(
                    f"has no {name}",
                    where=f"students: {self.chosen}",
                    hint=f"name a repository with {', '.join(FILES)}",
                )
        return FolderWeights(fetch.snapshot, repository)

    def open(self, cache_dir: Path) -> OpenedWeights:
        """Fetch what is not here yet."""
        return self.place(cache_dir).open(cache_dir)


def find_weights(chosen: str) -> Weights:
    """The weights of a choice: a folder, a repository of the hub, or "" for the pinned ones."""
    if not chosen:
        return PinnedWeights()
    return HubWeights(chosen) if is_hub_id(chosen) else FolderWeights(Path(chosen))


def _hash(path: Path) -> str:
    return _hash_once(path, path.stat().st_mtime_ns, path.stat().st_size)


@lru_cache(maxsize=64)
def _hash_once(path: Path, modified: int, size: int) -> str:
    """The sha256 of a file; asked again only when the file was changed."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
