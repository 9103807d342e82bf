"""A vLLM of our own, on a made-up vLLM: started, explained, ended with its whole family, started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from counterpoise.core.errors import EngineDiedError, JobError, ServerError
from counterpoise.core.events import Event, listening
from counterpoise.llm import ChatClient, ChatRequest
from counterpoise.llm.budget import BudgetSpent, TokenBudget
from counterpoise.llm.engines.managed import ManagedEngine
from counterpoise.llm.servers.vllm import VllmServer, find_slots, name_model
from counterpoise.llm.servers.vllm_log import explain_log
from evals import vllm_on_cpu
from tests.made_up_vllm import make_environment

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="vLLM runs on Linux"), pytest.mark.processes]


@pytest.fixture
def families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that lists the processes of every made-up vLLM; whatever a test leaves is killed."""
    path = tmp_path / "families"
    monkeypatch.setenv("MADE_UP_VLLM", str(path))
    yield path
    for pid in list_family(path):
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


def list_family(path: Path) -> list[int]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [pid for line in lines for pid in json.loads(line)]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for_end(path: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while left := [pid for pid in list_family(path) if is_running(pid)]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.05)


def wait_for_family(path: Path, n_starts: int = 1) -> list[int]:
    deadline = time.monotonic() + 60
    while len(pids := list_family(path)) < 3 * n_starts:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return pids[-3:]


def make_server(tmp_path: Path, *arguments: str, **settings: bool) -> VllmServer:
    folder = tmp_path / "environment"
    python = folder if folder.exists() else make_environment(folder, **settings)
    return VllmServer("org/model", log=tmp_path / "vllm.log", python=str(python), arguments=arguments)


@pytest.mark.parametrize("has_command", [True, False])
def test_it_serves_and_ends_with_its_whole_family(has_command: bool, tmp_path: Path, families: Path) -> None:
    server = make_server(tmp_path, "--max-model-len", "512", has_command=has_command)
    with server:
        pids = wait_for_family(families)
        assert server.pid == pids[0] and all(is_running(pid) for pid in pids)
        said = "\0".join(part for pid in (*pids, psutil.Process(pids[0]).ppid()) for part in command_of(pid))
        assert server.api_key not in said and "--max-model-len\x00512" in said
        assert ("vllm serve" in (tmp_path / "vllm.log").read_text()) == has_command
    assert not server.is_alive()
    assert not [pid for pid in pids if is_running(pid)]
    server.stop()


def command_of(pid: int) -> list[str]:
    return psutil.Process(pid).cmdline()


@pytest.mark.parametrize(
    ("way", "kind", "expected"),
    [
        ("memory", ServerError, r"OutOfMemoryError.*--max-model-len"),
        ("model", JobError, r"llm: model: .*not a valid model identifier.*hub"),
        ("option", JobError, r"llm: args: .*unrecognized arguments: --bogus"),
        ("silent", ServerError, r"exit code 1.*vllm\.log"),
    ],
)
def test_a_start_that_fails_is_one_line_with_a_hint(
    way: str, kind: type[Exception], expected: str, tmp_path: Path, families: Path
) -> None:
    server = make_server(tmp_path, "--made-up", way)
    with pytest.raises(kind, match=expected) as caught:
        server.start()
    assert "\n" not in str(caught.value) and not server.is_alive()


def test_where_there_is_no_vllm_the_line_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(JobError, match=r"vLLM is not installed for .*pip install vllm") as caught:
        make_server(tmp_path, has_package=False).start()
    assert caught.value.exit_code == 2
    with pytest.raises(JobError, match="no interpreter at"):
        VllmServer("org/model", log=tmp_path / "log", python=str(tmp_path / "nowhere")).start()


PARENT = """
    import os, sys, time
    from pathlib import Path
    from counterpoise.llm.servers.vllm import VllmServer
    server = VllmServer("org/model", log=Path(sys.argv[1]), python=sys.argv[2], arguments=sys.argv[3:])
    if os.fork() == 0:  # holds what the parent had open, as a pool of workers would
        time.sleep(40)
        os._exit(0)
    server.start()
    if os.fork() == 0:
        time.sleep(40)
        os._exit(0)
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("arguments", [(), ("--made-up", "slow")])
def test_nothing_outlives_an_agent_that_is_killed(
    how: signal.Signals, arguments: tuple[str, ...], tmp_path: Path, families: Path
) -> None:
    environment = make_environment(tmp_path / "environment")
    agent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(tmp_path / "log"), str(environment), *arguments],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        wait_for_family(families)
        if not arguments:
            assert agent.stdout is not None and agent.stdout.readline() == b"ready\n"
        agent.send_signal(how)
        agent.wait(20)
        wait_for_end(families)
    finally:
        assert agent.stdout is not None
        agent.stdout.close()
        os.killpg(agent.pid, signal.SIGKILL)


def test_a_supervisor_that_is_killed_takes_the_server_with_it(tmp_path: Path, families: Path) -> None:
    server = make_server(tmp_path)
    with server:
        pids = wait_for_family(families)
        os.kill(psutil.Process(pids[0]).ppid(), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while server.is_alive() or is_running(pids[0]):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
async def engine(tmp_path: Path, families: Path) -> ManagedEngine:
    return ManagedEngine(make_server(tmp_path), most_deaths=1, first_wait_seconds=0.01)


def ask(text: str) -> ChatRequest:
    return ChatRequest(prompt=text)


async def test_a_death_under_requests_is_told_to_all_of_them_and_mended_once(
    engine: ManagedEngine, families: Path
) -> None:
    async with engine:
        slow = [asyncio.create_task(engine.generate(ask(f"SLOW {number}"))) for number in range(20)]
        await asyncio.sleep(0.5)
        core = wait_for_family(families)[1]
        os.kill(core, signal.SIGKILL)
        ended = await asyncio.gather(*slow, return_exceptions=True)
        assert {type(one) for one in ended} == {EngineDiedError}
        assert all(one.retryable for one in ended if isinstance(one, EngineDiedError))
        replies = await asyncio.gather(*(engine.generate(ask(f"after {number}")) for number in range(20)))
        assert {reply[0].text for reply in replies} == {"four"} and engine.n_starts == 2
    assert not [pid for pid in list_family(families) if is_running(pid)]


async def test_a_death_between_requests_is_nobodys_fault(engine: ManagedEngine, families: Path) -> None:
    async with engine:
        await engine.generate(ask("before"))
        os.kill(wait_for_family(families)[0], signal.SIGKILL)
        while engine._server.is_alive():
            await asyncio.sleep(0.01)
        (reply,) = await engine.generate(ask("after"))
        assert reply.text == "four" and engine.n_starts == 2
        async with engine:  # as a second client of it does
            assert (await engine.generate(ask("once more")))[0].text == "four"


async def test_what_kills_it_is_told_and_a_server_that_only_dies_is_given_up(
    engine: ManagedEngine, families: Path
) -> None:
    heard: list[Event] = []
    with listening(heard.append):
        async with engine:
            with pytest.raises(EngineDiedError, match="CPU Generator does not use offset") as caught:
                await engine.generate(ask("POISON"))
            assert caught.value.retryable
            await engine.generate(ask("an answer in between makes good for the death before"))
            for _ in range(2):
                with pytest.raises(EngineDiedError):
                    await engine.generate(ask("POISON"))
            with pytest.raises(EngineDiedError, match=r"given up .* 2 times") as caught:
                await engine.generate(ask("hello"))
            assert not caught.value.retryable
    assert sum(event.name == "warning" for event in heard) == 3
    assert not [pid for pid in list_family(families) if is_running(pid)]


async def test_the_time_is_up_while_the_server_starts_again(
    tmp_path: Path, families: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make_server(tmp_path)
    engine, budget = ManagedEngine(server), TokenBudget()
    started_again = threading.Event()
    async with ChatClient(engine, budget=budget) as chat:
        await chat.generate(ask("before"))
        monkeypatch.setattr(server, "start", lambda: started_again.wait(60))
        budget.end_after(1.0)
        os.kill(wait_for_family(families)[0], signal.SIGKILL)
        try:
            asked = (chat.generate(ask(f"after {number}")) for number in range(5))
            ended = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 30)
            assert {type(one) for one in ended} == {BudgetSpent} and engine.n_starts == 1
            assert budget.reserved == 0
        finally:
            started_again.set()
    assert not [pid for pid in list_family(families) if is_running(pid)]


async def test_a_refusal_of_a_living_server_is_passed_on(engine: ManagedEngine) -> None:
    async with engine:
        engine.engine._client = engine.engine._client.with_options(api_key="wrong")  # type: ignore[union-attr]
        with pytest.raises(ServerError, match="is the API key right") as caught:
            await engine.generate(ask("hello"))
        assert not isinstance(caught.value, EngineDiedError) and engine.n_starts == 1


async def test_a_start_that_is_given_up_ends_at_once(tmp_path: Path, families: Path) -> None:
    engine = ManagedEngine(make_server(tmp_path, "--made-up", "slow"))
    entering = asyncio.create_task(engine.__aenter__())
    await asyncio.to_thread(wait_for_family, families)
    entering.cancel()
    started = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert time.monotonic() - started < 30
    assert not [pid for pid in list_family(families) if is_running(pid)]


@pytest.mark.parametrize(
    ("log", "kind", "key", "said"),
    [
        (
            "ValueError: To serve at least one request with the model's max seq len (131072), (14.00 GiB KV cache "
            "is needed, which is larger than the available KV cache memory (3.1 GiB).",
            "server",
            "",
            "ValueError: To serve at least",
        ),
        (
            "(EngineCore pid=12) ERROR 11-23 21:12:10 [core.py:700] ValueError: Free memory on device cuda:0 (2.1/24.0 "
            "GiB) on startup is less than desired GPU memory utilization (0.9, 21.6 GiB).\n"
            "RuntimeError: Engine core initialization failed. See root cause above.",
            "server",
            "",
            "ValueError: Free memory",
        ),
        ("World size (2) is larger than the number of available GPUs (1)", "job", "tensor_parallel_size", ""),
        ("OSError: [Errno 98] Address already in use", "port", "", ""),
        ("RuntimeError: Failed to infer device type, please set", "server", "", ""),
        ("KeyError: 'x'\nEngineDeadError: EngineCore encountered an issue", "server", "", "KeyError"),
        (
            "(APIServer pid=1) WARNING 11-23 21:54:54 [core_client.py:817] [shutdown] MPClient: engine core exited "
            "unexpectedly; starting cleanup\nvllm.v1.engine.exceptions.EngineDeadError: EngineCore had an issue.",
            "server",
            "",
            "engine core exited unexpectedly",
        ),
        ("INFO 11-23 21:12:09 [entry.py:1] all is well", "server", "", ""),
    ],
)  # fmt: skip
def test_the_log_is_read_for_the_cause(log: str, kind: str, key: str, said: str) -> None:
    found = explain_log(log)
    assert (found.kind, found.key) == (kind, key)
    assert found.message.startswith(said)


def test_a_model_has_another_name_where_other_replies_are_to_be_expected(tmp_path: Path) -> None:
    assert name_model("org/model") == "org/model" == name_model("org/model", ["--max-num-seqs", "64"])
    quantised = name_model("org/model", ["--quantization", "fp8"])
    assert quantised.startswith("org/model@") and quantised == name_model("org/model", ["--quantization=fp8"])
    (tmp_path / "weights.safetensors").write_bytes(b"1" * 100)
    one = name_model(str(tmp_path))
    (tmp_path / "weights.safetensors").write_bytes(b"2" * 100)
    assert one.startswith(f"{tmp_path.name}@") and one != name_model(str(tmp_path))
    assert find_slots(["--max-num-seqs", "64"]) == find_slots(["--max_num_seqs=64"]) == 64


def test_a_server_for_evaluations_that_has_ended_is_started_again_in_its_own_surroundings(
    tmp_path: Path, families: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_on_cpu, "_make_server", lambda: make_server(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv(vllm_on_cpu.KEY, raising=False)
    with vllm_on_cpu.VllmOnCpu() as server:
        first = server.find_url()
        key = os.environ[vllm_on_cpu.KEY]
        (pid, *_) = wait_for_family(families)
        assert psutil.Process(pid).environ()["OMP_NUM_THREADS"] == "1"
        assert (os.environ["OMP_NUM_THREADS"], "HF_HUB_OFFLINE" in os.environ) == ("7", False)
        assert server.find_url() == first
        os.kill(pid, signal.SIGKILL)
        while is_running(pid):
            time.sleep(0.02)
        wait_for_end(families)
        server.find_url()
        assert os.environ[vllm_on_cpu.KEY] != key and len(list_family(families)) == 6
    wait_for_end(families)
