"""Apply a patch to a data file, and undo it: a new file each time, the given one is never edited.

What comes back is the old file byte for byte. In a CSV or JSON-lines file only the bytes of the changed labels are
replaced, spelled as the same label is spelled elsewhere in that file, and the receipt that `apply` writes beside its
output (`OUTPUT.undo`, a zip archive) holds the bytes that were replaced. A Parquet or gzip file is packed anew by
another program than the one that wrote it, so there the receipt holds the old file itself. Where the applied file has
been changed since, undo goes by the records' ids instead and restores the labels, not the bytes.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import mmap
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from counterpoise.core.boundaries import reading, refuse_strange_file
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.label_spellings import fold_spelling, match_label, spell_value, value_key
from counterpoise.core.schema import TextClassification
from counterpoise.data.csv_files import is_wide, narrow, read_layout, widen
from counterpoise.data.files import find_format
from counterpoise.data.outputs import check_outputs
from counterpoise.data.packed_files import is_gzip, open_unpacked
from counterpoise.data.patches.spans import (
    Buffer,
    RowSpan,
    decode_csv_field,
    decode_json_field,
    encode_csv_field,
    list_csv_rows,
    list_json_rows,
)
from counterpoise.data.patches.values import ACCEPT, LabelChange, LabelOutcome, Patch, explain_nothing
from counterpoise.data.plain_columns import name_columns
from counterpoise.data.reading import load_table, make_ids, read_labels
from counterpoise.data.sources import find_roles
from counterpoise_retrievers.scraps import scrap_folder

RECEIPT_VERSION = 1
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Applied:
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


@dataclass(frozen=True, slots=True)
class _Splice:
    """Replace the bytes from `start` to `end`."""

    start: int
    end: int
    replacement: bytes


def name_receipt(output: Path) -> Path:
    """The receipt of a file that `apply` wrote."""
    return output.with_name(output.name + ".undo")


def apply_patch(patch: Patch, source: Path, output: Path, *, overwrite: bool = False) -> Applied:
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
    _check_format(source, output)
    check_outputs({"output": output}, [source], may_replace=overwrite)
    check_outputs({"receipt": receipt}, [source], may_replace=True)
    _check_receipt(receipt, source, output)
    if not len(patch):
        raise DataError(explain_nothing(patch), where="patch", hint=ACCEPT)
    return _apply(patch, source, output, receipt)


def _apply(patch: Patch, source: Path, output: Path, receipt: Path | None) -> Applied:
    ids, labels = _read_ids(source, patch.task)
    changes = {change.id: change for change in patch.list_changing()}
    rows = {
        row: changes[identity]
        for row, identity in enumerate(ids)
        if identity in changes and _is_same(changes[identity].before, labels[row], patch.task)
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
        splices: list[_Splice] = []
        # Bytes of UTF-8 are replaced; what is stored otherwise is unpacked for it.
        has_wide = kind == "csv" and is_wide(source)
        keeps_original = kind == "parquet" or is_gzip(source) or has_wide
        if kind == "parquet":
            with reading(str(source)):
                _write_parquet(_unpack(source, plain), made, rows, labels, patch.task, str(source))
        else:
            unpacked = narrow(source, plain, str(source)) if has_wide else _unpack(source, plain)
            with _map(unpacked) as buffer:
                splices = _plan_splices(buffer, source, unpacked, kind, patch.task, rows, labels)
                _write_spliced(buffer, splices, made)
            if has_wide:
                made = widen(made, folder / "wide", source)
        if is_gzip(source):
            made = _pack(made, folder / "packed")
        new_ids, _ = _read_ids(made, patch.task, like=source)
        if receipt is not None:
            new = folder / "receipt"
            _write_receipt(new, source, made, patch, rows, splices, keeps_original=keeps_original)
            _add_new_ids(new, rows, new_ids)
            new.replace(receipt)
        made.replace(output)
    counts = Counter(change.outcome for change in rows.values())
    return Applied(
        output,
        receipt,
        n_relabelled=counts[LabelOutcome.RELABEL],
        n_dropped=counts[LabelOutcome.DROP],
        n_missing=len(changes) - len(rows),
    )


def undo_patch(
    applied: Path, output: Path, receipt: Path | None = None, *, overwrite: bool = False
) -> Applied:
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
    _check_format(applied, output)
    receipt = receipt or name_receipt(applied)
    check_outputs({"output": output}, [applied, receipt], may_replace=overwrite)
    told = _read_receipt(receipt)
    counts = Counter(row["outcome"] for row in told["rows"])
    with scrap_folder(output.parent, f".{output.name}.") as folder:
        made = folder / "made"
        if _hash(applied) == told["applied_sha256"]:
            damaged = DataError("is damaged: the old file does not come back", where=str(receipt))
            if told["holds_original"]:
                try:
                    with (
                        zipfile.ZipFile(receipt) as archive,
                        archive.open("original") as old,
                        made.open("wb") as new,
                    ):
                        shutil.copyfileobj(old, new, _BLOCK)
                except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
                    raise damaged from error
            else:
                splices = [_Splice(start, end, base64.b64decode(old)) for start, end, old in told["splices"]]
                with _map(applied) as buffer:
                    _write_spliced(buffer, splices, made)
            if _hash(made) != told["original_sha256"]:
                raise damaged
            made.replace(output)
            return Applied(output, None, counts["relabel"], counts["drop"], 0, is_exact=True)
    return _undo_by_id(applied, output, told)


def _undo_by_id(applied: Path, output: Path, told: Mapping[str, Any]) -> Applied:
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
    done = _apply(reverse, applied, output, None)
    n_dropped = sum(row["outcome"] == "drop" for row in told["rows"])
    return Applied(output, None, done.n_relabelled, 0, done.n_missing + n_dropped)


def _check_format(source: Path, output: Path) -> None:
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


def _check_receipt(receipt: Path, source: Path, output: Path) -> None:
    """Refuse to write over a receipt, but for one of the same file, whose bytes are still there, or of the output."""
    if not receipt.exists():
        return
    with contextlib.suppress(DataError):
        told = _read_receipt(receipt)
        if told["original_sha256"] == _hash(source):
            return
        if output.is_file() and told["applied_sha256"] == _hash(output):
            return
    raise JobError(
        "is the receipt of another file, which it alone brings back, and nothing is written over",
        where=str(receipt),
        hint="name another output, or move the receipt away",
    )


def _read_ids(path: Path, task: TextClassification, like: Path | None = None) -> tuple[list[str], list[str]]:
    """Ids and labels of all rows, in order."""
    with contextlib.ExitStack() as stack:
        if like is not None:  # a temporary file without a suffix; a format is told by its name
            folder = stack.enter_context(scrap_folder(path.parent, "named-"))
            named = folder / like.name
            named.hardlink_to(path)
            path = named
        table = load_table(path, task=task)
        labels = read_labels(table, task.label, str(like or path), task.keep_labels)
        return [str(identity) for identity in make_ids(table)], [str(label or "") for label in labels]


def _is_same(one: str, other: str, task: TextClassification) -> bool:
    """Whether two spellings are one label: of equal value, or where the user said so, alike."""
    key = fold_spelling if task.label_spellings == "merge" else value_key
    return key(one) == key(other)


def _plan_splices(
    buffer: Buffer,
    source: Path,
    unpacked: Path,
    kind: str,
    task: TextClassification,
    rows: Mapping[int, LabelChange],
    labels: Sequence[str],
) -> list[_Splice]:
    """Which bytes to replace, in the file's order."""
    spellings: dict[str, bytes] = {}
    places: dict[int, RowSpan] = {}
    unreadable = DataError(
        "its rows cannot be told apart byte by byte",
        where=str(source),
        hint="save it anew, for example with pandas",
    )
    n_rows = 0
    delimiter = ""
    try:
        if kind == "csv":
            layout = read_layout(unpacked, str(source), find_roles(task))
            delimiter = layout.delimiter
            place = layout.names.index(task.label)
            spans = list_csv_rows(buffer, place, delimiter, layout.start, layout.header)
        else:
            spans = list_json_rows(buffer, task.label)
        for row, span in enumerate(spans):
            n_rows = row + 1
            if row >= len(labels):
                raise unreadable
            if labels[row] not in spellings:
                spellings[labels[row]] = bytes(buffer[span.field_start : span.field_end])
            if row in rows:
                places[row] = span
    except ValueError as error:
        raise unreadable from error
    if n_rows != len(labels):
        raise unreadable
    splices = []
    for row, span in sorted(places.items()):
        change = rows[row]
        spelled = bytes(buffer[span.field_start : span.field_end])
        said = (
            decode_csv_field(spelled) if kind == "csv" else spell_value(decode_json_field(spelled or b'""'))
        )
        if not _is_same(said, change.before, task):
            raise unreadable
        if change.outcome is LabelOutcome.DROP:
            splices.append(_Splice(span.start, span.end, b""))
            continue
        known = match_label(change.after, spellings)
        if known is not None:
            new = spellings[known]
        else:
            new = (
                encode_csv_field(change.after, delimiter)
                if kind == "csv"
                else _spell_json(change.after, json.loads(spelled), f"{source}: column '{task.label}'")
            )
        splices.append(_Splice(span.field_start, span.field_end, new))
    return splices


def _spell_json(label: str, old: Any, where: str) -> bytes:
    """A label that the file does not have yet, of the type of the one that it replaces."""
    if isinstance(old, str):
        return json.dumps(label, ensure_ascii=False).encode()
    spelled = label.lower() if isinstance(old, bool) else label
    with contextlib.suppress(ValueError):
        value = json.loads(spelled)
        is_number = isinstance(value, int | float) and np.isfinite(value)
        if is_number and isinstance(value, bool) == isinstance(old, bool):
            return spelled.encode()
    raise _refuse_label(label, "numbers" if not isinstance(old, bool) else "true or false", where)


def _refuse_label(label: str, kind: str, where: str) -> DataError:
    return DataError(
        f"'{label}' cannot stand there, whose values are {kind}",
        where=where,
        hint="write a label of that kind under `after` in the patch",
    )


def _write_spliced(buffer: Buffer, splices: Sequence[_Splice], path: Path) -> None:
    position = 0
    with path.open("wb") as file:
        for splice in splices:
            _copy(buffer, position, splice.start, file)
            file.write(splice.replacement)
            position = splice.end
        _copy(buffer, position, len(buffer), file)


def _copy(buffer: Buffer, start: int, end: int, file: Any) -> None:
    for first in range(start, end, _BLOCK):
        file.write(buffer[first : min(end, first + _BLOCK)])


def _write_parquet(
    source: Path,
    output: Path,
    rows: Mapping[int, LabelChange],
    labels: Sequence[str],
    task: TextClassification,
    where: str,
) -> None:
    """Copy a Parquet file group by group, with its schema, metadata and compression."""
    from datasets import Features

    first_rows: dict[str, int] = {}
    for row, label in enumerate(labels):
        first_rows.setdefault(label, row)
    with pq.ParquetFile(source) as file:
        names_read = name_columns(file.schema_arrow.names, find_roles(task), where, [])
        place = names_read.index(task.label)
        column = file.schema_arrow.names[place]
        spelled = _read_values(file, column, {first_rows[label] for label in first_rows})
        values = {label: spelled[row] for label, row in first_rows.items()}
        field = file.schema_arrow.field(place)
        names = getattr(
            Features.from_arrow_schema(pa.schema([field], file.schema_arrow.metadata))[column], "names", None
        )
        for change in rows.values():
            if change.outcome is LabelOutcome.RELABEL and change.after not in values:
                known = match_label(change.after, values)
                values[change.after] = (
                    values[known]
                    if known is not None
                    else _make_value(change.after, field.type, names, f"{where}: column '{column}'")
                )
        codec = "none"
        if file.num_row_groups and file.metadata.num_columns:
            codec = (
                str(file.metadata.row_group(0).column(0).compression).lower().replace("uncompressed", "none")
            )
        start = 0
        with pq.ParquetWriter(output, file.schema_arrow, compression=codec) as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                mine = {
                    row - start: change for row, change in rows.items() if start <= row < start + len(table)
                }
                start += len(table)
                if mine:
                    table = _change_table(table, place, mine, values)
                writer.write_table(table, row_group_size=max(1, len(table)))


def _make_value(label: str, kind: pa.DataType, names: Sequence[str] | None, where: str) -> Any:
    """A label that the file does not have yet, as a value of its column."""
    if names is not None:
        if label not in names:
            raise _refuse_label(label, f"one of {', '.join(names)}", where)
        return list(names).index(label)
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    try:
        return pa.scalar(label).cast(plain).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _refuse_label(label, f"of the type {plain}", where) from error


def _read_values(file: pq.ParquetFile, column: str, wanted: set[int]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    start = 0
    for group in range(file.num_row_groups):
        values = file.read_row_group(group, columns=[column]).column(0)
        for row in wanted:
            if start <= row < start + len(values):
                found[row] = values[row - start].as_py()
        start += len(values)
    return found


def _change_table(
    table: pa.Table, place: int, rows: Mapping[int, LabelChange], values: Mapping[str, Any]
) -> pa.Table:
    spelled = table.column(place).to_pylist()
    kept = np.ones(len(table), dtype=np.bool_)
    for row, change in rows.items():
        if change.outcome is LabelOutcome.DROP:
            kept[row] = False
        else:
            spelled[row] = values[change.after]
    changed = table.set_column(
        place, table.schema.field(place), pa.array(spelled, table.schema.field(place).type)
    )
    return changed.filter(pa.array(kept))


def _write_receipt(
    path: Path,
    source: Path,
    made: Path,
    patch: Patch,
    rows: Mapping[int, LabelChange],
    splices: Sequence[_Splice],
    *,
    keeps_original: bool,
) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if keeps_original:
            with source.open("rb") as old, archive.open("original", "w", force_zip64=True) as new:
                shutil.copyfileobj(old, new, _BLOCK)
        reverse = [] if keeps_original else _reverse(splices, source)
        head = {
            "counterpoise_receipt": RECEIPT_VERSION,
            "original_sha256": _hash(source),
            "applied_sha256": _hash(made),
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


def _add_new_ids(path: Path, rows: Mapping[int, LabelChange], new_ids: Sequence[str]) -> None:
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


def _read_receipt(path: Path) -> dict[str, Any]:
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


def _reverse(splices: Sequence[_Splice], source: Path) -> list[_Splice]:
    """The splices that turn the result back."""
    reverse = []
    shift = 0
    with source.open("rb") as file:
        for splice in splices:
            file.seek(splice.start)
            old = file.read(splice.end - splice.start)
            start = splice.start + shift
            reverse.append(_Splice(start, start + len(splice.replacement), old))
            shift += len(splice.replacement) - len(old)
    return reverse


def _unpack(source: Path, target: Path) -> Path:
    if not is_gzip(source):
        return source
    with open_unpacked(source) as packed, target.open("wb") as plain:
        shutil.copyfileobj(packed, plain, _BLOCK)
    return target


def _pack(plain: Path, target: Path) -> Path:
    with (
        plain.open("rb") as old,
        target.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0) as new,
    ):
        shutil.copyfileobj(old, new, _BLOCK)
    return target


@contextlib.contextmanager
def _map(path: Path) -> Iterator[Buffer]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        yield buffer


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
