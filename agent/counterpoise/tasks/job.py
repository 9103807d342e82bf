"""What the jobs of all tasks share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from counterpoise.core.errors import RunDirectoryError
from counterpoise.core.strict_yaml import SETTINGS
from counterpoise.llm.config import IN_MEMORY, LlmConfig, ModelObject


class JobBase(BaseModel):
    """What a run of any task is told."""

    model_config = SETTINGS

    def dump(self) -> str:
        """The job as YAML with every key; a table in memory becomes `memory:` and a word on it."""
        return yaml.safe_dump(as_plain(self), sort_keys=False, allow_unicode=True)


def fill_names(keys: dict[str, Any], base: Path, name: str) -> dict[str, Any]:
    """The keys of a job, with a name and a run directory where it has none.

    Args:
        keys: as they were given.
        base: folder that runs go into.
        name: of a job that has none.
    """
    named = keys | {"name": keys.get("name") or name}
    return named | {"output": keys.get("output") or str(base / "runs" / str(named["name"]))}


def expand_budget(value: object) -> object:
    """A budget as keys; a number of tokens stands for it."""
    return {"tokens": value} if isinstance(value, str | int | float) else value


def hash_settings(keys: Mapping[str, Any]) -> str:
    """16 hex digits that plain settings decide, whatever their order."""
    return hashlib.sha256(json.dumps(keys, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def check_model(llm: LlmConfig, where: str) -> None:
    """Refuse a job that was read from a file and whose model was an object in Python.

    Raises:
        RunDirectoryError: says how to go on.
    """
    if isinstance(llm, ModelObject) and llm.instance is None:
        raise RunDirectoryError(
            f"its model was an object in Python ({llm.model})",
            where=where,
            hint="call it from Python again with that model and the same output; stored replies are used",
        )


def as_plain(value: Any) -> Any:
    """Values that YAML and JSON know."""
    if isinstance(value, ModelObject):
        return f"{IN_MEMORY}{value.model}"
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
