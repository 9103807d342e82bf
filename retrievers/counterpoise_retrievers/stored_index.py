"""An index in a folder that grows with its rows: exact while they are few, approximate and checked once they are many.

with StoredIndex(folder, 384) as index:
    index.add(vectors)              # appended to a file; call again at any time
    index.build()                   # indexes what is new; goes on where it was interrupted
    scores, rows = index.search(queries, k=10)

===========  =============================================  ====================================================
kind         where                                          what it is
===========  =============================================  ====================================================
flat         up to `flat_rows`                              every row is compared: exact
hnsw         up to `graph_rows`, if half the memory holds   a graph (Malkov and Yashunin 2018)
ivf          beyond, if half the memory holds it            lists around centroids, rows as they are
ivf_sq8      beyond                                         the same, one byte a number
===========  =============================================  ====================================================

The approximate kinds find candidates; their scores are computed anew from the stored rows in float64, ties go to the
earlier row. How far they search is set by measuring recall against the exact answer for a sample of rows.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from filelock import FileLock
from numpy.typing import ArrayLike

from counterpoise_retrievers.arrays import Integers, Vectors, check_vectors
from counterpoise_retrievers.faiss_index import FaissIndex
from counterpoise_retrievers.rows import FileRows, open_rows
from counterpoise_retrievers.scraps import scrap

_ROWS_A_WRITE = 8192
_ROWS_A_PART = 100_000
_ROWS_A_CHECKPOINT = 25_000
_TRAINING_ROWS_A_LIST = 40
_SAMPLE = 256
_NEIGHBOURS = 10
_LINKS = 16
_GROWTH = 4
"""Lists are trained anew once there are this many times the rows they were trained for."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class IndexState:
    """What is known of an index; kept beside it.

    Args:
        dimension: numbers in a row.
        kind: flat, hnsw, ivf or ivf_sq8.
        n_planned: rows it was laid out for.
        effort: lists or links that a search looks at.
        recall: share of the 10 true neighbours of sampled rows that it finds; 1.0 where it is exact.
        n_checked: rows there were when recall was measured.
    """

    dimension: int
    kind: str = "flat"
    n_planned: int = 0
    effort: int = 0
    recall: float = 1.0
    n_checked: int = 0


def choose_kind(n_rows: int, dimension: int, memory_bytes: float, flat_rows: int, graph_rows: int) -> str:
    """The kind of index for that many rows: see the table above."""
    n_bytes = n_rows * 4 * dimension
    if n_rows <= flat_rows:
        return "flat"
    if n_rows <= graph_rows and n_bytes + n_rows * 4 * (2 * _LINKS + 4) <= memory_bytes / 2:
        return "hnsw"
    return "ivf" if n_bytes + 8 * n_rows <= memory_bytes / 2 else "ivf_sq8"


class StoredIndex:
    """Rows in a folder, searched by inner product.

    Args:
        folder: made where it is missing.
        dimension: numbers in a row.
        memory_gib: what the process may use.
        flat_rows: up to so many rows every row is compared.
        graph_rows: up to so many rows a graph is made; building it uses one thread, so that it is the same every time.
        least_recall: searches look further until they find this share of the true neighbours.

    Raises:
        ValueError: the folder holds rows of another dimension.
    """

    def __init__(
        self,
        folder: Path,
        dimension: int,
        *,
        memory_gib: float = 4.0,
        flat_rows: int = 50_000,
        graph_rows: int = 100_000,
        least_recall: float = 0.95,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dimension = dimension
        self._folder = folder
        self._memory_bytes = memory_gib * 2**30
        self._flat_rows, self._graph_rows = flat_rows, graph_rows
        self._least_recall = least_recall
        self._rows_path = folder / "rows.f32"
        self._rows_path.touch()
        self._lock = FileLock(folder / "lock")
        self._index: Any = None
        self.state = self._read_state()
        if self.state.dimension != dimension:
            raise ValueError(f"{folder}: holds rows of {self.state.dimension} numbers, not {dimension}")

    def __len__(self) -> int:
        """Number of rows, indexed or not."""
        return self._rows_path.stat().st_size // (4 * self.dimension)

    @property
    def vectors(self) -> Vectors:
        """The rows (n, dimension), mapped."""
        if len(self) == 0:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.memmap(self._rows_path, np.float32, "r", shape=(len(self), self.dimension))

    def add(self, vectors: ArrayLike) -> None:
        """Append rows (n, dimension), in blocks; after an interruption `len` tells how many are there.

        Raises:
            ValueError: they have another shape or hold NaN or infinity.
            OSError: the disk is full.
        """
        rows = open_rows(vectors, self.dimension)
        with self._lock, self._rows_path.open("r+b") as file:
            if not (self._folder / "state.json").exists():
                self._write_state(self.state)  # how long a row is must be known before there is one
            file.seek(len(self) * 4 * self.dimension)  # over what a dead writer left
            for _, block in rows.iterate(_ROWS_A_WRITE):
                file.write(check_vectors(block, self.dimension).data)
            file.flush()
            os.fsync(file.fileno())

    def build(self, on_progress: Progress | None = None) -> IndexState:
        """Index the rows that are not indexed yet and check recall; goes on where it was interrupted.

        Args:
            on_progress: called as `on_progress(n_indexed, n_rows)` after each part.
        """
        with self._lock:
            n_rows = len(self)
            kind = choose_kind(n_rows, self.dimension, self._memory_bytes, self._flat_rows, self._graph_rows)
            if kind != self.state.kind or n_rows > _GROWTH * max(1, self.state.n_planned):
                self._clear()
                self._write_state(IndexState(self.dimension, kind, n_rows))
            if kind == "flat":
                self._index = FaissIndex(self.dimension)
                for _, block in FileRows(self._rows_path, n_rows, self.dimension).iterate(_ROWS_A_WRITE):
                    self._index.add(block)
                return self.state
            self._index = self._index or self._open()
            report = on_progress or (lambda n_indexed, n_rows: None)
            if kind == "hnsw":
                self._extend_graph(n_rows, report)
            else:
                self._extend_lists(n_rows, report)
            if self.state.n_checked < n_rows / 1.1:
                self._check_recall(n_rows)
            return self.state

    def search(self, vectors: ArrayLike, k: int) -> tuple[Vectors, Integers]:
        """Find the rows with the largest inner products; indexes first what is not indexed yet.

        Args:
            vectors: (n, dimension) queries.
            k: rows wanted for each.

        Returns:
            Scores (n, min(k, rows)) float32 and rows (n, min(k, rows)) int64, by falling score, equal scores by rising
            row; -inf and -1 where an approximate search found fewer.

        Raises:
            ValueError: the queries have another shape or hold NaN or infinity, or k is below 1.
        """
        if k < 1:
            raise ValueError(f"k: a positive number is needed, found {k}")
        queries = check_vectors(vectors, self.dimension, what="queries")
        if self._index is None or self._count_indexed() < len(self):
            self.build()
        if isinstance(self._index, FaissIndex):
            return self._index.search(queries, k)
        k = min(k, len(self))
        _, candidates = self._ask(queries, min(2 * k + 16, len(self)))
        scores = np.full(candidates.shape, -np.inf)
        for row, places in enumerate(candidates):
            found = places >= 0
            scores[row, found] = self._gather(places[found]) @ queries[row].astype(np.float64)
        order = np.lexsort((candidates, -scores))[:, :k]
        return (
            np.take_along_axis(scores, order, axis=1).astype(np.float32),
            np.take_along_axis(candidates, order, axis=1),
        )

    def __enter__(self) -> StoredIndex:
        """Itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of what is in memory."""
        self._index = None

    def _ask(self, queries: Vectors, n_candidates: int) -> tuple[Vectors, Integers]:
        if self.state.kind == "hnsw":
            self._index.hnsw.efSearch = max(self.state.effort, n_candidates)
        else:
            self._index.nprobe = max(1, self.state.effort)
        scores, rows = self._index.search(queries, n_candidates)
        return scores, rows

    def _gather(self, places: Integers) -> Any:
        """Read rows as float64; not through a map, whose pages would count as memory."""
        size = 4 * self.dimension
        with self._rows_path.open("rb") as file:
            raw = b"".join(os.pread(file.fileno(), size, place * size) for place in places.tolist())
        return np.frombuffer(raw, dtype=np.float32).reshape(-1, self.dimension).astype(np.float64)

    def _count_indexed(self) -> int:
        return len(self._index) if isinstance(self._index, FaissIndex) else int(self._index.ntotal)

    def _open(self) -> Any:
        """What is indexed already, read from the folder."""
        if self.state.kind == "hnsw":
            path = self._folder / "graph.faiss"
            if path.exists():
                return faiss.read_index(str(path))
            graph = faiss.IndexHNSWFlat(self.dimension, _LINKS, faiss.METRIC_INNER_PRODUCT)
            graph.hnsw.efConstruction = 80
            return graph
        path = self._folder / "lists.faiss"
        if not path.exists():
            _write(self._train(), path)
        whole = faiss.read_index(str(path))
        for part in sorted(self._folder.glob("part-*.faiss")):
            whole.merge_from(faiss.read_index(str(part)), whole.ntotal)
        return whole

    def _train(self) -> Any:
        """Empty lists around centroids of a sample of the rows."""
        n_rows = self.state.n_planned
        n_lists = max(16, int(2 * np.sqrt(n_rows)))
        n_sampled = min(n_rows, n_lists * _TRAINING_ROWS_A_LIST)
        places = np.sort(np.random.default_rng(0).choice(n_rows, n_sampled, replace=False))
        sample = self._gather(places).astype(np.float32)
        centroids = faiss.IndexFlatIP(self.dimension)
        metric = faiss.METRIC_INNER_PRODUCT
        lists = (
            faiss.IndexIVFFlat(centroids, self.dimension, n_lists, metric)
            if self.state.kind == "ivf"
            else faiss.IndexIVFScalarQuantizer(
                centroids, self.dimension, n_lists, faiss.ScalarQuantizer.QT_8bit, metric
            )
        )
        lists.cp.spherical, lists.cp.min_points_per_centroid = True, 1
        lists.train(sample)
        return lists

    def _extend_lists(self, n_rows: int, report: Progress) -> None:
        while self._index.ntotal < n_rows:
            start = int(self._index.ntotal)
            stop = min(start + _ROWS_A_PART, n_rows)
            part = faiss.read_index(str(self._folder / "lists.faiss"))
            for block in self._iterate(start, stop):
                part.add(block)
            _write(part, self._folder / f"part-{start:012d}.faiss")
            self._index.merge_from(part, start)
            report(stop, n_rows)

    def _extend_graph(self, n_rows: int, report: Progress) -> None:
        with _one_thread():  # threads would link the rows in another order every time
            while self._index.ntotal < n_rows:
                start = int(self._index.ntotal)
                stop = min(start + _ROWS_A_CHECKPOINT, n_rows)
                # The file does not keep the generator, and a graph read from it shall grow like the one that was not.
                generators: Any = faiss  # its stubs leave this name out
                self._index.hnsw.rng = generators.RandomGenerator(start)
                for block in self._iterate(start, stop):
                    self._index.add(block)
                _write(self._index, self._folder / "graph.faiss")
                report(stop, n_rows)

    def _iterate(self, start: int, stop: int) -> Iterator[Vectors]:
        size = 4 * self.dimension
        rows = FileRows(self._rows_path, stop - start, self.dimension, start * size)
        return (block for _, block in rows.iterate(_ROWS_A_WRITE))

    def _check_recall(self, n_rows: int) -> None:
        """Search further until enough of the true neighbours of sampled rows are found; keep what was measured."""
        from counterpoise_retrievers.hard_negatives import mine_hard_negatives

        places = np.sort(np.random.default_rng(1).choice(n_rows, min(_SAMPLE, n_rows), replace=False))
        sample = self._gather(places).astype(np.float32)
        true = mine_hard_negatives(
            sample, self.vectors, [[place] for place in places.tolist()], n_negatives=_NEIGHBOURS
        ).indices
        most = int(self._index.nlist) if self.state.kind != "hnsw" else 4096
        effort, recall = 8, 0.0
        while True:
            self.state = replace(self.state, effort=effort)
            _, found = self._ask(sample, 2 * _NEIGHBOURS + 16)
            recall = float(np.mean([np.isin(true[row], found[row]).mean() for row in range(len(true))]))
            if recall >= self._least_recall or effort >= most:
                break
            effort = min(2 * effort, most)
        self._write_state(replace(self.state, recall=round(recall, 4), n_checked=n_rows))

    def _clear(self) -> None:
        self._index = None
        for path in self._folder.glob("*.faiss"):
            path.unlink()

    def _read_state(self) -> IndexState:
        path = self._folder / "state.json"
        if not path.exists():
            return IndexState(self.dimension)
        try:
            return IndexState(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}: no readable state of an index: {error}") from error

    def _write_state(self, state: IndexState) -> None:
        self.state = state
        with scrap(self._folder / "state.json.part") as part:
            part.write_text(json.dumps(asdict(state)), encoding="utf-8")
            part.replace(self._folder / "state.json")


def _write(index: Any, path: Path) -> None:
    """Write an index, whole or not at all."""
    with scrap(path.with_name(path.name + ".part")) as part:
        try:
            faiss.write_index(index, str(part))
        except RuntimeError as error:
            raise OSError(f"{path}: the index cannot be written: {error}") from error
        part.replace(path)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
