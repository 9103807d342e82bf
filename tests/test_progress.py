"""Progress of Python calls, and results as notebooks show them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import pytest

import counterpoise
from counterpoise import api
from counterpoise.core.errors import JobError
from counterpoise.core.event_kinds import Planned, Read
from counterpoise.core.events import Event, current_listener, ignore, tell_event
from counterpoise.core.html_views import make_view
from counterpoise.core.schema import TextClassification
from counterpoise.data.patches.values import LabelChange, LabelOutcome, Patch
from counterpoise.report import progress
from counterpoise.report.screen import RunState
from tests.test_relabel_retrieval import relabel

READ = Read(rows=40, held_out=10, pool=0, labels={"<b>": 30, "good": 10})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(monkeypatch: pytest.MonkeyPatch, file: io.StringIO, **keys: Any) -> str:
    monkeypatch.setattr(sys, "stderr", file)
    with progress.open_progress(keys.pop("listener", None), keys.pop("progress", None)):
        tell_event(READ)
    return file.getvalue()


def test_progress_is_shown_where_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    assert show(monkeypatch, Terminal()) == "", "in a test nobody looks"
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    assert "read 40 rows" in show(monkeypatch, Terminal())
    assert show(monkeypatch, io.StringIO()) == "", "no terminal"
    assert show(monkeypatch, Terminal(), progress=False) == ""
    assert "read 40 rows" in show(monkeypatch, io.StringIO(), progress=True)
    monkeypatch.setenv(progress.VARIABLE, "0")
    assert show(monkeypatch, Terminal()) == ""
    monkeypatch.setenv(progress.VARIABLE, "1")
    assert "read 40 rows" in show(monkeypatch, io.StringIO())
    told: list[Event] = []
    assert show(monkeypatch, Terminal(), listener=told.append) == "" and told == [READ]
    monkeypatch.setenv(progress.VARIABLE, "maybe")
    with pytest.raises(JobError, match="write 0 or 1"):
        show(monkeypatch, Terminal())


def test_a_call_from_python_shows_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: list[Any] = []

    async def run_job(job: Any) -> Any:
        given.append(current_listener())
        raise InterruptedError

    monkeypatch.setattr("counterpoise.runs.run.run_job", run_job)
    table = {"text": ["a", "b"], "label": ["x", "y"]}
    keys: dict[str, Any] = {"text": "text", "label": "label", "output": str(tmp_path / "run")}
    for shown in (None, False, True):
        with pytest.raises(InterruptedError):
            counterpoise.rebalance(table, progress=shown, **keys)
    assert given[:2] == [ignore, ignore] and given[2] is not ignore


def test_the_live_table_of_a_notebook_shows_texts_as_texts() -> None:
    state = RunState()
    state.apply(Planned(1, "<script>", [{"cell": "<b>bad</b>", "count": 5}]))
    shown = progress.render_html(state)
    assert shown.startswith("<pre>") and "&lt;b&gt;bad&lt;/b&gt;" in shown and "<script>" not in shown


HOSTILE = "<img src=x onerror=alert(1)>"


def test_results_show_themselves_in_a_notebook_with_texts_as_texts(tmp_path: Path) -> None:
    change = LabelChange("id", LabelOutcome.RELABEL, HOSTILE, "good", 0.93, HOSTILE, HOSTILE, ())
    patch = Patch(TextClassification(("text",), "label"), HOSTILE, 2000, (change,) * 14, {}, (HOSTILE,))
    cell = {"cell": HOSTILE, "have": 3, "want": 1300, "need": 1297}
    data = {
        "title": HOSTILE,
        "headline": HOSTILE,
        "stopped": HOSTILE,
        "balance": {"before": [cell], "after": [cell]},
    }
    run = api.Run(tmp_path, data)
    balance = counterpoise.check_balance(
        {"text": [HOSTILE] * 30, "label": [HOSTILE, "b", "b"] * 10}, label="label"
    )
    for result in (patch, run, balance):
        shown = result._repr_html_()
        assert HOSTILE not in shown and "&lt;img src=x" in shown and shown.startswith("<div>")
    assert "… and 2 more" in patch._repr_html_() and "2,000 rows" in patch._repr_html_()
    assert "1,300" in run._repr_html_() and repr(run).startswith(f"<Run {tmp_path}")
    retrieval = api.Run(tmp_path, {"task": "retrieval", "title": "t", "headline": "h", "stopped": "done."})
    assert "Run t" in retrieval._repr_html_()
    done = relabel()
    assert done.sentence.split(",")[0] in done._repr_html_() and "relabel" in done._repr_html_()


def test_a_view_cuts_what_is_long() -> None:
    shown = make_view("x", ["", "kept whole " * 30], ("a",), [("word " * 100,), (1234567,), (0.5,), (True,)])
    assert "kept whole " * 30 in shown and "…</td>" in shown and "1,234,567" in shown and "0.500" in shown
