"""Patches: what is written can be read, applied to moved rows, and taken back byte for byte."""

from __future__ import annotations

import gzip
import json
import random
import string
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from counterpoise.cli import app as cli
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.schema import TextClassification
from counterpoise.data.column_values import read_labels
from counterpoise.data.patches.apply import apply_patch
from counterpoise.data.patches.receipts import name_receipt
from counterpoise.data.patches.undo import undo_patch
from counterpoise.data.patches.values import (
    LabelChange,
    LabelOutcome,
    Neighbour,
    Patch,
    read_patch,
    write_patch,
)
from counterpoise.data.reading import load_table, make_ids
from counterpoise.report.patch_page import render_patch_page

TASK = TextClassification(("text",), "label")
ROWS = [(f"text {n}, said {'twice' if n % 2 else 'once'}", ("neg", "pos", "other")[n % 3]) for n in range(30)]

CSV = (
    '\ufeffid;text;label\r\n1;"a ""quoted"" one;\r\nwith lines";"pos"\r\n\r\n2;5" screen;neg\r\n'
    '3;\u00e9t\u00e9;pos\r\n4;z;"neg"'
)
JSONL = (
    '{"label": "pos", "text": "\\u00e9t\\u00e9 \U0001f600"}\n\n'
    '{ "text":"x \\" y", "n": {"label": 1} , "label" :"neg" }\r\n'
    '{"text": "z", "label": "p\\u006fs", "extra": [1, 2.50]}\n{"label":"neg","text":"\u2028 last"}'
)


def write_parquet(path: Path) -> None:
    texts, labels = zip(*ROWS, strict=True)
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "other", "pos"])})
    table = Dataset.from_dict({"text": texts, "label": labels}, features=features)
    pq.write_table(table.data.table, path, compression="zstd", row_group_size=7)


def write_source(path: Path) -> Path:
    """A file of the format that its name says, with whatever that format allows."""
    if ".parquet" in path.name:
        write_parquet(path)
        return path
    content = (CSV if ".csv" in path.name else JSONL).encode()
    path.write_bytes(gzip.compress(content, mtime=1234) if path.suffix == ".gz" else content)
    return path


def read(path: Path) -> list[tuple[str, str, str]]:
    """Id, text and label of every row."""
    table = load_table(path, task=TASK)
    labels = read_labels(table, "label", "data")
    return list(zip(make_ids(table), table["text"], labels, strict=True))


def make_patch(path: Path, relabelled: list[int], dropped: list[int]) -> Patch:
    rows = read(path)
    flip = {"pos": "neg", "neg": "pos", "other": "pos"}
    changes = [
        LabelChange(rows[row][0], outcome, rows[row][2], flip[rows[row][2]], 0.9, "made up", rows[row][1])
        for outcome, members in ((LabelOutcome.RELABEL, relabelled), (LabelOutcome.DROP, dropped))
        for row in members
    ]
    return Patch(TASK, path.name, len(rows), tuple(changes))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz", "a.jsonl.gz"])
def test_apply_and_undo_give_the_old_bytes(name: str, tmp_path: Path) -> None:
    source = write_source(tmp_path / name)
    before, old_rows = source.read_bytes(), read(source)
    patch = make_patch(source, relabelled=[0, 2], dropped=[3])
    output, back = tmp_path / f"new-{name}", tmp_path / f"back-{name}"

    done = apply_patch(patch, source, output)

    assert (done.n_relabelled, done.n_dropped, done.n_missing) == (2, 1, 0)
    assert source.read_bytes() == before
    expected = [
        (text, {0: patch.changes[0].after, 2: patch.changes[1].after}.get(row, label))
        for row, (_, text, label) in enumerate(old_rows)
    ]
    del expected[3]
    assert [(text, label) for _, text, label in read(output)] == expected
    undone = undo_patch(output, back)
    assert undone.is_exact
    assert back.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [name, f"new-{name}", f"new-{name}.undo", f"back-{name}"]
    )


def test_nothing_but_the_label_changes_in_a_text_file(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.csv")
    apply_patch(make_patch(source, relabelled=[0], dropped=[]), source, tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_bytes() == CSV.replace('lines";"pos"', 'lines";neg').encode()


def test_parquet_keeps_its_schema_and_groups(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.parquet")
    apply_patch(make_patch(source, relabelled=[1], dropped=[]), source, tmp_path / "b.parquet")
    old, new = pq.ParquetFile(source), pq.ParquetFile(tmp_path / "b.parquet")
    assert new.schema_arrow.equals(old.schema_arrow, check_metadata=True)
    assert new.num_row_groups == old.num_row_groups
    assert new.metadata.row_group(0).column(0).compression == "ZSTD"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_patch_fits_a_file_whose_rows_were_moved_and_that_has_grown(kind: str, tmp_path: Path) -> None:
    def write(path: Path, rows: list[tuple[str, str]]) -> Path:
        if kind == "csv":
            path.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows))
        elif kind == "jsonl":
            path.write_text(
                "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)
            )
        else:
            texts, labels = zip(*rows, strict=True)
            pq.write_table(pa.table({"text": texts, "label": labels}), path)
        return path

    source = write(tmp_path / f"a.{kind}", ROWS)
    patch = make_patch(source, relabelled=[0, 7], dropped=[4])
    moved = [*ROWS, ("a new one", "neg")]
    random.Random(3).shuffle(moved)
    other = write(tmp_path / f"other.{kind}", moved)
    done = apply_patch(patch, other, tmp_path / f"new.{kind}")
    assert (done.n_relabelled, done.n_dropped, done.n_missing) == (2, 1, 0)
    wanted = {ROWS[change_row][0]: "pos" for change_row in (0, 7)} | {ROWS[7][0]: patch.changes[1].after}
    expected = [(text, wanted.get(text, label)) for text, label in moved if text != ROWS[4][0]]
    assert [(text, label) for _, text, label in read(tmp_path / f"new.{kind}")] == expected
    # The applied file is moved in its turn: undo restores the labels by id and says that it is not exact.
    random.Random(4).shuffle(expected)
    changed = write(tmp_path / f"changed.{kind}", expected)
    undone = undo_patch(changed, tmp_path / f"back.{kind}", name_receipt(tmp_path / f"new.{kind}"))
    assert not undone.is_exact
    assert (undone.n_relabelled, undone.n_missing) == (2, 1)
    old = dict(moved)
    assert all(old[text] == label for _, text, label in read(tmp_path / f"back.{kind}"))


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "named.parquet"])
def test_a_label_that_the_file_does_not_have_yet_is_written_as_the_others_are(
    kind: str, tmp_path: Path
) -> None:
    source = tmp_path / f"a.{kind}"
    names = {"1": "1", "2": "2", "3": "3"}
    if kind == "jsonl":
        source.write_text('{"text": "x", "label": 1}\n{"text": "y", "label": 2}\n', encoding="utf-8")
    elif kind == "parquet":
        pq.write_table(pa.table({"text": ["x", "y"], "label": pa.array([1, 2], pa.int16())}), source)
    else:
        names = {"1": "one", "2": "two", "3": "three"}
        features = Features({"text": Value("string"), "label": ClassLabel(names=list(names.values()))})
        table = Dataset.from_dict({"text": ["x", "y"], "label": ["one", "two"]}, features=features)
        pq.write_table(table.data.table, source)
    found = read(source)

    def make(after: str) -> Patch:
        change = LabelChange(found[0][0], LabelOutcome.RELABEL, names["1"], after, 0.9)
        return Patch(TASK, source.name, 2, (change,))

    output = tmp_path / f"b.{kind}"
    with pytest.raises(DataError, match="column 'label': 'many' cannot stand there, whose values are"):
        apply_patch(make("many"), source, output)
    apply_patch(make(names["3"]), source, output)
    assert [label for _, _, label in read(output)] == [names["3"], names["2"]]
    assert undo_patch(output, tmp_path / f"c.{kind}").is_exact


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.sampled_from(string.ascii_letters + " ,;\"'\n\r\té"), min_size=1).filter(str.strip),
            st.sampled_from(["pos", "neg", 'a "b"', "x, y"]),
        ),
        min_size=4,
        max_size=12,
    ).filter(lambda rows: len({label for _, label in rows}) > 1),
    data=st.data(),
)
def test_any_csv_comes_back(
    rows: list[tuple[str, str]], data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")

    def spell(value: str) -> str:
        must = any(mark in value for mark in ',"\n\r')
        return '"' + value.replace('"', '""') + '"' if must or data.draw(st.booleans()) else value

    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    lines = ["text,label", *(f"{spell(text)},{spell(label)}" for text, label in rows)]
    source = folder / "a.csv"
    source.write_bytes((end.join(lines) + data.draw(st.sampled_from(["", end]))).encode())
    ids = list(make_ids(load_table(source, task=TASK)))
    changes: list[LabelChange] = []
    for row, (_, label) in enumerate(rows):
        outcome = data.draw(st.sampled_from([None, LabelOutcome.RELABEL, LabelOutcome.DROP]))
        if outcome and len(changes) < len(rows) - 1:
            after = data.draw(
                st.sampled_from([name for name in ("pos", "neg", 'a "b"', "x, y") if name != label])
            )
            changes.append(LabelChange(ids[row], outcome, label, after, 0.5))
    assume(changes)  # a patch that changes nothing is refused
    apply_patch(Patch(TASK, "a.csv", len(rows), tuple(changes)), source, folder / "b.csv")
    gone = {change.id for change in changes if change.outcome is LabelOutcome.DROP}
    new = {change.id: change.after for change in changes}
    assert [label for _, _, label in read(folder / "b.csv")] == [
        new.get(identity, label)
        for identity, (_, label) in zip(ids, rows, strict=True)
        if identity not in gone
    ]
    undo_patch(folder / "b.csv", folder / "c.csv")
    assert (folder / "c.csv").read_bytes() == source.read_bytes()


def test_a_patch_is_read_as_it_was_written_and_its_mistakes_are_named(tmp_path: Path) -> None:
    neighbour = Neighbour("near", "neg", 0.75, True)
    changes = (
        LabelChange("a", LabelOutcome.RELABEL, "pos", "neg", 0.9, "why", "text\n<b>", (neighbour,)),
        LabelChange("b", LabelOutcome.REVIEW, "pos", "neg", 0.5),
    )
    patch = Patch(
        TextClassification(("t", "u"), "l", ("s",)), "x.csv", 9, changes, {"min_precision": 0.9}, ("n",)
    )
    path = tmp_path / "patch.jsonl"
    write_patch(path, patch)
    assert read_patch(path) == read_patch(tmp_path) == patch
    assert len(patch) == 1
    lines = path.read_text().splitlines()
    for broken, where in (
        (
            lines[1].replace('"relabel"', '"relable"'),
            "line 2: outcome: found 'relable'; did you mean 'relabel'",
        ),
        (lines[1].replace('"after": "neg"', '"after": "pos"'), "line 2: after"),
        (lines[1].replace('"id": "a"', '"id": "b"'), "line 3: record 'b' stands twice"),
    ):
        path.write_text("\n".join([lines[0], broken, lines[2]]))
        with pytest.raises(DataError, match=where):
            read_patch(path)
    path.write_text('{"text": "no patch"}\n')
    with pytest.raises(DataError, match="is no patch"):
        read_patch(path)


def test_mistakes_with_files_are_refused(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.csv")
    patch = make_patch(source, relabelled=[0], dropped=[])
    apply_patch(patch, source, tmp_path / "b.csv")
    with pytest.raises(JobError, match="nothing is written over"):
        apply_patch(patch, source, tmp_path / "b.csv")
    with pytest.raises(DataError, match="none of the records"):
        apply_patch(patch, tmp_path / "b.csv", tmp_path / "c.csv")
    with pytest.raises(JobError, match="another format"):
        apply_patch(patch, source, tmp_path / "c.jsonl")
    with pytest.raises(DataError, match="no such file"):
        undo_patch(source, tmp_path / "c.csv")
    assert not (tmp_path / "c.csv").exists()


def test_a_receipt_that_was_damaged_is_named(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.parquet")
    apply_patch(make_patch(source, relabelled=[0], dropped=[]), source, tmp_path / "b.parquet")
    receipt = name_receipt(tmp_path / "b.parquet")
    content = bytearray(receipt.read_bytes())
    content[300:310] = bytes(10)
    receipt.write_bytes(content)
    with pytest.raises(DataError, match=r"b\.parquet\.undo: is damaged"):
        undo_patch(tmp_path / "b.parquet", tmp_path / "c.parquet")
    assert not (tmp_path / "c.parquet").exists()


def test_a_patch_that_drops_every_row_is_refused(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"a\.csv: the patch drops all its rows"):
        apply_patch(make_patch(source, relabelled=[], dropped=[0, 1, 2, 3]), source, tmp_path / "b.csv")


def test_a_receipt_that_brings_another_file_back_is_not_lost(tmp_path: Path) -> None:
    first, second, third = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    write_source(first)
    apply_patch(make_patch(first, relabelled=[0], dropped=[]), first, second)
    apply_patch(make_patch(second, relabelled=[1], dropped=[]), second, third)
    receipt = name_receipt(second).read_bytes()
    # The mended file takes the place of the first one: only the receipt knows what that was.
    second.replace(first)
    with pytest.raises(JobError, match=r"b\.csv\.undo: is the receipt of another file"):
        apply_patch(make_patch(first, relabelled=[1], dropped=[]), first, second)
    third.write_bytes(third.read_bytes() + b"\r\n5;new;neg")
    assert not undo_patch(third, second).is_exact
    assert name_receipt(second).read_bytes() == receipt
    # The same file again, whose bytes are there: a new receipt says the same.
    third.unlink()
    first.write_bytes(CSV.encode())
    apply_patch(make_patch(first, relabelled=[2], dropped=[]), first, tmp_path / "d.csv")
    (tmp_path / "d.csv").unlink()
    apply_patch(make_patch(first, relabelled=[3], dropped=[]), first, tmp_path / "d.csv")


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_source(tmp_path / "a.csv")
    write_patch(tmp_path / "patch.jsonl", make_patch(source, relabelled=[0], dropped=[3]))
    page, new, back = tmp_path / "page.html", tmp_path / "b.csv", tmp_path / "c.csv"
    assert cli.execute(["diff", str(tmp_path / "patch.jsonl"), "--page", str(page)]) == 0
    assert "1 of 4 labels change, 1 row is dropped" in capsys.readouterr().out
    assert (
        cli.execute(["apply", str(tmp_path / "patch.jsonl"), str(source), "--output", str(new), "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out)["relabelled"] == 1
    assert cli.execute(["undo", str(new), "--output", str(back)]) == 0
    assert "byte for byte" in capsys.readouterr().out
    assert back.read_bytes() == source.read_bytes()
    assert (
        cli.execute(["apply", str(tmp_path / "patch.jsonl"), str(tmp_path / "gone.csv"), "-o", str(new)]) == 2
    )


def test_text_of_a_record_is_no_markup_on_the_page() -> None:
    bad = "<script>alert(1)</script>"
    change = LabelChange(
        bad, LabelOutcome.RELABEL, bad, "neg", 0.9, bad, bad, (Neighbour(bad, bad, 0.5, True),)
    )
    text = render_patch_page(Patch(TASK, bad, 3, (change,), {}, (bad,)), bad)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 8
