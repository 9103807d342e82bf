"""Families of parts: what ships, what is installed, and one line for every name that will not do."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import pytest

from counterpoise.core import registry
from counterpoise.core.errors import JobError
from counterpoise.core.registry import Registry


@dataclass(frozen=True)
class Colour:
    """A part for these tests."""

    name: str = "mine.blue"

    def paint(self) -> str:
        """What a part of the family can do."""
        return self.name


@dataclass(frozen=True)
class Nameless:
    """Lacks what a part of the family has."""

    name: str = "mine.nameless"


def break_down() -> None:
    """Stands for a package that cannot be imported."""
    raise RuntimeError("no such colour")


class BrokenColour(Colour):
    """A part that cannot be made."""

    def __init__(self) -> None:
        break_down()


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> Registry[Colour]:
    installed = [
        EntryPoint("mine.blue", f"{__name__}:Colour", "counterpoise.colours"),
        EntryPoint("mine.green", f"{__name__}:Colour", "counterpoise.colours"),
        EntryPoint("mine.nameless", f"{__name__}:Nameless", "counterpoise.colours"),
        EntryPoint("mine.broken", f"{__name__}:BrokenColour", "counterpoise.colours"),
        EntryPoint("mine.gone", "no_such_package:Colour", "counterpoise.colours"),
    ]
    monkeypatch.setattr(
        registry, "entry_points", lambda group: installed if group == "counterpoise.colours" else []
    )
    family = Registry[Colour]("colours", needs=("paint",))
    for name in ("red", "yellow"):
        family.register(Colour(name))
    family.register(Colour("grey"), default=False)
    return family


def test_a_list_of_an_earlier_version_is_a_default_list_too(colours: Registry[Colour]) -> None:
    colours.register(Colour("green"), later=True)
    colours.register(Colour("violet"), later=True)
    for names in (["red", "yellow"], ["red", "yellow", "green"], ["red", "yellow", "green", "violet"]):
        assert colours.is_default_list(names)
    for names in (
        ["red"],
        ["red", "green"],
        ["yellow", "red"],
        ["red", "yellow", "grey"],
        ["green", "red", "yellow"],
    ):
        assert not colours.is_default_list(names)


def test_what_ships_stands_in_its_order_and_default_is_written_out(colours: Registry[Colour]) -> None:
    assert colours.names == ("red", "yellow", "grey") and colours.defaults == ("red", "yellow")
    assert colours.expand(["grey", "default"]) == ("grey", "red", "yellow")
    own = Colour("own")
    assert [one.name for one in colours.choose(["default", own, "mine.blue"])] == [
        "red",
        "yellow",
        "own",
        "mine.blue",
    ]
    with pytest.raises(ValueError, match="two colours are called 'red'"):
        colours.register(Colour("red"))


@pytest.mark.parametrize(
    ("chosen", "line"),
    [
        (["rad"], "key 'colours': found 'rad', which is none of them; did you mean 'red'?"),
        (["purple"], "write one of red, yellow, grey, mine.blue"),
        (["default", "red"], "'red' is named twice; keep one of them"),
        (["mine.green"], "gives a part whose name is 'mine.blue'; let both names be the same"),
        (["mine.nameless"], "the entry point 'mine.nameless' of counterpoise.colours has no `paint`"),
        (["mine.broken"], "cannot be loaded (RuntimeError: no such colour)"),
        (["mine.gone"], "cannot be loaded (ModuleNotFoundError: No module named 'no_such_package')"),
        ([Nameless()], "Nameless has no `paint`; a part of it has `name`, `paint`"),
    ],
)
def test_a_name_that_will_not_do_gets_one_line(
    colours: Registry[Colour], chosen: list[object], line: str
) -> None:
    with pytest.raises(JobError) as caught:
        colours.choose(chosen)  # type: ignore[arg-type]
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_an_object_without_a_name_is_told_from_a_name() -> None:
    family = Registry[Colour]("colours")
    with pytest.raises(JobError, match="object has no `name`"):
        family.choose([object()])  # type: ignore[list-item]
