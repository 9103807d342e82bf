"""Ctrl-C, SIGTERM and a terminal that closes: said at once, nothing new begins, and the process is gone soon.

Python hands a signal to the main thread between two of its own instructions, so a long computation in C would keep a
user waiting without a word. Here a thread of its own learns of the signal at once. It says so, and the main thread is
interrupted as soon as it can be (`KeyboardInterrupt`), which closes what is open. Whatever has not ended after
`GRACE_SECONDS`, or at a second signal, is cut off: everything that was paid for lies on the disk before it is used, so
nothing is lost by that.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextvars import copy_context
from types import FrameType
from typing import Any, NoReturn

from counterpoise_retrievers.scraps import remove_scraps

GRACE_SECONDS = 2.0
"""From the signal to the end at the latest."""

ECHO_SECONDS = 0.2
"""Signals that come together, as from a terminal and from a program that passes it on, are one."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = b"\x1b[?25h"


class Interrupts:
    """Ends this process when it is told to.

    Args:
        code: the exit code.

    Attributes:
        was_told: whether a signal has come.
        explain: gives the last line, for an end that is not waited for; "" for none.
    """

    def __init__(self, code: int) -> None:
        self.was_told = False
        self.explain: Callable[[], str] = lambda: ""
        self._code = code
        self._is_raised = False
        self._is_leaving = False
        self._first = threading.Lock()

    def watch(self) -> None:
        """Take the signals over for the rest of this process. To be called from the main thread."""
        told, tell = os.pipe()
        os.set_blocking(tell, False)
        for number in SIGNALS:
            # `nohup` asks for an interpreter that outlives its terminal; Ctrl-C and SIGTERM are always meant.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._interrupt)
        signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
        threading.Thread(target=self._wait, args=(told,), name="interrupts", daemon=True).start()

    def leave(self) -> None:
        """From now on a signal interrupts nothing, but ends the process: its last lines are being written."""
        self._is_leaving = True

    def end(self) -> NoReturn:
        """End the process now, without what Python does at its end, which may wait for threads."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        _end_children()
        os._exit(self._code)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._answer()
        if not (self._is_raised or self._is_leaving):
            self._is_raised = True
            raise KeyboardInterrupt

    def _answer(self) -> None:
        """Say that it was heard, whichever thread hears it first."""
        self.was_told = True
        if self._first.acquire(blocking=False):
            _write_line("stopping")

    def _wait(self, told: int) -> None:
        _wait_for_signal(told, None)
        if self._is_leaving and not self.was_told:
            os._exit(self._code)
        self._answer()
        deadline = time.monotonic() + GRACE_SECONDS
        time.sleep(ECHO_SECONDS)
        while select.select([told], [], [], 0)[0]:
            os.read(told, 64)
        _wait_for_signal(told, deadline)
        line = "" if self._is_leaving else self.explain()
        _end_children()
        if line:
            _write_line(line)
        os._exit(self._code)


def _wait_for_signal(told: int, deadline: float | None) -> None:
    """Wait for one of ours, or until the deadline."""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([told], [], [], left)[0] or os.read(told, 1)[0] in SIGNALS:
            return


def _write_line(line: str) -> None:
    """To standard error, past everything that may be locked or is half written."""
    begin = "\n" if os.isatty(2) else ""
    with contextlib.suppress(OSError):
        os.write(2, f"{begin}{line}\n".encode("utf-8", "backslashreplace"))


def _end_children() -> None:
    """Kill the processes that train for us; servers of ours see for themselves that their parent has gone.

    What lies on the disk for the moment only goes with them.
    """
    if "multiprocessing" in sys.modules:
        from multiprocessing import active_children

        for child in active_children():
            child.kill()
    remove_scraps()
    with contextlib.suppress(OSError):
        if os.isatty(1):
            os.write(1, _SHOW_CURSOR)


@contextlib.contextmanager
def interrupt_at_once() -> Iterator[None]:
    """Let Ctrl-C interrupt a computation inside an event loop, which else would only note it until the next `await`."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    # asyncio puts its own handler in the place of Python's, and of no other.
    signal.signal(signal.SIGINT, lambda number, frame: signal.default_int_handler(number, frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def keep_from_children() -> Iterator[None]:
    """Processes and threads that are started inside never see a Ctrl-C; here it waits until the end of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interrupt_thread(thread: threading.Thread) -> None:
    """Raise `KeyboardInterrupt` in another thread, at its next instruction of Python."""
    if thread.ident is not None and thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt)
        )


def run_alone(start: Callable[[], Any]) -> Any:
    """Run a coroutine to its end, inside a running event loop (a notebook) too; who listens here is told of it.

    Raises:
        KeyboardInterrupt: at once, also where it computes and does not wait.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with interrupt_at_once():
            return asyncio.run(start())
    loops: list[asyncio.AbstractEventLoop] = []
    done: Future[Any] = Future()

    async def begin() -> Any:
        loops.append(asyncio.get_running_loop())
        return await start()

    def work() -> None:
        try:
            done.set_result(asyncio.run(begin()))
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=copy_context().run, args=(work,), daemon=True)
    thread.start()
    try:
        return done.result()
    except KeyboardInterrupt:
        interrupt_thread(thread)
        for loop in loops:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(lambda: None)  # one that waits goes on to its next instruction
        thread.join(GRACE_SECONDS)
        raise
