"""Apply a patch to a data file: a new file, the given one is never edited.

In a CSV or JSON-lines file only the bytes of the changed labels are replaced, spelled as the same label is spelled
elsewhere in that file (`splices`), and the receipt beside the output holds the bytes that were replaced (`receipts`).
A Parquet or gzip file is packed anew by another program than the one that wrote it, so there the receipt holds the old
file itself. `undo` is the way back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from counterpoise.core.boundaries import reading
from counterpoise.core.errors import DataError, JobError
from counterpoise.data.csv_files import is_wide, narrow, widen
from counterpoise.data.files import find_format
from counterpoise.data.outputs import check_outputs
from counterpoise.data.packed_files import is_gzip, pack_file, unpack_file
from counterpoise.data.patches.labels import is_same_label, read_ids
from counterpoise.data.patches.parquet import write_changed_parquet
from counterpoise.data.patches.receipts import add_new_ids, check_receipt, name_receipt, write_receipt
from counterpoise.data.patches.splices import Splice, map_file, plan_splices, write_spliced
from counterpoise.data.patches.values import ACCEPT, LabelOutcome, Patch, explain_nothing
from counterpoise_retrievers.scraps import scrap_folder


@dataclass(frozen=True, slots=True)
class AppliedPatch:
    """What `apply` or `undo` did.

    Args:
        output: the file that was written.
        receipt: the file that undoes it; None after an undo.
        n_relabelled, n_dropped: rows that were changed or left out (after an undo: restored).
        n_missing: changes whose record the file does not have.
        is_exact: after an undo whether the output equals the old file byte for byte.
    """

    output: Path
    receipt: Path | None
    n_relabelled: int
    n_dropped: int
    n_missing: int
    is_exact: bool = False


def apply_patch(patch: Patch, source: Path, output: Path, *, overwrite: bool = False) -> AppliedPatch:
    """Write a copy of a data file with the changes of a patch.

    Args:
        patch: the changes; rows are found by id, so the file may have been sorted or have grown.
        source: the file; it is only read.
        output: the file to write, of the same format.
        overwrite: whether it and a receipt beside it may be replaced, where they exist.

    Raises:
        DataError: the patch changes nothing, or the file holds none of the records, or cannot be read row by row.
        JobError: the output exists or is of another format, or beside it lies the receipt of another file.
        OSError: the output cannot be written.
    """
    receipt = name_receipt(output)
    check_format(source, output)
    check_outputs({"output": output}, [source], may_replace=overwrite)
    check_outputs({"receipt": receipt}, [source], may_replace=True)
    check_receipt(receipt, source, output)
    if not len(patch):
        raise DataError(explain_nothing(patch), where="patch", hint=ACCEPT)
    return apply_changes(patch, source, output, receipt)


def apply_changes(patch: Patch, source: Path, output: Path, receipt: Path | None) -> AppliedPatch:
    """Write the output, and where one is named the receipt, from rows that are found by id."""
    ids, labels = read_ids(source, patch.task)
    changes = {change.id: change for change in patch.list_changing()}
    rows = {
        row: changes[identity]
        for row, identity in enumerate(ids)
        if identity in changes and is_same_label(changes[identity].before, labels[row], patch.task)
    }
    if changes and not rows:
        raise DataError(
            "holds none of the records of the patch",
            where=str(source),
            hint="was it applied before, or has a column been added or filled? Make the patch anew",
        )
    if sum(change.outcome is LabelOutcome.DROP for change in rows.values()) == len(ids):
        raise DataError(
            "the patch drops all its rows, and a file without any cannot be used",
            where=str(source),
            hint="write `keep` for those that shall stay",
        )
    kind = find_format(source)
    with scrap_folder(output.parent, f".{output.name}.") as folder:
        plain, made = folder / "plain", folder / "made"
        splices: list[Splice] = []
        # Bytes of UTF-8 are replaced; what is stored otherwise is unpacked for it.
        has_wide = kind == "csv" and is_wide(source)
        keeps_original = kind == "parquet" or is_gzip(source) or has_wide
        if kind == "parquet":
            with reading(str(source)):
                write_changed_parquet(unpack_file(source, plain), made, rows, labels, patch.task, str(source))
        else:
            unpacked = narrow(source, plain, str(source)) if has_wide else unpack_file(source, plain)
            with map_file(unpacked) as buffer:
                splices = plan_splices(buffer, source, unpacked, kind, patch.task, rows, labels)
                write_spliced(buffer, splices, made)
            if has_wide:
                made = widen(made, folder / "wide", source)
        if is_gzip(source):
            made = pack_file(made, folder / "packed")
        new_ids, _ = read_ids(made, patch.task, like=source)
        if receipt is not None:
            new = folder / "receipt"
            write_receipt(new, source, made, patch, rows, splices, keeps_original=keeps_original)
            add_new_ids(new, rows, new_ids)
            new.replace(receipt)
        made.replace(output)
    counts = Counter(change.outcome for change in rows.values())
    return AppliedPatch(
        output,
        receipt,
        n_relabelled=counts[LabelOutcome.RELABEL],
        n_dropped=counts[LabelOutcome.DROP],
        n_missing=len(changes) - len(rows),
    )


def check_format(source: Path, output: Path) -> None:
    """Refuse a file that patches do not apply to, and an output of another format."""
    if not source.is_file():
        raise DataError(
            "no such file", where=str(source), hint="a patch applies to one CSV, JSON-lines or Parquet file"
        )
    kind = find_format(source)
    if kind not in ("csv", "jsonl", "parquet"):
        raise DataError(
            "is of a format that patches do not apply to",
            where=str(source),
            hint="save it as CSV, JSON lines or Parquet",
        )
    if find_format(output) != kind or (output.suffix == ".gz") != (source.suffix == ".gz"):
        raise JobError(
            f"is of another format than {source.name}",
            where=str(output),
            hint=f"end it in {''.join(source.suffixes[-2:])}",
        )
