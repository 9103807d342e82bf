"""Tasks: one contract for all that are registered, and no code elsewhere that asks which one it has."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterpoise.balance.lint.columns import read_columns
from counterpoise.core.schema import TextClassification, divide_text
from counterpoise.data.reading import load_table, read_records
from counterpoise.runs.procedures import PROCEDURES
from counterpoise.runs.run import run_job
from counterpoise.tasks.registry import DEFAULT_TASK, TASKS

PACKAGE = Path(__file__).parents[1] / "agent/counterpoise"


def find_questions(tree: ast.AST) -> Iterator[str]:
    """Where code asks of what kind a job or task is: `isinstance` on one, or its name compared with a text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 2:
            kinds = {one.id for one in ast.walk(node.args[1]) if isinstance(one, ast.Name)}
            if node.func.id in ("isinstance", "issubclass") and any(
                kind.endswith(("Job", "JobBase", "Task")) for kind in kinds
            ):
                yield f"line {node.lineno}: {node.func.id}"
        if isinstance(node, ast.Compare):
            texts = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
            if texts & set(TASKS.names):
                yield f"line {node.lineno}: compared"


def test_nothing_asks_which_task_it_has() -> None:
    found = {
        str(path.relative_to(PACKAGE)): questions
        for path in sorted(PACKAGE.rglob("*.py"))
        if (questions := list(find_questions(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert not found
    assert list(find_questions(ast.parse("isinstance(job, RetrievalJob)\njob.task == 'retrieval'"))) == [
        "line 1: isinstance",
        "line 2: compared",
    ]


def test_each_task_that_ships_can_be_run_or_says_why_not() -> None:
    assert DEFAULT_TASK in TASKS.names and run_job is not None
    assert set(TASKS.names) == set(PROCEDURES.names)
    for name in TASKS.names:
        task = TASKS.find(name)
        assert task.job.model_fields["task"].default == name
        assert task.not_yet == "" or "`" in task.not_yet


TWO_COLUMNS = TextClassification(("title", "review"), "stars", ("source",))


def test_a_record_has_content_and_its_text_is_rendered_in_one_way() -> None:
    rows: dict[str, list[Any]] = {
        "title": ["Süß\n", "", "Soup", "Žižkov"],
        "review": ["日本語", "two\nlines", "", "x"],
        "stars": [1, 2, 1, 2],
        "source": ["web", "", "web", "paper"],
    }
    table = load_table(rows, task=TWO_COLUMNS)
    records = read_records(table, TWO_COLUMNS)
    for place, text in enumerate(records.texts):
        assert records.content(place) == {name: rows[name][place] for name in TWO_COLUMNS.text}
        assert TWO_COLUMNS.render(records.content(place)) == records.row(place).text == text
        assert TWO_COLUMNS.labels({name: column[place] for name, column in rows.items()}) == {
            records.row(place).label
        }
    (joined,) = read_columns(table, TWO_COLUMNS).texts.batches()
    assert joined == records.texts.tolist(), "the linter joins in Arrow what is rendered elsewhere"
    assert records.take([2, 0]).content(1) == records.content(0)
    assert divide_text("Soup\nCold.\nNever.", TWO_COLUMNS.text) == {
        "title": "Soup",
        "review": "Cold.\nNever.",
    }
    one = read_records(table, TextClassification(("review",), "stars"))
    assert one.columns["review"] is one.texts and one.take([1, 3]).columns["review"].tolist() == [
        "two\nlines",
        "x",
    ]
