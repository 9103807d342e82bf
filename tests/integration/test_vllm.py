"""Real vLLM on the CPU with a real model: what a run asks of it, and how both of them end.

`make test-vllm` builds what these tests need (about two minutes and 3.4 GB, once); without it they are skipped. A
start takes half a minute here, so one server answers many questions.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
import yaml

from counterpoise.core.errors import QuarantinedError
from counterpoise.core.events import Event, listening
from counterpoise.llm import ChatClient, ChatRequest, Message, ReplyStore, RequestOutcome, Sampling
from counterpoise.llm.config import LlmConfig
from counterpoise.llm.connect import make_engines
from counterpoise.llm.dialect import Dialect
from counterpoise.llm.doctor import Diagnosis, examine, make_patients
from counterpoise.llm.engines.managed import ManagedEngine
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.llm.reply_store import make_keys
from counterpoise.llm.retries import RetryPolicy
from tests.integration.helpers import make_cache, make_reviews, write_reviews
from tests.integration.test_long_run import write_rows
from tests.vllm_environment import find_python, find_weights

IS_REQUIRED = bool(os.environ.get("COUNTERPOISE_REQUIRE_VLLM"))
IS_THERE = find_python().exists() and find_weights().is_dir()

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.assets,
    pytest.mark.skipif(not (IS_THERE or IS_REQUIRED), reason="vLLM is not built here: run `make test-vllm`"),
    pytest.mark.processes,
]

# Little memory, no compiler, and prompts in pieces: it is a request with a seed that comes in pieces that kills it.
ARGS = (
    *("--max-model-len", "1024", "--max-num-seqs", "32", "--max-num-batched-tokens", "128"),
    *("--enforce-eager", "--block-size", "32"),
    # A model this small may fill the room between two fields with blanks, which JSON allows.
    *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
)
SCHEMA = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}, "stars": {"enum": [1, 2, 3, 4, 5]}},
    "required": ["mood", "stars"],
    "additionalProperties": False,
}
INSTRUCTION = "You judge reviews of restaurants. " + "Read the review with care, think of the guest. " * 12


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # By itself vLLM ties its threads to the first cores, whoever is there already; several wait for each other.
    settings = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[ChatRequest]:
    """Every request that goes out, in order; one that says POISON carries a seed."""
    requests: list[ChatRequest] = []
    generate, compose = OpenAIEngine.generate, Dialect.compose

    async def generate_noted(engine: OpenAIEngine, request: ChatRequest) -> Any:
        requests.append(request)
        return await generate(engine, request)

    def compose_poisoned(dialect: Dialect, request: ChatRequest, model: str) -> dict[str, Any]:
        return compose(dialect, request, model) | ({"seed": 7} if "POISON" in request.prompt else {})

    monkeypatch.setattr(OpenAIEngine, "generate", generate_noted)
    monkeypatch.setattr(Dialect, "compose", compose_poisoned)
    return requests


def open_vllm(folder: Path) -> ManagedEngine:
    config = LlmConfig(engine="vllm", model=str(find_weights()), args=ARGS, python=str(find_python()))
    (engine,), slots = make_engines(config, cache_dir=folder, log_dir=folder)
    assert isinstance(engine, ManagedEngine) and slots == 32
    return engine


def make_story(number: int) -> ChatRequest:
    return ChatRequest(
        prompt=f"Story {number}. Once upon a time", sampling=Sampling(temperature=0.9, max_tokens=40)
    )


POISON = ChatRequest(
    prompt="POISON " + "and one more word " * 100, sampling=Sampling(temperature=0.9, max_tokens=8)
)


def find_engine_core(api_server: int) -> psutil.Process:
    (core,) = [
        process
        for process in psutil.Process(api_server).children(recursive=True)
        if "EngineCore" in " ".join(process.cmdline())
    ]
    return core


async def collect(chat: ChatClient, requests: list[ChatRequest]) -> list[RequestOutcome]:
    return [outcome async for outcome in chat.generate_many(requests)]


async def test_one_server_from_its_first_letter_to_its_last_death(
    tmp_path: Path, sent: list[ChatRequest]
) -> None:
    engine = open_vllm(tmp_path)
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        async with ChatClient(
            engine, store, concurrency=32, run_id="one", retries=RetryPolicy(first_wait_seconds=0.05)
        ) as chat:
            family = list_family(engine.server.pid)  # type: ignore[attr-defined]
            assert chat.name.startswith("SmolLM2-135M-Instruct-") and chat.name.endswith(" (vllm)")
            await check_letters(chat)
            await check_texts(chat)
            await check_forms(chat)
            ratio = await check_metrics(chat, engine)

            stories = [make_story(number) for number in range(60)]
            n_again = await check_kill(chat, engine, store, stories, sent)
            assert engine.n_starts == 2

            others = [make_story(number) for number in range(100, 130)]
            outcomes = await collect(chat, [*others[:15], POISON, *others[15:]])
            assert [outcome.index for outcome in outcomes if outcome.error] == [15]
            (poison,) = [outcome.error for outcome in outcomes if outcome.error]
            assert isinstance(poison, QuarantinedError)
            # It is given up at the second death; where the others were answered by then, nobody waits for the restart.
            await engine.wait_until_ready()
            assert engine.n_starts == 4
            assert sum(request == POISON for request in sent) == 2

            sent.clear()
            async with ChatClient(engine, store, concurrency=32, run_id="one") as resumed:
                again = await collect(resumed, [*stories, *others, POISON])
            assert not sent, "what is stored or quarantined is not sent again"
            assert [type(outcome.error) for outcome in again if outcome.error] == [QuarantinedError]
    assert not [process for process in family if is_running(process)]
    print(f"prefix hit ratio {ratio:.2f}; {n_again} of 60 requests sent again after the kill")


async def check_letters(chat: ChatClient) -> None:
    rows = make_reviews(10, 10)
    requests = [
        ChatRequest((Message("user", f"{text}\nIs this A) praise or B) blame? Answer A or B."),), choices=("A", "B"))
        for text, _ in rows
    ]  # fmt: skip
    outcomes = await collect(chat, requests)
    for outcome in outcomes:
        assert outcome.error is None
        letters = outcome.completions[0].logprobs
        assert letters is not None and sum(letters.values()) == pytest.approx(1.0)
        assert outcome.completions[0].usage.completion_tokens == 1
    assert len({json.dumps(dict(outcome.completions[0].logprobs or {})) for outcome in outcomes}) > 10


async def check_texts(chat: ChatClient) -> None:
    request = ChatRequest(prompt="The soup was", n=4, sampling=Sampling(temperature=1.0, max_tokens=16))
    replies = await chat.generate(request)
    assert len({reply.text for reply in replies}) > 1
    assert 4 < sum(reply.usage.completion_tokens for reply in replies) <= 64  # told for all four together


async def check_forms(chat: ChatClient) -> None:
    """The schema is enforced, not followed: the model is asked for something else."""
    requests = [
        ChatRequest(
            (Message("user", f"Write a poem about {thing}."),),
            schema=SCHEMA,
            sampling=Sampling(max_tokens=48, temperature=0.7),
        )
        for thing in ("rain", "a cat", "the sea", "bread")
    ]
    for outcome in await collect(chat, requests):
        assert outcome.error is None
        assert outcome.completions[0].parsed["mood"] in ("good", "bad")


async def check_metrics(chat: ChatClient, engine: ManagedEngine) -> float:
    before = await engine.read_load()
    assert before is not None
    for number in range(4):
        await chat.generate(
            ChatRequest((Message("system", INSTRUCTION), Message("user", f"Review {number}: nice.")))
        )
    for _ in range(50):
        after = await engine.read_load()
        assert after is not None
        ratio = after.prefix_hit_ratio(before)
        if ratio:
            return ratio
        await asyncio.sleep(0.1)
    raise AssertionError("no prefix came from the cache")


async def check_kill(
    chat: ChatClient,
    engine: ManagedEngine,
    store: ReplyStore,
    requests: list[ChatRequest],
    sent: list[ChatRequest],
) -> int:
    """Kill the engine core after some replies: all is answered, nothing stored is sent again."""
    sent.clear()
    stored: set[ChatRequest] = set()
    n_done = 0
    async with aclosing(chat.generate_many(requests)) as outcomes:
        async for outcome in outcomes:
            assert outcome.error is None
            n_done += 1
            if n_done == 10:
                keys = {make_keys(chat.name, request)[0]: request for request in requests}
                stored = {keys[key] for key in store.get_many(list(keys))}
                find_engine_core(engine.server.pid).kill()  # type: ignore[attr-defined]
                n_sent = len(sent)
    assert n_done == len(requests) and len(stored) >= 10
    assert not stored.intersection(sent[n_sent:])
    return len(sent) - len(requests)


def write_job(folder: Path, **llm: Any) -> Path:
    write_reviews(folder / "reviews.csv", make_reviews(30, 8))
    write_reviews(folder / "test.csv", make_reviews(15, 15, seed=1))
    make_cache(folder / "cache")
    settings = {
        "data": "reviews.csv",
        "held_out": "test.csv",
        "text": "review",
        "label": "stars",
        "labels": {"good": "Praise of a restaurant", "bad": "Complaints about a restaurant"},
        "llm": {
            "engine": "vllm",
            "model": str(find_weights()),
            "python": str(find_python()),
            "args": list(ARGS),
            **llm,
        },
        "budget": 200_000,
        "rounds": 2,
        "cache_dir": "cache",
        "output": "run",
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


AGENTS: list[subprocess.Popen[bytes]] = []


@pytest.fixture(autouse=True)
def end_agents() -> Iterator[None]:
    """No agent outlives its test, whatever became of it."""
    yield
    while AGENTS:
        agent = AGENTS.pop()
        if agent.poll() is None:
            agent.kill()
            agent.communicate()


def start(*arguments: object) -> subprocess.Popen[bytes]:
    agent = subprocess.Popen(
        [sys.executable, "-m", "counterpoise", *map(str, arguments), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Tests that run in the background of a shell ignore it, and so would the agent.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    AGENTS.append(agent)
    return agent


def list_family(pid: int) -> list[psutil.Process]:
    """A process of ours and everything below it."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def is_running(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(family: list[psutil.Process]) -> None:
    deadline = time.monotonic() + 60
    while left := [process for process in family if is_running(process)]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.1)


def wait_for_core(agent: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The agent's family, once vLLM has its engine core."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and agent.poll() is None:
        family = list_family(agent.pid)
        if any("EngineCore" in " ".join(process.cmdline()) for process in family if is_running(process)):
            return family
        time.sleep(0.2)
    raise AssertionError("vLLM did not start")


def wait_for_event(agent: subprocess.Popen[bytes], name: str) -> dict[str, Any]:
    assert agent.stdout is not None
    for line in agent.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == name:
            return event
    raise AssertionError(f"it ended without {name}: {agent.stderr.read() if agent.stderr else b''!r}")


def end(agent: subprocess.Popen[bytes]) -> str:
    _, said = agent.communicate(timeout=600)
    return said.decode()


def test_a_run_survives_its_own_death_and_that_of_its_engine(tmp_path: Path) -> None:
    job = write_job(tmp_path)
    agent = start("run", job)
    wait_for_event(agent, "progress")
    family = list_family(agent.pid)
    assert any("EngineCore" in " ".join(process.cmdline()) for process in family)
    agent.kill()
    end(agent)
    wait_for_end(family)

    agent = start("resume", tmp_path / "run")
    wait_for_event(agent, "progress")
    family = list_family(agent.pid)
    (core,) = [process for process in family if "EngineCore" in " ".join(process.cmdline())]
    core.kill()
    said = end(agent)
    assert agent.returncode == 0, said
    wait_for_end(family)
    assert (tmp_path / "run" / "FINISHED").is_file()
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["verdicts"]["accepted"] + sum(report["verdicts"]["rejected"].values()) > 0
    log = (tmp_path / "run" / "vllm.log").read_text()
    assert log.count("=== ") in (2, 3), "started by each agent, and again where the kill came in time"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_agent_that_ends_while_vllm_starts_leaves_nothing(how: signal.Signals, tmp_path: Path) -> None:
    agent = start("run", write_job(tmp_path))
    family = wait_for_core(agent)
    agent.send_signal(how)
    said = end(agent)
    if how == signal.SIGINT:
        assert agent.returncode == 130 and "resume with" in said
    wait_for_end(family)


@pytest.mark.parametrize(
    ("llm", "code", "expected"),
    [
        ({"args": [*ARGS, "--bogus"]}, 2, "llm: args: vLLM says: .*bogus"),
        ({"args": [*ARGS, "--max-model-len", "100000"]}, 2, "llm: args: vLLM says: .*max_model_len"),
        ({"model": "nobody/no-such-model"}, 3, "nobody/no-such-model: vLLM does not start: .*hub does not answer"),
    ],
)  # fmt: skip
def test_a_start_that_fails_is_one_line(
    llm: dict[str, Any], code: int, expected: str, tmp_path: Path
) -> None:
    agent = start("run", write_job(tmp_path, **llm))
    said = end(agent)
    assert agent.returncode == code, said
    assert said.count("\n") == 1
    assert re.search(expected, said), said


def test_records_of_many_lines_are_written_whole(tmp_path: Path) -> None:
    """The 135M model continues records of 300 words in paragraphs, in a window that holds fewer than five of them."""
    args = [*ARGS, "--max-model-len", "2048"]
    path = write_job(tmp_path, args=args)
    write_rows(tmp_path / "reviews.csv", {("good", "web"): 40, ("bad", "web"): 14}, 0)
    write_rows(tmp_path / "test.csv", {("good", "web"): 8, ("bad", "web"): 8}, 1)
    job = yaml.safe_load(path.read_text()) | {"budget": 30_000, "rounds": 1, "actions": ["minority_text"]}
    path.write_text(yaml.safe_dump(job))
    agent = start("run", path)
    said = end(agent)
    assert agent.returncode == 0, said
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    notes = " ".join(report["data"]["notes"])
    assert "instead of 5 records: the model's window of 2,048 tokens holds no more" in notes
    rows = [
        row
        for shard in (tmp_path / "run" / "dataset").rglob("*.parquet")
        for row in pq.read_table(shard).to_pylist()
        if row["provenance"]["kind"] == "minority"
    ]
    long = [row["review"] for row in rows if len(row["review"].split()) > 150 and "\n\n" in row["review"]]
    assert len(long) >= 3 and len(long) > 0.5 * len(rows), report["verdicts"]["rejected"]


async def test_the_doctor_sees_what_this_vllm_can_do(tmp_path: Path) -> None:
    heard: list[Event] = []
    config = LlmConfig(
        engine="vllm", model=str(find_weights()), concurrency=8, args=ARGS, python=str(find_python())
    )
    (patient,) = make_patients(config, cache_dir=tmp_path, log_dir=tmp_path)
    with listening(heard.append):
        found: Diagnosis = await examine(patient)
    can = found.capabilities
    assert (can.chat, can.continuation, can.structured, can.logprobs, can.multiple) == (True,) * 5
    assert can.context_tokens == 1024 and found.prefix_caching is True
    assert found.seed is False and "it ends the server" in found.notes["seed"]
    assert found.tokens_per_second > found.tokens_per_second_alone > 0
    assert not patient.server or not patient.server.is_alive()
