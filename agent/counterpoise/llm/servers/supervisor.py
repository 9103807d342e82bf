"""Runs a server and lets nothing of it outlive whoever asked for it; a program of its own.

vLLM is a family of processes: an API server, an engine core, a worker a GPU. Killing the first leaves the
others, with the GPU's memory. So the agent starts this program, and this program starts the server. It ends
every process of the family when the server ends, when it is told to (SIGTERM), and when the agent is gone,
however that went: the pipe from the agent closes, or the agent is no longer its parent. On Linux it adopts
whatever the server's processes leave behind, so that none escapes by a session of its own. Should this program
itself be killed, the kernel tells the server to end, and the agent ends the server's process group.

    python supervisor.py AGENT_PID GRACE_SECONDS COMMAND...

It writes two lines to standard output, `started PID` and `ended CODE`; the server writes to standard error. It
loads the standard library only, so that it starts at once and weighs little.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

WATCH_SECONDS = 0.2
N_GENERATIONS = 10
_CLEANER = b"multiprocessing.resource_tracker"
"""It ends by itself when the others have, and frees their shared memory, hundreds of MB, which else stays."""

_SET_DEATH_SIGNAL = 1
_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """Run the command until it ends or has to."""
    agent, grace_seconds, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, frame: told.append(number))
    _control_process(_SET_CHILD_SUBREAPER, 1)
    server = subprocess.Popen(  # noqa: S603  (the agent names the command)
        command,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        preexec_fn=lambda: _control_process(_SET_DEATH_SIGNAL, signal.SIGTERM),  # (there are no threads here)
    )
    _announce(f"started {server.pid}")
    while (code := _reap(server.pid)) is None and not told and os.getppid() == agent:
        readable, _, _ = select.select([sys.stdin], [], [], WATCH_SECONDS)
        if readable and not os.read(sys.stdin.fileno(), 4096):
            break
    if code is not None:
        _announce(f"ended {code}")
    # A server passes the word on to its family; one that has ended by itself cannot.
    for member in [server.pid] if code is None else list_descendants(os.getpid(), _CLEANER):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGTERM)
    end_family(server.pid, grace_seconds)


def end_family(server: int, grace_seconds: float) -> None:
    """Wait for the end of a server and all it started, and after the time of grace make an end of them."""
    if _wait_for_end(server, grace_seconds):
        return
    for spared in (_CLEANER, b""):
        for _ in range(N_GENERATIONS):
            # Orphans of those that were killed are found below this process the next time.
            for member in list_descendants(os.getpid(), spared):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(member, signal.SIGKILL)
            if _wait_for_end(server, WATCH_SECONDS):
                return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(server, signal.SIGKILL)


def _wait_for_end(server: int, seconds: float) -> bool:
    """Whether the whole family ends within so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        _reap(server)
        if not _is_group_alive(server) and not list_descendants(os.getpid()):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def list_descendants(ancestor: int, spared: bytes = b"") -> list[int]:
    """All processes below one; none where the system does not tell (it is not Linux).

    Args:
        ancestor: a process number.
        spared: processes with these words in their command line are left out.
    """
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # pid (name) state parent ...; the name may hold anything, blanks and brackets too.
            state, parent = entry.read_text(errors="replace").rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue  # it has just ended
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry.parent.name))
    found, waiting = [], [ancestor]
    while waiting:
        below = children.get(waiting.pop(), [])
        waiting += below
        found += below
    return [pid for pid in found if not (spared and spared in _read_command(pid))]


def _read_command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _reap(server: int) -> int | None:
    """Take note of children that have ended; gives the server's exit code where it is among them."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == server:
                code = os.waitstatus_to_exitcode(ended[1])
    return code


def _is_group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _announce(line: str) -> None:
    """Tell the agent, where there still is one."""
    with contextlib.suppress(OSError):
        os.write(1, f"{line}\n".encode())


def _control_process(option: int, value: int) -> None:
    """`prctl`, where there is one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
