"""Vectors on disk, by the content of their texts: nothing is encoded twice, in this run or the next.

Two files an encoder, both only ever appended to: `NAME.vectors`, rows of float32, and `NAME.keys`, 16 bytes a row
(blake2b of the encoder's name with its identity, and the text). Row i belongs to key i, and rows are on the disk
before their keys are written, so a process that dies leaves at most a tail that does not count; the next writer cuts
it off. Writers take a lock; readers need none, because what counts never changes. Folder and files are their owner's
alone: a vector tells much of its text.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from counterpoise_retrievers.arrays import Integers, Vectors, check_vectors
from counterpoise_retrievers.encoder_protocol import Encoder, name_vectors
from counterpoise_retrievers.private_files import make_private_folder, touch_private_file

Keys = NDArray[np.bytes_]

_KEY_BYTES = 16
_TEXTS_A_WRITE = 128
_UNSORTED_KEYS = 65_536
"""Keys that are looked up in a dictionary before the sorted array of all keys is made anew."""

_PROBE = "The quick brown fox jumps over the lazy dog."
_PROBE_TOLERANCE = 0.02
"""Servers round differently from batch to batch; another model differs by far more."""


class VectorStore:
    """An append-only file of rows and an append-only file of their keys.

    Args:
        path: the common stem of the files; their folder must exist.
        dimension: numbers in a row.
    """

    def __init__(self, path: Path, dimension: int) -> None:
        self._vectors_path = path.with_name(path.name + ".vectors")
        self._keys_path = path.with_name(path.name + ".keys")
        self._lock = FileLock(path.with_name(path.name + ".lock"), mode=0o600)
        self._dimension = dimension
        self._row_bytes = 4 * dimension
        self._rows: Vectors = np.empty((0, dimension), dtype=np.float32)
        self._sorted_keys: Keys = np.empty(0, dtype=f"S{_KEY_BYTES}")
        self._sorted_positions: Integers = np.empty(0, dtype=np.int64)
        self._recent: dict[bytes, int] = {}
        for file in (self._vectors_path, self._keys_path, Path(self._lock.lock_file)):
            touch_private_file(file)
        self._refresh()

    def __len__(self) -> int:
        """Rows that are stored, as of the last look at the disk."""
        return len(self._rows)

    def find(self, keys: Sequence[bytes]) -> Integers:
        """Find the rows of keys: (n,) positions, -1 where a key is not stored; looks at the disk anew."""
        self._refresh()
        return self._find(keys)

    def read(self, positions: Integers) -> Vectors:
        """Read rows: (n, dimension) float32, a copy."""
        rows: Vectors = np.asarray(self._rows[positions])
        return rows

    def append(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        """Store rows, whole; a key that another process stored meanwhile keeps the row it has.

        Args:
            keys: n different keys of 16 bytes.
            vectors: (n, dimension) float32.
        """
        with self._lock:
            self._refresh()
            new = np.flatnonzero(self._find(keys) < 0).tolist()
            with self._vectors_path.open("r+b") as rows_file, self._keys_path.open("r+b") as keys_file:
                _write_tail(rows_file, len(self) * self._row_bytes, vectors[new].tobytes())
                # Rows must be on the disk before a key says so, even if the machine loses power.
                os.fsync(rows_file.fileno())
                _write_tail(keys_file, len(self) * _KEY_BYTES, b"".join(keys[place] for place in new))
            self._refresh()

    def _refresh(self) -> None:
        """Take in the rows that were appended, by whomever, since the last look."""
        known = len(self)
        # Keys first: a row is written before its key, so every whole key seen here has its row.
        n_keys = self._keys_path.stat().st_size // _KEY_BYTES
        n_rows = min(n_keys, self._vectors_path.stat().st_size // self._row_bytes)
        if n_rows == known:
            return
        with self._keys_path.open("rb") as keys_file:
            keys_file.seek(known * _KEY_BYTES)
            raw = keys_file.read((n_rows - known) * _KEY_BYTES)
        self._rows = np.memmap(self._vectors_path, np.float32, "r", shape=(n_rows, self._dimension))
        if len(self._recent) + n_rows - known > _UNSORTED_KEYS:
            self._sort_keys(n_rows)
        else:
            for place in range(n_rows - known):
                key = raw[place * _KEY_BYTES : (place + 1) * _KEY_BYTES]
                self._recent.setdefault(key, known + place)

    def _sort_keys(self, n_rows: int) -> None:
        keys: Keys = np.fromfile(self._keys_path, dtype=f"S{_KEY_BYTES}", count=n_rows)
        # Stable, so that of two equal keys the older row is found.
        self._sorted_positions = np.argsort(keys, kind="stable")
        self._sorted_keys = keys[self._sorted_positions]
        self._recent = {}

    def _find(self, keys: Sequence[bytes]) -> Integers:
        positions = np.fromiter((self._recent.get(key, -1) for key in keys), np.int64, len(keys))
        if len(self._sorted_keys) and len(keys):
            wanted = np.array(keys, dtype=f"S{_KEY_BYTES}")
            places = np.minimum(np.searchsorted(self._sorted_keys, wanted), len(self._sorted_keys) - 1)
            hits = self._sorted_keys[places] == wanted
            positions[hits] = self._sorted_positions[places[hits]]
        return positions


class CachedEncoder:
    """An encoder that looks on the disk first. Has the protocol of `Encoder` itself.

    Vectors are stored in groups while encoding goes on, so that an interrupted run goes on where it was.
    Equal texts are encoded once. What comes back is always the stored row, bit for bit, whoever wrote it.

    Args:
        encoder: what encodes the texts that are not stored yet.
        folder: where the files lie; made where it is missing. Several processes may share it.
        on_progress: called as `on_progress(n_done, n_missing)` after each group that had to be encoded.

    Raises:
        OSError: the folder cannot be written.
    """

    identity = ""
    """Its name says all: it holds the identity of what it keeps."""

    def __init__(
        self, encoder: Encoder, folder: Path, *, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.encoder = encoder
        self.name = name_vectors(encoder)
        self.dimension = encoder.dimension
        self.max_tokens = encoder.max_tokens
        self._on_progress = on_progress
        self._folder = folder
        self._salt = f"{self.name}\0{self.max_tokens}\0".encode()
        self._guard = threading.Lock()
        self._checked = False
        make_private_folder(folder)
        self._store = VectorStore(folder / _name_file(self._salt, self.name, self.dimension), self.dimension)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode texts, those that are stored without the encoder.

        Args:
            texts: n texts.

        Returns:
            (n, dimension) float32, rows of length 1, in the order of the texts.

        Raises:
            ValueError: the stored vectors are those of another encoder of the same name.
        """
        keys = [self._make_key(text) for text in texts]
        with self._guard:
            positions = self._store.find(keys)
            if len(keys) and positions.min() < 0:
                self._encode_missing(
                    {keys[place]: texts[place] for place in np.flatnonzero(positions < 0).tolist()}
                )
                positions = self._store.find(keys)
            return self._store.read(positions)

    def _encode_missing(self, missing: dict[bytes, str]) -> None:
        self._check_encoder()
        keys = list(missing)
        for start in range(0, len(keys), _TEXTS_A_WRITE):
            group = keys[start : start + _TEXTS_A_WRITE]
            self._store.append(group, self._encode_checked([missing[key] for key in group]))
            if self._on_progress is not None:
                self._on_progress(start + len(group), len(keys))

    def _check_encoder(self) -> None:
        """Compare the vector of a fixed text with the stored one, once, before new rows join old ones."""
        if self._checked:
            return
        key = self._make_key(_PROBE)
        vector = self._encode_checked([_PROBE])
        self._store.append([key], vector)
        stored = self._store.read(self._store.find([key]))
        if np.abs(stored - vector).max() > _PROBE_TOLERANCE:
            raise ValueError(
                f"{self._folder}: holds vectors of another encoder that was called {self.name} too; "
                "name this one otherwise or remove the folder"
            )
        self._checked = True

    def _encode_checked(self, texts: list[str]) -> Vectors:
        vectors = check_vectors(self.encoder.encode(texts), self.dimension, what=self.name)
        if len(vectors) != len(texts):
            raise ValueError(f"{self.name}: {len(vectors)} vectors came back for {len(texts)} texts")
        return vectors

    def _make_key(self, text: str) -> bytes:
        # Lone surrogates are legal in str; they must have a key as well.
        return blake2b(self._salt + text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()


def _name_file(salt: bytes, name: str, dimension: int) -> str:
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")[:60]
    return f"{readable}-{dimension}-{blake2b(salt, digest_size=4).hexdigest()}"


def _write_tail(file: BinaryIO, length: int, content: bytes) -> None:
    """Cut `file` to `length` bytes, which removes what a dead writer left, and append `content`."""
    file.truncate(length)
    file.seek(length)
    file.write(content)
    file.flush()
