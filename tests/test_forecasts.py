"""What more records are expected to be worth, told before a token is spent."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from counterpoise.runs.asking import AskOffer, compare_answers, describe_offer
from counterpoise.runs.preview import advise_on_records
from counterpoise.runs.simple_ways import SimpleWays
from counterpoise.students.forecasts import (
    Forecast,
    ForecastRange,
    ThinLoss,
    compute_factor,
    find_ranges,
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


def test_answers_are_compared_with_tokens_student_by_student_as_far_as_is_known() -> None:
    def foresee(value: float) -> list[Forecast]:
        return [Forecast("any", student.name, 20, value, value) for student in STUDENTS]

    said = {student.name: student.name for student in STUDENTS}
    offer = AskOffer(20, 5.0, {0: 12})
    ranges = [ForecastRange(name, "macro_f1", 0.01, 0.035) for name in said]
    sentence = compare_answers(offer, foresee(0.021), ranges, foresee(0.004), said, "macro_f1")
    begin = "20 rows of the pool that you label, some 5 minutes, are expected to bring, in macro-F1, "
    assert sentence.startswith(begin)
    assert sentence.count("+2.1 points (1.0 to 3.5) for") == 2 == sentence.count("(20,000 tokens: +0.4)")
    ranges[1] = ForecastRange(ranges[1].student, "macro_f1", None, None)
    half = compare_answers(offer, foresee(0.021), ranges, [], said, "macro_f1")
    assert half.count("(20,000 tokens: +0.0)") == 1
    assert f"and bring what your rows do not tell for {ranges[1].student}; the command" in half
    nothing = compare_answers(offer, foresee(0.0), [], [], said, "auroc")
    assert "expected" not in nothing and " and ".join(said) in nothing
    plain = describe_offer(offer, ["bad", "good"], ranges, "macro_f1")
    assert plain["gains"] == {ranges[0].student: [0.01, 0.035], ranges[1].student: None}
    assert (plain["answers"], plain["minutes"], plain["records"]) == (20, 5.0, {"bad": 12})


def test_a_forecast_has_a_range_where_every_draw_of_halves_speaks_for_a_gain() -> None:
    draws = {("words", "macro_f1"): (0.02, 0.04), ("words", "auroc"): (-0.01, 0.04)}
    loss = ThinLoss(np.array([15, 90]), {}, np.array([15, 90]), draws)
    known, unknown = find_ranges(loss, {0: 15, 1: 0})
    factor = compute_factor(15, 15)
    assert known.low == pytest.approx(0.02 * factor) and known.high == pytest.approx(0.04 * factor)
    assert unknown.low is None and unknown.high is None
