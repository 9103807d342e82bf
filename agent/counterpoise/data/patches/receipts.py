"""The receipt beside an applied file (`OUTPUT.undo`, a zip archive): what `undo` needs to bring the old file back."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from counterpoise.core.boundaries import reading, refuse_strange_file
from counterpoise.core.errors import DataError, JobError
from counterpoise.data.packed_files import BLOCK_BYTES
from counterpoise.data.patches.splices import Splice, reverse_splices
from counterpoise.data.patches.values import LabelChange, LabelOutcome, Patch

RECEIPT_VERSION = 1


def name_receipt(output: Path) -> Path:
    """The receipt of a file that `apply` wrote."""
    return output.with_name(output.name + ".undo")


def check_receipt(receipt: Path, source: Path, output: Path) -> None:
    """Refuse to write over a receipt, but for one of the same file, whose bytes are still there, or of the output."""
    if not receipt.exists():
        return
    with contextlib.suppress(DataError):
        told = read_receipt(receipt)
        if told["original_sha256"] == hash_file(source):
            return
        if output.is_file() and told["applied_sha256"] == hash_file(output):
            return
    raise JobError(
        "is the receipt of another file, which it alone brings back, and nothing is written over",
        where=str(receipt),
        hint="name another output, or move the receipt away",
    )


def write_receipt(
    path: Path,
    source: Path,
    made: Path,
    patch: Patch,
    rows: Mapping[int, LabelChange],
    splices: Sequence[Splice],
    *,
    keeps_original: bool,
) -> None:
    """Write all of a receipt but the ids of the changed records, which only the made file tells."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if keeps_original:
            with source.open("rb") as old, archive.open("original", "w", force_zip64=True) as new:
                shutil.copyfileobj(old, new, BLOCK_BYTES)
        reverse = [] if keeps_original else reverse_splices(splices, source)
        head = {
            "counterpoise_receipt": RECEIPT_VERSION,
            "original_sha256": hash_file(source),
            "applied_sha256": hash_file(made),
            "holds_original": keeps_original,
            "text": list(patch.task.text),
            "label": patch.task.label,
            "attributes": list(patch.task.attributes),
            "trusted": patch.task.trusted,
            "keep_labels": list(patch.task.keep_labels),
            "label_spellings": patch.task.label_spellings,
            "splices": [
                [splice.start, splice.end, base64.b64encode(splice.replacement).decode()]
                for splice in reverse
            ],
        }
        archive.writestr("receipt.json", json.dumps(head))


def add_new_ids(path: Path, rows: Mapping[int, LabelChange], new_ids: Sequence[str]) -> None:
    """Add under which ids the changed records are found from now on."""
    listed = []
    n_dropped = 0
    for row in sorted(rows):
        change = rows[row]
        is_dropped = change.outcome is LabelOutcome.DROP
        listed.append(
            {
                "id": change.id,
                "id_after": "" if is_dropped else new_ids[row - n_dropped],
                "outcome": str(change.outcome),
                "before": change.before,
                "after": change.after,
            }
        )
        n_dropped += is_dropped
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.json", json.dumps(listed, ensure_ascii=False))


def read_receipt(path: Path) -> dict[str, Any]:
    """What a receipt says, with the changed rows under `rows`.

    Raises:
        DataError: there is none, or it is damaged or of another version.
    """
    what = "is no receipt of counterpoise apply"
    if not path.exists() and not path.is_symlink():
        hint = "`apply` writes it beside its output; name it"
        raise DataError("no such file", where=str(path), hint=hint)
    refuse_strange_file(path)
    try:
        with reading(str(path), what), zipfile.ZipFile(path) as archive:
            told = json.loads(archive.read("receipt.json"))
            told["rows"] = json.loads(archive.read("rows.json"))
    except (LookupError, TypeError) as error:
        raise DataError(what, where=str(path)) from error
    if told.get("counterpoise_receipt") != RECEIPT_VERSION:
        raise DataError("is a receipt of another version", where=str(path))
    return dict(told)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, in hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
