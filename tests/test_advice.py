"""The headline says what the table says, also where that is not what anybody hoped for; what to do is one thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from counterpoise.report.schema_values import Interval
from counterpoise.runs.advice import (
    AddedRecords,
    Choice,
    choose,
    describe_action,
    describe_recommendation,
    write_headline,
)
from counterpoise.runs.simple_ways import SimpleWays
from counterpoise.students.added_ways import AVERAGED, TUNED_ADDED
from counterpoise.students.base import Treatment
from counterpoise.students.held_out import HeldOutScore, MeanInterval
from counterpoise.students.samples import RowSample
from counterpoise.students.treatments import BASELINE, TREATMENTS
from counterpoise.students.validation import ArmScore
from tests.made_up import STUDENTS, VECTORS, WORDS

BEST = {VECTORS.name: BASELINE, WORDS.name: TREATMENTS.find("balanced_bags")}
VALIDATED = {VECTORS.name: 0.8, WORDS.name: 0.7}
MIXED = {VECTORS.name: TUNED_ADDED, WORDS.name: AVERAGED}
UP, DOWN, FLAT = (
    MeanInterval(0.08, 0.03, 0.13),
    MeanInterval(-0.06, -0.1, -0.02),
    MeanInterval(0.01, -0.02, 0.04),
)
EDGE = MeanInterval(0.02, 0.0, 0.04)
ADDED = AddedRecords(written=90, proposed=120, reason="length", tokens=5_000)
LEVELS = {"nothing": 0.5, "logit_adjustment": 0.7, "balanced_bags": 0.69}


def make_table(
    *differences: MeanInterval,
    metric: str = "macro_f1",
    levels: dict[str, float] = LEVELS,
    **parts: MeanInterval,
) -> list[HeldOutScore]:
    """Rows of both students; `differences` are those of our arms, and the other metric says the opposite."""
    other = "auroc" if metric == "macro_f1" else "macro_f1"
    table = []
    for student, difference in zip(STUDENTS, differences, strict=True):
        base = levels[BEST[student.name].name]
        rows = {arm: MeanInterval(level - base, level - base, level - base) for arm, level in levels.items()}
        rows |= dict.fromkeys(("counterpoise", "added_rows"), difference) | {"unverified": UP, **parts}
        for arm, value in rows.items():
            score = MeanInterval(base + value.mean, base + value.low, base + value.high)
            opposite = DOWN if value.mean > 0 else UP
            values = {metric: score, other: MeanInterval(0.6, 0.5, 0.7)}
            table.append(HeldOutScore(arm, student.name, values, {metric: value, other: opposite}))
    return table


def decide(
    table: list[HeldOutScore], added: AddedRecords = ADDED, metric: str = "macro_f1"
) -> tuple[Choice, str, str]:
    choice = choose(metric, table, make_simple(), MIXED)
    headline = write_headline(choice, metric, table, added, STUDENTS)
    return choice, headline, describe_action(choice, metric, added)


def make_simple(best: Mapping[str, Treatment] = BEST, levels: Mapping[str, float] = VALIDATED) -> SimpleWays:
    """What inner validation said of the best way of each student."""
    scores = [ArmScore(best[name].name, name, level, level, 0.3) for name, level in levels.items()]
    treatments = TREATMENTS.choose(TREATMENTS.defaults)
    return SimpleWays(
        STUDENTS,
        treatments,
        tuple(scores),
        dict(best),
        np.array([15, 300]),
        RowSample(np.arange(315), 315, 315),
    )


@pytest.mark.parametrize(
    ("differences", "says", "arm"),
    [
        (
            (UP, UP),
            "90 written records raised macro-F1 beyond the best way that costs no token",
            "counterpoise",
        ),
        (
            (DOWN, DOWN),
            "Do not train on the 90 written records: logit adjustment is better",
            "logit_adjustment",
        ),
        ((FLAT, FLAT), "90 written records made no measurable difference in macro-F1", "logit_adjustment"),
        ((EDGE, EDGE), "90 written records made no measurable difference", "logit_adjustment"),
        ((FLAT, DOWN), "Do not train on the 90 written records", "logit_adjustment"),
        ((UP, DOWN), "90 written records raised macro-F1 beyond", "counterpoise"),
    ],
)
def test_the_headline_is_what_the_intervals_say(
    differences: tuple[MeanInterval, MeanInterval], says: str, arm: str
) -> None:
    choice, headline, action = decide(make_table(*differences))
    assert headline.startswith(says) and choice.arm == arm
    assert ("raised" in headline) == choice.uses_added == (arm == "counterpoise")
    assert action.count("(") == 1, "one number with its interval"
    if choice.uses_added:
        assert (
            "+0.080 (+0.030 to +0.130) macro-F1 over logit adjustment" in action
            and "add the two up" in action
        )
    else:
        assert action.startswith("Use logit adjustment") and "macro-F1 0.700 (0.700 to 0.700)" in action


def test_a_gain_for_one_student_is_not_told_as_a_gain_for_both() -> None:
    headline = decide(make_table(UP, FLAT))[1]
    assert headline.endswith(f"for {VECTORS.meaning}, with no measurable difference for the other student")
    assert decide(make_table(UP, DOWN))[1].endswith(
        f"for {VECTORS.meaning}, and lowered it for {WORDS.meaning}"
    )
    assert VECTORS.meaning not in decide(make_table(UP, UP))[1]


@pytest.mark.parametrize(
    ("adopted", "written", "says"),
    [
        (
            UP,
            FLAT,
            "163 adopted records raised macro-F1 beyond the best way that costs no token; the 84 written ones",
        ),
        (
            FLAT,
            UP,
            "84 written records raised macro-F1 beyond the best way that costs no token; the 163 adopted ones",
        ),
        (UP, UP, "163 adopted and 84 written records each raised"),
        (FLAT, FLAT, "163 adopted and 84 written records together raised"),
    ],
)
def test_of_adopted_and_written_records_the_headline_names_what_helped(
    adopted: MeanInterval, written: MeanInterval, says: str
) -> None:
    both = AddedRecords(adopted=163, written=84, proposed=300, tokens=1)
    table = make_table(UP, UP, adopted=adopted, written=written)
    assert decide(table, both)[1].startswith(says)
    harmful = make_table(UP, UP, adopted=UP, written=DOWN)
    assert decide(harmful, both)[1].endswith("the 84 written ones alone lowered it")


def test_the_sealed_rows_choose_no_simple_way() -> None:
    table = make_table(FLAT, FLAT, levels=LEVELS | {"nothing": 0.6, "class_weights": 0.9})
    assert decide(table)[0].arm == "logit_adjustment", "another one scored higher there, by chance perhaps"
    better = choose("macro_f1", table, make_simple(levels={VECTORS.name: 0.6, WORDS.name: 0.7}), MIXED)
    assert (better.arm, better.student) == ("balanced_bags", WORDS)


def test_where_the_data_as_it_is_scores_highest_that_is_what_to_do() -> None:
    table = make_table(FLAT, FLAT, levels=LEVELS | {"nothing": 0.75})
    choice, headline, action = decide(table)
    assert choice.arm == "nothing" and headline.endswith("macro-F1: doing nothing is as good")
    assert action.startswith(
        "Train logistic regression on sentence vectors on your rows as they are: macro-F1 0.750"
    )
    # And where a simple way beats what gained something elsewhere.
    low = make_table(MeanInterval(0.02, 0.01, 0.03), FLAT, levels=LEVELS | {"nothing": 0.75})
    choice, headline, _ = decide(low)
    assert (
        choice.arm == "nothing"
        and f"but doing nothing for {VECTORS.meaning} is the choice, and costs no token" in headline
    )


def test_the_metric_is_the_jobs() -> None:
    table = make_table(UP, UP, metric="auroc")
    assert decide(table, metric="auroc")[1].startswith("90 written records raised AUROC")
    assert not decide(table, metric="macro_f1")[0].uses_added


def test_nothing_added_says_what_was_spent_and_what_to_use() -> None:
    table = [row for row in make_table(UP, UP) if row.arm in LEVELS]
    headline = decide(table, AddedRecords())[1]
    assert headline == "No record was added: use logit adjustment, the best way that costs no token"
    headline = decide(table, AddedRecords(proposed=98, reason="copy_of_data", tokens=18_432))[1]
    assert headline.startswith(
        "18,432 tokens were spent and no record was added: all 98 proposals were refused, most as"
    )


def test_the_recommendation_is_the_row_that_the_sentence_is_about() -> None:
    choice = decide(make_table(UP, FLAT))[0]
    told = describe_recommendation(choice, "code")
    assert (told.arm, told.student, told.way) == ("counterpoise", VECTORS.name, "tuned_added")
    assert told.macro_f1_difference == Interval(0.08, 0.03, 0.13) and told.code == "code"


def test_where_nothing_is_trained_no_classifier_is_named() -> None:
    table = make_table(FLAT, FLAT, levels=LEVELS | {"embedding_zero_shot": 0.8})
    best = {**BEST, VECTORS.name: TREATMENTS.find("embedding_zero_shot")}
    action = describe_action(choose("macro_f1", table, make_simple(best), MIXED), "macro_f1", ADDED)
    assert action.startswith("Give each text the label whose description is nearest to its vector")


def test_of_students_that_are_as_good_the_surest_is_advised() -> None:
    table = make_table(FLAT, FLAT)
    best = dict.fromkeys((VECTORS.name, WORDS.name), BASELINE)
    levels = {VECTORS.name: 0.77, WORDS.name: 0.8}
    simple = make_simple(best, levels)
    assert choose("macro_f1", table, simple, best).student is WORDS
    surer = [
        replace(score, log_loss=0.2 if score.student == VECTORS.name else 0.3) for score in simple.scores
    ]
    assert choose("macro_f1", table, replace(simple, scores=tuple(surer)), best).student is VECTORS
    # With a hundred times the rows three points are evident.
    many = replace(simple, scores=tuple(surer), counts=100 * simple.counts)
    assert choose("macro_f1", table, many, best).student is WORDS
