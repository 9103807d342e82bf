"""Tasks: one contract for all that are registered, and no code elsewhere that asks which one it has."""

from __future__ import annotations

import ast
import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import pytest

import counterpoise
from counterpoise.balance.lint.columns import read_columns
from counterpoise.cli import execute
from counterpoise.core import registry
from counterpoise.core.errors import JobError, UserError
from counterpoise.core.schema import TextClassification, divide_text
from counterpoise.data.reading import load_table, read_records
from counterpoise.report.preview import ScreenTable
from counterpoise.report.run_page import PLAIN_PAGE, RunPage
from counterpoise.runs.procedures import PreparedRun, RunResources, RunResult
from counterpoise.runs.registry import PREVIEWERS, PROCEDURES
from counterpoise.tasks.base import Headings, TableRows, Task
from counterpoise.tasks.job import JobBase
from counterpoise.tasks.registry import DEFAULT_TASK, TASKS, load_job

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
    assert DEFAULT_TASK in TASKS.names and set(TASKS.names) == set(PREVIEWERS.names)
    for name in TASKS.names:
        task = TASKS.find(name)
        assert task.job.model_fields["task"].default == name
        assert (task.not_yet == "") == (name in PROCEDURES.names)


Rows = list[tuple[str, str]]


@dataclass(frozen=True)
class Sample:
    """A file of a task: pairs of a content and a label, `good` or `bad`, and the keys of a job over it."""

    file: str
    write: Callable[[Path, Rows], None]
    keys: dict[str, Any]


def write_csv(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("Größe", "étiquette"), *rows] if rows else [])


def write_triples(path: Path, rows: Rows) -> None:
    lines = [
        {"query": f"Straße {text}", "positive": "ja", **({"negative": text} if label == "bad" else {})}
        for text, label in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


SAMPLES = {
    "text_classification": Sample("träger.csv", write_csv, {"text": "Größe", "label": "étiquette"}),
    "retrieval": Sample("träger.jsonl", write_triples, {}),
    "tabular_classification": Sample(
        "träger.csv", write_csv, {"label": "étiquette", "attributes": ["Größe"]}
    ),
}
GOOD_ROWS: Rows = [
    (f"Süße Suppe {n}" if n % 2 else f"冷たい {n}", "good" if n % 3 else "bad") for n in range(12)
]


@pytest.fixture(params=TASKS.names)
def task(request: pytest.FixtureRequest) -> Task:
    """Each task; one without a sample here has no test."""
    return TASKS.find(request.param)


def make_job(task: Task, folder: Path, rows: Rows | None, **keys: Any) -> JobBase:
    """A job over a file of such rows; None for a file that is not there."""
    sample = SAMPLES[task.name]
    if rows is not None:
        sample.write(folder / sample.file, rows)
    return task.job.make(data=str(folder / sample.file), output=str(folder / "run"), **sample.keys, **keys)


def fail_to_read(task: Task, job: JobBase) -> str:
    """The one line in which the data of a job is refused."""
    with pytest.raises(UserError) as caught:
        task.read(job)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2
    return str(caught.value)


def test_a_task_reads_its_data_whatever_its_columns_are_called(task: Task, tmp_path: Path) -> None:
    assert task.read(make_job(task, tmp_path, GOOD_ROWS))


def test_data_that_will_not_do_is_refused_in_one_line(task: Task, tmp_path: Path) -> None:
    near = tmp_path / ("x" + SAMPLES[task.name].file)
    near.touch()
    assert "no such file" in fail_to_read(task, make_job(task, tmp_path, None))
    fail_to_read(task, make_job(task, tmp_path, []))
    assert fail_to_read(task, make_job(task, tmp_path, [(text, "good") for text, _ in GOOD_ROWS]))


def test_a_job_that_is_written_and_read_is_the_same(task: Task, tmp_path: Path) -> None:
    job = make_job(task, tmp_path, GOOD_ROWS, llm="http://127.0.0.1:9/v1", budget="5k")
    path = tmp_path / "job.yaml"
    path.write_text(job.dump(), encoding="utf-8")
    assert load_job(path) == job and load_job(path).fingerprint() == job.fingerprint()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = make_job(task, elsewhere, GOOD_ROWS, llm="http://10.0.0.1/v1", budget="5k", name="other")
    assert moved.fingerprint() == job.fingerprint()
    assert make_job(task, tmp_path, None, budget="6k").fingerprint() != job.fingerprint()
    assert (job.name, job.output) == ("träger", str(tmp_path / "run"))


def test_a_mistake_in_a_job_names_the_key(task: Task, tmp_path: Path) -> None:
    with pytest.raises(JobError, match="key 'budgett': unknown key; did you mean 'budget'"):
        make_job(task, tmp_path, None, budgett="5k")
    with pytest.raises(JobError, match="key 'data': missing"):
        task.job.make(**SAMPLES[task.name].keys)
    path = tmp_path / "job.yaml"
    path.write_text(f"task: {task.name}s\ndata: x\n", encoding="utf-8")
    with pytest.raises(JobError, match=f"job.yaml: key 'task': .*did you mean '{task.name}'") as caught:
        load_job(path)
    assert "\n" not in str(caught.value)


def test_a_task_without_sections_has_a_page_all_the_same() -> None:
    page = PLAIN_PAGE.render({"title": "<b>", "headline": "Nothing.", "settings": {"data": "a.csv"}})
    assert "&lt;b&gt;" in page and "a.csv" in page and "<script" not in page


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


class NotesJob(JobBase):
    """Of an installed task."""

    task: Literal["mine.notes"] = "mine.notes"


@dataclass(frozen=True)
class NotesTask:
    """An installed task: a text file."""

    name: str = "mine.notes"
    not_yet: str = ""
    job: type[NotesJob] = NotesJob
    page: RunPage = PLAIN_PAGE

    def read(self, job: NotesJob) -> str:
        return Path(job.data).read_text(encoding="utf-8")

    def tabulate(self, report: Mapping[str, Any]) -> tuple[Headings, TableRows]:
        return ("notes",), [(report["notes"],)]


@dataclass(frozen=True)
class NotesPreview:
    """Shows one sentence."""

    def as_dict(self) -> dict[str, Any]:
        return {"notes": 1}

    def show(self) -> Iterator[ScreenTable | str]:
        yield "one note"


@dataclass(frozen=True)
class NotesRun:
    """Reads a note and keeps it."""

    name: str = "mine.notes"

    async def preview(self, job: NotesJob) -> NotesPreview:
        return NotesPreview()

    async def prepare(self, job: NotesJob, resources: RunResources) -> PreparedRun:
        note = NotesTask().read(job)
        return PreparedRun(job, note, str(len(note)))

    async def carry_out(self, prepared: PreparedRun, resources: RunResources) -> RunResult:
        report = {"task": "mine.notes", "title": "Notes", "headline": prepared.inputs, "stopped": "read."}
        return RunResult({**report, "settings": {}, "notes": prepared.inputs}, 1)


def test_an_installed_task_is_previewed_run_resumed_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {"tasks": "NotesTask", "previewers": "NotesRun", "procedures": "NotesRun"}

    def list_installed(group: str) -> list[EntryPoint]:
        part = parts.get(group.removeprefix("counterpoise."))
        return [EntryPoint("mine.notes", f"{__name__}:{part}", group)] if part else []

    monkeypatch.setattr(registry, "entry_points", list_installed)
    (tmp_path / "note.txt").write_text("Größe <b>", encoding="utf-8")
    job = tmp_path / "job.yaml"
    job.write_text(
        f"task: mine.notes\ndata: note.txt\noutput: run\ncache_dir: {tmp_path}\n", encoding="utf-8"
    )
    assert execute(["preview", str(job)]) == 0 and "one note" in capsys.readouterr().out
    assert execute(["run", str(job), "--quiet"]) == 0 and "Größe <b>" in capsys.readouterr().out
    assert "Größe &lt;b&gt;" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    run = counterpoise.resume(tmp_path / "run")
    assert run.report_data["notes"] == "Größe <b>" and "Größe &lt;b&gt;" in run._repr_html_()
    assert execute(["report", str(tmp_path / "run")]) == 0
