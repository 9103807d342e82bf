"""Lines about the labels: what they are, and what students make of them beside a few rows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from counterpoise.core.label_lines import encode_lines, write_lines
from counterpoise.students.described_ways import find_lines
from counterpoise.students.fitting import predict
from counterpoise.students.metrics import compute_auroc
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import BASELINE, TREATMENTS
from counterpoise.tasks.text.job import job_from
from counterpoise.tasks.text.preparation import prepare
from tests.made_up import ENCODER, STUDENTS, as_objects, write_sentences

WAY = TREATMENTS.find("description_rows")
TELLING = encode_lines(ENCODER.encode, ["cold rude dull awful", "lovely warm fresh great"])


def make_side(n_bad: int, n_good: int, seed: int) -> Rows:
    texts, labels = write_sentences(n_bad, n_good, seed)
    return make_rows(as_objects(texts), ENCODER.encode(texts), np.array(labels), lines=TELLING)


def test_a_label_has_its_line_sentences_around_it_and_the_words_that_tell_it_from_others() -> None:
    bad, good, neither = write_lines(["Reviews by an angry guest", "Reviews by a happy guest", "旅行"])
    assert bad[0] == "Reviews by an angry guest" and bad[8:] == ["an", "angry"] and good[8:] == ["a", "happy"]
    assert all("Reviews by an angry guest" in line for line in bad[:8])
    assert neither[8:] == ["旅行"]
    assert len(write_lines([" ".join(f"word{n}" for n in range(900)), "x"])[0]) == 48
    assert write_lines(["", "{}"])[1][:2] == ["{}", "{}."]


def test_lines_help_where_a_label_has_hardly_a_row() -> None:
    own, test = make_side(2, 60, 15), make_side(100, 100, 6)
    for student in STUDENTS:
        plain, told = (
            compute_auroc(predict(way, student, own, test, 2), test.labels) for way in (BASELINE, WAY)
        )
        assert told > plain + 0.01, student.name


def test_without_lines_it_is_logit_adjustment_and_no_way_needs_them_made() -> None:
    own, test = replace(make_side(4, 20, 7), lines=None), make_side(5, 5, 8)
    for student in STUDENTS:
        assert (
            predict(WAY, student, own, test, 2).tobytes()
            == predict(BASELINE, student, own, test, 2).tobytes()
        )
    assert find_lines([BASELINE], ENCODER.encode, ["a", "b"]) is None
    assert find_lines([BASELINE, WAY], ENCODER.encode, ["a", "b"]) is not None


def test_a_run_makes_lines_of_the_jobs_descriptions(tmp_path: Path) -> None:
    texts, labels = write_sentences(12, 40, 9)
    data = tmp_path / "reviews.jsonl"
    rows = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
    data.write_text("\n".join(map(json.dumps, rows)))
    keys = {"data": str(data), "text": "text", "label": "label", "labels": {"0": "Unhappy guests"}}
    job = {**keys, "held_out": 0.2, "encoder": ENCODER}
    assert prepare(job_from(**job, treatments=["nothing", "logit_adjustment"])).train.lines is None
    lines = prepare(job_from(**job)).train.lines
    assert (
        lines is not None
        and lines.texts[0] == "Unhappy guests"
        and lines.vectors.shape[0] == len(lines.labels)
    )
