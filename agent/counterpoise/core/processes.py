"""How a child process of ours ends: with the one that has started it, however that ends, and when it is told to.

The kernel's own death signal is bound to the parent's *thread*, and would end what was started from a worker thread.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from contextlib import suppress

WATCH_SECONDS = 0.5
STOP_SECONDS = 5.0


def end_with_parent(parent: int) -> None:
    """From now on, end this process when its parent has died: it belongs to another process then.

    Args:
        parent: the parent's process number, from the parent itself: it may have died before we could ask. Our own
            number, where work meant for another process is done in this one after all, asks for nothing.
    """
    if parent == os.getpid():
        return
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def end_child(process: subprocess.Popen[str]) -> None:
    """Kill a child that holds nothing worth a goodbye, and close the pipes to it."""
    process.kill()
    process.wait(STOP_SECONDS)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # its other end is gone
                stream.close()


def _watch(parent: int) -> None:
    while os.getppid() == parent or os.name == "nt":
        time.sleep(WATCH_SECONDS)
    os._exit(0)
