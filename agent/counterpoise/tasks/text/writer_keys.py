"""The keys of a job that say how new texts are written: `writer` for one, `writers` for several with names.

::

    writer: {instructions: write as angry customers would}

    writers:                                    # they compete for the budget, and the report tells them apart
      - {name: plain}
      - {name: angry, instructions: write as angry customers would, temperature: 1.1}
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, Field, field_validator

from counterpoise.actions.writers import Writer, find_repeated
from counterpoise.core.strict_yaml import SETTINGS

_NAME = re.compile(r"[\w-]{1,40}")


class WriterKeys(BaseModel):
    """One writer.

    Args:
        instructions: a line of the user's own, which a model that follows instructions is given.
        temperature: how freely tokens are drawn, instead of the prompt's 0.9.
    """

    model_config = SETTINGS
    instructions: str = ""
    temperature: float | None = Field(None, ge=0, le=2)


class NamedWriterKeys(WriterKeys):
    """One writer of several.

    Args:
        name: what provenance and report call it.
    """

    name: str

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise ValueError(f"found {name!r:.60}; write a name of letters, digits, - and _, at most 40")
        return name


def check_writers(writers: Sequence[NamedWriterKeys] | None) -> None:
    """Refuse a list without a writer, or with one name twice.

    Raises:
        ValueError: says so in one line.
    """
    if writers is not None and not writers:
        raise ValueError(
            "found no writers; write one or more of {name: ..., instructions: ..., temperature: ...}"
        )
    if twice := find_repeated([one.name for one in writers or ()]):
        raise ValueError(f"writer '{twice}' is named twice; give each a name of its own")


def list_writers(writer: WriterKeys | None, writers: Sequence[NamedWriterKeys] | None) -> tuple[Writer, ...]:
    """The writers of a job, in its order: one without a name where it names none."""
    if writers:
        return tuple(Writer(one.name, one.instructions.strip(), one.temperature) for one in writers)
    one = writer or WriterKeys()
    return (Writer("", one.instructions.strip(), one.temperature),)
