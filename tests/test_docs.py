"""Rules as tests: the README's job and code are valid, docstring examples run."""

from __future__ import annotations

import ast
import doctest
import re
from importlib import import_module
from pathlib import Path
from runpy import run_path

import pytest

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


@pytest.mark.parametrize(
    ("heading", "said"),
    [
        ("A judge", "right in 88%, AUROC at least 0.87, weak: False\n"),
        ("A generator", "r001-p00-00000 ('a',) I mean: Never again!\n"),
        (
            "A check",
            "r001-p00-00000 False telephone\nr001-p00-00001 True kept\nr001-p00-00002 False refusal\n",
        ),
    ],
)
def test_the_examples_on_extending_run(
    heading: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    section = text[text.index(f"\n## {heading}\n") :]
    match = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert match is not None
    path = tmp_path / "example.py"
    path.write_text(match[1], encoding="utf-8")
    run_path(str(path))
    assert said in capsys.readouterr().out


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
