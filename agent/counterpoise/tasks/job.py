"""What the jobs of all tasks share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from counterpoise.core.errors import RunDirectoryError
from counterpoise.llm.config import IN_MEMORY, LlmConfig, ModelObject


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
