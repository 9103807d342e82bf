"""What a server can do is found by asking: a server that ignores a field is told from one that obeys."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from aiohttp import web

from counterpoise.cli import execute
from counterpoise.core.capabilities import Capabilities
from counterpoise.llm.config import LlmConfig
from counterpoise.llm.doctor import Diagnosis, examine, make_patients
from counterpoise.llm.findings import keep_findings, settle_capabilities
from counterpoise.runs.directory import RunDirectory
from tests.server_modes import ModeServer
from tests.servers import Body, LocalServer, write_soup

pytestmark = pytest.mark.processes


class MeasuredServer(LocalServer):
    """A local server that counts the beginnings it has seen before, and refuses some fields."""

    def __init__(
        self,
        reply: Callable[[Body, int], str] = write_soup,
        *,
        refuses: Sequence[str] = (),
        counts: bool = True,
    ) -> None:
        super().__init__(reply, metrics=self._count if counts else None)
        self._refuses = refuses
        self._n_tokens = self._n_hits = 0
        self._seen: set[str] = set()

    def _count(self) -> str:
        return (
            f'vllm:num_requests_running{{engine="0"}} 1.0\n'
            f'vllm:prefix_cache_queries_total{{engine="0"}} {self._n_tokens:.1f}\n'
            f'vllm:prefix_cache_hits_total{{engine="0"}} {self._n_hits:.1f}\n'
        )

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        if any(name in body for name in self._refuses):
            return web.json_response({"error": {"message": "unknown field"}}, status=400)
        begin = str(body.get("messages") or body.get("prompt"))[:300]
        self._n_tokens += 256
        self._n_hits += 128 * (begin in self._seen)
        self._seen.add(begin)
        return await super()._complete(request)


def chatter(body: Body, index: int) -> str:
    """Prose, whatever is asked for."""
    return "It is a fine day"


async def diagnose(server: LocalServer, model: str = "") -> Diagnosis:
    config = LlmConfig(engine="server", url=(server.url,), model=model, concurrency=4)
    (patient,) = make_patients(config, cache_dir=None)
    return await examine(patient)


async def test_an_able_server_is_found_able() -> None:
    with MeasuredServer() as server:
        found = await diagnose(server)
        assert not any("seed" in body for body in server.bodies)
    can = found.capabilities
    assert (can.chat, can.continuation, can.structured, can.logprobs, can.multiple) == (True,) * 5
    assert found.prefix_caching is True and found.seed is None and "not ours" in found.notes["seed"]
    assert found.tokens_per_second > 0 < found.tokens_per_second_alone and found.concurrency == 4


async def test_what_is_ignored_or_refused_is_told_from_what_is_done() -> None:
    with MeasuredServer(chatter, refuses=("n", "logprobs"), counts=False) as server:
        found = await diagnose(server)
    can = found.capabilities
    assert (can.chat, can.structured, can.logprobs, can.multiple) == (True, False, False, False)
    assert "It is a fine day" in found.notes["structured"] and "unknown field" in found.notes["logprobs"]
    assert found.prefix_caching is None and can.context_tokens == 0


async def test_what_a_run_goes_by_is_shown_thoughts_and_refused_fields_among_it() -> None:
    with ModeServer("ollama-thinking") as server:
        found = await diagnose(server)
    assert found.capabilities.thinks and "reasoning_effort" in found.notes["thinks"]
    assert not found.capabilities.multiple and "it gives one" in found.notes["multiple"]
    with ModeServer("litellm") as server:
        found = await diagnose(server)
    assert {"n", "logprobs", "response_format"} <= set(found.refused) and not found.capabilities.logprobs
    assert "UnsupportedParamsError" in found.notes["structured"]


class TwoModels(LocalServer):
    """A local server with a large model behind a small one."""

    async def _list_models(self, request: web.Request) -> web.Response:
        lengths = {"small": 2048, "large": 32768}
        return web.json_response({"data": [{"id": name, "max_model_len": lengths[name]} for name in lengths]})


async def test_the_context_is_that_of_the_model_in_question() -> None:
    with TwoModels(models=["small", "large"]) as server:
        for model, length in (("large", 32768), ("small", 2048), ("", 2048)):
            found = await diagnose(server, model)
            assert found.capabilities.context_tokens == length


def test_the_command_shows_a_column_a_server_and_keeps_what_it_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(tmp_path))
    with MeasuredServer() as one, MeasuredServer() as two:
        both = ["--model", one.url, "--model", two.url]
        assert execute(["doctor", *both, "--concurrency", "2", "--quiet"]) == 0
        table = capsys.readouterr().out
        assert execute(["doctor", *both, "--concurrency", "2", "--json"]) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        gone = two.url
    assert one.url in table and two.url in table and "structured replies enforced" in table
    found = [line for line in lines if line["event"] == "diagnosis"]
    assert [line["url"] for line in found] == [one.url, two.url] and found[0]["structured"] is True
    assert len(list((tmp_path / "doctor").iterdir())) == 1  # they serve one model

    with MeasuredServer() as one:
        assert execute(["doctor", "--model", gone, "--model", one.url, "--concurrency", "2", "--quiet"]) == 3
    said = capsys.readouterr()
    assert "is the server running?" in said.err and said.err.count("\n") == 1
    assert "local-model" in said.out, "the one that answers is shown all the same"
    assert execute(["doctor"]) == 2


def test_a_run_goes_by_what_was_known_when_it_began(tmp_path: Path) -> None:
    found = Capabilities("some model", structured=False)
    known = {"structured": True, "logprobs": True, "multiple": False, "context_tokens": 4096}
    with RunDirectory(tmp_path / "first") as directory:
        directory.begin("{}", "x")
        assert settle_capabilities(found, directory, tmp_path) == found
        keep_findings("some model", known, tmp_path)
        assert settle_capabilities(found, directory, tmp_path) == found
    with RunDirectory(tmp_path / "second") as directory:
        directory.begin("{}", "x")
        settled = settle_capabilities(found, directory, tmp_path)
        assert settled.structured and not settled.multiple and settled.context_tokens == 4096
