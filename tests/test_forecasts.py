"""What more records are expected to be worth, told before a token is spent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from counterpoise.runs.forecasting import compare_answers
from counterpoise.runs.preview import advise_on_records
from counterpoise.runs.simple_ways import SimpleWays
from counterpoise.students.forecasts import (
    Forecast,
    compute_factor,
    forecast_gains,
    list_filled,
    measure_thin_loss,
)
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.samples import RowSample
from counterpoise.students.treatments import BASELINE, TREATMENTS
from counterpoise.students.validation import ArmScore, score_arms
from tests.made_up import ENCODER, STUDENTS, WORDS, as_objects

N_FOLDS = 5
WORTH = {"adopt": 0.5, "write": 0.1}


def make_skewed(n_thin: int, n_large: int, seed: int = 0) -> Rows:
    """Texts of two labels that share most words: a few more rows of the thin one tell more of its own words."""
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for label, count in enumerate((n_thin, n_large)):
        for row in range(count):
            own = [f"label{label}word{number}" for number in generator.integers(0, 40, 3)]
            shared = [f"shared{number}" for number in generator.integers(0, 20, 6)]
            texts.append(" ".join([*own, *shared, f"row{label}x{row}"]))
            labels.append(label)
    return make_rows(as_objects(texts), ENCODER.encode(texts), np.array(labels))


def forecast(rows: Rows, counts: Mapping[str, Mapping[int, int]]) -> list[Forecast]:
    ids = as_objects([f"id{row}" for row in range(len(rows))])
    folds = np.arange(len(rows)) % N_FOLDS
    simple = score_arms(rows, folds, 2, STUDENTS, [BASELINE])
    loss = measure_thin_loss(rows, ids, folds, 2, STUDENTS, simple, list_filled(counts))
    return [] if loss is None else forecast_gains(loss, counts, WORTH)


def test_more_records_are_worth_more_and_adopted_ones_most() -> None:
    rows = make_skewed(24, 120)
    few = forecast(rows, {"write": {0: 20}})
    many = forecast(rows, {"write": {0: 80}})
    adopted = forecast(rows, {"adopt": {0: 80}})
    assert [one.student for one in few] == [student.name for student in STUDENTS]
    for less, more, most in zip(few, many, adopted, strict=True):
        assert less.auroc <= more.auroc <= most.auroc
    assert few[1].auroc < many[1].auroc < adopted[1].auroc, "words gain from rows here"
    assert (few[1].n_records, many[1].n_records) == (20, 80)


def test_what_is_written_counts_what_was_adopted_before_it() -> None:
    rows = make_skewed(24, 120)
    both = forecast(rows, {"adopt": {0: 30}, "write": {0: 60}})
    assert [(one.action, one.n_records) for one in both] == [
        ("adopt", 30),
        ("adopt", 30),
        ("write", 90),
        ("write", 90),
    ]
    assert both[3].auroc > both[1].auroc
    alone = forecast(rows, {"write": {0: 60}})
    more = WORTH["adopt"] * 30 + WORTH["write"] * 60
    ratio = compute_factor(24, more) / compute_factor(24, WORTH["write"] * 60)
    assert both[3].auroc == pytest.approx(alone[1].auroc * ratio)


def test_the_loss_is_what_half_of_the_thin_rows_cost() -> None:
    """A doubling is worth 0.71 of what the halving cost, by the root law."""
    rows = make_skewed(24, 120)
    (_, words) = forecast(rows, {"adopt": {0: round(24 / WORTH["adopt"])}})
    folds = np.arange(len(rows)) % N_FOLDS
    full = next(
        score for score in score_arms(rows, folds, 2, STUDENTS, [BASELINE]) if score.student == WORDS.name
    )
    # As rough as a forecast is: within the range of halves that chance draws.
    halves = []
    for seed in range(8):
        dropped = np.random.default_rng(seed).permutation(24)[:12]
        left_out = np.zeros((len(rows), N_FOLDS))
        left_out[dropped] = 1
        scores = score_arms(rows, folds, 2, STUDENTS, [BASELINE], left_out)
        halves.append(next(score.auroc for score in scores if score.student == WORDS.name))
    losses = [full.auroc - half for half in halves]
    assert 0.707 * min(losses) < words.auroc < 0.708 * max(losses)


def test_nothing_is_said_of_labels_that_cannot_be_halved() -> None:
    assert forecast(make_skewed(3, 60), {"write": {0: 50}}) == []
    assert forecast(make_skewed(24, 60), {"adopt": {}, "write": {0: 0}}) == []


def advise(*values: float) -> list[str]:
    """The advice where the best ways of the students are so good and another way is worse."""
    other = TREATMENTS.find("oversampling")
    scores = tuple(
        ArmScore(arm.name, student.name, value, 0.9, 0.3)
        for student, highest in zip(STUDENTS, values, strict=True)
        for arm, value in ((BASELINE, 0.8), (other, highest))
    )
    best = {student.name: other for student in STUDENTS}
    return advise_on_records(
        SimpleWays(
            STUDENTS,
            (BASELINE, other),
            scores,
            best,
            np.array([15, 300]),
            RowSample(np.arange(315), 315, 315),
        ),
        "macro_f1",
    )


def test_a_preview_says_where_there_is_nothing_to_gain() -> None:
    assert advise(0.998, 1.0) == [
        "Do not generate: the best way without tokens leaves less than half a point to gain."
    ]
    (one,) = advise(0.994, 0.996)
    assert one.startswith("Do not generate for logistic regression on words: ")
    assert advise(0.9, 0.8) == []


def test_answers_are_compared_with_tokens_student_by_student() -> None:
    def foresee(value: float) -> list[Forecast]:
        return [Forecast("any", student.name, 20, value, value) for student in STUDENTS]

    said = {student.name: student.name for student in STUDENTS}
    sentence = compare_answers(foresee(0.021), foresee(0.004), said, "macro_f1")
    assert sentence.startswith("20 rows of the pool that you label are expected to bring, in macro-F1, ")
    assert sentence.count("+2.1 points for") == 2 == sentence.count("(20,000 tokens: +0.4)")
    assert compare_answers(foresee(0.021), [], said, "auroc").count("(20,000 tokens: +0.0)") == 2
