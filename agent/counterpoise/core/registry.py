"""Families of parts that a job names: what ships, and what a user has installed.

A part is an object with a `name`. What ships is registered where its family is defined, in a fixed order. A part of a
user's own lies in a package of theirs that has an entry point in the group `counterpoise.FAMILY`::

    [project.entry-points."counterpoise.filters"]
    "mine.privacy" = "mine_parts:PrivacyFilter"

It is loaded where a job names it, never because it is installed. A job file holds names alone; Python may give the
object itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from inspect import isclass
from typing import Generic, Protocol, TypeVar, cast

from counterpoise.core.errors import JobError

DEFAULT = "default"
"""In a list of names it stands for all that ship in the default list, in their order."""


class NamedPart(Protocol):
    """Anything that can be registered."""

    @property
    def name(self) -> str:
        """What a job calls it."""
        ...


PartT = TypeVar("PartT", bound=NamedPart)


class Registry(Generic[PartT]):
    """The parts of one family, by name.

    Args:
        family: name of the family, in the plural; the end of its group of entry points.
        needs: names of the attributes that a part has beside `name`; those of a user's are checked for them.
        key: of a job that names parts of it; the family's name where it is the same.
        either: attributes of which a part has one at least.
    """

    def __init__(
        self, family: str, needs: Sequence[str] = (), key: str = "", either: Sequence[str] = ()
    ) -> None:
        self.family = family
        self.key = key or family
        self._needs = tuple(needs)
        self._either = tuple(either)
        self._parts: dict[str, PartT] = {}
        self._defaults: list[str] = []
        self._later: set[str] = set()

    def register(self, part: PartT, *, default: bool = True, later: bool = False) -> PartT:
        """Add a part that ships, and give it back.

        Args:
            part: it.
            default: whether a job that names no parts of the family uses it.
            later: whether it joined the default list when there were runs already, which go on without it.

        Raises:
            ValueError: another one has its name.
        """
        if part.name in self._parts:
            raise ValueError(f"two {self.family} are called {part.name!r}")
        self._parts[part.name] = part
        if default:
            self._defaults.append(part.name)
        if later:
            self._later.add(part.name)
        return part

    @property
    def names(self) -> tuple[str, ...]:
        """What ships, in the order in which it was registered."""
        return tuple(self._parts)

    @property
    def defaults(self) -> tuple[str, ...]:
        """What a job uses that names no parts of the family, in order."""
        return tuple(self._defaults)

    def is_default_list(self, names: Sequence[str]) -> bool:
        """Whether names are the default list of today or of an earlier version, to which parts were added later."""
        here = set(names)
        return list(names) == [name for name in self._defaults if name in here or name not in self._later]

    @property
    def group(self) -> str:
        """The group of entry points in which parts of users' own are looked for."""
        return f"counterpoise.{self.family}"

    def find(self, name: str) -> PartT:
        """The part of a name.

        Raises:
            JobError: neither a part that ships nor an installed one has the name, or the installed one cannot be used.
        """
        return self._parts[name] if name in self._parts else self._load(name)

    def expand(self, chosen: Iterable[str | PartT]) -> tuple[str | PartT, ...]:
        """A choice with `default` written out.

        Raises:
            JobError: a part is named twice.
        """
        expanded: list[str | PartT] = []
        for one in chosen:
            expanded += self._defaults if isinstance(one, str) and one == DEFAULT else [one]
        names = [one if isinstance(one, str) else getattr(one, "name", one) for one in expanded]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise JobError(f"'{twice}' is named twice", where=f"key '{self.key}'", hint="keep one of them")
        return tuple(expanded)

    def choose(self, chosen: Iterable[str | PartT]) -> tuple[PartT, ...]:
        """The parts of a choice, in its order.

        Args:
            chosen: names, the word `default`, or objects.

        Raises:
            JobError: a name is not known, stands twice, or an object lacks what a part of the family has.
        """
        return tuple(
            self.find(one) if isinstance(one, str) else self._check(one, type(one).__name__)
            for one in self.expand(chosen)
        )

    def _load(self, name: str) -> PartT:
        installed = {point.name: point for point in entry_points(group=self.group)}
        where = f"key '{self.key}'"
        if name not in installed:
            known = [*self._parts, *sorted(installed)]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"write one of {', '.join(known)}"
            raise JobError(
                f"found '{name}', which is none of them",
                where=where,
                hint=f"{hint} (one of your own is an entry point of the group {self.group})",
            )
        origin = f"the entry point {name!r} of {self.group}"
        try:
            found = installed[name].load()
            part = found() if isclass(found) else found
        except Exception as error:
            raise JobError(
                f"{origin} cannot be loaded ({type(error).__name__}: {error})",
                where=where,
                hint="mend the package that it belongs to, or leave its name out",
            ) from error
        checked = self._check(part, origin)
        if checked.name != name:
            raise JobError(
                f"{origin} gives a part whose name is '{checked.name}'",
                where=where,
                hint="let both names be the same",
            )
        return checked

    def _list_needs(self) -> str:
        listed = ", ".join(f"`{one}`" for one in ("name", *self._needs))
        return f"{listed}, and {' or '.join(f'`{one}`' for one in self._either)}" if self._either else listed

    def _check(self, part: object, origin: str) -> PartT:
        """The part, which has all that its family needs."""
        missing = [attribute for attribute in ("name", *self._needs) if not hasattr(part, attribute)]
        if self._either and not any(hasattr(part, attribute) for attribute in self._either):
            missing.append("` and no `".join(self._either))
        if missing:
            raise JobError(
                f"{origin} has no `{missing[0]}`",
                where=f"key '{self.key}'",
                hint=f"a part of it has {self._list_needs()} (docs/extending.md)",
            )
        return cast("PartT", part)
