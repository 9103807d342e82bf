"""How long things take and how much memory, on large data, and whether anything is left out of it.

`check` reads a Parquet file of a million rows: seconds, and peak memory above the imports in multiples of the columns
read. The file is made here: texts of about a hundred characters, a label, a source.

`preview` and `run` take text jobs of many labels, each beside a job of about 500 rows that is made in the same way
(`large_data`): 40,000 made texts with 60 labels of 12 to 6,000 rows, with concepts and an attribute; clinc150 with
15 rows of half of its 150 labels, or of all of them, and its authors' imbalanced file. A pool and sealed rows go with
each; the writer is a server that answers at once, the budget 60,000 tokens, one round. `missing` counts the sections
that the small job's preview or report has and the large one's has not; the vectors of all texts are there beforehand,
so that `seconds` and `cpu_seconds` are of what comes after encoding.

    python -m evals scaling --data DIR --only made --json       # check, made, clinc150-some, -all, -imbalanced
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterpoise.core.assets import find_cache_dir
from counterpoise.data.encoders import open_cached
from evals.adversaries import AdversaryServer
from evals.common import Result, Settings
from evals.large_data import LargeData, make_texts, take_clinc
from evals.large_runs import Measured, make_writer, measure, write_job

BUDGET = 60_000
STEPS = ("preview", "run")

_MEASURE = """
import json, sys, time
import counterpoise.balance.lint.linter, counterpoise.data.sources, datasets, pyarrow.parquet
import sklearn.decomposition, sklearn.cluster, scipy.sparse, scipy.stats
from counterpoise.core.schema import TextClassification
from evals.memory import read_memory
before, started = read_memory("VmHWM"), time.perf_counter()
task = TextClassification(("text",), "label", ("source",))
table = counterpoise.data.sources.load_table(sys.argv[1], task=task)
report = counterpoise.balance.lint.linter.lint_table(table, task)
seconds, n_bytes = time.perf_counter() - started, read_memory("VmHWM") - before
print(json.dumps({"bytes": n_bytes, "seconds": seconds, "rows": report.n_rows}))
"""

Make = Callable[[Path], LargeData]


def list_large(*, quick: bool) -> Mapping[str, tuple[Make, Make]]:
    """By name the large data and the small data of the same kind that its sections are compared with."""
    n_labels = 20 if quick else 150
    halves = dict.fromkeys(range(0, n_labels, 2), 15)
    every = dict.fromkeys(range(n_labels), 15)

    def take(file: str, sizes: Mapping[int, int], n_small: int = 10) -> tuple[Make, Make]:
        return (
            lambda data: take_clinc(data, file, n_labels, sizes),
            lambda data: take_clinc(data, file, n_small, sizes),
        )

    return {
        "made": (
            lambda data: make_texts(data, 6_000, 20, 12, 2_000) if quick else make_texts(data, 40_000, 60),
            lambda data: make_texts(data, 500, 4, 12, 300),
        ),
        "clinc150-some": take("data_full.csv.gz", halves),
        "clinc150-all": take("data_full.csv.gz", every, 15 if quick else 33),
        "clinc150-imbalanced": take("data_imbalanced.csv.gz", {}),
    }


def run(settings: Settings) -> Iterator[Result]:
    """Each in a process of its own; `--only` names some."""
    if not settings.only or "check" in settings.only:
        yield from run_check(settings)
    for name, (make, make_small) in list_large(quick=settings.quick).items():
        if not settings.only or name in settings.only:
            yield from run_large(name, make(settings.data), make_small(settings.data))


def run_large(name: str, data: LargeData, small: LargeData) -> Iterator[Result]:
    """Preview and run, beside those of the small data."""
    for what in STEPS:
        of_small, of_all = (measure_one(one, what) for one in (small, data))
        yield from describe(f"{name}/small", what, small, of_small, of_small)
        yield from describe(name, what, data, of_all, of_small)


def measure_one(data: LargeData, what: str) -> Measured:
    """One step on one data set, with the vectors of its texts in the cache."""
    encoder = open_cached("", find_cache_dir())
    for part in (data.train, data.held_out, data.pool):
        encoder.encode(list(part["text"]))
    with tempfile.TemporaryDirectory() as folder, AdversaryServer(make_writer(data), "writer") as server:
        return measure(write_job(Path(folder), data, server.url, BUDGET), what, Path(folder))


def describe(name: str, what: str, data: LargeData, found: Measured, small: Measured) -> Iterator[Result]:
    """The lines of one step on one data set."""
    nothing = float("nan")
    missing = sorted(set(small.sections) - set(found.sections))
    for metric, value, unit in (
        ("rows", float(len(data.train["text"])), "rows"),
        ("labels", float(data.n_labels), "labels"),
        ("seconds", found.seconds, "s"),
        ("cpu_seconds", found.cpu_seconds, "s"),
        ("peak_gib", found.peak_gib, "GiB"),
        ("sections", float(len(found.sections)), "sections"),
        ("missing", float(len(missing)), "sections"),
    ):
        extra = {"missing": missing, "notes": list(found.notes)} if metric == "missing" else {}
        yield Result("scaling", name, what, metric, value, nothing, nothing, 1, unit, extra)


def run_check(settings: Settings) -> Iterator[Result]:
    """`check` on the large file."""
    n_rows = 50_000 if settings.quick else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        n_bytes = write_rows(path, n_rows)
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, str(path)], check=True, capture_output=True, text=True
        )
    measured = json.loads(done.stdout.splitlines()[-1])
    for metric, value, unit in (
        ("seconds", measured["seconds"], "s"),
        ("peak_gib", measured["bytes"] / 2**30, "GiB"),
        ("peak_over_columns_ratio", measured["bytes"] / n_bytes, "ratio"),
        ("rows", float(measured["rows"]), "rows"),
    ):
        yield Result("scaling", "check", "counterpoise", metric, value, float("nan"), float("nan"), 1, unit)


def write_rows(path: Path, n_rows: int) -> int:
    """Write the file in pieces; the bytes of its columns in memory."""
    generator = np.random.default_rng(0)
    words = np.array([f"word{number}" for number in range(20_000)])
    schema = pa.schema([("text", pa.string()), ("label", pa.string()), ("source", pa.string())])
    n_bytes = 0
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n_rows, 10_000):
            size = min(10_000, n_rows - start)
            picks = words[generator.zipf(1.3, size=(size, 12)).clip(max=len(words)) - 1]
            columns = {
                "text": [" ".join(row) for row in picks],
                "label": generator.choice(["good", "bad"], size).tolist(),
                "source": generator.choice(["a", "b", "c"], size).tolist(),
            }
            table = pa.table(columns, schema)
            n_bytes += table.nbytes
            writer.write_table(table)
    return n_bytes
