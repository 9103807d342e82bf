"""Rules as tests: the README's job and code are valid, docstring examples run."""

from __future__ import annotations

import ast
import doctest
import re
from importlib import import_module
from pathlib import Path
from runpy import run_path
from textwrap import dedent
from types import SimpleNamespace

import pytest

from counterpoise.core.errors import JobError
from counterpoise.tasks.filters import FILTERS
from counterpoise.tasks.text.job import load_job

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PACKAGES = ("agent/counterpoise", "retrievers/counterpoise_retrievers")


def list_modules() -> list[str]:
    return [
        ".".join(path.relative_to(ROOT / package.split("/")[0]).with_suffix("").parts)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__main__.py"
    ]


def read_block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    return match[1]


def test_the_job_in_the_readme_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(read_block("yaml"), encoding="utf-8")
    job = load_job(path)
    assert job.label == "stars"
    assert job.budget.tokens == 2_000_000


def test_the_python_in_the_readme_uses_names_that_exist() -> None:
    counterpoise = import_module("counterpoise")
    tree = ast.parse(read_block("python"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "counterpoise"
    }
    assert used == {"rebalance", "check_balance", "CounterpoiseSampler"}
    assert all(hasattr(counterpoise, name) for name in used)
    run_names = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "run"
    }
    assert run_names <= set(dir(counterpoise.Run)), run_names


def test_the_parts_on_extending_are_those_that_a_test_installs() -> None:
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    shown = re.findall(r"`mine_parts/(\w+\.py)`[^\n]*:\n\n```python\n(.*?)\n```", text, re.DOTALL)
    folder = ROOT / "tests" / "parts_distribution" / "mine_parts"
    assert {name for name, _ in shown} == {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    for name, code in shown:
        assert code == (folder / name).read_text(encoding="utf-8").rstrip(), name


def test_the_job_on_extending_is_valid_but_for_the_part_that_is_not_installed(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    match = re.search(r"```yaml\n(   data:.*?)```", text, re.DOTALL)
    assert match is not None
    path = tmp_path / "job.yaml"
    path.write_text(dedent(match[1]), encoding="utf-8")
    with pytest.raises(JobError, match=r"key 'filters': found 'mine\.privacy'"):
        load_job(path)
    path.write_text(dedent(match[1]).replace(", mine.privacy", ""), encoding="utf-8")
    assert load_job(path).filters == FILTERS.defaults


@pytest.mark.parametrize("name", list_modules())
def test_docstring_examples_run(name: str) -> None:
    module = import_module(name)
    assert doctest.testmod(module).failed == 0


def test_the_paths_that_contributors_are_sent_to_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    answers = re.findall(r"^\| .* \| `([\w/.]+)` \|$", text, re.MULTILINE)
    assert len(answers) >= 20
    missing = [path for path in answers if "/" in path and not (ROOT / path).is_file()]
    assert not missing or not (ROOT / PACKAGES[0]).is_dir(), missing


def test_the_filter_that_sees_rows_first_runs_as_it_is_shown(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    match = re.search(
        r"```python\n(from collections\.abc import Sequence\n.*?ShoutingFilter.*?)```", text, re.DOTALL
    )
    assert match is not None
    path = tmp_path / "shouting.py"
    path.write_text(match[1], encoding="utf-8")
    names = run_path(str(path))
    rows = SimpleNamespace(train=SimpleNamespace(records=SimpleNamespace(texts=["Cold soup.", "NO!"])))
    fitted = names["ShoutingFilter"]().fit(rows)
    batch = SimpleNamespace(
        texts=["WHAT A DAY", "ok"], proposals=[SimpleNamespace(id="a"), SimpleNamespace(id="b")]
    )
    assert [verdict.kept for verdict in fitted.verdicts(batch)] == [True, True] and fitted.most == 1.0
