"""`check` on a large Parquet file: seconds, and peak memory above the imports in multiples of the columns read.

The file is made here: texts of about a hundred characters, a label, a source.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evals.common import Result, Settings

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


def run(settings: Settings) -> Iterator[Result]:
    """Measure in a process of its own."""
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
