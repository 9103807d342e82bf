"""llama.cpp's server in a child process, which keeps a crash of it away from us: the embedded model, and encoders.

The child ends with its parent, however that ends: it watches the pipe to its parent and its parent's process number.

`python -m counterpoise.core.llama_server` is the child: it reads one line of settings, with the key, from standard
input.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from counterpoise.core.errors import ServerError
from counterpoise.core.processes import end_child, end_with_parent
from counterpoise.core.readiness import ask_for_completion, ask_for_embedding, wait_until_served

START_SECONDS = 120.0

SPIN_COUNT = 1000
"""Turns that a thread of GNU OpenMP waits for the others before it sleeps; its own figure is 300,000, some 15 ms."""


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What the child is told on its standard input; the key never stands in a command line."""

    model: str
    alias: str
    api_key: str
    n_slots: int
    slot_tokens: int
    embeds: bool
    parent: int


class LlamaServer:
    """llama.cpp's server on 127.0.0.1 with a key of its own each time.

    Args:
        find_model: gives the GGUF file, fetching it where it is missing.
        alias: what the model is called there.
        n_slots: requests it works on at once.
        slot_tokens: context of each, prompt and completion together.
        embeds: whether it serves embeddings instead of completions.
    """

    def __init__(
        self,
        find_model: Callable[[], Path],
        alias: str,
        *,
        n_slots: int,
        slot_tokens: int,
        embeds: bool = False,
    ) -> None:
        self.url = ""
        self.api_key = ""
        self.alias = alias
        self._find_model = find_model
        self._n_slots = n_slots
        self._slot_tokens = slot_tokens
        self._embeds = embeds
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """Process number of the child, 0 while there is none."""
        return self._process.pid if self._process else 0

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def is_alive(self) -> bool:
        """Whether the child runs."""
        process = self._process
        return process is not None and process.poll() is None

    def explain_end(self) -> str:
        """The child's exit code; what it said is shown only where it does not start."""
        code = self._process.poll() if self._process else None
        return "it is gone" if code is None else f"exit code {code}"

    def start(self) -> tuple[str, str]:
        """Start it; gives its base address and its key once it has answered a question.

        Raises:
            AssetError: the model cannot be had.
            ServerError: xllamacpp is not installed, or the child does not come up.
        """
        if self._process is not None:
            return self.url, self.api_key
        settings = ChildSettings(
            model=str(self._find_model()),
            alias=self.alias,
            api_key=secrets.token_urlsafe(24),
            n_slots=self._n_slots,
            slot_tokens=self._slot_tokens,
            embeds=self._embeds,
            parent=os.getpid(),
        )
        deadline = time.monotonic() + START_SECONDS
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            try:
                port = self._spawn(settings, log, deadline)
                ask = ask_for_embedding if self._embeds else ask_for_completion
                wait_until_served(
                    f"127.0.0.1:{port}", settings.api_key, settings.alias, deadline, self.is_alive, ask
                )
            except BaseException as error:
                self.stop()
                if isinstance(error, ServerError):
                    log.seek(0)
                    last = [line.strip() for line in log.readlines()[-3:]]
                    error.message += f"; it said last: {' | '.join(last) or 'nothing'}"
                raise
        self.url, self.api_key = f"http://127.0.0.1:{port}/v1", settings.api_key
        return self.url, self.api_key

    def stop(self) -> None:
        """Stop it; a second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        end_child(process)
        self.url = self.api_key = ""

    def _spawn(self, settings: ChildSettings, log: Any, deadline: float) -> int:
        """Start the child and read the port it announces."""
        # A session of its own: Ctrl-C is for the agent, which stops the server when it has put its work away.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "counterpoise.core.llama_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            env=shorten_waits(os.environ),
        )
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ServerError("llama.cpp's server has no pipes")
        killer = threading.Timer(max(0.1, deadline - time.monotonic()), self._process.kill)
        killer.start()
        try:
            stdin.write(json.dumps(asdict(settings)) + "\n")
            stdin.flush()
            line = stdout.readline()
        except OSError:
            line = ""
        finally:
            killer.cancel()
        try:
            said = json.loads(line)
        except ValueError:
            raise ServerError("the embedded server did not start") from None
        if "missing" in said:
            raise ServerError(
                f"llama.cpp's server needs {said['missing']}",
                hint="install it with `pip install counterpoise[embedded]`, or use a server of your own",
            )
        return int(said["port"])


def serve() -> None:
    """The child: serve until the parent is gone."""
    settings = ChildSettings(**json.loads(sys.stdin.readline()))
    threading.Thread(target=_end_with_input, daemon=True).start()
    end_with_parent(settings.parent)
    try:
        import xllamacpp
    except ImportError as error:
        _announce(missing=error.name or str(error))
        return
    parameters = xllamacpp.CommonParams()
    parameters.model.path = settings.model
    parameters.model_alias = {settings.alias}
    parameters.n_parallel = settings.n_slots
    parameters.n_ctx = settings.n_slots * settings.slot_tokens  # the total, shared out among the slots
    if settings.embeds:
        parameters.embedding = True
        # A text is read in one go, or not at all.
        parameters.n_batch = parameters.n_ubatch = settings.slot_tokens
    n_threads = read_thread_limit(os.environ)
    if n_threads:
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = n_threads
    parameters.cache_ram_mib = 0  # else it keeps old prompts, up to 8 GiB of them, and copies each one there
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [settings.api_key]
    parameters.ui = False
    server = xllamacpp.Server(parameters)
    _announce(port=int(server.listening_address.rsplit(":", 1)[1]))
    threading.Event().wait()


def read_thread_limit(variables: Mapping[str, str]) -> int:
    """Threads that the user allows a program by OMP_NUM_THREADS, 0 where that says nothing.

    llama.cpp takes all cores otherwise.

    >>> [read_thread_limit({"OMP_NUM_THREADS": value}) for value in ("1", "2,1", "all", "")]
    [1, 2, 0, 0]
    """
    first = variables.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isascii() and first.isdigit() else 0


def shorten_waits(variables: Mapping[str, str]) -> dict[str, str]:
    """Environment of the child: its threads sleep soon where they wait, unless the user says how they should.

    llama.cpp's threads wait for each other some hundred times a token. Those that spin hold the cores that the last one
    needs: beside one busy program on two cores the embedded server fell to a tenth of its speed, and its requests ran
    into their time limit. With short spins it keeps half, and loses a few percent where it is alone.

    >>> shorten_waits({"PATH": "/bin"})
    {'GOMP_SPINCOUNT': '1000', 'PATH': '/bin'}
    >>> shorten_waits({"OMP_WAIT_POLICY": "active"})
    {'OMP_WAIT_POLICY': 'active'}
    """
    given = {} if "OMP_WAIT_POLICY" in variables else {"GOMP_SPINCOUNT": str(SPIN_COUNT)}
    return {**given, **variables}


def _announce(**said: Any) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _end_with_input() -> None:
    """The pipe from the parent closes when the parent ends, unless a fork of it holds the other end."""
    while sys.stdin.read(1):
        continue
    os._exit(0)


if __name__ == "__main__":
    serve()
