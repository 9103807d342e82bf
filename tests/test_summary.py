"""The headline says what the table says, also where that is not what anybody hoped for."""

from __future__ import annotations

import pytest

from counterpoise.job import job_from
from counterpoise.measures import Estimate, HeldOutScore
from counterpoise.students import STUDENTS
from counterpoise.summary import advise

JOB = job_from(data={"text": ["a", "b"], "label": ["x", "y"]}, text="text", label="label")
BEST = {"minilm_lr": "logit_adjustment", "tfidf_lr": "balanced_bags"}
UP, DOWN, FLAT = Estimate(0.08, 0.03, 0.13), Estimate(-0.06, -0.1, -0.02), Estimate(0.01, -0.02, 0.04)
EDGE = Estimate(0.02, 0.0, 0.04)


def make_table(*differences: Estimate, metric: str = "macro_f1") -> list[HeldOutScore]:
    """Rows of our arm for both students, between those of arms that must not be read."""
    other = "auroc" if metric == "macro_f1" else "macro_f1"
    table = []
    for student, difference in zip(STUDENTS, differences, strict=True):
        for arm, value in (("nothing", DOWN), ("added_rows", difference), ("unverified", UP)):
            # The other metric says the opposite.
            opposite = DOWN if value.mean > 0 else UP
            table.append(HeldOutScore(arm, student, {}, {metric: value, other: opposite}))
    return table


@pytest.mark.parametrize(
    ("differences", "says", "never"),
    [
        ((UP, UP), "90 added records raised macro-F1", "Do not"),
        ((DOWN, DOWN), "Do not train on the added records: logit adjustment alone is better", "raised"),
        ((FLAT, FLAT), "90 added records made no measurable difference", "raised"),
        ((EDGE, EDGE), "90 added records made no measurable difference", "raised"),
        ((FLAT, DOWN), "Do not train on the added records: balanced bags alone is better", "raised"),
        ((UP, DOWN), "The 90 added records help minilm_lr, and harm tfidf_lr", "raised"),
        ((DOWN, UP), "The 90 added records help tfidf_lr, and harm minilm_lr", "raised"),
    ],
)
def test_the_headline_is_what_the_intervals_say(
    differences: tuple[Estimate, Estimate], says: str, never: str
) -> None:
    headline, advice = advise(JOB, make_table(*differences), BEST, BEST, 90, 100)
    assert headline.startswith(says) and never not in " ".join([headline, *advice])
    first, second = (
        f"{100 * value.mean:+.1f} points ({100 * value.low:+.1f} to {100 * value.high:+.1f}) for {student}"
        for value, student in zip(differences, STUDENTS, strict=True)
    )
    assert first in advice[0] and second in advice[0]
    if differences != (UP, UP):
        assert any("logit adjustment for minilm_lr; balanced bags for tfidf_lr" in line for line in advice)


def test_a_gain_for_one_student_is_not_told_as_a_gain_for_both() -> None:
    headline, _ = advise(JOB, make_table(FLAT, UP), BEST, BEST, 90, 100)
    assert headline.endswith("for tfidf_lr, with no measurable difference for the other student")
    assert "for" not in advise(JOB, make_table(UP, UP), BEST, BEST, 90, 100)[0].split()


def test_the_metric_is_the_jobs() -> None:
    job = JOB.model_copy(update={"metric": "auroc"})
    headline, _ = advise(job, make_table(UP, UP, metric="auroc"), BEST, BEST, 90, 100)
    assert headline.startswith("90 added records raised AUROC")
    headline, _ = advise(JOB, make_table(UP, UP, metric="auroc"), BEST, BEST, 90, 100)
    assert headline.startswith("Do not train")


def test_nothing_added_is_no_gain_and_says_what_to_use() -> None:
    table = [row for row in make_table(UP, UP) if row.arm != "added_rows"]
    headline, advice = advise(JOB, table, BEST, BEST, 0, 0)
    assert headline == "No record was added: use logit adjustment, the best way that costs no token"
    assert "balanced bags for tfidf_lr" in advice[0]


def test_a_pool_is_asked_for_where_there_is_none() -> None:
    assert not any("`pool`" in line for line in advise(JOB, make_table(UP, UP), BEST, BEST, 90, 5)[1])
    assert "`pool`" in advise(JOB, make_table(UP, UP), BEST, BEST, 90, 0)[1][-1]
