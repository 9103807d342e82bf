"""The embedded server: a real model in a child process that never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request

import psutil
import pytest

from counterpoise.core.errors import ServerError
from counterpoise.core.readiness import ask_for_completion, wait_until_served
from counterpoise.llm import ChatClient, ChatRequest, Message, Sampling
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.llm.servers.embedded import EmbeddedServer

pytestmark = [pytest.mark.assets, pytest.mark.processes]


async def test_the_embedded_server_completes_scores_and_keeps_to_a_schema() -> None:
    schema = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
    with EmbeddedServer(n_slots=4, slot_tokens=512) as server:
        pid = server.pid
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(urllib.request.Request(f"{server.url}/completions", b"{}"), timeout=30)
        assert server.api_key not in " ".join(psutil.Process(pid).cmdline())
        # Threads that spin for long make it crawl beside any other busy program.
        assert {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & psutil.Process(pid).environ().keys()
        async with ChatClient(OpenAIEngine(server.url, api_key=server.api_key), concurrency=4) as chat:
            assert chat.name.startswith("SmolLM2-135M-Instruct.Q4_1@b179c9523d0e")
            two = await chat.generate(
                ChatRequest(prompt="The soup was", n=2, sampling=Sampling(temperature=0.9, max_tokens=8))
            )
            (letter,) = await chat.generate(
                ChatRequest((Message("user", "Answer with one letter, A or B."),), choices=("A", "B"))
            )
            (form,) = await chat.generate(
                ChatRequest(
                    (Message("user", "Lovely evening! The mood, as JSON:"),),
                    schema=schema,
                    sampling=Sampling(max_tokens=24),
                )
            )
    assert all(completion.text and completion.usage.completion_tokens for completion in two)
    # llama.cpp reports the first of the two only; what is counted instead is an estimate of at most 8 tokens each.
    assert sum(completion.usage.completion_tokens for completion in two) <= 16
    assert letter.logprobs is not None and sum(letter.logprobs.values()) == pytest.approx(1)
    assert form.parsed["mood"] in ("good", "bad")
    assert not psutil.pid_exists(pid)


def test_a_server_that_has_ended_is_not_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(ServerError, match="it ended before it had answered"):
        wait_until_served(
            "127.0.0.1:9",
            "key",
            "model",
            time.monotonic() + 20,
            lambda: child.poll() is None,
            ask_for_completion,
        )


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_server_outlives_its_parent(how: signal.Signals) -> None:
    parent_script = textwrap.dedent("""
        import os, time
        from counterpoise.llm.servers.embedded import EmbeddedServer
        server = EmbeddedServer(n_slots=1, slot_tokens=256)
        server.start()
        if os.fork() == 0:  # keeps the pipe to the server open
            time.sleep(30)
            os._exit(0)
        print(server.pid, flush=True)
        time.sleep(60)
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert parent.stdout is not None
    try:
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.send_signal(how)
        parent.wait(10)
        deadline = time.monotonic() + 10
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    finally:
        parent.stdout.close()
        os.killpg(parent.pid, signal.SIGKILL)
