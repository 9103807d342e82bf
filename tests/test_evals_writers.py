"""The ladder of writers: what each gives, what a shortfall is counted from, students that keep what they learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoise.core.records import Floats
from counterpoise.students.added_ways import AVERAGED, TUNED_ADDED
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.treatments import TREATMENTS
from evals.kept_students import KeptStudent, KeptWords, keep_students
from evals.writers import USES, measure_uses, prepare_ground, run_draw, summarise
from tests.made_up import STUDENTS, as_objects
from tests.made_up_bank import open_bank, write_bank


def test_a_draw_has_every_use_and_real_rows_help_where_wrong_headings_do_not(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bank(cache_dir, monkeypatch)
    found = run_draw(open_bank(), 0, KeptWords())
    for student in ("words", "vectors:minilm"):
        assert {use for _, who, use in found if who == student} == set(USES)
        assert found["real_rows", student, "recommended"] > found["headings", student, "plain"]
    assert found["wrong_labels", "", "accepted_wrong_ratio"] == pytest.approx(0.3, abs=0.02)
    assert found["headings", "", "accepted_wrong_ratio"] == 1
    assert ("gibberish", "", "accepted_wrong_ratio") not in found
    monkeypatch.setattr("evals.writers.measure_uses", None)  # it is not measured twice
    assert run_draw(open_bank(), 0, KeptWords()) == found


def test_kept_students_say_what_the_students_say_to_the_last_bit_and_train_once(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bank(cache_dir, monkeypatch)
    bank, words = open_bank(), KeptWords()
    draw = bank.draw(0)
    kept = keep_students(STUDENTS, words)
    ways = [TREATMENTS.find("nothing"), TREATMENTS.find("balanced_bags"), TUNED_ADDED, AVERAGED]
    for writer in ("real_rows", "gibberish"):
        rows, _, _ = bank.join(draw, bank.buy(writer, draw))
        for student, same in zip(STUDENTS, kept, strict=True):
            for train, test in ((rows, draw.test), (draw.own, rows)):
                told = predict_by_treatments(ways, student, train, test, 2)
                for way, table in predict_by_treatments(ways, same, train, test, 2).items():
                    assert np.array_equal(table, told[way])
    fits: list[int] = []

    def count(*_: object) -> Floats:
        fits.append(1)
        return np.zeros((len(draw.test), 2))

    student = KeptStudent(STUDENTS[0])
    monkeypatch.setattr(type(STUDENTS[0]), "fit_log_probabilities", count)
    for _ in range(3):
        train, test = draw.own.take(np.arange(60)), draw.test.take(np.arange(len(draw.test)))
        features, others = student.features(train, test)
        student.fit_log_probabilities(features, train.labels, train.weights, others, 2)
    assert len(fits) == 1


def test_texts_without_a_word_are_left_to_the_student() -> None:
    assert KeptWords().make_features(as_objects(["!", "?"]), as_objects(["!"])) is None


def test_with_no_text_accepted_every_use_is_the_simple_way(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bank(cache_dir, monkeypatch)
    bank = open_bank()
    ground = prepare_ground(bank, bank.draw(0), 0, KeptWords())
    none = ground.bank.buy("copies", ground.draw, n=0)
    found = measure_uses(ground, none)
    assert len({value for (student, _), value in found.items() if student == "words"}) == 1


def test_the_shortfall_counts_from_the_best_use_in_the_mean() -> None:
    scores = {("gpt4", "words", use): [0.5, 0.6] for use in USES} | {("gpt4", "words", "plain"): [0.7, 0.6]}
    scores["gpt4", "", "accepted_ratio"] = [0.5, 0.7]
    lines = {(line.arm, line.metric): line for line in summarise("made", [scores])}
    assert lines["gpt4", "hindsight"].extra == {"use": "plain"}
    assert lines["gpt4", "shortfall_points"].value == pytest.approx(10)
    assert lines["gpt4", "gain_points"].value == pytest.approx(0)
    assert lines["gpt4", "accepted_ratio"].value == pytest.approx(0.6)
