"""Seconds that `counterpoise --help` takes: the median and the spread of twenty starts, first one left out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from time import perf_counter

import numpy as np

from evals.common import Result, Settings, interval


def run(settings: Settings) -> Iterator[Result]:
    """Start it again and again; processor seconds would hide what imports wait for, so this is wall time."""
    seconds = []
    for _ in range(6 if settings.quick else 21):
        started = perf_counter()
        subprocess.run([sys.executable, "-m", "counterpoise", "--help"], check=True, capture_output=True)
        seconds.append(perf_counter() - started)
    measured = np.array(seconds[1:])
    low, high = interval(measured)
    yield Result(
        "startup",
        "help",
        "counterpoise",
        "seconds",
        float(np.median(measured)),
        low,
        high,
        len(measured),
        "s",
    )
