"""One label is one label: whatever type a number has, and by question where spellings differ in what nobody sees."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from counterpoise import check_balance
from counterpoise.balance.counts import resolve_target
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.label_spellings import (
    find_variants,
    fold_spelling,
    match_label,
    number_key,
    spell_value,
    value_key,
)
from counterpoise.core.schema import TextClassification
from counterpoise.data.patches.apply import apply_patch
from counterpoise.data.patches.undo import undo_patch
from counterpoise.data.patches.values import LabelChange, LabelOutcome, Patch, read_patch, write_patch
from counterpoise.data.reading import hash_rows, load_table, read_pool, read_records
from counterpoise.data.writing import load_result, write_result
from counterpoise.scorers.gold import read_gold
from counterpoise.tasks.text.job import job_from
from counterpoise.tasks.text.preparation import describe_labels
from counterpoise.tasks.text.reading import read_parts

TASK = TextClassification(("text",), "label")
LABELS = [1, 0, 0, 1, 0, 0, 1, 0]
TEXTS = [f"a text of number {place}" for place in range(len(LABELS))]


@pytest.mark.parametrize("text", ["1", "1.0", "1.000", "+1", "1e0", "1.0E+00", "1.000000000000000000e+00"])
def test_numbers_that_are_one_value(text: str) -> None:
    assert number_key(text) == "1"


@pytest.mark.parametrize("text", ["01", "1.", ".1", "1.10", "1,0", " 1", "0x1", "1_0", "inf", "nan", "", "١"])
def test_texts_that_are_no_whole_number(text: str) -> None:
    assert number_key(text) == text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (4, "4"),
        (4.0, "4"),
        (-0.0, "0"),
        (4.5, "4.5"),
        (Decimal("4.00"), "4"),
        (Decimal("4.50"), "4.5"),
        (1e300, "1e+300"),
        (True, "True"),
        ("4.0", "4.0"),
        (None, ""),
        (float("nan"), ""),
        (datetime.datetime(2024, 1, 2), "2024-01-02"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
    ],
)
def test_how_values_are_shown(value: Any, shown: str) -> None:
    assert spell_value(value) == shown


def write_data(folder: Path) -> list[Any]:
    """The same rows with labels of every type."""
    frame = pd.DataFrame({"text": TEXTS, "label": LABELS})
    frame.to_csv(folder / "int.csv", index=False)
    frame.astype({"label": float}).to_csv(folder / "float.csv", index=False)
    frame.astype({"label": float}).to_parquet(folder / "float.parquet")
    frame.astype({"label": "int8"}).to_parquet(folder / "int8.parquet")
    frame.astype({"label": "float32"}).to_parquet(folder / "float32.parquet")
    frame.astype({"label": str}).to_json(folder / "text.jsonl", orient="records", lines=True)
    frame.astype({"label": float}).to_json(folder / "numbers.jsonl", orient="records", lines=True)
    mixed = [[1, 1.0, "1", "1.0"], [0, 0.0, "0", "0.0"]]
    rows = [
        {"text": text, "label": mixed[1 - label][n % 4]}
        for n, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    (folder / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    decimals = pa.table(
        {"text": TEXTS, "label": pa.array([Decimal(one) for one in LABELS], pa.decimal128(5, 2))}
    )
    pq.write_table(decimals, folder / "decimal.parquet")
    names = Dataset.from_dict(
        {"text": TEXTS, "label": LABELS},
        Features({"text": Value("string"), "label": ClassLabel(names=["0", "1"])}),
    )
    return [*sorted(str(path) for path in folder.iterdir()), names, frame.astype({"label": float}), frame]


def test_one_label_whatever_its_type(tmp_path: Path) -> None:
    sources = write_data(tmp_path)
    first = read_records(load_table(sources[-1], task=TASK), TASK)
    assert first.label_names == ("0", "1")
    for source in sources:
        table = load_table(source, task=TASK)
        records = read_records(table, TASK)
        assert [number_key(name) for name in records.label_names] == ["0", "1"], source
        assert records.labels.tolist() == LABELS, source
        if not isinstance(source, Dataset):
            assert records.ids.tolist() == first.ids.tolist(), source
        for other in sources:
            held_out = read_records(
                load_table(other, task=TASK), TASK, records.label_names, source="held_out"
            )
            assert held_out.labels.tolist() == LABELS, (source, other)
        report = check_balance(source, label="label")
        assert [(number_key(one.label), one.count) for one in report.labels] == [("0", 5), ("1", 3)], source


def test_labels_are_shown_as_the_file_spells_them(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text(
        "text,label\n" + "".join(f"{text},{label + 3}.0\n" for text, label in zip(TEXTS, LABELS, strict=True))
    )
    assert read_records(load_table(path, task=TASK), TASK).label_names == ("3.0", "4.0")
    path.write_text("text,label\na b,4\nc d,4.0\ne f,4\ng h,5\ni j,10\n")
    records = read_records(load_table(path, task=TASK), TASK)
    assert records.label_names == ("4", "5", "10")
    found = [one for one in check_balance(path, label="label").findings if one.code == "number-spellings"]
    assert [one.message for one in found] == [
        "'label' spells one number in several ways, '4' (2), '4.0' (1): taken as '4'"
    ]


def test_held_out_rows_of_another_type_are_written_with_the_others(tmp_path: Path) -> None:
    sources = [source for source in write_data(tmp_path) if isinstance(source, str)]
    for number, (data, held_out) in enumerate(zip(sources, [*sources[1:], sources[0]], strict=True)):
        job = job_from(data=data, held_out=held_out, text="text", label="label", output=str(tmp_path / "run"))
        parts = read_parts(job)
        folder = tmp_path / f"result-{number}"
        write_result(folder, task=TASK, train=parts.train, held_out=parts.held_out, card=make_card())
        result = load_result(folder)
        for split in ("train", "held_out"):
            assert [int(float(label)) for label in result[split]["label"]] == LABELS, (data, held_out)
            assert len({str(label) for label in result[split]["label"]}) == 2


def make_card() -> Any:
    from counterpoise.data.card import CardFacts

    return CardFacts(name="data", source="data")


def test_names_of_labels_in_jobs_answers_and_targets(tmp_path: Path) -> None:
    records = read_records(
        load_table({"text": TEXTS, "label": [float(one) for one in LABELS]}, task=TASK), TASK
    )
    assert describe_labels({"1.0": "one"}, records.label_names) == {"1": "one"}
    assert resolve_target(records.label_names, {"1.0": 2.0, "0": 1.0}) == {"1": 2.0, "0": 1.0}
    job = job_from(
        data="x.csv", text="text", label="label", labels={1: "one", False: "no"}, target={1.0: 2, 0: 1}
    )
    assert job.labels == {"1": "one", "False": "no"} and job.target == {"1": 2.0, "0": 1.0}
    assert match_label("true", ("False", "True")) == "True"
    assert match_label("01", ("1", "0")) is None
    assert match_label("Bad", ("bad", "good")) is None
    assert match_label(" Bad", ("bad", "good"), "merge") == "bad"
    (tmp_path / "gold.csv").write_text("text,label\na text of number 0,1.0\na text of number 1,0\n")
    gold = read_gold(tmp_path / "gold.csv", records, ("label",), "key")["label"]
    assert sorted([*gold.audit_truth, *gold.training_truth]) == [0, 1]
    with pytest.raises(JobError, match="there is no label '01'"):
        resolve_target(records.label_names, {"01": 2.0})


def test_truth_values_are_one_label_whoever_wrote_them(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": TEXTS, "label": [bool(one) for one in LABELS]})
    frame.to_csv(tmp_path / "python.csv", index=False)
    frame.to_parquet(tmp_path / "data.parquet")
    frame.to_json(tmp_path / "data.jsonl", orient="records", lines=True)
    (tmp_path / "excel.csv").write_text(
        (tmp_path / "python.csv").read_text().upper().replace("TEXT,LABEL", "text,label")
    )
    for data in sorted(tmp_path.iterdir()):
        records = read_records(load_table(data, task=TASK), TASK)
        for other in sorted(tmp_path.iterdir()):
            held_out = read_records(load_table(other, task=TASK), TASK, records.label_names)
            assert held_out.labels.tolist() == LABELS


def test_a_patch_is_applied_by_value(tmp_path: Path) -> None:
    """A patch that was made on one file fits the same rows with labels of another type or spelling."""
    sources = {Path(source).name: Path(source) for source in write_data(tmp_path) if isinstance(source, str)}
    for made_on in ("int.csv", "float.csv", "numbers.jsonl"):
        records = read_records(load_table(sources[made_on], task=TASK), TASK)
        names = records.label_names
        changes = tuple(
            LabelChange(
                str(records.ids[row]), LabelOutcome.RELABEL, names[LABELS[row]], names[1 - LABELS[row]], 0.9
            )
            for row in (0, 1)
        )
        write_patch(tmp_path / "patch", Patch(TASK, made_on, len(LABELS), changes))
        patch = read_patch(tmp_path / "patch")
        for name, source in sources.items():
            output = tmp_path / f"out-{name}"
            done = apply_patch(patch, source, output)
            assert (done.n_relabelled, done.n_missing) == (2, 0), (made_on, name)
            labels = read_records(load_table(output, task=TASK), TASK).labels.tolist()
            assert labels == [0, 1, *LABELS[2:]], (made_on, name)
            assert undo_patch(output, tmp_path / f"again-{name}").is_exact
            assert (tmp_path / f"again-{name}").read_bytes() == source.read_bytes()
            for path in (output, tmp_path / f"{output.name}.undo", tmp_path / f"again-{name}"):
                path.unlink()


# As people and programs spell the same label: case, blanks, NBSP, zero width, half and full width, composed or not.
ALIKE = ["bad", "Bad", "bad ", " bad", "bad\u00a0", "b\u200bad", "\ufeffbad", "BAD", "\uff42\uff41\uff44"]


def test_spellings_that_are_alike() -> None:
    assert {fold_spelling(text) for text in ALIKE} == {"bad"}
    assert fold_spelling("cafe\u0301") == fold_spelling("caf\u00e9") == fold_spelling("CAFÉ")
    assert fold_spelling("very  good") == fold_spelling("very good")
    assert len({fold_spelling(text) for text in ("bad", "bat", "b ad", "b-ad", "1", "01")}) == 6
    (found,) = find_variants({"cafe\u0301": 1, "caf\u00e9": 2, "tea": 5})
    assert str(found) == "'café' (2 rows) and 'cafe\\u0301' (1 row)"
    (found,) = find_variants({" 1": 1, "1": 3, "1.0": 2})
    assert str(found) == "'1' (5 rows) and ' 1' (1 row)"


def make_alike(spelled: str) -> dict[str, list[str]]:
    labels = [*["bad"] * 5, spelled, spelled, *["good"] * 8]
    return {"text": [f"text {place} of them" for place in range(15)], "label": labels}


@pytest.mark.parametrize("spelled", ALIKE[1:])
def test_alike_labels_are_a_finding_and_a_question(spelled: str) -> None:
    table = load_table(make_alike(spelled), task=TASK)
    with pytest.raises(
        DataError, match="differ only in blanks, case or Unicode form; say what they are"
    ) as caught:
        read_records(table, TASK)
    assert "'bad' (5 rows)" in str(caught.value) and "(2 rows)" in str(caught.value)
    assert "--label-spellings merge" in str(caught.value) and "\n" not in str(caught.value)
    kept = read_records(table, TextClassification(("text",), "label", label_spellings="keep"))
    assert len(kept.label_names) == 3
    merged = read_records(table, TextClassification(("text",), "label", label_spellings="merge"))
    assert merged.label_names == ("bad", "good") and merged.labels.tolist() == [0] * 7 + [1] * 8
    assert merged.ids.tolist() == kept.ids.tolist()
    codes = {}
    for spellings in ("ask", "keep", "merge"):
        report = check_balance(make_alike(spelled), label="label", label_spellings=spellings)
        (finding,) = [one for one in report.findings if one.code == "label-spellings"]
        assert "'bad' (5 rows)" in finding.message
        codes[spellings] = (str(finding.severity), len(report.labels))
    assert codes == {"ask": ("warning", 3), "keep": ("information", 3), "merge": ("information", 2)}


def test_alike_labels_of_held_out_rows() -> None:
    held_out = load_table(make_alike("Bad"), task=TASK)
    with pytest.raises(
        DataError, match=r"found 'Bad' in row 6, .* differs from 'bad' only in blanks, .* merge"
    ):
        read_records(held_out, TASK, ("bad", "good"), source="held_out")
    merge = TextClassification(("text",), "label", label_spellings="merge")
    assert read_records(held_out, merge, ("bad", "good")).labels.tolist() == [0] * 7 + [1] * 8


def test_merged_labels_are_written_in_one_spelling_and_the_old_one_is_kept(tmp_path: Path) -> None:
    task = TextClassification(("text",), "label", label_spellings="merge")
    job = job_from(
        data=make_alike("Bad"),
        text="text",
        label="label",
        label_spellings="merge",
        output=str(tmp_path / "run"),
    )
    parts = read_parts(job)
    write_result(tmp_path / "result", task=task, train=parts.train, held_out=parts.held_out, card=make_card())
    rows = [row for part in load_result(tmp_path / "result").values() for row in part]
    assert {row["label"] for row in rows} == {"bad", "good"}
    before = [row["provenance"]["label_before"] for row in rows]
    assert before.count("Bad") == 2 and before.count(None) == 13


def test_a_patch_on_merged_labels_fits_the_file_with_all_its_spellings(tmp_path: Path) -> None:
    task = TextClassification(("text",), "label", label_spellings="merge")
    pd.DataFrame(make_alike("Bad ")).to_csv(tmp_path / "data.csv", index=False)
    records = read_records(load_table(tmp_path / "data.csv", task=task), task)
    changes = tuple(
        LabelChange(str(records.ids[row]), LabelOutcome.RELABEL, before, after, 0.9)
        for row, before, after in ((5, "bad", "good"), (9, "good", "bad"))
    )
    write_patch(tmp_path / "patch", Patch(task, "data.csv", 15, changes))
    done = apply_patch(read_patch(tmp_path / "patch"), tmp_path / "data.csv", tmp_path / "out.csv")
    assert done.n_relabelled == 2
    labels = pd.read_csv(tmp_path / "out.csv").label.tolist()
    assert labels[5] == "good" and labels[9] == "bad" and labels[6] == "Bad "


def test_alike_values_of_attributes_and_names_of_concepts() -> None:
    data = {**make_alike("bad"), "source": ["web", "Web", "web\u00a0"] * 5, "n": ["1", "1.0", "2"] * 5}
    report = check_balance(data, label="label", attributes=["source", "n"])
    messages = {one.code: one.message for one in report.findings}
    assert messages["attribute-spellings"] == (
        "'source' has 'Web' (5 rows), 'web' (5 rows) and 'web\\u00a0' (5 rows), which differ only in blanks, case or "
        "Unicode form"
    )
    assert messages["number-spellings"].startswith(
        "'n' spells one number in several ways, '1' (5), '1.0' (5)"
    )
    task = TextClassification(("text",), "label", ("n",))
    assert set(read_pool(load_table(data), task).attributes["n"]) == {"1", "2"}
    with pytest.raises(JobError, match="is named twice"):
        job_from(
            data="x", text="text", label="label", concepts={"food": "what is eaten", "Food\u00a0": "more"}
        )


MISSING: list[tuple[list[Any], str, list[str]]] = [
    (["null", "a", "b"], "null", ["a", "b"]),
    (["NaN", "a", "b"], "NaN", ["a", "b"]),
    (["<NA>", "a", "b"], "<NA>", ["a", "b"]),
    (["NA", "0", "1"], "NA", ["0", "1"]),
    (["None", "0", "1"], "None", ["0", "1"]),
]


@pytest.mark.parametrize(("values", "word", "names"), MISSING)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_words_for_no_label_are_named_and_may_be_kept(
    tmp_path: Path, values: list[Any], word: str, names: list[str], ending: str
) -> None:
    frame = pd.DataFrame({"text": [f"text {place} of them" for place in range(60)], "label": values * 20})
    path = tmp_path / f"data.{ending}"
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_parquet(path)
    with pytest.raises(DataError) as caught:
        read_records(load_table(path, task=TASK), TASK)
    assert f"20 of 60 rows say '{word}' and are taken for unlabelled" in str(caught.value)
    assert "--keep-label" in str(caught.value) and f"keep_labels: [{word}]" in str(caught.value)
    report = check_balance(path, label="label")
    (finding,) = [one for one in report.findings if one.code == "missing-labels"]
    assert f"20 of 60 rows say '{word}' and are taken for unlabelled" in finding.message
    assert [one.label for one in report.labels] == names
    kept = TextClassification(("text",), "label", keep_labels=(word.lower(),))
    assert set(read_records(load_table(path, task=kept), kept).label_names) == {word, *names}
    assert {one.label for one in check_balance(path, label="label", keep_labels=[word]).labels} == {
        word,
        *names,
    }


def test_a_class_called_null_is_named_where_only_one_label_is_left() -> None:
    data = {"text": [f"text {place} of them" for place in range(60)], "label": ["null", "null", "good"] * 20}
    words = "40 of 60 rows say 'null' and are taken for unlabelled: if that is a label, keep it with --keep-label null"
    with pytest.raises(DataError) as caught:
        check_balance(data, label="label")
    assert "has only 'good'" in str(caught.value) and words in str(caught.value)
    with pytest.raises(DataError) as caught:
        read_records(load_table(data, task=TASK), TASK)
    assert words in str(caught.value)
    assert len(check_balance(data, label="label", keep_labels=["null"]).labels) == 2


def test_words_that_are_classes_among_names_stay_classes() -> None:
    table = load_table({"text": TEXTS[:6], "label": ["none", "some", "NA"] * 2}, task=TASK)
    assert read_records(table, TASK).label_names == ("NA", "none", "some")
    job = job_from(data="x.csv", text="text", label="label", keep_labels=[None, "NA", float("nan")])
    assert job.keep_labels == ("null", "NA", "nan")


def test_float_labels_because_of_missing_ones() -> None:
    """What pandas makes of whole numbers where one is missing."""
    frame = pd.DataFrame({"text": TEXTS, "label": [1.0, np.nan, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]})
    with pytest.raises(DataError, match=r"1 row without a label \(row 2\); drop them"):
        read_records(load_table(frame, task=TASK), TASK)
    report = check_balance(frame, label="label")
    assert [(one.label, one.count) for one in report.labels] == [("0", 4), ("1", 3)]


def test_ids_do_not_depend_on_how_a_number_is_spelled() -> None:
    one = load_table([{"a": "1.0", "b": 2}])
    other = load_table([{"a": 1, "b": "2"}])
    third = load_table([{"a": "1.5", "b": 2}])
    assert list(hash_rows(one)) == list(hash_rows(other)) != list(hash_rows(third))
    assert value_key("TRUE") == value_key("true") == "true"
