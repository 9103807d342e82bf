"""Data out: what is written reads back, says where rows come from, and has the same bytes every time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

from counterpoise.core.errors import DataError, RunDirectoryError
from counterpoise.core.plans import Cell, Kind, PlanItem, Proposal, Verdict
from counterpoise.core.records import ConceptColumns, Provenance, State
from counterpoise.core.schema import TextClassification
from counterpoise.data import writing as datasets_out
from counterpoise.data.card import AddedRecord, CardFacts, ConceptValue, RelabelledRecord
from counterpoise.data.reading import load_table, read_records
from counterpoise.data.rejected import RejectedProposal, write_rejected
from counterpoise.data.result_rows import Part
from counterpoise.data.writing import content_hash, load_result, write_result

TASK = TextClassification(("review",), "stars", ("source",))
FEATURES = Features(
    {
        "review": Value("string"),
        "stars": ClassLabel(names=["bad", "good"]),
        "source": Value("string"),
        "language": Value("string"),
        "year": Value("int16"),
    }
)
CARD = CardFacts(
    "reviews", "reviews.csv", licence="CC BY 4.0", models=("tiny",), prompts=("more@0123",), notes=("Skew.",)
)


def make_part(n: int = 6, **columns: Any) -> Part:
    values = {
        "review": [f"review {number}" for number in range(n)],
        "stars": [number % 2 for number in range(n)],
        "source": ["ab"[number % 2] for number in range(n)],
        "language": ["en"] * n,
        "year": [2000 + number for number in range(n)],
    }
    table = Dataset.from_dict({**values, **columns}, features=FEATURES)
    return Part(table, read_records(table, TASK))


def add(name: str, kind: str = "minority", **fields: Any) -> AddedRecord:
    provenance = Provenance(
        id=name,
        kind=kind,
        parents=("p1", "p2"),
        round=1,
        cell="bad",
        model="tiny",
        prompt="more@0123",
        scores={"x": 0.25},
    )
    return AddedRecord(f"new {name}", "bad", provenance, **fields)


ADDED = [
    add(
        "r2",
        attributes={"source": "b"},
        concepts=(ConceptValue("food", State.PRESENT, 0.9, "sim"),),
        weight=0.5,
    ),
    add("r1", kind=Kind.ADOPTED, columns={"year": 1999}),
]


def write(
    folder: Path,
    train: Part | None = None,
    held_out: Part | None = None,
    added: Sequence[AddedRecord] = ADDED,
    **options: Any,
) -> DatasetDict:
    train = train or make_part()
    held_out = held_out or make_part(3, review=["h0", "h1", "h2"])
    write_result(folder, task=TASK, train=train, held_out=held_out, added=added, card=CARD, **options)
    return load_result(folder)


def test_round_trip(tmp_path):
    train = make_part()
    changed = train.records.ids[1]
    provenance = Provenance(id=changed, kind=Kind.RELABELLED, label_before="good", round=2)
    result = write(
        tmp_path / "dataset",
        train,
        relabelled={changed: RelabelledRecord("bad", provenance)},
        weights=np.arange(6.0),
    )
    rows = result["train"]
    assert rows.features["stars"] == ClassLabel(names=["bad", "good"])
    assert rows.column_names == [*FEATURES, "concepts", "split_role", "weight", "provenance"]
    assert rows["review"][:] == [*train.table["review"], "new r1", "new r2"]
    assert rows["stars"][:] == [0, 0, 0, 1, 0, 1, 0, 0]
    assert rows["year"][:] == [2000, 2001, 2002, 2003, 2004, 2005, 1999, None]
    assert rows["language"][:] == ["en"] * 8
    assert rows["source"][:] == ["a", "b", "a", "b", "a", "b", None, "b"]
    assert rows["weight"][:] == [0, 1, 2, 3, 4, 5, 1, 0.5]
    assert [row["kind"] for row in rows["provenance"]] == [
        "original",
        "relabelled",
        *["original"] * 4,
        "adopted",
        "minority",
    ]
    assert [row["id"] for row in rows["provenance"]][:6] == train.records.ids.tolist()
    assert rows[1]["provenance"]["label_before"] == "good"
    assert rows[7]["provenance"] | {"id": ""} == Provenance(id="").as_struct() | {
        "kind": "minority", "parents": ["p1", "p2"], "round": 1, "cell": "bad", "model": "tiny",
        "prompt": "more@0123",
        "scores": '{"x": 0.25}',
    }  # fmt: skip
    assert rows[7]["concepts"] == [{"name": "food", "state": "present", "probability": 0.9, "scorer": "sim"}]
    sealed = result["held_out"]
    assert set(sealed["split_role"]) == {"held_out"} and set(rows["split_role"]) == {"train"}
    assert (
        sealed.remove_columns(["concepts", "split_role", "weight", "provenance"]).to_list()
        == make_part(3, review=["h0", "h1", "h2"]).table.to_list()
    )


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_load_dataset_reads_the_folder_and_its_files(tmp_path):
    result = write(tmp_path / "dataset")
    whole = datasets.load_dataset(str(tmp_path / "dataset"), cache_dir=str(tmp_path / "cache"))
    assert list(whole) == ["train", "held_out"]
    files = str(tmp_path / "dataset" / "train-*.parquet")
    alone = datasets.load_dataset(
        "parquet", data_files=files, cache_dir=str(tmp_path / "cache"), split="train"
    )
    assert whole["train"].to_list() == alone.to_list() == result["train"].to_list()
    assert whole["train"].features == result["train"].features
    assert load_table(tmp_path / "dataset").to_list() == result["train"].to_list()
    assert content_hash(whole) == content_hash(result)


def test_concepts_of_original_rows(tmp_path):
    part = make_part(3)
    states = np.array([[1, 0], [2, 1], [0, 0]], dtype=np.int8)
    concepts = ConceptColumns(("food", "staff"), states, np.array([[0.9, 0.1], [0.5, 0.8], [0, 0]]), "sim")
    result = write(tmp_path / "d", Part(part.table, replace(part.records, concepts=concepts)), added=[])
    assert result["train"]["concepts"][:] == [
        [{"name": "food", "state": "present", "probability": 0.9, "scorer": "sim"}],
        [
            {"name": "food", "state": "unknown", "probability": 0.5, "scorer": "sim"},
            {"name": "staff", "state": "present", "probability": 0.8, "scorer": "sim"},
        ],
        [],
    ]


def test_equal_input_gives_equal_bytes_and_shards_join(tmp_path, monkeypatch):
    first = write(tmp_path / "one")
    write(tmp_path / "two", added=ADDED[::-1])
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    monkeypatch.setattr(datasets_out, "ROWS_PER_SHARD", 3)
    monkeypatch.setattr(datasets_out, "BATCH_ROWS", 2)
    again = write(tmp_path / "two")
    names = sorted(file.name for file in (tmp_path / "two").iterdir())
    assert names == [
        "README.md",
        "held_out-00000-of-00001.parquet",
        *(f"train-{n:05d}-of-00003.parquet" for n in range(3)),
    ]
    assert again["train"].to_list() == first["train"].to_list()


def test_content_hash_knows_content_not_order(tmp_path):
    train = make_part()
    base = content_hash(train.table)
    assert content_hash(train.table.select([5, 3, 1, 0, 2, 4])) == base
    assert content_hash(train.table.select_columns(train.table.column_names[::-1])) == base
    assert content_hash(train.table.select([0, 1, 2, 3, 4])) != base
    assert content_hash(train.table.select([0, 1, 2, 3, 4, 5, 5])) != base
    assert content_hash(make_part(year=[1] * 6).table) != base
    swapped = DatasetDict({"train": train.table.select([0]), "held_out": train.table.select([1])})
    assert content_hash(swapped) != content_hash(
        DatasetDict({"train": swapped["held_out"], "held_out": swapped["train"]})
    )


def test_card(tmp_path):
    write(tmp_path / "dataset", added=[*ADDED, add("r3", attributes={"source": "<x|y> &\n<b>"})])
    card = (tmp_path / "dataset" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\npretty_name: reviews\n")
    for line in [
        "| original | 6 |",
        "| adopted | 1 |",
        "| minority | 2 |",
        "Skew.",
        "Models: tiny. Prompts: more@0123.",
    ]:
        assert line in card.splitlines(), line
    assert "| bad | 3 | 6 | 33% |" in card
    assert "| good | 3 | 3 | 0% |" in card
    assert "| bad with source=&lt;x\\|y> &amp; &lt;b> | 0 | 1 | 100% |" in card
    assert "Original rows: CC BY 4.0." in card


def test_held_out_rows_with_other_columns_and_types(tmp_path):
    features = Features(
        {
            "stars": ClassLabel(names=["good", "bad"]),
            "review": Value("large_string"),
            "source": Value("string"),
            "extra": Value("int8"),
        }
    )
    table = Dataset.from_dict(
        {"stars": [0, 1], "review": ["h", "i"], "source": ["a", "b"], "extra": [1, 2]}, features=features
    )
    held_out = Part(table, read_records(table, TASK, ("bad", "good")))
    result = write(tmp_path / "dataset", held_out=held_out)
    assert result["held_out"]["stars"][:] == [1, 0]
    assert result["held_out"]["year"][:] == [None, None]
    assert result["held_out"]["extra"][:] == [1, 2]
    assert set(result["train"]["extra"]) == {None}
    wrong = Dataset.from_dict(
        {"stars": ["good", "bad"], "review": ["h", "i"], "source": ["a", "b"], "year": ["x", "y"]}
    )
    with pytest.raises(DataError, match=r"held_out: column 'year': does not fit"):
        write(tmp_path / "wrong", held_out=Part(wrong, read_records(wrong, TASK)))
    assert not list(tmp_path.glob(".*")) and not (tmp_path / "wrong").exists()


def test_held_out_columns_without_a_value_are_null_and_fill_columns_without_one(tmp_path):
    table = Dataset.from_dict(
        {
            "review": ["h", "i"],
            "stars": ["good", "bad"],
            "source": ["a", "b"],
            "year": ["", "7"],
            "x": ["", "s"],
        }
    )
    own = Dataset.from_dict({**make_part().table.to_dict(), "x": [None] * 6})
    own = own.cast_column("stars", FEATURES["stars"])
    train, held_out = (Part(one, read_records(one, TASK)) for one in (own, table))
    result = write(tmp_path / "dataset", train=train, held_out=held_out)
    assert result["held_out"]["year"][:] == [None, 7] and result["held_out"]["x"][:] == ["", "s"]
    assert set(result["train"]["x"]) == {None}


def test_labels_and_attributes_of_added_rows_fit_their_columns(tmp_path):
    task = TextClassification(("text",), "label", ("day", "year", "kind"))
    days = [date(2020, 1, 1), date(2020, 1, 2)]
    values = {"text": ["a", "b"], "label": [Decimal("1.50"), Decimal("2.00")], "day": days, "year": [1, 2]}
    kinds = ClassLabel(names=["x", "y"])
    table = Dataset.from_dict({**values, "kind": [0, 1]}).cast_column("kind", kinds)
    part = Part(table, read_records(table, task))
    fitting, other = (
        {"day": "2020-01-02", "year": "7", "kind": "y"},
        {"day": "never", "year": "", "kind": "z"},
    )
    added = [
        AddedRecord("c", "2.00", Provenance(id="c"), attributes=fitting),
        AddedRecord("d", "1.50", Provenance(id="d"), attributes=other),  # as a pool may have them
    ]
    write_result(tmp_path / "d", task=task, train=part, held_out=part, added=added, card=CARD)
    rows = [
        [row[name] for name in ("label", "day", "year", "kind")]
        for row in load_result(tmp_path / "d")["train"]
    ]
    assert rows[2:] == [[Decimal("2.00"), days[1], 7, 1], [Decimal("1.50"), None, None, None]]


def test_several_text_columns(tmp_path):
    task = TextClassification(("title", "body"), "label")
    table = Dataset.from_dict({"title": ["t", "u"], "label": [3, 4], "body": ["b", "c"]})
    part = Part(table, read_records(table, task))
    added = AddedRecord("new title\nnew body\nsecond line", "4", Provenance(id="x"))
    write_result(tmp_path / "d", task=task, train=part, held_out=part, added=[added], card=CARD)
    assert load_result(tmp_path / "d")["train"][2] | {"provenance": None, "concepts": None} == {
        "title": "new title", "label": 4, "body": "new body\nsecond line", "split_role": "train",
        "weight": 1.0, "provenance": None, "concepts": None,
    }  # fmt: skip


def test_other_files_are_never_replaced(tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "thesis.docx").write_text("x")
    with pytest.raises(RunDirectoryError, match=r"holds thesis.docx, which is not ours; name another output"):
        write(folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["dataset", "thesis.docx"]


def test_rejected(tmp_path):
    item = PlanItem("minority_text", Cell("bad", concept="food"), 3, 1, 0)
    proposals = [
        Proposal(
            f"r001-p00-{number}",
            item,
            "<script>",
            "bad",
            parents=("p",),
            attributes={"source": "b"},
            tokens=2.5,
        )
        for number in range(3)
    ]
    rows = [
        RejectedProposal(one, Verdict(one.id, False, "duplicate", {"cosine": 0.98}))
        for one in proposals[::-1]
    ]
    assert write_rejected(tmp_path / "rejected", rows) == 3
    table = load_table(tmp_path / "rejected")
    assert [row["id"] for row in table] == [one.id for one in proposals]
    assert table[0]["reason"] == "duplicate" and table[0]["cell"] == "bad with food"
    assert json.loads(table[0]["scores"]) == {"cosine": 0.98} and json.loads(table[0]["attributes"]) == {
        "source": "b"
    }
    assert write_rejected(tmp_path / "none", []) == 0
    assert re.fullmatch(r"rejected-\d+-of-\d+\.parquet", next((tmp_path / "none").iterdir()).name)


def test_two_results_loaded_one_after_the_other_keep_their_rows(tmp_path):
    # Both lie in folders named `dataset`, and the library keeps what it has read by names.
    for run, n in (("first", 6), ("second", 5), ("third", 6)):
        write(tmp_path / run / "dataset", make_part(n))
    loaded = {
        run: datasets.load_dataset(str(tmp_path / run / "dataset"), cache_dir=str(tmp_path / "cache"))
        for run in ("first", "second", "third")
    }
    assert [loaded[run]["train"].num_rows for run in loaded] == [8, 7, 8]
    assert set(loaded["second"]) == {"train", "held_out"}
    assert loaded["second"]["train"]["review"][:5] == [f"review {number}" for number in range(5)]
    names = {run: loaded[run]["train"].info.config_name for run in loaded}
    assert names["first"] == names["third"] != names["second"], "equal bytes, equal name"
    write(tmp_path / "first" / "dataset", make_part(4))
    again = datasets.load_dataset(str(tmp_path / "first" / "dataset"), cache_dir=str(tmp_path / "cache"))
    assert again["train"].num_rows == 6, "a folder that was written again"
