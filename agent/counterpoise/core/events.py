"""What happened, for the live table and `--json`: one small value a step, told to whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from counterpoise.core.plain import to_plain

NAME: Mapping[str, Any] = {"key": "name"}
"""Metadata of a field whose key in `data` is `name`."""

IF_GIVEN: Mapping[str, Any] = {"if_given": True}
"""Metadata of a field that `data` lacks where it is None."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened; `counterpoise.core.event_kinds` holds a class for each.

    Args:
        name: a fixed word for its kind, `event` in the lines of `--json`.
    """

    name: ClassVar[str]

    @property
    def data(self) -> dict[str, Any]:
        """The fields as plain values (numbers, strings, lists, mappings), in their order."""
        given = {one: getattr(self, one.name) for one in fields(self)}
        return {
            one.metadata.get("key", one.name): to_plain(value)
            for one, value in given.items()
            if value is not None or "if_given" not in one.metadata
        }


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener that does nothing."""


_LISTENER: ContextVar[Listener] = ContextVar("listener", default=ignore)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let a listener be told of all that happens in the block, and in tasks and calls that begin in it.

    A thread has a context of its own: what is to be heard of it is run in a copy of this one, as `asyncio.to_thread`
    does, or is given a function of `tell_progress`.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def current_listener() -> Listener:
    """Who is told at present; `ignore` outside of any `listening`."""
    return _LISTENER.get()


def tell_event(event: Event) -> None:
    """Tell the listener what happened."""
    _LISTENER.get()(event)


def tell_progress(make: Callable[[int, int], Event]) -> Callable[[int, int], None]:
    """A function that takes how many are done and how many there are, and tells who listens now, from any thread.

    Args:
        make: makes the event of both.

    >>> from counterpoise.core.event_kinds import Encoding
    >>> with listening(print):
    ...     tell_progress(Encoding)(3, 4)
    Encoding(done=3, total=4)
    """
    listener = current_listener()
    return lambda done, total: listener(make(done, total))
