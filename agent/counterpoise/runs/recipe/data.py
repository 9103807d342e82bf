"""The rows that a recipe is fitted on, and how a run keeps them in its directory.

`recipe/` holds the rows of the arm *counterpoise* in its order (`rows.parquet`), the pool where a way that the run
chose looks at it (`pool.parquet`), and what is said of all of them (`facts.json`). Vectors are not kept: the encoder
gives them again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from counterpoise.core.boundaries import reading
from counterpoise.core.errors import RunDirectoryError
from counterpoise.core.files import write_whole
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.students.cell_marks import CellMarks

FOLDER = "recipe"
_ROWS, _POOL, _FACTS = "rows.parquet", "pool.parquet", "facts.json"


@dataclass(frozen=True)
class RecipeData:
    """Rows to fit a recipe on.

    Args:
        texts: (n,) strings.
        labels: (n,) label indices.
        weights: (n,) weights of the written data set.
        original: (n,) whether the row is the user's own.
        classes: (k,) the labels as their column has them, in the order of label indices.
        descriptions: one line a label.
        text_columns: of the data set,
        label_column: and the column of its labels.
        sources: (n,) tuples of ids, see `Rows`; None where nobody knows.
        zero_shot: (n, k) as the run had them; None where they are to be made.
        marks: concepts and attribute values of the rows, the concepts first; None for none.
        n_concepts: how many of the marks are concepts.
        trusted: (n,) whether the row's label is known to be right: audited, answered or marked by the user.
        pool: (p,) texts without labels.
        pool_zero_shot: (p, k), as `zero_shot`.
        encoder: name and identity of the encoder of the run; "" for any.
        has_lines: whether there are lines about the labels.
    """

    texts: Objects
    labels: Integers
    weights: Floats
    original: NDArray[np.bool_]
    classes: tuple[Any, ...]
    descriptions: tuple[str, ...]
    text_columns: tuple[str, ...] = ("text",)
    label_column: str = "label"
    sources: Objects | None = None
    zero_shot: Floats | None = None
    marks: CellMarks | None = None
    n_concepts: int = 0
    trusted: NDArray[np.bool_] | None = None
    pool: Objects = field(default_factory=lambda: np.empty(0, dtype=object))
    pool_zero_shot: Floats | None = None
    encoder: str = ""
    has_lines: bool = False

    def __sklearn_clone__(self) -> Self:
        """Itself: nothing of it is ever changed."""
        return self

    def __repr__(self) -> str:
        """How many rows there are, since an estimator shows its arguments."""
        return f"<{len(self.texts):,} rows, {len(self.classes)} labels>"


def as_objects(values: Sequence[Any]) -> Objects:
    """(n,) of dtype object, also where the values are sequences themselves."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def pack(data: RecipeData) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Rows as columns, the pool as columns (empty for none), and facts: lists and plain values only."""
    rows: dict[str, Any] = {
        "text": [str(text) for text in data.texts],
        "label": data.labels.tolist(),
        "weight": data.weights.tolist(),
        "original": data.original.tolist(),
    }
    if data.sources is not None:
        rows["sources"] = [list(one) for one in data.sources]
    if data.zero_shot is not None:
        rows["zero_shot"] = data.zero_shot.tolist()
    if data.trusted is not None:
        rows["trusted"] = data.trusted.tolist()
    if data.marks is not None:
        rows["states"], rows["levels"] = data.marks.states.tolist(), data.marks.levels.tolist()
    pool: dict[str, Any] = {"text": [str(text) for text in data.pool]} if len(data.pool) else {}
    if pool and data.pool_zero_shot is not None:
        pool["zero_shot"] = data.pool_zero_shot.tolist()
    facts = {
        "classes": list(data.classes),
        "descriptions": list(data.descriptions),
        "text_columns": list(data.text_columns),
        "label_column": data.label_column,
        "marks": [] if data.marks is None else list(data.marks.names),
        "n_concepts": data.n_concepts,
        "encoder": data.encoder,
        "has_lines": data.has_lines,
    }
    return rows, pool, facts


def unpack(rows: dict[str, Any], pool: dict[str, Any], facts: dict[str, Any]) -> RecipeData:
    """The inverse of `pack`."""
    marks, n = None, len(rows["text"])
    if "states" in rows:
        shape = n, len(facts["marks"])
        states = np.array(rows["states"], dtype=np.int8).reshape(shape)
        levels = np.array(rows["levels"], dtype=np.float64).reshape(shape)
        marks = CellMarks(tuple(facts["marks"]), states, levels)
    near, pool_near = (np.array(part["zero_shot"]) if "zero_shot" in part else None for part in (rows, pool))
    return RecipeData(
        texts=as_objects(rows["text"]),
        labels=np.array(rows["label"], dtype=np.int64),
        weights=np.array(rows["weight"], dtype=np.float64),
        original=np.array(rows["original"], dtype=np.bool_),
        classes=tuple(facts["classes"]),
        descriptions=tuple(facts["descriptions"]),
        text_columns=tuple(facts["text_columns"]),
        label_column=facts["label_column"],
        sources=as_objects([tuple(one) for one in rows["sources"]]) if "sources" in rows else None,
        zero_shot=near,
        marks=marks,
        n_concepts=facts["n_concepts"],
        trusted=np.array(rows["trusted"], dtype=np.bool_) if "trusted" in rows else None,
        pool=as_objects(pool.get("text", [])),
        pool_zero_shot=pool_near,
        encoder=facts["encoder"],
        has_lines=facts["has_lines"],
    )


def write_data(directory: Path, data: RecipeData) -> None:
    """Keep the rows in a run directory, in place of older ones."""
    folder = directory / FOLDER
    folder.mkdir(exist_ok=True)
    rows, pool, facts = pack(data)
    for name, columns in ((_ROWS, rows), (_POOL, pool)):
        if columns:
            sink = pa.BufferOutputStream()
            pq.write_table(pa.table(columns), sink)
            write_whole(folder / name, sink.getvalue().to_pybytes(), is_private=True)
    write_whole(folder / _FACTS, json.dumps(facts, ensure_ascii=False, indent=1), is_private=True)


def read_data(directory: Path) -> RecipeData:
    """The rows that a run kept.

    Raises:
        RunDirectoryError: it kept none.
        DataError: they are damaged.
    """
    folder = directory / FOLDER
    if not (folder / _FACTS).is_file():
        raise RunDirectoryError(
            "holds no rows of a recipe: it is not finished, or an earlier version made it",
            where=str(directory),
            hint="run the job again with another output: stored replies are not asked a second time",
        )
    with reading(str(folder), "holds no rows of a recipe"):
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        rows = pq.read_table(folder / _ROWS).to_pydict()
        has_pool = (folder / _POOL).is_file()
        return unpack(rows, pq.read_table(folder / _POOL).to_pydict() if has_pool else {}, facts)
