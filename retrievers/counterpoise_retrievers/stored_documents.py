"""Texts with ids, metadata and vectors in a folder, as JSON lines and an array: nothing in it can run when it is read.

================  =====================================================================
`documents.jsonl`  one object a line: `id`, `text`, `metadata`
`vectors.npy`      (n, dimension) float32, in the same order
`store.json`       version, encoder, dimension, number of documents, next automatic id
================  =====================================================================
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise_retrievers.arrays import Integers, Vectors, check_vectors
from counterpoise_retrievers.rows import open_rows

_VERSION = 1
_FILES = ("documents.jsonl", "vectors.npy", "store.json")
_ROWS_A_BLOCK = 8192


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A text with its id and what is known of it."""

    id: str
    text: str
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoreHead:
    """What is known of a folder of documents.

    Args:
        encoder: name of what made the vectors.
        dimension: numbers in a vector.
        n_documents: how many there are.
        next_id: number from which automatic ids go on.
        version: of this layout.
    """

    encoder: str
    dimension: int
    n_documents: int
    next_id: int
    version: int = _VERSION


def write_documents(
    folder: Path,
    head: StoreHead,
    documents: Sequence[StoredDocument],
    vectors: Vectors,
    positions: Integers,
) -> None:
    """Write documents into a folder, whole or not at all.

    Args:
        folder: where to; documents that were written there before are replaced.
        head: what is known of them.
        documents: n of them.
        vectors: rows, those of the documents among them; may be a mapped file.
        positions: (n,) the row of each document, rising.

    Raises:
        ValueError: metadata that JSON would change, or a folder that holds other files.
        OSError: the folder cannot be written.
    """
    for one in documents:
        _check_plain(one.metadata, f"document '{one.id}': metadata")
    others = [] if not folder.exists() else sorted({one.name for one in folder.iterdir()} - set(_FILES))
    if others:
        raise ValueError(f"{folder}: holds {others[0]}, which is not ours; name another folder")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        with (partial / "documents.jsonl").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(json.dumps(asdict(one)) + "\n" for one in documents)
        _write_rows(partial / "vectors.npy", head.dimension, vectors, positions)
        text = json.dumps(asdict(head), indent=1) + "\n"
        (partial / "store.json").write_text(text, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_documents(folder: Path) -> tuple[StoreHead, list[StoredDocument], Vectors]:
    """Read what `write_documents` wrote; the vectors are mapped, not loaded.

    Raises:
        ValueError: there are no documents in the folder, or they are damaged.
    """
    head = _read_head(folder)
    documents = list(_read_lines(folder / "documents.jsonl"))
    path = folder / "vectors.npy"
    try:
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: no readable vectors: {error}") from error
    if vectors.shape != (head.n_documents, head.dimension) or len(documents) != head.n_documents:
        found = f"{len(documents)} documents and vectors of shape {vectors.shape}"
        wanted = f"({head.n_documents}, {head.dimension})"
        raise ValueError(f"{folder}: {found} where store.json says {wanted}")
    return head, documents, vectors


def _read_head(folder: Path) -> StoreHead:
    path = folder / "store.json"
    try:
        head = StoreHead(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ValueError(f"{folder}: holds no stored documents (no store.json)") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: no readable description of stored documents: {error}") from error
    numbers = (head.dimension, head.n_documents, head.next_id)
    if head.version != _VERSION or not all(type(one) is int and one >= 0 for one in numbers):
        raise ValueError(f"{path}: no description of stored documents of version {_VERSION}")
    return head


def _read_lines(path: Path) -> Iterator[StoredDocument]:
    seen: set[str] = set()
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                one = StoredDocument(**json.loads(line))
                kinds = [type(value) for value in (one.id, one.text, one.metadata)]
                if kinds != [str, str, dict] or one.id in seen:
                    break
                seen.add(one.id)
                yield one
            else:
                return
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: no readable documents: {error}") from error
    raise ValueError(f"{path}: line {len(seen) + 1} is no document with an id of its own")


def _write_rows(path: Path, dimension: int, vectors: Vectors, positions: Integers) -> None:
    """Some rows of a matrix as an array of their own, block by block."""
    with path.open("wb") as file:
        shape = (len(positions), dimension)
        head = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)
        for start, block in open_rows(vectors, dimension).iterate(_ROWS_A_BLOCK):
            first, last = np.searchsorted(positions, (start, start + len(block)))
            rows = check_vectors(block[positions[first:last] - start], dimension)
            file.write(rows.astype("<f4").tobytes())


def _check_plain(value: Any, where: str) -> None:
    """Refuse what JSON would give back as something else.

    Raises:
        ValueError: names the place and the type.
    """
    if value is None or type(value) in (str, int, float, bool):
        return
    if type(value) is list:
        for place, one in enumerate(value):
            _check_plain(one, f"{where}[{place}]")
    elif isinstance(value, Mapping) and type(value) is dict:
        for key, one in value.items():
            if type(key) is not str:
                raise ValueError(f"{where}: a key is no text, found {key!r:.40}; write it as one")
            _check_plain(one, f"{where}[{key!r}]")
    else:
        raise ValueError(
            f"{where}: a {type(value).__name__} cannot be stored; use texts, numbers, booleans, lists, mappings"
        )
