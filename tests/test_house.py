"""The rules of CONTRIBUTING that can be counted: how large files and functions are, and one class a name."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import counterpoise
from tests.test_docs import PACKAGES, ROOT

MOST_ENTRIES, MOST_LINES, MOST_FUNCTION_LINES, MOST_PARAMETERS = 17, 500, 80, 9
OPTIONS = "agent/counterpoise/cli/commands"
Function = ast.FunctionDef | ast.AsyncFunctionDef


def list_files() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def list_functions(path: Path) -> Iterator[tuple[str, Function]]:
    """(name, function); a method has the name of its class."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    owners = {
        id(method): outer.name
        for outer in ast.walk(tree)
        if isinstance(outer, ast.ClassDef)
        for method in outer.body
    }
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield owners.get(id(node), node.name), node


def count_parameters(function: Function) -> int:
    plain = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return sum(one.arg not in ("self", "cls") for one in plain)


def test_the_package_has_few_entries_and_no_file_is_long() -> None:
    entries = [entry for entry in (ROOT / PACKAGES[0]).iterdir() if entry.name != "__pycache__"]
    assert len(entries) <= MOST_ENTRIES
    lines = {str(path): path.read_text(encoding="utf-8").count("\n") for path in list_files()}
    assert not {path: n for path, n in lines.items() if n > MOST_LINES}


def test_no_function_is_long_or_takes_much() -> None:
    found = []
    for path in list_files():
        for name, function in list_functions(path):
            if (function.end_lineno or 0) - function.lineno >= MOST_FUNCTION_LINES:
                found.append(f"{path}: {name} has more than {MOST_FUNCTION_LINES} lines")
            is_public = name in counterpoise.__all__  # keywords of what is called from outside
            is_command = OPTIONS in path.as_posix()
            if count_parameters(function) > MOST_PARAMETERS and not is_public and not is_command:
                found.append(f"{path}: {name} has more than {MOST_PARAMETERS} parameters")
    assert not found


def test_a_class_has_a_name_of_its_own() -> None:
    names = Counter(
        node.name
        for path in list_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert not [name for name, n in names.items() if n > 1]
    assert sum(names.values()) > 200
