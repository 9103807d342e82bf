"""A run with `concepts: auto`: named once, kept in the run directory and the resolved job, the same when it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import counterpoise
from counterpoise.core.strict_yaml import read_mapping
from counterpoise.runs.naming_concepts import FILE
from counterpoise.tasks.text.job import load_job
from evals.scripted_concepts import ScriptedReader, TopicWords
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reply, write_reviews
from tests.servers import LocalServer, draw_logprobs

pytestmark = [pytest.mark.assets, pytest.mark.processes]

READER = ScriptedReader(
    (TopicWords("garden", "a garden or a terrace outside", ("garden", "terrace")),), skill=1.0
)


def serve(body: dict[str, Any], index: int) -> str:
    messages = body.get("messages")
    if messages and body.get("response_format") and "topics" in str(body["response_format"]):
        return str(READER.answer(messages[-1]["content"]))
    return write_reply(body, index)


def choose(body: dict[str, Any]) -> dict[str, float]:
    said = READER.answer(body["messages"][-1]["content"]) if body.get("messages") else ""
    if isinstance(said, str):
        return dict(draw_logprobs(body))
    return {letter: -5.0 * (weight < 0.5) for letter, weight in said.items()}


def test_concepts_are_named_kept_and_the_same_when_the_run_goes_on(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    write_reviews(tmp_path / "reviews.csv", make_reviews(60, 30))
    write_reviews(tmp_path / "test.csv", make_reviews(20, 20, seed=1))
    with LocalServer(serve, logprobs=choose) as server:
        job = make_job(tmp_path, server, "run", rounds=1, concepts="auto")
        before = counterpoise.preview(job)
        assert any("concepts: the model would be asked" in note for note in before.notes)
        run = counterpoise.run(job)
        spent, n_requests = run.report_data["spend"], server.n_requests
        resolved = load_job(tmp_path / "run" / "job.yaml")
        assert resolved.concepts == {"garden": "a garden or a terrace outside"}
        assert read_mapping(tmp_path / "run" / FILE) == resolved.concepts
        assert any("one concept:" in note for note in run.report_data["data"]["notes"])
        again = counterpoise.run(resolved)
        assert again.report_data["spend"]["used"] == spent["used"] and server.n_requests == n_requests
        once_more = counterpoise.run(job)
    assert once_more.dataset["train"].to_list() == run.dataset["train"].to_list()


def test_a_run_whose_model_names_nothing_goes_on_without_concepts(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    write_reviews(tmp_path / "reviews.csv", make_reviews(50, 30))
    write_reviews(tmp_path / "test.csv", make_reviews(20, 20, seed=1))
    with LocalServer(write_reply) as server:
        run = counterpoise.run(make_job(tmp_path, server, "run", rounds=1, concepts="auto"))
    assert load_job(tmp_path / "run" / "job.yaml").concepts == {}
    assert any("goes on without concepts" in note for note in run.report_data["data"]["notes"])
