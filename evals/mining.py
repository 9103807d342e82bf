"""Mining hard negatives: ours against sentence-transformers' with FAISS; and a million vectors in an index.

Both arms get the same texts and the same embeddings, as files, and give back rows of (anchor, positive, negatives);
each runs in a process of its own. Seconds and peak memory count from after the imports and the reading of the texts.
The 95% band holds in both (`relative_margin` 0.05, sentence-transformers' own default for how far it looks), 30
negatives a query, search exact in both. The vectors lie in clusters, or (`isotropic`) in none, where nothing can be
ruled out by where it lies.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.common import Result, Settings, need_packages

DIMENSION = 384
N_NEGATIVES = 30

_HEAD = """
import gc, json, sys, time
from pathlib import Path
import numpy as np
from evals.memory import read_memory
folder, n_negatives = Path(sys.argv[1]), int(sys.argv[2])
queries = (folder / "queries.txt").read_text().splitlines()
passages = (folder / "passages.txt").read_text().splitlines()
"""

_TAIL = """
seconds, cpu, n_bytes = time.perf_counter() - started, time.process_time() - used, read_memory("VmHWM") - before
print(json.dumps({"seconds": seconds, "bytes": n_bytes, "cpu": cpu, "found": found}))
"""

_COUNTERPOISE = (
    _HEAD
    + """
import pyarrow as pa
from datasets import Dataset
from datasets.fingerprint import generate_random_fingerprint
import faiss
from counterpoise_retrievers.hard_negatives import ScoreLimits, mine_hard_negatives
gc.collect()
before, started, used = read_memory("VmRSS"), time.perf_counter(), time.process_time()
mined = mine_hard_negatives(
    np.load(folder / "queries.npy"), np.load(folder / "passages.npy", mmap_mode="r"),
    [[row] for row in range(len(queries))], n_negatives=n_negatives,
    limits=ScoreLimits(relative_margin=0.05),
)
kept = np.flatnonzero((mined.indices >= 0).all(axis=1)).tolist()
columns = {"anchor": pa.array([queries[row] for row in kept]), "positive": pa.array([passages[row] for row in kept])}
for place in range(n_negatives):
    columns[f"negative_{place + 1}"] = pa.array([passages[row] for row in mined.indices[kept, place].tolist()])
# With a fingerprint of its own: one of the content would hold all of it twice.
made = Dataset(pa.table(columns), fingerprint=generate_random_fingerprint())
"""
    + _TAIL.replace('"found": found', '"n_rows": len(made)').replace(
        "print(",
        "found = {queries[row]: [int(passages[p].split()[1]) for p in mined.indices[row].tolist()] for row in kept}\n"
        "Path(folder / 'counterpoise.json').write_text(json.dumps(found))\nprint(",
    )
)

_SENTENCE_TRANSFORMERS = (
    _HEAD
    + """
import torch, faiss
from datasets import Dataset
from sentence_transformers.util import mine_hard_negatives
class Given:
    device = torch.device("cpu")
    def encode_query(self, texts, **options):
        return np.load(folder / "queries.npy")
    def encode_document(self, texts, **options):
        return np.load(folder / "passages.npy")
    def get_embedding_dimension(self):
        return 384
    def similarity_pairwise(self, one, other):
        return (torch.from_numpy(one) * torch.from_numpy(other)).sum(dim=1)
pairs = Dataset.from_dict({"anchor": queries, "positive": passages[: len(queries)]})
gc.collect()
before, started, used = read_memory("VmRSS"), time.perf_counter(), time.process_time()
made = mine_hard_negatives(
    pairs, Given(), corpus=passages, num_negatives=n_negatives, relative_margin=0.05,
    output_format="n-tuple", use_faiss=True, verbose=False,
)
"""
    + _TAIL.replace('"found": found', '"n_rows": len(made)').replace(
        "print(",
        "names = [f'negative_{place + 1}' for place in range(n_negatives)]\n"
        "found = {row['anchor']: [int(row[name].split()[1]) for name in names] for row in made}\n"
        "Path(folder / 'sentence_transformers.json').write_text(json.dumps(found))\nprint(",
    )
)

_INDEX = """
import json, sys, time
from pathlib import Path
import numpy as np
from counterpoise_retrievers.stored_index import StoredIndex
from evals.memory import read_memory
folder, n_rows = Path(sys.argv[1]), int(sys.argv[2])
started = time.perf_counter()
index = StoredIndex(folder / "index", 384, memory_gib=4.0)
while len(index) < n_rows:
    block = np.load(folder / f"block{len(index) // 50_000}.npy", mmap_mode="r")
    index.add(block)
added = time.perf_counter()
state = index.build()
built = time.perf_counter()
scores, rows = index.search(np.load(folder / "queries.npy"), 10)
done = time.perf_counter()
print(json.dumps({
    "bytes": read_memory("VmHWM"), "kind": state.kind, "recall": state.recall,
    "effort": state.effort, "add_seconds": added - started, "build_seconds": built - added,
    "search_seconds": done - built,
}))
"""


def run(settings: Settings) -> Iterator[Result]:
    """Each arm in a process of its own, one after the other; then the index."""
    if not settings.only or "mining" in settings.only:
        yield from compare(settings)
    if not settings.only or "isotropic" in settings.only:
        yield from compare(settings, is_isotropic=True)
    if not settings.only or "index" in settings.only:
        yield from measure_index(settings)


def compare(settings: Settings, *, is_isotropic: bool = False) -> Iterator[Result]:
    """The same negatives, how fast, in how much memory."""
    need_packages("sentence_transformers", "torch")
    n_queries, n_passages = (500, 10_000) if settings.quick else (5_000, 200_000)
    data = f"{n_queries} queries, {n_passages} {'isotropic ' if is_isotropic else ''}vectors"
    nan = float("nan")
    figures: dict[str, dict[str, float]] = {}
    found: dict[str, dict[str, list[int]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_task(folder, n_queries, n_passages, is_isotropic=is_isotropic)
        for arm, script in (
            ("sentence_transformers", _SENTENCE_TRANSFORMERS),
            ("counterpoise", _COUNTERPOISE),
        ):
            measured = call(script, str(folder), str(N_NEGATIVES))
            found[arm] = json.loads((folder / f"{arm}.json").read_text())
            figures[arm] = {
                "queries_per_second": n_queries / measured["seconds"],
                "peak_gib": measured["bytes"] / 2**30,
                "seconds": measured["seconds"],
                "cpu_seconds": measured["cpu"],
            }
    for arm, metrics in figures.items():
        for metric, value in metrics.items():
            unit = {"peak_gib": "GiB", "seconds": "s", "cpu_seconds": "s"}.get(metric, "queries/s")
            yield Result("mining", data, arm, metric, value, nan, nan, n_queries, unit)
    ours, theirs = figures["counterpoise"], figures["sentence_transformers"]
    same = [
        len(set(found["counterpoise"][query]) & set(rows)) / N_NEGATIVES
        if query in found["counterpoise"]
        else 0.0
        for query, rows in found["sentence_transformers"].items()
    ]
    n_other = len(set(found["counterpoise"]) ^ set(found["sentence_transformers"]))
    for metric, value in (
        ("overlap_ratio", float(np.mean(same))),
        ("queries_found_by_one_only", float(n_other)),
        ("relative_speed", ours["queries_per_second"] / theirs["queries_per_second"]),
        ("relative_cpu_seconds", ours["cpu_seconds"] / theirs["cpu_seconds"]),
        ("relative_peak", ours["peak_gib"] / theirs["peak_gib"]),
    ):
        yield Result("mining", data, "counterpoise", metric, value, nan, nan, len(same))


def measure_index(settings: Settings) -> Iterator[Result]:
    """Vectors given in blocks are indexed and searched: peak memory of the whole process, seconds, recall."""
    n_rows = 50_000 if settings.quick else 1_000_000
    data, nan = f"{n_rows} vectors", float("nan")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(n_rows // 50_000):
            np.save(folder / f"block{number}.npy", make_vectors(50_000, seed=number))
        np.save(folder / "queries.npy", make_vectors(1_000, seed=10_000))
        measured = call(_INDEX, str(folder), str(n_rows))
    for metric, unit in (
        ("add_seconds", "s"),
        ("build_seconds", "s"),
        ("search_seconds", "s"),
        ("recall", "ratio"),
    ):
        yield Result(
            "mining",
            data,
            f"index_{measured['kind']}",
            metric,
            float(measured[metric]),
            nan,
            nan,
            n_rows,
            unit,
        )
    peak = measured["bytes"] / 2**30
    yield Result("mining", data, f"index_{measured['kind']}", "peak_gib", peak, nan, nan, n_rows, "GiB")


def call(script: str, *arguments: str) -> dict[str, Any]:
    """The last line a script prints, as an object."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def make_vectors(n_rows: int, seed: int, *, is_isotropic: bool = False) -> NDArray[np.float32]:
    """Vectors of length 1 in clusters of clusters, as texts on topics give, or in no clusters at all."""
    shared = np.random.default_rng(123)
    topics = shared.normal(size=(50, DIMENSION)).astype(np.float32)
    themes = topics[shared.integers(0, 50, 2_000)] + 0.8 * shared.normal(size=(2_000, DIMENSION)).astype(
        np.float32
    )
    generator = np.random.default_rng(seed)
    places = generator.integers(0, 2_000, n_rows)
    rows = generator.normal(size=(n_rows, DIMENSION)).astype(np.float32)
    if not is_isotropic:
        rows += themes[places]
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def write_task(folder: Path, n_queries: int, n_passages: int, *, is_isotropic: bool = False) -> None:
    """Texts and embeddings; the first passages are the queries' positives."""
    passages = make_vectors(n_passages, seed=0, is_isotropic=is_isotropic)
    noise = np.random.default_rng(1).normal(size=(n_queries, DIMENSION)).astype(np.float32)
    queries = passages[:n_queries] + 0.045 * noise
    np.save(folder / "passages.npy", passages)
    np.save(folder / "queries.npy", queries / np.linalg.norm(queries, axis=1, keepdims=True))
    words = "and so on, a passage as long as passages are, two or three lines of text in all. " * 2
    (folder / "passages.txt").write_text("\n".join(f"passage {row} {words}" for row in range(n_passages)))
    (folder / "queries.txt").write_text("\n".join(f"query {row}" for row in range(n_queries)))
