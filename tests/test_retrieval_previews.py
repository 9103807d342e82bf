"""What a relabelling would ask is known before a token is spent, and a run asks as much."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import counterpoise
from counterpoise.actions.relabel.judges import Judge
from counterpoise.actions.relabel.preparation import CascadeSettings, prepare_cases
from counterpoise.cli import app as cli
from counterpoise.data.instances import format_instance
from counterpoise.llm import ChatClient, ScriptedChatClient
from counterpoise.runs.retrieval_preview import make_retrieval_preview
from counterpoise.tasks.registry import load_job
from counterpoise.tasks.retrieval.job import RetrievalJob
from tests.retrieval_judges import reply_first, reply_second
from tests.test_relabel_forms import FORMS
from tests.test_relabel_retrieval import INSTANCES, N, relabel


@pytest.mark.parametrize("form", FORMS)
def test_a_run_asks_what_was_foretold_whatever_the_form(form: str) -> None:
    job, given = RetrievalJob(data="triples.jsonl", llm="http://127.0.0.1:9/v1"), FORMS[form](INSTANCES)
    found = make_retrieval_preview(job, prepare_cases(given, CascadeSettings()), CascadeSettings())
    assert (found.queries, found.candidates, found.audited) == (N, 6 * N, N)
    judges = (
        Judge("first", ChatClient(ScriptedChatClient(reply_first, name="first"))),
        Judge("second", ChatClient(ScriptedChatClient(reply_second, name="second"))),
    )
    done = relabel(given, judges)
    first, second = (judge.chat.budget.by_purpose[f"{judge.stage} judge"] for judge in judges)
    audits = found.parts[0].requests + found.parts[1].requests
    assert first.requests == found.parts[0].requests + found.parts[2].requests
    assert found.least.requests <= first.requests + second.requests <= found.most.requests
    assert audits == 2 * N and done.tokens <= found.most.most_tokens
    assert [part.tokens <= part.most_tokens for part in found.parts] == [True] * 5


def test_a_budget_that_does_not_reach_and_the_time_are_said() -> None:
    job = RetrievalJob(data="triples.jsonl", llm="http://127.0.0.1:9/v1", budget=20_000)
    found = make_retrieval_preview(job, prepare_cases(INSTANCES, CascadeSettings()), CascadeSettings())
    assert found.advice[0].startswith("The budget of 20,000 tokens is ")
    assert "of what it may take" in found.advice[0] and "32 requests at once" in found.advice[-1]
    low, high = found.estimate_seconds(2.0)
    assert low == pytest.approx(found.least.requests * 2 / 32) and high >= low


def test_job_command_and_python_show_it_and_spend_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "triples.jsonl"
    rows = [row for one in INSTANCES for row in format_instance(one, "tevatron")]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    job = tmp_path / "job.yaml"
    # Nothing listens there.
    job.write_text("task: retrieval\ndata: triples.jsonl\nllm: http://127.0.0.1:9/v1\n", encoding="utf-8")
    assert cli.execute(["preview", str(job), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["event"] == "preview" and said["candidates"] == 6 * N and said["least"]["requests"] > 2 * N
    assert said["seconds_at_one_second_a_request"]["least"] > 0 and said["most"]["tokens"] > 0
    assert cli.execute(["relabel", str(data), "--model", "http://127.0.0.1:9/v1", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "Before a token is spent" in shown and "requests at once" in shown
    asked = load_job(job)
    assert isinstance(asked, RetrievalJob) and counterpoise.preview(asked).as_dict() == {
        name: value for name, value in said.items() if name != "event"
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.yaml", "triples.jsonl"]
