"""The memory of this process as Linux counts it."""

from __future__ import annotations

from pathlib import Path


def read_memory(name: str) -> int:
    """Bytes that this process holds, or held at most.

    Not `getrusage`: its peak starts with what the parent held when it made this process.

    Args:
        name: `VmRSS` (now) or `VmHWM` (the peak).
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])
