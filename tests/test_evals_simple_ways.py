"""The evaluation of ways without a token: what regret is, and that a choice is made of the lists that it names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterpoise.students.evidence import parse_evidence, read_shipped
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import TREATMENTS
from evals import evidence, simple_ways
from evals.further_sets import SETS
from evals.simple_ways import (
    Draw,
    Measured,
    Scores,
    add_choices,
    compare,
    list_ways,
    make_evidence,
    read_measured,
    score_draw,
    summarise,
    summarise_all,
    train_all,
    write_measured,
)
from tests.made_up import as_objects


def make_scores(**values: float) -> Scores:
    """A draw of one student; both metrics of an arm are the same."""
    return {(arm, "words", metric): value for arm, value in values.items() for metric in simple_ways.METRICS}


def make_draw_scores(nothing: float, baseline: float, prototypes: float, *chosen: float) -> Scores:
    choices = dict(zip(simple_ways.CHOICES, chosen, strict=True))
    return make_scores(nothing=nothing, logit_adjustment=baseline, prototypes=prototypes, **choices)


DRAWS = [
    make_draw_scores(0.4, 0.8, 0.9, 0.8, 0.9, 0.8, 0.4),
    make_draw_scores(0.5, 0.9, 0.86, 0.9, 0.5, 0.8, 0.9),
]


def test_regret_counts_from_the_single_way_that_is_best_in_the_mean() -> None:
    best, figures = compare(DRAWS, "words")["chosen"]
    assert best == "prototypes"
    # In one draw the choice may be better than that way: its regret is then below nothing.
    assert figures["regret_points"] == pytest.approx([10, -4])
    assert figures["over_logit_adjustment_points"] == pytest.approx([0, 0])
    assert figures["over_before_points"] == pytest.approx([40, 0])
    figures = compare(DRAWS, "words")["chosen_all"][1]
    assert figures["regret_points"] == pytest.approx([0, 36])
    lines = {(line.arm, line.metric): line for line in summarise("cebab", DRAWS)}
    assert lines["hindsight", "macro_f1"].value == pytest.approx(0.88)
    assert lines["hindsight", "macro_f1"].extra["way"] == "prototypes"
    assert lines["hindsight_before", "macro_f1"].extra["way"] == "logit_adjustment"
    assert lines["chosen_all", "regret_points"].value == pytest.approx(18)
    assert lines["chosen_all", "regret_points"].unit == "points"
    assert {line.data for line in lines.values()} == {"cebab/words"}


def test_the_worst_is_that_of_one_set_and_parts_with_few_rows_have_lines_of_their_own() -> None:
    even = [make_draw_scores(0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9)]
    found = {"cebab": DRAWS, "sms_spam": even, "bbc@50": even}
    lines = {(line.data, line.arm, line.metric): line.value for line in summarise_all(found)}
    assert lines["all", "chosen_all", "regret_points"] == pytest.approx(6)
    assert lines["few_rows", "chosen_all", "regret_points"] == pytest.approx(9)
    assert lines["all/worst", "chosen_all", "regret_points"] == pytest.approx(18)
    assert lines["all/worst", "chosen_all", "over_logit_adjustment_points"] == pytest.approx(-15)


def test_evidence_leaves_out_the_set_that_is_judged_and_its_kin() -> None:
    draws = [Measured((), make_scores(logit_adjustment=0.8, class_weights=0.9), np.array([15, 300]))]
    measured = {(name, 15): draws for name in SETS}
    shipped = make_evidence({("cebab", 15): draws}, "clinc150")
    assert shipped.hash == make_evidence({}, "travel").hash and shipped.n_sets > 6
    assert make_evidence(measured, "cebab").expect("words", "class_weights", 15) == pytest.approx(10)
    measured["travel", 15] = [
        Measured((), make_scores(logit_adjustment=0.9, class_weights=0.1), np.array([15, 300]))
    ]
    mine, other = (
        make_evidence(measured, name).expect("words", "class_weights", 15) for name in ("clinc150", "cebab")
    )
    assert mine == pytest.approx(10) and other is not None and other < 3
    assert make_evidence(measured, "clinc150").n_sets == len(SETS) - 2


def make_side(seed: int, counts: tuple[int, int]) -> Rows:
    generator = np.random.default_rng(seed)
    labels = np.repeat([0, 1], counts)
    vectors = (np.eye(4)[labels] + generator.normal(0, 0.3, (len(labels), 4))).astype(np.float32)
    texts = [f"label{label} x{row} y{row % 7}" for row, label in enumerate(labels)]
    return make_rows(as_objects(texts), vectors, labels, zero_shot=np.full((len(labels), 2), 0.5))


def test_a_choice_is_one_of_its_list_and_has_the_scores_of_that_way() -> None:
    students = choose_students(("default",), "minilm")
    own = make_side(1, (60, 10))
    draw = Draw(own, np.arange(len(own)) % 5, make_side(2, (30, 30)), make_side(3, (50, 20)), 2)
    measured = score_draw(draw, train_all(draw, students, list_ways(with_pool=True), 0))
    again = read_measured(write_measured(measured))
    assert again.outer == measured.outer and again.inner == measured.inner
    scores = add_choices(again, parse_evidence(read_shipped()))
    arms = {arm for arm, *_ in scores}
    assert {"self_training", "shrunk_lda", *TREATMENTS.defaults, *simple_ways.CHOICES} <= arms
    assert not arms & {"added_rows", "averaged"}
    for student in students:
        mine = {
            arm: value for (arm, who, what), value in scores.items() if (who, what) == (student.name, "auroc")
        }
        assert mine["chosen"] in [mine[way] for way in TREATMENTS.defaults if way in mine]
    bare = train_all(replace(draw, pool=None), students, list_ways(with_pool=False), 0).outer
    assert not {"self_training", "label_spreading"} & {way for way, _ in bare}


def test_the_table_that_ships_is_that_of_the_results() -> None:
    assert evidence.make_table() == evidence.TABLE.read_text(encoding="utf-8")
