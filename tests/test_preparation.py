"""What is read and refused before an encoder or a model is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from counterpoise.core.errors import DataError, JobError, UserError
from counterpoise.tasks.text.job import job_from
from counterpoise.tasks.text.preparation import prepare
from counterpoise.tasks.text.reading import read_parts
from tests.made_up import write_sentences

TEXTS, LABELS = write_sentences(10, 20, 5)
OTHERS, OTHER_LABELS = write_sentences(4, 4, 6)


def write_rows(path: Path, texts: list[str], labels: list[int], **columns: Any) -> str:
    """A file of JSON lines; `columns` hold one value for all rows."""
    lines = [
        json.dumps({"text": text, "label": label, **columns})
        for text, label in zip(texts, labels, strict=True)
    ]
    path.write_text("\n".join(lines))
    return str(path)


def read(data: str, **keys: Any) -> Any:
    return read_parts(job_from(data=data, text="text", label="label", **keys))


def test_a_held_out_column_that_does_not_fit_is_refused_before_the_run(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data.jsonl", TEXTS, LABELS, rating=3)
    wrong = write_rows(tmp_path / "wrong.jsonl", OTHERS, OTHER_LABELS, rating="three")
    with pytest.raises(
        DataError, match=r"wrong\.jsonl: column 'rating': does not fit .*; write it as .* int64"
    ):
        read(data, held_out=wrong)
    for name, value in (("blank", ""), ("number", "4"), ("nothing", None)):
        held_out = write_rows(tmp_path / f"{name}.jsonl", OTHERS, OTHER_LABELS, rating=value)
        assert len(read(data, held_out=held_out).held_out.records) == 8


def test_a_column_that_parquet_cannot_hold_is_kept_as_text(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data.jsonl", TEXTS, LABELS, meta={})
    train = read(data).train
    assert set(train.table["meta"]) == {"{}"}


def test_data_that_is_one_text_a_label_is_refused(tmp_path: Path) -> None:
    texts = ["the same text about food and drink"] * 8 + ["another text about waiters and staff"] * 12
    data = write_rows(tmp_path / "data.jsonl", texts, [0] * 8 + [1] * 12)
    jobs = [job_from(data=data, text="text", label="label", seed=seed) for seed in range(8)]
    refused = []
    for job in jobs:
        job = job.model_copy(update={"encoder": str(tmp_path)})  # holds no model: what is read is not encoded
        with pytest.raises(UserError) as error:
            prepare(job)
        refused.append(str(error.value))
    assert any("too few different texts among the 20 training rows" in line for line in refused)


def test_notes_name_files_without_their_folders(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data.jsonl", ["", *TEXTS[1:]], LABELS)
    held_out = write_rows(tmp_path / "held.jsonl", ["", *OTHERS[1:]], OTHER_LABELS)
    notes = read(data, held_out=held_out, sample={"rows": {"0": 9, "1": 19}}).notes
    assert [note.split(":")[0] for note in notes[:2]] == [
        "data.jsonl",
        "28 of 30 rows of data.jsonl are used",
    ]
    assert notes[2].startswith("held.jsonl: 1 text empty") and str(tmp_path) not in " ".join(notes)


def test_a_target_for_a_label_that_is_not_there_is_refused_before_the_run(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data.jsonl", TEXTS, LABELS)
    job = job_from(data=data, text="text", label="label", target={"2": 1}, encoder=str(tmp_path))
    with pytest.raises(JobError, match="target: there is no label '2'; the data has '0', '1'"):
        prepare(job)


def test_a_sample_that_leaves_nothing_is_named(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data.jsonl", TEXTS, LABELS)
    for sample in ({"where": {"label": "x"}}, {"max_characters": 1}):
        with pytest.raises(
            DataError, match=r"nothing left among the training rows; .* narrow the sample less"
        ):
            read(data, sample=sample)
    with pytest.raises(DataError, match="one label only among the training rows"):
        read(data, sample={"where": {"label": "1"}})


def test_held_out_rows_that_are_training_rows_are_counted(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "data.jsonl", TEXTS, LABELS)
    clean = write_rows(tmp_path / "clean.jsonl", OTHERS, OTHER_LABELS)
    leaked = write_rows(tmp_path / "leaked.jsonl", [*TEXTS[:3], *OTHERS], [*LABELS[:3], *OTHER_LABELS])
    assert read(data, held_out=clean).notes == []
    (note,) = read(data, held_out=leaked).notes
    assert note.startswith("3 of 11 held-out texts are training rows, too")


@pytest.mark.assets
def test_texts_in_another_language_than_the_encoder_are_said_so_in_any_letters(tmp_path: Path) -> None:
    german = [
        f"{who} war {when} leider sehr unfreundlich, und {what} schmeckte niemandem am Tisch"
        for who in ("Der Kellner", "Die Bedienung", "Unser Nachbar", "Der junge Koch", "Die Wirtin")
        for when in ("gestern Abend", "an Ostern", "beim letzten Besuch")
        for what in ("die kalte Suppe", "das trockene Brot")
    ]
    english = [
        f"{who} was rather unkind {when}, and nobody at the table liked {what} at all"
        for who in ("The waiter", "Our hostess", "A neighbour", "The young cook", "Some manager")
        for when in ("last night", "during Easter", "on our first visit")
        for what in ("the cold soup", "that dry bread")
    ]
    notes = {}
    for name, texts in {"german": german, "english": english, "few": german[:10] + english[:9]}.items():
        data = write_rows(tmp_path / f"{name}.jsonl", texts, [place % 2 for place in range(len(texts))])
        notes[name] = " ".join(prepare(job_from(data=data, text="text", label="label")).notes)
    assert "100% of these texts look like de, which the encoder minilm-l6-v2" in notes["german"]
    assert "`encoder: multilingual`" in notes["german"]
    assert "look like" not in notes["english"] + notes["few"]
