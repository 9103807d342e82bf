"""Every command that is printed, in messages, pages and documents, is one that the command line takes."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import counterpoise
from counterpoise.cli import app as cli
from counterpoise.cli.commands.session import Session
from tests.test_label_command import COLUMNS
from tests.test_label_command import reviews as reviews

ROOT = Path(__file__).parents[1]
PACKAGE = Path(counterpoise.__file__).parent
NAMES = "|".join(sorted(typer.main.get_command(cli.app).commands, key=len, reverse=True))  # type: ignore[attr-defined]
COMMAND = re.compile(rf"\bcounterpoise ((?:{NAMES}|--?[a-z])[^`;)\n<]*)")


def find_commands(text: str) -> Iterator[str]:
    """What follows `counterpoise` in messages, up to a mark that ends it; a name alone is no command."""
    for found in COMMAND.findall(text):
        command = found.split("  ")[0].rstrip(" .,:")
        if " " in command:
            yield command


def read_strings(source: str) -> Iterator[str]:
    """The string constants of a module, what is filled in as `1`; no docstrings."""
    tree = ast.parse(source)
    parts = {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            parts |= {id(part) for part in ast.walk(node.value) if isinstance(node.value, ast.Constant)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else "1" for one in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


def list_in_code() -> set[tuple[str, str]]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for text in read_strings(path.read_text(encoding="utf-8")):
            found |= {(path.name, command) for command in find_commands(text)}
    for path in (PACKAGE / "report" / "templates").glob("*.j2"):
        text = re.sub(r"{{.*?}}", "1", path.read_text(encoding="utf-8"))
        found |= {(path.name, command) for command in find_commands(text)}
    return found


def list_in_documents() -> set[tuple[str, str]]:
    found = set()
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        if not path.is_file():  # the tests of the wheel are run without them
            continue
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"```(?:sh|bash|console)?\n(.*?)```", text, re.DOTALL):
            for line in block.splitlines():
                if line.lstrip("$ ").startswith("counterpoise "):
                    words = shlex.split(line.lstrip("$ "), comments=True)
                    found.add((path.name, shlex.join(words[1:])))
        inline = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        for code in re.findall(r"`([^`]+)`", inline):
            found |= {(path.name, command) for command in find_commands(code)}
    return found


def parse(words: list[str]) -> None:
    """Read a command line as `cli` does, to the last option, and do nothing."""
    group = typer.main.get_command(cli.app)
    context = group.make_context("counterpoise", cli._move_flags(words), obj=Session())
    while hasattr(group, "resolve_command"):
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        if not rest:
            return
        name, command, rest = group.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)
        group = command


@pytest.mark.parametrize(("where", "command"), sorted(list_in_code() | list_in_documents()))
def test_a_printed_command_is_taken(where: str, command: str) -> None:
    parse(shlex.split(command))


def test_commands_are_found() -> None:
    assert len(list_in_code()) >= 5
    with pytest.raises(cli._UsageError):
        parse(["label", "reviews.csv", "--ask", "40"])
    assert list(find_commands("(counterpoise label --ask 40) or `counterpoise doctor`")) == ["label --ask 40"]


def test_assets_list_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.execute(["assets", "list"]) == 0
    listed = capsys.readouterr().out
    assert cli.execute(["assets"]) == 0
    assert capsys.readouterr().out == listed and "minilm-l6-v2" in listed


def find_printed(text: str) -> list[str]:
    """The words of the last command in what was printed."""
    line = [line for line in text.splitlines() if "counterpoise " in line][-1]
    return shlex.split("counterpoise " + line.split("counterpoise ", 1)[1].split("  ")[0])[1:]


@pytest.mark.assets
def test_commands_that_are_printed_run_as_they_stand(
    reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = reviews.rename(reviews.parent / "my own 'reviews'.csv")
    assert cli.execute(["concepts", str(data), *COLUMNS, "--output", "my concepts.yaml"]) == 0
    first = find_printed(capsys.readouterr().out)
    assert cli.execute(first) == 0
    capsys.readouterr()
    assert cli.execute([*first[:-2], "--answers", "none.csv"]) == 0
    assert cli.execute(find_printed(capsys.readouterr().out)) == 0
    assert cli.execute(["label", str(data), *COLUMNS, "--output", "other.csv"]) == 2
    assert cli.execute([*find_printed(capsys.readouterr().err), "--overwrite", "--output", "more.yaml"]) == 0
