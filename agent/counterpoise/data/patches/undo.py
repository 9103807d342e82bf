"""Undo a patch: a new file that equals the old one byte for byte.

Where the applied file has been changed since, undo goes by the records' ids and restores the labels, not the bytes.
"""

from __future__ import annotations

import base64
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise.core.errors import DataError
from counterpoise.core.schema import TextClassification
from counterpoise.data.outputs import check_outputs
from counterpoise.data.packed_files import BLOCK_BYTES
from counterpoise.data.patches.apply import AppliedPatch, apply_changes, check_format
from counterpoise.data.patches.receipts import hash_file, name_receipt, read_receipt
from counterpoise.data.patches.splices import Splice, map_file, write_spliced
from counterpoise.data.patches.values import LabelChange, LabelOutcome, Patch
from counterpoise_retrievers.scraps import scrap_folder


def undo_patch(
    applied: Path, output: Path, receipt: Path | None = None, *, overwrite: bool = False
) -> AppliedPatch:
    """Write the file as it was before a patch was applied.

    Args:
        applied: the file that `apply_patch` wrote, perhaps changed since.
        output: the file to write.
        receipt: what `apply_patch` wrote beside it; by default looked for there.
        overwrite: whether the output may be replaced, where it exists.

    Returns:
        With `is_exact` where the output equals the old file byte for byte; that is so whenever `applied` has not been
        changed.

    Raises:
        DataError: there is no receipt, it is damaged, or it belongs to another file.
        JobError: the output exists.
    """
    check_format(applied, output)
    receipt = receipt or name_receipt(applied)
    check_outputs({"output": output}, [applied, receipt], may_replace=overwrite)
    told = read_receipt(receipt)
    counts = Counter(row["outcome"] for row in told["rows"])
    with scrap_folder(output.parent, f".{output.name}.") as folder:
        made = folder / "made"
        if hash_file(applied) == told["applied_sha256"]:
            damaged = DataError("is damaged: the old file does not come back", where=str(receipt))
            if told["holds_original"]:
                try:
                    with (
                        zipfile.ZipFile(receipt) as archive,
                        archive.open("original") as old,
                        made.open("wb") as new,
                    ):
                        shutil.copyfileobj(old, new, BLOCK_BYTES)
                except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
                    raise damaged from error
            else:
                splices = [Splice(start, end, base64.b64decode(old)) for start, end, old in told["splices"]]
                with map_file(applied) as buffer:
                    write_spliced(buffer, splices, made)
            if hash_file(made) != told["original_sha256"]:
                raise damaged
            made.replace(output)
            return AppliedPatch(output, None, counts["relabel"], counts["drop"], 0, is_exact=True)
    return _undo_by_id(applied, output, told)


def _undo_by_id(applied: Path, output: Path, told: Mapping[str, Any]) -> AppliedPatch:
    """Restore labels in a file that was changed after the patch; rows that were dropped stay away."""
    task = TextClassification(
        tuple(told["text"]),
        told["label"],
        tuple(told["attributes"]),
        told.get("trusted", ""),
        tuple(told.get("keep_labels", ())),
        told.get("label_spellings", "ask"),
    )
    reverse = Patch(
        task,
        str(applied),
        0,
        tuple(
            LabelChange(row["id_after"], LabelOutcome.RELABEL, row["after"], row["before"], 1.0)
            for row in told["rows"]
            if row["outcome"] == "relabel"
        ),
    )
    done = apply_changes(reverse, applied, output, None)
    n_dropped = sum(row["outcome"] == "drop" for row in told["rows"])
    return AppliedPatch(output, None, done.n_relabelled, 0, done.n_missing + n_dropped)
