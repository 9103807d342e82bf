"""The evaluation of ways without a token: what regret is, and that a choice is made of the lists that it names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import TREATMENTS
from evals import simple_ways
from evals.simple_ways import (
    Draw,
    Scores,
    compare,
    list_ways,
    score_draw,
    summarise,
    summarise_all,
    train_all,
)
from tests.made_up import as_objects


def make_scores(**values: float) -> Scores:
    """A draw of one student; both metrics of an arm are the same."""
    return {(arm, "words", metric): value for arm, value in values.items() for metric in simple_ways.METRICS}


DRAWS = [
    make_scores(nothing=0.4, logit_adjustment=0.8, prototypes=0.9, chosen=0.8, chosen_all=0.9, highest=0.8),
    make_scores(nothing=0.5, logit_adjustment=0.9, prototypes=0.86, chosen=0.9, chosen_all=0.5, highest=0.8),
]


def test_regret_counts_from_the_single_way_that_is_best_in_the_mean() -> None:
    best, regret, gain = compare(DRAWS, "words")["chosen"]
    assert best == "prototypes"
    # In one draw the choice may be better than that way: its regret is then below nothing.
    assert regret == pytest.approx([10, -4]) and gain == pytest.approx([0, 0])
    _, regret, gain = compare(DRAWS, "words")["chosen_all"]
    assert regret == pytest.approx([0, 36]) and gain == pytest.approx([10, -40])
    lines = {(line.arm, line.metric): line for line in summarise("cebab", DRAWS)}
    assert lines["hindsight", "macro_f1"].value == pytest.approx(0.88)
    assert lines["hindsight", "macro_f1"].extra["way"] == "prototypes"
    assert lines["chosen_all", "regret_points"].value == pytest.approx(18)
    assert lines["chosen_all", "regret_points"].unit == "points"
    assert {line.data for line in lines.values()} == {"cebab/words"}


def test_the_worst_is_that_of_one_set_and_parts_with_a_pool_stand_apart() -> None:
    even = [make_scores(logit_adjustment=0.9, chosen=0.9, chosen_all=0.9, highest=0.9)]
    found = {"cebab": DRAWS, "sms_spam": even, "cebab+pool": even}
    lines = {(line.data, line.arm, line.metric): line.value for line in summarise_all(found)}
    assert lines["all", "chosen_all", "regret_points"] == pytest.approx(9)
    assert lines["all/worst", "chosen_all", "regret_points"] == pytest.approx(18)
    assert lines["all/worst", "chosen_all", "over_logit_adjustment_points"] == pytest.approx(-15)
    assert lines["all+pool/worst", "chosen_all", "regret_points"] == 0


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
    scores = score_draw(draw, train_all(draw, students, list_ways(with_pool=True), 0), students)
    arms = {arm for arm, *_ in scores}
    assert {"self_training", "shrunk_lda", *TREATMENTS.defaults, *simple_ways.CHOICES} <= arms
    assert not arms & {"added_rows", "averaged"}
    for student in students:
        mine = {
            arm: value for (arm, who, what), value in scores.items() if (who, what) == (student.name, "auroc")
        }
        assert mine["chosen"] in [mine[way] for way in TREATMENTS.defaults if way in mine]
    bare = score_draw(
        replace(draw, pool=None),
        train_all(replace(draw, pool=None), students, list_ways(with_pool=False), 0),
        students,
    )
    assert not {"self_training", "label_spreading"} & {arm for arm, *_ in bare}
