"""Calls of parts of a user's own: whatever they raise becomes one line that names the part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from counterpoise.core.errors import CounterpoiseError, PartError
from counterpoise.core.registry import NamedPart, Registry

RESUME = "mend it, then resume the run: what was paid for is not asked again"
Given = TypeVar("Given")
Asked = ParamSpec("Asked")


def guard(
    family: Registry[Any],
    part: NamedPart,
    call: Callable[Asked, Given],
    *args: Asked.args,
    **keys: Asked.kwargs,
) -> Given:
    """What a call of a part gives.

    Args:
        family: of the part; what ships in it is ours to mend, so its errors stay as they are.
        part: whose call it is.
        call: what is called.
        *args: of the call.
        **keys: of the call.

    Raises:
        PartError: a part of the user's own raised.
    """
    try:
        return call(*args, **keys)
    except CounterpoiseError:
        raise
    except Exception as error:
        if part.name in family.names:
            raise
        raise fault(family, part, f"it raised {type(error).__name__}: {error}") from error


def fault(family: Registry[Any], part: NamedPart, message: str) -> PartError:
    """The error that says what is wrong with a part; the run can be resumed after it."""
    return PartError(message, where=f"{family.family.removesuffix('s')} '{part.name}'", hint=RESUME)
