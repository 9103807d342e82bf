"""A process that we have started ends with the one that has started it, however that ends.

The kernel's own death signal is bound to the parent's *thread*, and would end what was started from a worker thread.
"""

from __future__ import annotations

import os
import threading
import time

WATCH_SECONDS = 0.5


def end_with_parent(parent: int) -> None:
    """From now on, end this process when its parent has died: it belongs to another process then.

    Args:
        parent: the parent's process number, from the parent itself: it may have died before we could ask. Our own
            number, where work meant for another process is done in this one after all, asks for nothing.
    """
    if parent == os.getpid():
        return
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent or os.name == "nt":
        time.sleep(WATCH_SECONDS)
    os._exit(0)
