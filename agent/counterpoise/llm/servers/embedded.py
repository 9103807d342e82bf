"""Model servers that are ours to start and to stop; each speaks HTTP like any other server.

`EmbeddedServer` runs llama.cpp's server in a child process, which keeps a crash of it away from the agent.
The child ends with its parent, however that ends: it watches the pipe to its parent and its parent's process
number.

`python -m counterpoise.llm.servers.embedded` is the child: it reads one line of settings, with the key, from standard
input.
"""

from __future__ import annotations

import http.client
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
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from counterpoise.core.assets import SMOLLM2, Asset, Progress, ensure_asset
from counterpoise.core.errors import ServerError
from counterpoise.core.processes import end_with_parent

N_SLOTS = 16
"""Requests the embedded server works on at once."""

SLOT_TOKENS = 2048
"""Context of each of them."""

START_SECONDS = 120.0
STOP_SECONDS = 5.0

SPIN_COUNT = 1000
"""Turns that a thread of GNU OpenMP waits for the others before it sleeps; its own figure is 300,000, some 15 ms."""


class Server(Protocol):
    """A model server that is started and stopped; a context manager does both."""

    def start(self) -> tuple[str, str]:
        """Start it; gives its base address and its key once it has served a completion."""
        ...

    def stop(self) -> None:
        """Stop it; a second call does nothing, and one during `start`, from another thread, ends that."""
        ...

    def is_alive(self) -> bool:
        """Whether its process runs; that it answers is another matter."""
        ...

    def explain_end(self) -> str:
        """Why it ended, in a few words, as far as that can be told."""
        ...


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """What the child is told on its standard input; the key never stands in a command line."""

    model: str
    alias: str
    api_key: str
    n_slots: int
    slot_tokens: int
    parent: int


class EmbeddedServer:
    """llama.cpp's server on 127.0.0.1 with a pinned model and a key of its own each time.

    Args:
        asset: a GGUF file among the pinned assets; pulled where it is missing.
        cache_dir: as `counterpoise.core.assets.ensure_asset` takes it.
        n_slots: requests it works on at once.
        slot_tokens: context of each, prompt and completion together.
        progress: told of bytes done and in all while the model is pulled.

    Example:
        with EmbeddedServer() as server:
            engine = OpenAIEngine(server.url, api_key=server.api_key)
    """

    def __init__(
        self,
        asset: Asset = SMOLLM2,
        cache_dir: Path | None = None,
        *,
        n_slots: int = N_SLOTS,
        slot_tokens: int = SLOT_TOKENS,
        progress: Progress | None = None,
    ) -> None:
        self.url = ""
        self.api_key = ""
        self._asset = asset
        self._cache_dir = cache_dir
        self._n_slots = n_slots
        self._slot_tokens = slot_tokens
        self._progress = progress
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
        """Start it; gives its base address and its key once it has served a completion.

        Raises:
            AssetError: the model cannot be had.
            ServerError: xllamacpp is not installed, or the child does not come up.
        """
        if self._process is not None:
            return self.url, self.api_key
        settings = ChildSettings(
            model=str(ensure_asset(self._asset, self._cache_dir, self._progress)),
            alias=f"{Path(self._asset.member).stem}@{self._asset.sha256[:12]}",
            api_key=secrets.token_urlsafe(24),
            n_slots=self._n_slots,
            slot_tokens=self._slot_tokens,
            parent=os.getpid(),
        )
        deadline = time.monotonic() + START_SECONDS
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            try:
                port = self._spawn(settings, log, deadline)
                wait_until_served(
                    f"127.0.0.1:{port}", settings.api_key, settings.alias, deadline, self.is_alive
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
        process.kill()  # it holds nothing worth a goodbye
        process.wait(STOP_SECONDS)
        for stream in (process.stdin, process.stdout):
            if stream:
                try:
                    stream.close()
                except OSError:
                    continue  # its other end is gone
        self.url = self.api_key = ""

    def _spawn(self, settings: ChildSettings, log: Any, deadline: float) -> int:
        """Start the child and read the port it announces."""
        # A session of its own: Ctrl-C is for the agent, which stops the server when it has put its work away.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "counterpoise.llm.servers.embedded"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            env=shorten_waits(os.environ),
        )
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ServerError("the embedded server has no pipes")
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
                f"the embedded engine needs {said['missing']}",
                hint="install it with `pip install counterpoise[embedded]`, or use a server of your own",
            )
        return int(said["port"])


def wait_until_served(
    address: str, api_key: str, model: str, deadline: float, is_alive: Callable[[], bool]
) -> None:
    """Return when a server has served a completion: an open port, or a list of models, promises nothing.

    Args:
        address: host:port.
        api_key: its key.
        model: name of the model to ask.
        deadline: by `time.monotonic()`.
        is_alive: whether its process runs.

    Raises:
        ServerError: it served none in time, or has ended.
    """
    found = "nothing tried"
    while (left := deadline - time.monotonic()) > 0:
        if not is_alive():
            raise ServerError("it ended before it had served a completion", where=address)
        found = ask_for_completion(address, api_key, model, timeout_seconds=left)
        if not found:
            return
        time.sleep(0.1)
    raise ServerError(f"no completion served within its time ({found})", where=address)


def ask_for_completion(address: str, api_key: str, model: str, *, timeout_seconds: float) -> str:
    """Ask a server for one token; gives "" where it came, else what came instead.

    Args:
        address: host:port.
        api_key: its key.
        model: name of the model to ask.
        timeout_seconds: how long it may stay silent.
    """
    body = json.dumps({"model": model, "prompt": "The", "max_tokens": 1, "temperature": 0})
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(address, timeout=timeout_seconds)
    try:
        connection.request("POST", "/v1/completions", body, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status == http.HTTPStatus.OK and "choices" in json.loads(content):
            return ""
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return f"HTTP {response.status}"


def ask_for_health(url: str, timeout_seconds: float) -> bool | None:
    """Ask a server whether its engine runs; vLLM's API server outlives its engine by a moment.

    Args:
        url: base address, as `http://127.0.0.1:8000/v1`.
        timeout_seconds: how long it may stay silent before it counts as dead.

    Returns:
        None where nobody takes the connection. A server that knows no such question is healthy: it answers.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout_seconds)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except TimeoutError:
        return False
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def serve_embedded() -> None:
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
    serve_embedded()
