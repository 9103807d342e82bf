"""What the jobs of all tasks share: their common keys, and how a job is read, written down and hashed.

A task's model adds keys of its own and says in class variables which of them are sources, paths and models. Everything
else is here, so that a mistake in a job file is told alike whatever the task.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ValidationInfo, field_validator

from counterpoise.core.errors import RunDirectoryError
from counterpoise.core.strict_yaml import SETTINGS, read_mapping, validate
from counterpoise.data.encoder_choice import AUTO, check_encoder_choice, resolve_encoder
from counterpoise.data.served_encoder import ServedEncoder
from counterpoise.data.sources import normalise_path, resolve_source
from counterpoise.llm.config import IN_MEMORY, Budget, LlmConfig, ModelObject, expand_llm
from counterpoise.tasks.part_keys import (
    PART_KEYS,
    check_parts,
    expand_parts,
    find_family,
    name_parts,
    resolve_students,
)


class JobBase(BaseModel):
    """What a run of any task is told; a task's model says what its own keys are.

    Args:
        task: what kind of data it is, the name of a task.
        name: of the run; by default that of the data.
        data: where the data lies.
        llm: the model; `embedded` or a URL for short.
        budget: what may be spent; a number of tokens for short.
        encoder: instead of the pinned one: `nomic`, `multilingual`, a repository of the hub with ONNX files
            (`BAAI/bge-small-en-v1.5`), a folder with `model.onnx` and `tokenizer.json`, a server's (`{url: ..., model:
            ...}`), the name of an encoder that is installed, or in Python the encoder, LangChain's among them.
        output: the run directory.
        cache_dir: where replies and vectors are kept; by default the user's cache folder.
    """

    model_config = SETTINGS

    SOURCES: ClassVar[tuple[str, ...]] = ("data",)
    """Keys that name a table: a file, a folder, a hub id, in Python the table itself."""
    PATHS: ClassVar[tuple[str, ...]] = ("output", "cache_dir")
    """Keys that name a file or a folder."""
    KEY_FILES: ClassVar[tuple[str, ...]] = ()
    """Keys whose value is a mapping, names a YAML file that holds it, or is `auto`."""
    TRIES_ENCODERS: ClassVar[bool] = False
    """Whether `encoder: auto` is possible."""
    LATER_KEYS: ClassVar[tuple[str, ...]] = ()
    """Keys that earlier versions did not know: where they are empty, runs of these versions go on."""
    MODELS: ClassVar[tuple[str, ...]] = ("llm",)
    """Keys that hold a model."""

    task: str
    name: str = ""
    data: Any
    llm: LlmConfig = LlmConfig()
    budget: Budget = Budget()
    encoder: Any = ""
    output: str = ""
    cache_dir: str = ""

    @field_validator("llm", mode="before")
    @classmethod
    def _expand_llm(cls, value: object) -> object:
        return expand_llm(value)

    @field_validator("budget", mode="before")
    @classmethod
    def _expand_budget(cls, value: object) -> object:
        return {"tokens": value} if isinstance(value, str | int | float) else value

    @field_validator("encoder")
    @classmethod
    def _check_encoder(cls, value: object) -> object:
        if value == AUTO and not cls.TRIES_ENCODERS:
            raise ValueError(f"found '{AUTO}', but encoders are tried on texts with labels alone; name one")
        return check_encoder_choice(value)

    @field_validator(*PART_KEYS, mode="before", check_fields=False)
    @classmethod
    def _expand_parts(cls, value: object, info: ValidationInfo) -> tuple[Any, ...]:
        return expand_parts(str(info.field_name), value)

    @classmethod
    def load(cls, path: str | Path, **overrides: Any) -> Self:
        """Read a job file.

        Args:
            path: the YAML file; relative paths in it are relative to it.
            **overrides: keys that replace the file's (from a command line); their paths are relative to the
                working directory.

        Raises:
            JobError: a mistake in the file, in one line.
        """
        path = Path(path)
        base = path.absolute().parent
        keys = cls._resolve(read_mapping(path), base) | cls._resolve(overrides, Path.cwd())
        return cls._build(keys, base, str(path))

    @classmethod
    def make(cls, **keys: Any) -> Self:
        """A job from Python or the command line; relative paths are relative to the working directory.

        Raises:
            JobError: a key is unknown, missing or wrong.
        """
        return cls._build(cls._resolve(keys, Path.cwd()), Path.cwd(), "job")

    @classmethod
    def derive_name(cls, data: str) -> str:
        """The name of a run over this data, where it has none: `reviews` of `folder/reviews.csv`."""
        stem = data if data.startswith("asset:") else re.sub(r":[\w.-]*$", "", data)
        return re.split(r"[/\\:]", stem)[-1].split(".")[0]

    @classmethod
    def _build(cls, keys: dict[str, Any], base: Path, where: str) -> Self:
        """The job of these keys; `base` is the folder that runs go into."""
        data = keys.get("data")
        name = keys.get("name") or (cls.derive_name(data) if isinstance(data, str) else "") or "data"
        output = keys.get("output") or str(base / "runs" / str(name))
        return validate(cls, keys | {"name": name, "output": output}, where)

    @classmethod
    def _resolve(cls, keys: Mapping[str, Any], base: Path) -> dict[str, Any]:
        """Make the paths among `keys` absolute, and read the files that stand for keys."""
        resolved = dict(keys)
        for name, value in keys.items():
            is_text = isinstance(value, str | Path) and bool(str(value).strip())
            if name in cls.SOURCES and is_text:
                resolved[name] = resolve_source(str(value), base)
            elif name in cls.PATHS and is_text:
                resolved[name] = _resolve_path(value, base)
            elif name == "encoder":
                resolved[name] = resolve_encoder(value, base)
            elif name == "students":
                resolved[name] = resolve_students(value, base)
            elif name in cls.KEY_FILES and isinstance(value, str | Path) and value != AUTO:
                resolved[name] = read_mapping(Path(_resolve_path(value, base)))
            elif name in cls.MODELS and isinstance(value, Mapping):
                resolved[name] = _resolve_llm_paths(value, base)
        return resolved

    @property
    def families(self) -> tuple[str, ...]:
        """The keys that list parts."""
        return tuple(key for key in PART_KEYS if key in type(self).model_fields)

    def dump(self) -> str:
        """The job as YAML with every key; what was an object in memory becomes `memory:` and a word on it."""
        keys = as_plain(self) | {key: name_parts(getattr(self, key)) for key in self.families}
        return yaml.safe_dump(keys, sort_keys=False, allow_unicode=True)

    def fingerprint(self) -> str:
        """A hash of the settings that decide the result, 16 hex digits.

        Where things lie and how fast they go is left out: folders, URLs, concurrency, minutes, name. So are
        the contents of the data: what a run reads has a hash of its own.
        """
        keys = as_plain(self)
        fields = type(self).model_fields
        later = (key for key in self.LATER_KEYS if keys[key] == fields[key].default)
        for name in ("name", "output", "cache_dir", *later):
            del keys[name]
        for name in (*self.SOURCES, *self.PATHS, "encoder"):
            if isinstance(keys.get(name), str):
                keys[name] = re.split(r"[/\\]", keys[name])[-1]
        if isinstance(self.encoder, ServedEncoder):
            keys["encoder"] = {"model": self.encoder.model, "prefix": self.encoder.prefix}
        for name in self.MODELS:
            llm = getattr(self, name)
            keys[name] = llm and {"engine": llm.engine, "model": llm.model}
        for name in self.families:
            # Runs of versions that knew no such key go on with the default list.
            keys[name] = name_parts(getattr(self, name))
            if find_family(name).is_default_list(keys[name]):
                del keys[name]
        keys["budget"] = keys["budget"]["tokens"]
        text = json.dumps(keys, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def check_tables(self, where: str) -> None:
        """Refuse a job that was read from a run directory where a source was a table in Python.

        Raises:
            RunDirectoryError: says how to go on.
        """
        sources = [getattr(self, name) for name in self.SOURCES]
        if any(isinstance(source, str) and source.startswith(IN_MEMORY) for source in sources):
            raise RunDirectoryError(
                "some of its data was a table in memory",
                where=where,
                hint="call rebalance again with the same tables and output; stored replies are used",
            )

    def check_models(self) -> None:
        """Refuse a job that was read from a file where a model or a part was an object in Python.

        Raises:
            RunDirectoryError: says how to go on.
        """
        for name in self.MODELS:
            llm = getattr(self, name)
            if isinstance(llm, ModelObject) and llm.instance is None:
                raise RunDirectoryError(
                    f"its model was an object in Python ({llm.model})",
                    where=self.output,
                    hint="call it from Python again with that model and the same output; stored replies are used",
                )
        for name in self.families:
            check_parts(name, getattr(self, name), self.output)


def as_plain(value: Any) -> Any:
    """Values that YAML and JSON know."""
    if isinstance(value, ModelObject):
        return f"{IN_MEMORY}{value.model}"
    if hasattr(value, "encode") and isinstance(getattr(value, "name", None), str):
        return f"{IN_MEMORY}{value.name}"
    if isinstance(value, BaseModel):
        return {name: as_plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, tuple):
        return [as_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(item, str | int | float) for item in value.values()):
        return dict(value)
    n_rows = f", {len(value)} rows" if hasattr(value, "__len__") and not isinstance(value, dict) else ""
    return f"memory:{type(value).__name__}{n_rows}"


def _resolve_path(path: str | Path, base: Path) -> str:
    return str(normalise_path(base / Path(path).expanduser()))


def _resolve_llm_paths(llm: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """`python` may be a path or a name, `model` a folder or an id on the hub."""
    resolved = dict(llm)
    for name in ("python", "model"):
        path = base / Path(str(llm.get(name) or "")).expanduser()
        is_path = re.search(r"[/\\]", str(llm.get(name, ""))) if name == "python" else path.is_dir()
        if llm.get(name) and llm.get("engine") == "vllm" and is_path:
            resolved[name] = str(normalise_path(path))
    return resolved
