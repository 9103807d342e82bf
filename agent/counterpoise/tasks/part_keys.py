"""Keys of a job that list parts of a family: `actions: [adopt, minority_text, mine.own]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterpoise.core.errors import JobError, RunDirectoryError
from counterpoise.core.hub_files import is_hub_id
from counterpoise.core.registry import DEFAULT, Registry
from counterpoise.data.sources import normalise_path
from counterpoise.llm.config import IN_MEMORY
from counterpoise.students.tuned import METHODS

PART_KEYS = ("actions", "filters", "scorers", "students", "treatments")
"""All such keys; a task has some of them."""


def find_family(key: str) -> Registry[Any]:
    """The registry of the parts that a key lists.

    Raises:
        KeyError: the key lists no parts.
    """
    if key == "actions":
        from counterpoise.actions import ACTIONS

        return ACTIONS
    if key == "filters":
        from counterpoise.tasks.filters import FILTERS

        return FILTERS
    if key == "scorers":
        from counterpoise.scorers.family import SCORERS

        return SCORERS
    if key == "students":
        from counterpoise.students.registry import STUDENTS

        return STUDENTS
    if key == "treatments":
        from counterpoise.students.treatments import TREATMENTS

        return TREATMENTS
    raise KeyError(key)


def expand_parts(key: str, value: object) -> tuple[Any, ...]:
    """A list of parts as a job gives it, the default list written out; each name is looked up.

    Args:
        key: the family.
        value: a name, or a list of names and, in Python, of objects. What a dumped job calls `memory:NAME` stays.

    Raises:
        ValueError: says in one line what is wrong.
    """
    listed = value if isinstance(value, list | tuple) else [DEFAULT if value is None else value]
    family = find_family(key)
    if not listed:
        raise ValueError(f"found no names; write one or more of {', '.join((DEFAULT, *family.names))}")
    try:
        expanded = family.expand(listed)
        family.choose(one for one in expanded if not is_in_memory(one))
    except JobError as error:
        raise ValueError(f"{error.message}; {error.hint}") from error
    return expanded


def resolve_students(value: object, base: Path) -> object:
    """The students of a job, folders of weights behind their names (`fine_tuned:models/mine`) made absolute.

    As for an encoder, `owner/name` is a repository of the hub where there is no such folder.

    Args:
        value: as the user gave it.
        base: the folder that relative paths start from.
    """
    if isinstance(value, list | tuple):
        return [resolve_students(one, base) for one in value]
    method, _, weights = str(value).partition(":")
    if not isinstance(value, str) or method not in METHODS or not weights:
        return value
    folder = base / Path(weights).expanduser()
    return value if is_hub_id(weights) and not folder.exists() else f"{method}:{normalise_path(folder)}"


def is_in_memory(part: object) -> bool:
    """Whether a part of a job that was read from a file was an object in Python."""
    return isinstance(part, str) and part.startswith(IN_MEMORY)


def check_parts(key: str, parts: Sequence[Any], where: str) -> None:
    """Refuse a job that was read from a file and one of whose parts was an object in Python.

    Raises:
        RunDirectoryError: says how to go on.
    """
    lost = next((one for one in parts if is_in_memory(one)), None)
    if lost is not None:
        raise RunDirectoryError(
            f"one of its {key} was an object in Python ({lost.removeprefix(IN_MEMORY)})",
            where=where,
            hint="call it from Python again with that object and the same output; stored replies are used",
        )


def name_parts(parts: Sequence[Any]) -> list[str]:
    """Names of the parts of a job; an object's stands behind `memory:`."""
    return [one if isinstance(one, str) else f"{IN_MEMORY}{one.name}" for one in parts]
