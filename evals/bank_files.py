"""The files of the bank of bought texts: one with the rows of a set, one a writer, vectors beside each.

A file is gzipped JSON lines; the first line says what it is, the others are rows. Its hash is that of the lines, not of
the packed bytes. Vectors are a NumPy file beside, named by the encoder and by that hash, computed once.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.files import replacing, write_whole
from counterpoise_retrievers.encoders import Encoder, name_vectors
from evals.common import MissingDataError

RECIPE = Path(__file__).with_name("bank_recipe.json")
"""Set -> name of a file -> its hash: what results were computed on."""

ROWS = "rows"
FORMAT = 1
Lines = list[dict[str, Any]]


@dataclass(frozen=True)
class BankFile:
    """A file that was read.

    Args:
        path: where it lies.
        header: what its first line says.
        lines: the others.
        sha256: of all lines.
    """

    path: Path
    header: Mapping[str, Any]
    lines: Lines
    sha256: str


def find_folder(name: str) -> Path:
    """Where the files of a set lie: below the cache folder, never in the repository."""
    return find_cache_dir() / "evals" / "bank" / name


def find_path(name: str, stem: str) -> Path:
    """Where one of its files lies: `rows`, or a writer's name."""
    return find_folder(name) / f"{stem}.jsonl.gz"


def hash_text(text: str) -> str:
    """The id of a row: 16 hex digits of its text's hash."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write_file(name: str, stem: str, header: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> str:
    """Write a file whole; equal content gives equal bytes.

    Returns:
        Its hash.
    """
    path = find_path(name, stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"format": FORMAT, "set": name, **header}, *lines]
    content = "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows).encode()
    write_whole(path, gzip.compress(content, mtime=0))
    return sha256(content).hexdigest()


def read_file(name: str, stem: str, build: str = "") -> BankFile:
    """Read a file.

    Args:
        name: of the set.
        stem: `rows`, or a writer.
        build: the command that builds it, for the line that says that it is absent.

    Raises:
        MissingDataError: it is absent, is no such file, or of another set.
    """
    path = find_path(name, stem)
    build = build or f"python -m evals bank build --only {name if stem == ROWS else f'{name}/{stem}'}"
    if not path.is_file():
        raise MissingDataError(f"bank file absent: {path}; `{build}` builds it")
    try:
        content = gzip.decompress(path.read_bytes())
        header, *lines = [json.loads(line) for line in content.splitlines()]
        found = header["format"], header["set"]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise MissingDataError(
            f"{path} is no file of the bank ({error}); `{build}` builds it anew"
        ) from error
    if found != (FORMAT, name):
        raise MissingDataError(
            f"{path} is of set {found[1]!r}, format {found[0]!r}, not {name!r}, {FORMAT!r}"
        )
    return BankFile(path, header, lines, sha256(content).hexdigest())


def read_recipe() -> dict[str, dict[str, str]]:
    """Set -> file -> hash; empty where there is no recipe."""
    if not RECIPE.is_file():
        return {}
    read: dict[str, dict[str, str]] = json.loads(RECIPE.read_text(encoding="utf-8"))
    return read


def write_recipe(recipe: Mapping[str, Mapping[str, str]]) -> None:
    """Write the same."""
    write_whole(RECIPE, json.dumps(recipe, indent=1) + "\n")


def check_hash(file: BankFile, stem: str) -> None:
    """Refuse a file that the recipe names by another hash; one that it does not name is somebody else's writer.

    Args:
        file: what was read.
        stem: `rows`, or a writer.

    Raises:
        MissingDataError: in one line, with both hashes.
    """
    pinned = read_recipe().get(str(file.header["set"]), {}).get(stem, "")
    if pinned in ("", file.sha256):
        return
    raise MissingDataError(
        f"{file.path} is another file (sha256 {file.sha256[:12]}...) than {RECIPE.name} names "
        f"({pinned[:12]}...), so its results are no others': build it anew, or name it there with "
        f"`python -m evals bank build --pin --only {file.header['set']}`"
    )


def load_vectors(file: BankFile, encoder: Encoder) -> NDArray[np.float32]:
    """(n, d) vectors of the lines' texts, from beside the file or computed now and kept there."""
    stem = file.path.name.removesuffix(".jsonl.gz")
    kind = re.sub(r"[^\w.-]+", "-", name_vectors(encoder))
    path = file.path.with_name(f"{stem}.{kind}.{file.sha256[:12]}.npy")
    if path.is_file():
        kept: NDArray[np.float32] = np.load(path)
        return kept
    vectors = np.asarray(encoder.encode([line["text"] for line in file.lines]), np.float32)
    for older in path.parent.glob(f"{stem}.{kind}.*.npy"):
        older.unlink()
    with replacing(path) as temporary, temporary.open("wb") as sink:
        np.save(sink, vectors)
    return vectors
