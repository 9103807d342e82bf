"""The evaluation of answers: what its lines say of scores that are known."""

from __future__ import annotations

import pytest

from evals.asked import ARMS, WRITTEN, list_written, summarise
from evals.students import STUDENTS, VECTORS


def test_gains_and_their_ratio_are_counted_from_nothing_and_summed_over_sets() -> None:
    values = dict(zip(ARMS, (0.5, 0.52, 0.53, 0.54, 0.56, 0.6), strict=True))
    one = {(arm, student): [value, value] for arm, value in values.items() for student in STUDENTS}
    two = {key: [value + 0.02 * (key[0] == "asked_random") for value in mine] for key, mine in one.items()}
    for sets, ratio, gain in (([one], 1.5, 3.0), ([one, two], 1.0, 6.0)):
        lines = {(line.data, line.arm, line.metric): line for line in summarise("set", sets)}
        mine = lines[f"set/{VECTORS}", "asked_anchors", "anchors_over_random"]
        assert mine.value == pytest.approx(ratio) and mine.low == pytest.approx(mine.high)
        assert lines[f"set/{VECTORS}", "asked_anchors", "gain_points"].value == pytest.approx(gain)
        assert lines[f"set/{VECTORS}", "asked_anchors_adopted", "points_over_adopted"].value > 0
        assert ((f"set/{VECTORS}", "nothing", "macro_f1") in lines) == (len(sets) == 1)


def test_what_was_written_is_told_beside_of_the_sets_that_are_measured() -> None:
    line = {"arm": WRITTEN, "metric": "macro_f1_gain", "value": 0.01, "low": -0.01, "high": 0.03, "n": 3}
    lines = [
        line | {"data": "cebab/tfidf_lr"},
        line | {"data": "sms_spam/tfidf_lr"},
        line | {"data": "cebab/tfidf_lr", "arm": "x"},
    ]
    (one,) = list_written(lines, ["cebab"])
    assert (one.data, one.arm, one.unit) == ("cebab/words", "written", "points")
    assert one.value == pytest.approx(1.0)
