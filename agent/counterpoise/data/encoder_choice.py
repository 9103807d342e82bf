"""Encoders by name: the family `encoders`, and what a job's key `encoder` may be.

It may be, in this order: the name of an encoder that ships (`minilm`), a folder (a path has a `/` or a backslash in it,
or lies beside the job file), a repository of the hub where there is no such folder (`BAAI/bge-small-en-v1.5`), the
name of one that is installed (an entry point of `counterpoise.encoders`), or the keys of a server's (`{url: ...,
model: ...}`). In Python it may be the object itself, LangChain's `Embeddings` among them. `""` is `minilm`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast, runtime_checkable

from counterpoise.core.errors import JobError, RunDirectoryError
from counterpoise.core.hub_files import is_hub_id
from counterpoise.core.registry import NamedPart, Registry
from counterpoise.core.strict_yaml import validate
from counterpoise.data.served_encoder import ServedEncoder
from counterpoise.data.shipped_encoders import MiniLm, Multilingual, Nomic
from counterpoise.data.sources import normalise_path

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from counterpoise_retrievers.encoders import Encoder

IN_MEMORY = "memory:"
AUTO = "auto"
"""Stands for the encoder at hand that is evidently best on a sample; a job of a task that tries them may say so."""

_URLS = ("http://", "https://")
_NEEDED = ("name", "dimension", "max_tokens", "encode")

EncoderChoice: TypeAlias = "str | ServedEncoder | Encoder"
"""A folder, a hub id, a registered name, `""` for the default one, a server's, or the encoder."""


@runtime_checkable
class EncoderOpener(Protocol):
    """A part that has to fetch or load something before it can encode.

    Attributes:
        name: what a job calls it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    def open(self, cache_dir: Path) -> Encoder:
        """The encoder; what it needs is kept below `cache_dir`."""
        ...


ENCODERS: Registry[NamedPart] = Registry("encoders", key="encoder", either=("encode", "open"))
"""Each is an `Encoder`, or an `EncoderOpener`."""

DEFAULT_ENCODER = ENCODERS.register(MiniLm()).name
ENCODERS.register(Nomic(), default=False)
ENCODERS.register(Multilingual(), default=False)


def resolve_encoder(chosen: object, base: Path) -> object:
    """A choice as a job keeps it: `""` for the default one, an absolute folder, an installed name, or an object.

    Args:
        chosen: as the user gave it.
        base: the folder that relative paths start from.
    """
    if isinstance(chosen, Path):
        return str(normalise_path(base / chosen.expanduser()))
    if not isinstance(chosen, str) or chosen.startswith((IN_MEMORY, *_URLS)):
        return chosen
    if chosen in ("", DEFAULT_ENCODER):
        return ""
    if chosen == AUTO:
        return AUTO
    path = base / Path(chosen).expanduser()
    if is_hub_id(chosen) and not path.exists():
        return chosen
    is_path = re.search(r"[/\\]", chosen) or (chosen not in ENCODERS.names and path.is_dir())
    return str(normalise_path(path)) if is_path else chosen


def check_encoder_choice(chosen: object) -> EncoderChoice:
    """A choice that `resolve_encoder` has made ready, where it can be opened as far as one can tell without opening it.

    Raises:
        ValueError: a name that nothing has, or an object that is no encoder; says what would be right.
    """
    if isinstance(chosen, Mapping):
        return _read_served(chosen)
    if isinstance(chosen, ServedEncoder):
        return chosen
    if not isinstance(chosen, str):
        return check_encoder(adapt(chosen), "the object")
    if chosen.startswith(_URLS):
        raise ValueError(
            f"found {chosen!r:.80}; a server needs the name of its model: {{url: ..., model: ...}}"
        )
    is_known = chosen == AUTO or chosen.startswith(IN_MEMORY) or is_folder(chosen) or is_hub_id(chosen)
    if chosen and not is_known:
        try:
            ENCODERS.find(chosen)
        except JobError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
    return chosen


def _read_served(keys: Mapping[str, object]) -> ServedEncoder:
    try:
        return validate(ServedEncoder, dict(keys), "encoder")
    except JobError as error:
        raise ValueError(f"{error.where.removeprefix('encoder: ')}: {error.message}; {error.hint}") from error


def check_encoder(found: object, origin: str) -> Encoder:
    """What has all that an encoder has.

    Raises:
        ValueError: it lacks something.
    """
    missing = next((name for name in _NEEDED if not hasattr(found, name)), None)
    if missing is not None:
        raise ValueError(
            f"{origin} ({type(found).__name__}) has no `{missing}`; an encoder has "
            + ", ".join(f"`{name}`" for name in _NEEDED)
        )
    return cast("Encoder", found)


def name_encoder(chosen: EncoderChoice) -> str:
    """How students on its vectors are named: `minilm`, the last part of a folder's path, the name of the object."""
    if not isinstance(chosen, str):
        chosen = chosen.model if isinstance(chosen, ServedEncoder) else chosen.name
    return re.split(r"[/\\]", chosen.removeprefix(IN_MEMORY))[-1] or DEFAULT_ENCODER


def is_folder(chosen: str) -> bool:
    """Whether a choice that is ready names a folder."""
    return re.search(r"[/\\]", chosen) is not None and not is_hub_id(chosen)


def adapt(chosen: object) -> object:
    """An object as an encoder, where it is LangChain's `Embeddings`; else the object."""
    if not (hasattr(chosen, "embed_documents") and hasattr(chosen, "embed_query")) or hasattr(
        chosen, "encode"
    ):
        return chosen
    from counterpoise_retrievers.encoders import LangChainEncoder

    name = getattr(chosen, "model", None) or getattr(chosen, "model_name", None) or type(chosen).__name__
    return LangChainEncoder(cast("Embeddings", chosen), str(name))


def open_registered(name: str, cache_dir: Path) -> Encoder:
    """The encoder of a name; `""` for the default one.

    Args:
        name: as `ENCODERS` has it.
        cache_dir: where what it needs is kept.

    Raises:
        JobError: nothing has the name, or what has it is no encoder.
        RunDirectoryError: it was an object in Python.
    """
    if name.startswith(IN_MEMORY):
        raise RunDirectoryError(
            f"the encoder of this run was an object in Python ({name.removeprefix(IN_MEMORY)})",
            hint="call it from Python again with that encoder and the same output",
        )
    part = ENCODERS.find(name or DEFAULT_ENCODER)
    found = part.open(cache_dir) if isinstance(part, EncoderOpener) else part
    try:
        return check_encoder(found, f"the encoder '{name}'")
    except ValueError as error:
        raise JobError(str(error), where="key 'encoder'") from error


def is_at_hand(name: str, cache_dir: Path) -> bool:
    """Whether an encoder that ships can be used without fetching anything."""
    asks = getattr(ENCODERS.find(name), "is_at_hand", None)
    return asks is None or bool(asks(cache_dir))


def list_known_languages(chosen: EncoderChoice) -> Sequence[str]:
    """The languages that an encoder says it knows, as two letters each; none where it says nothing."""
    if isinstance(chosen, str):
        if is_folder(chosen) or is_hub_id(chosen) or chosen.startswith(IN_MEMORY):
            return ()
        return tuple(getattr(ENCODERS.find(chosen or DEFAULT_ENCODER), "languages", ()))
    return tuple(getattr(chosen, "languages", ()))
