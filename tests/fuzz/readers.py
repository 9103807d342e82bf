"""Data files: delimited, JSON, JSON lines, Parquet, and gzip of these, under `check` and under what runs read with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counterpoise.core.schema import TextClassification
from counterpoise.data.reading import list_warnings, load_table, make_ids, read_pool, read_records
from counterpoise.runs.tables import count_table
from counterpoise.scorers.gold import read_gold
from counterpoise.tasks.tables.job import TableJob
from counterpoise.tasks.tables.reading import read_table as read_values
from tests.fuzz.common import Ended, Source, break_bytes, call, dump_json, encode, guard, pack, put

Rows = list[dict[str, Any]]
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")


def make_rows(source: Source) -> Rows:
    """A table with a text, a label and sometimes more; most cells are plain, some are anything."""
    odd = ("source", "when", "n", "a\0b", "", "text ", "weight", "ключ")
    names = ["text", "label", *source.sample(odd, source.choice((0, 0, 1, 2)))]
    share = source.choice((0.0, 0.0, 0.0, 0.02, 0.2))
    plain: tuple[tuple[Any, ...], ...] = (("good", "bad"), (0, 1), ("1", "2", "3"), (True, False), (0.0, 1.0))
    labels = source.choice((*plain, *plain, ("", "x"), ("NaN", "inf")))
    rows: Rows = []
    for number in range(source.choice((0, 1, 2, *(6, 20, 20, 20) * 5))):
        row: dict[str, Any] = {name: f"{name} {number} soup" for name in names}
        row["label"] = labels[number % len(labels)]
        for name in names:
            if source.is_hit(share):
                row[name] = source.pick_value()
        if source.is_hit(share / 2):
            row.pop(source.choice(names))
        if source.is_hit(share / 4):
            row[source.pick_string()] = source.pick_value()
        rows.append(row)
    return rows


def write_delimited(source: Source, rows: Rows, delimiter: str) -> bytes:
    """CSV as programs write it."""
    file = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["text", "label"]
    if source.is_hit(0.03):
        names = names * 2
    if source.is_hit(0.01):
        names += [f"c{n}" for n in range(2000)]
    writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
    if source.is_hit(0.05):
        file.write(f"sep={delimiter}\n")
    if not source.is_hit(0.02):
        writer.writerow([name.replace("\0", "0") for name in names])
    for row in rows:
        cells = ["" if row.get(name) is None else _spell(row[name]) for name in names]
        writer.writerow(cells[: source.choice((len(cells),) * 300 + (1, 0))])
    return encode(source, file.getvalue())


def _spell(value: Any) -> str:
    return "1" * 401 if isinstance(value, int) and abs(value) >= 10**400 else str(value).replace("\0", "0")


def write_parquet(source: Source, rows: Rows) -> bytes:
    """Parquet with whatever types fit; text where none does."""
    columns: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row.get(name) for row in rows]
        said = name.encode("utf-8", "replace").decode()
        try:
            columns[said] = pa.array(values)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            columns[said] = pa.array([_spell(value).encode("utf-8", "replace").decode() for value in values])
    if columns and source.is_hit(0.15):
        n = len(rows)
        odd: list[Any] = [
            pa.nulls(n),
            pa.array([b"\xff"] * n),
            pa.array([{"a": [1]}] * n),
            pa.array([[1, 2]] * n),
        ]
        odd += [pa.array(range(n), pa.timestamp("ns")), pa.array([1] * n, pa.duration("s"))]
        odd += [pa.array(["x"] * n).dictionary_encode(), pa.array([1] * n, pa.decimal128(38, 0))]
        odd += [
            pa.array([[("a", 1)]] * n, pa.map_(pa.string(), pa.int64())),
            pa.array(["x"] * n, pa.string_view()),
        ]
        columns[source.choice(list(columns))] = source.choice(odd)
    table = pa.table(columns)
    if source.is_hit(0.03) and table.num_columns:
        table = table.append_column(table.column_names[0], table.column(0))
    if source.is_hit(0.05):
        meta = (b"{}", b"[", b'{"info": 3}', b'{"info": {"features": {"text": 1}}}', b"\xff", b"[" * 60_000)
        table = table.replace_schema_metadata({b"huggingface": source.choice(meta)})
    file = io.BytesIO()
    try:
        pq.write_table(table, file)
    except pa.ArrowException:
        return b"PAR1"
    return file.getvalue()


def write_table(source: Source, rows: Rows, suffix: str) -> bytes:
    """A table in the format of a suffix."""
    if suffix in (".csv", ".tsv"):
        return write_delimited(source, rows, "\t" if suffix == ".tsv" else source.choice(",,,,,,;;\t|"))
    if suffix in (".jsonl", ".ndjson"):
        return encode(source, "".join(dump_json(source, row) + "\n" for row in rows))
    if suffix == ".json":
        shape: Any = rows
        if source.is_hit(0.2):
            shape = {name: [row.get(name) for row in rows] for name in ("text", "label")}
        if source.is_hit(0.1):
            shape = source.pick_value()
        return encode(source, dump_json(source, shape))
    return write_parquet(source, rows)


def fuzz_readers(source: Source, folder: Path) -> Iterator[Ended]:
    """One data file, under the linter or under the readers of a run."""
    suffix = source.choice(SUFFIXES)
    rows = make_rows(source)
    content = write_table(source, rows, suffix)
    content = break_bytes(source, content) if source.is_hit(0.5) else content
    attributes = ("source",) if any("source" in row for row in rows) or source.is_hit(0.05) else ()
    name = source.choice(("data", "data", "data", "a b", "x" * 200, "ключ", "a:b", "-"))
    is_packed = source.is_hit(0.2)
    path = folder / (name + suffix + (".gz" if is_packed else ""))
    put(source, path, pack(source, content) if is_packed else content)
    before = path.read_bytes() if path.is_file() and path.resolve().parent == folder.resolve() else None
    if source.is_hit(0.25):
        more = source.choice(
            ((), *[("--attribute", one) for one in attributes], ("--held-out", str(path)), ("--json",))
        )
        yield call("check", path, "--text", "text", "--label", "label", *more)
    else:
        task = TextClassification(("text",), "label", attributes)

        def read() -> None:
            table = load_table(str(path), task=task)
            make_ids(table)
            records = read_records(table, task)
            list_warnings(records)
            read_pool(table, task, records.label_names)

        yield guard(read)
        job = TableJob.make(data=str(path), label="label", attributes=attributes)
        yield guard(lambda: count_table(read_values(job)).as_dict())
    if path.suffix == ".csv" and source.is_hit(0.2):
        rows = load_table([{"text": f"text {n} soup", "label": "gb"[n % 2]} for n in range(9)])
        known = read_records(rows, TextClassification(("text",), "label"))
        yield guard(lambda: read_gold(path, known, ("label", "food"), "seed"))
    if before is not None:
        assert path.read_bytes() == before, "the file was changed"
