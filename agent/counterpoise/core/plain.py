"""Values as JSON has them: the one way from dataclasses to what is written into files and events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def to_plain(value: Any) -> Any:
    """A copy of a value in which dataclasses are mappings of their fields and sequences are lists.

    >>> from counterpoise.core.plans import Cell, Deficit
    >>> to_plain({"cells": (Deficit(Cell("bad"), 1, 3),)})["cells"][0]["want"]
    3
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value
