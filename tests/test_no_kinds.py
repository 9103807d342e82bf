"""Who decides and who reports knows no part by name: a new one needs no line there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import counterpoise
from counterpoise.actions import ACTIONS
from counterpoise.data.exporters import list_forms
from counterpoise.filters.base import CUT_OFF
from counterpoise.scorers.family import SCORERS
from counterpoise.students.treatments import TREATMENTS
from counterpoise.tasks.filters import FILTERS

PACKAGE = Path(counterpoise.__file__).parent
KNOW_NO_ACTION = ("runs", "filters", "report", "students", "balance", "scorers", "cli", "core", "data")


KNOW_NO_TREATMENT = ("runs", "tasks", "actions", "filters", "report", "scorers", "cli", "core", "data")
FORMS = {form.name for form in list_forms()}
KNOW_NO_FORM = ("runs", "tasks", "actions", "report", "cli", "core")
KNOW_NO_FILTER = ("runs", "report", "cli", "actions", "students", "balance", "data", "llm", "core", "scorers")


def list_kinds() -> set[str]:
    """Names of actions, and of the classes and modules that have them."""
    kinds = set(ACTIONS.names)
    for name in ACTIONS.names:
        part = ACTIONS.find(name)
        kinds |= {type(part).__name__, type(part).__module__.rsplit(".", 1)[-1]}
    return kinds


def list_words(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of what the code of a file names: identifiers, attributes, imports, and texts but docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value
        elif isinstance(node, ast.Name):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute):
            yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom | ast.Import):
            yield node.lineno, f"{getattr(node, 'module', '')} {' '.join(one.name for one in node.names)}"


def find_named(folder: str, kinds: set[str]) -> list[str]:
    """Places below a folder of the package that name one of some kinds."""
    names = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(kinds)))})(?![\w-])")
    return [
        f"{path.relative_to(PACKAGE)}:{line}: {text[:80]}"
        for path in sorted((PACKAGE / folder).rglob("*.py"))
        for line, text in list_words(path)
        if names.search(text)
    ]


@pytest.mark.parametrize("folder", KNOW_NO_ACTION)
def test_no_action_is_known_by_name(folder: str) -> None:
    assert not find_named(folder, list_kinds())


@pytest.mark.parametrize("folder", ["runs", "report", "students", "actions", "balance"])
def test_no_filter_and_no_scorer_is_known_by_its_class(folder: str) -> None:
    parts = [FILTERS.find(name) for name in FILTERS.names] + [SCORERS.find(name) for name in SCORERS.names]
    assert not find_named(folder, {type(part).__name__ for part in parts})
    compared = re.compile(r"""\.name (==|!=|in|not in) ["'(\[{]""")
    assert not [
        path for path in (PACKAGE / folder).rglob("*.py") if compared.search(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("folder", KNOW_NO_TREATMENT)
def test_no_treatment_is_known_by_name(folder: str) -> None:
    assert not find_named(folder, {name for name in TREATMENTS.defaults if name != "nothing"})


@pytest.mark.parametrize("folder", KNOW_NO_FORM)
def test_no_form_of_instances_is_known_by_name(folder: str) -> None:
    assert not find_named(folder, FORMS)


def list_refusals() -> set[str]:
    """Reasons that only a filter can tell, and the classes of filters; `cut_off` is a field of reports, too."""
    parts = FILTERS.choose(FILTERS.names)
    reasons = {reason for part in parts for reason in part.reasons if "_" in reason} - {CUT_OFF}
    return reasons | {type(part).__name__ for part in parts}


@pytest.mark.parametrize("folder", KNOW_NO_FILTER)
def test_no_filter_is_known_by_its_reasons(folder: str) -> None:
    assert not find_named(folder, list_refusals())


def test_a_name_would_be_found() -> None:
    assert find_named("students", set(TREATMENTS.defaults)) and find_named("data", FORMS)
    assert find_named("actions", list_kinds()) and find_named("filters", list_refusals())
