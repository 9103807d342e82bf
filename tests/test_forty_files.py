"""Files as people have them: what each must give, what is said of it, or the one line that refuses it.

Tables hold two texts with the labels 1 and 0, so that one line tells whether a file was read. The habits of the second
part stand in questions and reports on pandas, datasets and sentence-transformers.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset

from counterpoise.core.errors import DataError, UserError
from counterpoise.core.label_spellings import number_key, spell_value
from counterpoise.core.schema import TextClassification
from counterpoise.data.instances import read_instances
from counterpoise.data.patches.apply import apply_patch
from counterpoise.data.patches.undo import undo_patch
from counterpoise.data.patches.values import LabelChange, LabelOutcome, Patch
from counterpoise.data.reading import load_table, read_records

TASK = TextClassification(("text",), "label")
TEXTS, LABELS = ["a, b", "c d"], [1, 0]
FRAME = pd.DataFrame({"text": TEXTS, "label": LABELS})
ROWS = FRAME.to_dict("records")
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def parquet(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def add_column(values: Any, kind: Any = None) -> pa.Table:
    return pa.table({"text": TEXTS, "label": LABELS, "more": pa.array(values, kind)})


def workbook() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("data.csv", "text,label\n")
    return file.getvalue()


# name -> bytes, and what is said beside the rows ("" where nothing is to be said)
READ: dict[str, tuple[bytes, str]] = {
    # as the cases have them
    "sep-line.csv": (b'sep=;\r\ntext;label\r\n"a, b";1\r\nc d;0\r\n', ""),
    "byte-order-mark.csv": ('\ufefftext,label\n"a, b",1\nc d,0\n'.encode(), ""),
    "unicode-text.txt": ('text\tlabel\r\n"a, b"\t1\r\nc d\t0\r\n'.encode("utf-16"), ""),
    "semicolons.csv": (b"text;label\r\na, b;1\r\nc d;0\r\n", ""),
    "empty-columns.csv": (
        b'text,label,,\r\n"a, b",1,,\r\nc d,0,,\r\n',
        "2 columns without a name and without values",
    ),
    "empty-rows.csv": (
        b'text,label,n\r\n"a, b",1,2\r\n,,\r\nc d,0,3\r\n,,\r\n',
        "2 rows that hold delimiters only",
    ),
    "empty-lines.csv": (b'\r\ntext,label\r\n\r\n"a, b",1\r\n\r\nc d,0\r\n\r\n', ""),
    "decimal-commas.csv": (b"text;label;price\na, b;1;3,5\nc d;0;4,25\n", ""),
    "quoted-lines.csv": (b'"text","label","more"\n"a, b","1","two\nlines, ""quoted"""\n"c d","0",""\n', ""),
    "twins.csv": (b'text,label,n,n\n"a, b",1,2,3\nc d,0,4,5\n', "the column 'n' is called 'n.1'"),
    "plain.tsv": (b"text\tlabel\na, b\t1\nc d\t0\n", ""),
    "packed.csv.gz": (gzip.compress(FRAME.to_csv(index=False).encode()), ""),
    "lines.jsonl": (LINES.encode(), ""),
    "empty-lines.jsonl": (LINES.replace("\n", "\n\n").encode(), ""),
    "packed.jsonl.gz": (gzip.compress(LINES.encode()), ""),
    "list.json": (json.dumps(ROWS, indent=1).encode(), ""),
    "mixed.jsonl": (
        "".join(
            json.dumps({**row, "more": more}) + "\n" for row, more in zip(ROWS, (1, "1a"), strict=True)
        ).encode(),
        "kept as JSON text: 'more' (int and str)",
    ),
    "long-integers.jsonl": (
        "".join(json.dumps({**row, "more": 2**70}) + "\n" for row in ROWS).encode(),
        "kept as JSON text: 'more' (int)",
    ),
    "nested.jsonl": ("".join(json.dumps({**row, "more": {"a": [1]}}) + "\n" for row in ROWS).encode(), ""),
    "nested-or-not.jsonl": (
        "".join(
            json.dumps({**row, "more": more}) + "\n" for row, more in zip(ROWS, ({}, [1]), strict=True)
        ).encode(),
        "kept as JSON text: 'more' (dict and list)",
    ),
    "half-a-character.jsonl": (
        "".join(json.dumps({**row, "more": "\ud83d"}) + "\n" for row in ROWS).encode(),
        "kept as JSON text: 'more' (half a character",
    ),
    "map.parquet": (
        parquet(add_column([[("a", 1)], []], pa.map_(pa.string(), pa.int64()))),
        "kept as JSON text: 'more' (map)",
    ),
    "binary.parquet": (parquet(add_column([b"\xff\x00", None], pa.binary())), ""),
    "no-fields.parquet": (parquet(add_column([b"a", b"b"], pa.binary(1))), ""),
    "big-integers.parquet": (parquet(add_column([2**63, 1], pa.uint64())), ""),
    "categories.parquet": (parquet(pa.Table.from_pandas(FRAME.astype("category"))), ""),
    "float-labels.parquet": (parquet(pa.Table.from_pandas(FRAME.astype({"label": float}))), ""),
    "decimal-labels.parquet": (
        parquet(pa.table({"text": TEXTS, "label": pa.array(LABELS).cast(pa.decimal128(21, 2))})),
        "",
    ),
    "text-labels.jsonl": (LINES.replace(": 1", ': "1"').replace(": 0", ": 0.0").encode(), ""),
    # habits that no case names
    "pandas-index.csv": (FRAME.to_csv().encode(), ""),
    "tabs-in-a.csv": (b"text\tlabel\na, b\t1\nc d\t0\n", ""),
    "commas-in-a.tsv": (b'text,label\n"a, b",1\nc d,0\n', ""),
    "bars.csv": (b"text|label\na, b|1\nc d|0\n", ""),
    "comments.csv": (
        b'# exported on Monday\n# by hand\ntext,label\n"a, b",1\nc d,0\n',
        "2 comment lines above the header",
    ),
    "hash-header.csv": (b'#,text,label\n1,"a, b",1\n2,c d,0\n', ""),
    "put-together.csv": (
        b'text,label\n"a, b",1\ntext,label\nc d,0\n',
        "1 row that holds delimiters only, or the header",
    ),
    "written-by-r.csv": (
        b'"text","label"\n"1","a, b",1\n"2","c d",0\n',
        "the rows have one field more than the header",
    ),
    "delimiter-at-the-end.csv": (
        b'text,label\n"a, b",1,\nc d,0,\n',
        "1 column without a name and without values",
    ),
    "blanks-around-names.csv": (b" text ;label\na, b;1\nc d;0\n", "the column ' text ' is called 'text'"),
    "carriage-returns.csv": (b'text,label\r"a, b",1\rc d,0\r', ""),
    "scientific-labels.csv": (b'text,label\n"a, b",1.000e+00\nc d,0.000e+00\n', ""),
    "under-a-key.json": (json.dumps({"count": 2, "data": ROWS}).encode(), "the rows are those under 'data'"),
    "pandas-columns.json": ((FRAME.to_json() or "").encode(), ""),
    "pandas-index.json": ((FRAME.to_json(orient="index") or "").encode(), ""),
    "pandas-split.json": ((FRAME.to_json(orient="split") or "").encode(), ""),
    "pandas-table.json": ((FRAME.to_json(orient="table") or "").encode(), "the rows are those under 'data'"),
    "columns.json": (json.dumps({"text": TEXTS, "label": LABELS}).encode(), ""),
    "lines-in-a.json": (LINES.encode(), ""),
    "list-in-a.jsonl": (json.dumps(ROWS, indent=1).encode(), ""),
    "list-on-a-line.jsonl": (json.dumps(ROWS).encode(), ""),
    "text-as-bytes.parquet": (
        parquet(pa.table({"text": pa.array([one.encode() for one in TEXTS]), "label": LABELS})),
        "",
    ),
    "index-level.parquet": (parquet(pa.Table.from_pandas(FRAME.set_index(pd.Index(["x", "y"])))), ""),
}


@pytest.mark.parametrize("name", list(READ))
def test_files_that_are_read(tmp_path: Path, name: str) -> None:
    content, said = READ[name]
    path = tmp_path / name
    path.write_bytes(content)
    notes: list[str] = []
    records = read_records(load_table(path, task=TASK, notes=notes), TASK)
    assert records.texts.tolist() == TEXTS
    assert [number_key(records.label_names[label]) for label in records.labels] == ["1", "0"]
    assert (said in " ".join(notes)) if said else not notes, notes
    assert all(name in note for note in notes)
    assert path.read_bytes() == content and len(list(tmp_path.iterdir())) == 1


PATCHED = [name for name in READ if not name.endswith(".json") and not name.startswith("list-")]


@pytest.mark.parametrize("name", PATCHED)
def test_files_that_are_read_can_be_patched_and_come_back(tmp_path: Path, name: str) -> None:
    """Whatever stands above the header or says nothing: the right row is changed, and undone byte for byte."""
    source, output, again = (tmp_path / f"{stem}-{name}" for stem in ("given", "mended", "again"))
    source.write_bytes(READ[name][0])
    records = read_records(load_table(source, task=TASK), TASK)
    before, after = (records.label_names[label] for label in records.labels)
    change = LabelChange(str(records.ids[0]), LabelOutcome.RELABEL, before, after, 0.9)
    done = apply_patch(Patch(TASK, name, 2, (change,)), source, output)
    assert (done.n_relabelled, done.n_missing) == (1, 0)
    table = load_table(output, task=TASK)
    assert table["text"][:] == TEXTS and [number_key(spell_value(label)) for label in table["label"][:]] == [
        "0",
        "0",
    ]
    assert undo_patch(output, again).is_exact
    assert again.read_bytes() == source.read_bytes()


# name -> bytes, the one line
REFUSED: dict[str, tuple[bytes, str]] = {
    "twins-of-the-label.csv": (
        b"text,label,label\na,1,2\nb,0,1\n",
        "column 'label' stands twice in the header",
    ),
    "windows-1252.csv": (
        b"text,label\na b,1\ncaf\xe9,0\n",
        "is not UTF-8: byte 0xe9 in line 3; save it as UTF-8",
    ),
    "workbook.xlsx": (workbook(), "is an Excel workbook, whatever its name; save the sheet as CSV UTF-8"),
    "workbook.csv": (workbook(), "is an Excel workbook, whatever its name; save the sheet as CSV UTF-8"),
    "archive.zip": (archive(), "is a zip archive, whatever its name; unpack it"),
    "packed.csv.bz2": (bz2.compress(b"text,label\n"), "is bzip2, whatever its name; unpack it"),
    "frame.pkl": (pickle.dumps(ROWS, 4), "is a pickle, whatever its name; write it as Parquet or CSV"),
    "parquet.csv": (parquet(pa.table({"text": TEXTS})), "is Parquet, whatever its name"),
    "utf-16-without-mark.csv": (
        "text,label\na,1\n".encode("utf-16-le"),
        "holds a zero byte in line 1; save it as UTF-8",
    ),
    "short-rows.csv": (
        b"text,label\na b\nc d,1\n",
        "is broken as CSV (CSV parse error: Row #1: Expected 2 columns, got 1: a b)",
    ),
    "number-for-a-text.jsonl": (
        b'{"text": "a", "label": 1}\n{"text": 5, "label": 0}\n',
        "column 'text': holds values of several kinds",
    ),
    "list-as-label.jsonl": (
        b'{"text": "a", "label": ["x"]}\n{"text": "b", "label": ["y"]}\n',
        "column 'label': holds a list; name a column with one value",
    ),
    "map-as-label.parquet": (
        parquet(
            pa.table({"text": TEXTS, "label": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int64()))})
        ),
        "column 'label': holds map values; name a column with one value a row",
    ),
    "only-a-title.csv": (
        b"Report of 2024\ntext,label\na,1\nb,0\n",
        "is broken as CSV (CSV parse error: Row #1: Expected 1 columns, got 2",
    ),
    "one-object.json": (b'{"name": "x", "version": 2}', "holds a JSON dict; write a list of objects"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_files_that_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, said = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_records(load_table(path, task=TASK), TASK, source=name)
    assert said in str(caught.value) and name in str(caught.value) and "\n" not in str(caught.value)


def test_frames_with_columns_that_arrow_cannot_hold() -> None:
    frame = FRAME.assign(
        mixed=[1, "a"],
        period=pd.period_range("2024-01", periods=2, freq="M"),
        interval=pd.interval_range(0, 2),
        number=[1 + 2j, 3j],
        things=pd.Series([{1, 2}, object], dtype=object),
        arrays=pd.Series([np.zeros(2), np.zeros((2, 2))], dtype=object),
        when=pd.to_timedelta([1, 2], unit="s"),
    )
    frame = pd.concat([frame, frame[["mixed"]]], axis=1)
    notes: list[str] = []
    table = load_table(frame, task=TASK, notes=notes)
    records = read_records(table, TASK)
    assert records.texts.tolist() == TEXTS and records.labels.tolist() == LABELS
    assert "'mixed' is called 'mixed.1'" in " ".join(
        notes
    ) and "kept as JSON text: 'mixed' (int and str)" in " ".join(notes)
    assert table.column_names[:4] == ["text", "label", "mixed", "period"]
    assert list(table["period"]) == ["2024-01", "2024-02"]
    pq.write_table(table.with_format("arrow")[:], io.BytesIO())


def test_data_sets_in_memory_with_columns_that_parquet_cannot_hold() -> None:
    table = Dataset.from_list([{**row, "more": {}} for row in ROWS])
    notes: list[str] = []
    found = load_table(table, task=TASK, notes=notes)
    assert read_records(found, TASK).texts.tolist() == TEXTS and found["more"][:] == ["{}", "{}"]
    assert notes == ["the given Dataset: columns that play no part are kept as JSON text: 'more' (struct)"]
    assert "more" in load_table(table).column_names


def test_a_column_that_changes_its_kind_late(tmp_path: Path) -> None:
    """The first batch of rows holds numbers only."""
    rows = [
        {"text": f"a text {row}", "label": row % 2, "more": row if row < 10_050 else f"{row}a"}
        for row in range(10_100)
    ]
    path = tmp_path / "late.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    notes: list[str] = []
    table = load_table(path, task=TASK, notes=notes)
    assert table[0]["more"] == "0" and table[10_099]["more"] == "10099a"
    assert "'more'" in notes[0]
    few = tmp_path / "few.jsonl"
    few.write_text("".join(json.dumps(row) + "\n" for row in rows[:100]))
    ids = read_records(load_table(few, task=TASK), TASK).ids.tolist()
    assert read_records(table, TASK).ids[:100].tolist() == ids  # rows keep their names when others come


QUESTION = {"query": "q", "positive": "yes", "negative": "no"}

# Forms of retrieval that are not in `test_retrieval_forms`: what is read, or the line.
RETRIEVAL: dict[str, tuple[bytes, str]] = {
    "empty-lines.jsonl": (b"\n" + json.dumps(QUESTION).encode() + b"\n\n\n", ""),
    "mark.jsonl": (b"\xef\xbb\xbf" + json.dumps(QUESTION).encode(), ""),
    "list.json": (json.dumps([QUESTION]).encode(), ""),
    "rows.parquet": (parquet(pa.Table.from_pylist([QUESTION])), ""),
    "numbered.jsonl": (json.dumps({"query": "q", "positive": "yes", "negative1": "no"}).encode(), ""),
    "hard-negatives.jsonl": (
        json.dumps({"question": "q", "answer": "yes", "hard_negatives": ["no"]}).encode(),
        "",
    ),
    "true-and-false.jsonl": (
        b'{"query": "q", "passage": "yes", "label": true}\n{"query": "q", "passage": "no", "label": false}\n',
        "",
    ),
    "words.jsonl": (
        b'{"query": "q", "passage": "yes", "label": "1"}\n{"query": "q", "passage": "no", "label": "0"}\n',
        "",
    ),
    "lists-of-texts.jsonl": (b'["q", "yes", "no"]\n["r", "yes", "no"]\n', "line 1: is a list"),
    "similarities.jsonl": (
        b'{"sentence1": "q", "sentence2": "yes", "score": 4.2}\n',
        "line 1: 'score' is 4.2",
    ),
    "nothing-known.jsonl": (
        b'{"prompt": "q", "chosen": "yes"}\n',
        "no known form of training instances: fields prompt, chosen",
    ),
}


@pytest.mark.parametrize("name", list(RETRIEVAL))
def test_retrieval_files(tmp_path: Path, name: str) -> None:
    content, said = RETRIEVAL[name]
    path = tmp_path / name
    path.write_bytes(content)
    read: Callable[[], list[Any]] = lambda: list(read_instances(path))  # noqa: E731
    if said:
        with pytest.raises(DataError) as caught:
            read()
        assert said in str(caught.value)
        return
    (one,) = read()
    assert ([each.text for each in one.positives], [each.text for each in one.negatives]) == (["yes"], ["no"])


def test_there_are_forty_of_them() -> None:
    assert len(READ) + len(REFUSED) + len(RETRIEVAL) >= 40
