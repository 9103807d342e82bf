"""The weights of the embedded model on a vLLM without a GPU, for evaluations that run side by side."""

from __future__ import annotations

import os
import threading
from types import TracebackType
from typing import Self

from counterpoise.core.assets import find_cache_dir
from counterpoise.llm.servers.vllm import VllmServer

KEY = "COUNTERPOISE_EVAL_KEY"
"""Variable with the key of the server that `--engine` names."""

OPTIONS = ("--max-model-len", "2048", "--max-num-seqs", "64")
VARIABLES = {
    "OMP_NUM_THREADS": "1",  # evaluations have the other core; threads that wait for each other lose what they gain
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "2",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process computes; else another spins while it waits for it
    "HF_HUB_OFFLINE": "1",
}


class VllmOnCpu:
    """The server; it is started when its address is asked for, and again where it has ended.

    A context manager: leaving it stops the server. Its environment and weights are built where they are missing.
    """

    def __init__(self) -> None:
        self._server: VllmServer | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Nothing is started yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        if self._server is not None:
            self._server.stop()

    def find_url(self) -> str:
        """Its base address; its key is in the variable `KEY`."""
        with self._lock:
            self._server = self._server or _make_server()
            if not self._server.is_alive():
                self._server.stop()  # what is left of one that has ended
                kept = {name: os.environ.get(name) for name in VARIABLES}
                os.environ.update(VARIABLES)
                try:
                    self._server.start()
                finally:
                    for name, value in kept.items():
                        if value is None:
                            del os.environ[name]
                        else:
                            os.environ[name] = value
                os.environ[KEY] = self._server.api_key
            return self._server.url


def _make_server() -> VllmServer:
    from tests.vllm_environment import build_environment, build_weights

    python = build_environment()
    log = find_cache_dir() / "evals" / "vllm.log"
    return VllmServer(str(build_weights(python)), log=log, python=str(python), arguments=OPTIONS)
