"""Reading verdicts, and what two of them mean: constructed cases of every kind, and the recorded ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from counterpoise.actions.relabel.cascade import (
    Candidate,
    Outcome,
    decide_candidate,
    is_ambiguous,
)
from counterpoise.actions.relabel.verdicts import (
    Grade,
    Judgement,
    abstain,
    is_quoted,
    read_flags,
    read_grades,
)
from counterpoise.data.instances import Passage
from evals.published_cascade import decide_from_lists, read_published

TEXTS = [
    "oral iron is absorbed slowly in adults",
    "the weather was fine on that day",
    "iron is a metal found in ore",
]


def grades(judgements: list[Judgement]) -> list[str]:
    return [str(one.grade) for one in judgements]


def flag(number: int, relevant: str) -> dict[str, object]:
    return {"number": number, "relevant": relevant}


def grade(number: int, grade: str, evidence: str = "") -> dict[str, object]:
    return {"number": number, "grade": grade, "evidence": evidence}


@pytest.mark.parametrize(
    ("verdicts", "wanted"),
    [
        ([flag(1, "yes"), flag(2, "no")], ["relevant", "not_relevant"]),
        ([flag(2, "no"), flag(1, "yes")], ["relevant", "not_relevant"]),
        ([flag(1, "yes")], ["relevant", "abstain"]),
        ([flag(1, "yes"), flag(1, "yes"), flag(2, "no")], ["relevant", "not_relevant"]),
        ([flag(1, "yes"), flag(1, "no"), flag(2, "no")], ["abstain", "not_relevant"]),
        (
            [flag(0, "yes"), flag(3, "yes"), flag(-1, "yes"), flag(1, "no"), flag(2, "no")],
            ["not_relevant"] * 2,
        ),
        ([], ["abstain", "abstain"]),
    ],
)
def test_flags_are_read_and_what_is_unclear_is_an_abstention(verdicts: list[Any], wanted: list[str]) -> None:
    assert grades(read_flags({"criterion": "", "verdicts": verdicts}, 2)) == wanted


@pytest.mark.parametrize(
    ("verdicts", "wanted"),
    [
        ([grade(1, "better_or_equal", "Oral iron is  absorbed")], "better_or_equal"),
        ([grade(1, "worse", "iron is absorbed slowly")], "worse"),
        ([grade(1, "not_relevant")], "not_relevant"),
        ([grade(1, "better_or_equal", "iron is absorbed quickly")], "abstain"),
        ([grade(1, "better_or_equal", "")], "abstain"),
        ([grade(1, "better_or_equal", "is")], "abstain"),
        ([grade(1, "worse", "iron is absorbed slowly"), grade(1, "not_relevant")], "abstain"),
    ],
)
def test_a_grade_needs_a_quotation_that_stands_in_the_passage(verdicts: list[Any], wanted: str) -> None:
    found = read_grades({"criterion": "", "verdicts": [*verdicts, grade(2, "not_relevant")]}, TEXTS[:2])
    assert grades(found) == [wanted, "not_relevant"]


def test_a_short_passage_may_be_quoted_whole() -> None:
    assert is_quoted("Yes.", "yes") and not is_quoted("yes", "yes, but not today")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<verdict><better> x: [Doc (2)] </better>, <worse> y: [] </worse></verdict>", "nbn"),
        ("<verdict><better> [] </better><worse> [Doc (3), Doc (1)] </worse></verdict>", "wnw"),
        ("<verdict><better>[Doc (1), Doc (1)]</better><worse>[Doc (9), Doc (0)]</worse></verdict>", "bnn"),
        ("<verdict><better>[Doc (1)]</better><worse>[Doc (1), Doc (2)]</worse></verdict>", "awn"),
        ("<verdict><better>[Doc (1)]</better></verdict>", "aaa"),
        ("<verdict><better>none</better><worse>[]</worse></verdict>", "aaa"),
        ("<better>[Doc (1)]</better><worse>[]</worse>", "aaa"),
        ("I cannot judge these.", "aaa"),
        ("", "aaa"),
        ("<verdict><better>[Doc (1)]</better><worse>[]</worse></verdict> no, wait: "
         "<verdict><better>[]</better><worse>[Doc (1)]</worse></verdict>", "wnn"),
    ],
)  # fmt: skip
def test_the_published_form_is_read(text: str, wanted: str) -> None:
    letters = {"b": "better_or_equal", "w": "worse", "n": "not_relevant", "a": "abstain"}
    assert grades(read_published(text, 3)) == [letters[letter] for letter in wanted]


@pytest.mark.parametrize(
    ("first", "second", "sampled", "wanted"),
    [
        ("relevant", "better_or_equal", False, "relabel"),
        ("relevant", "worse", False, "drop"),
        ("relevant", "not_relevant", False, "keep"),
        ("relevant", "abstain", False, "abstain"),
        ("relevant", None, False, "abstain"),
        ("not_relevant", None, False, "keep"),
        ("not_relevant", "better_or_equal", True, "keep"),
        ("abstain", None, False, "abstain"),
        ("abstain", "better_or_equal", False, "abstain"),
    ],
)
def test_two_judgements_give_one_outcome(first: str, second: str | None, sampled: bool, wanted: str) -> None:
    decision = decide_candidate(
        0,
        Candidate(Passage("a", "text")),
        Judgement(Grade(first), 1),
        Judgement(Grade(second), 1) if second else None,
        is_sampled=sampled,
    )
    assert decision.outcome == wanted and decision.reason


def test_worse_can_count_as_a_false_negative() -> None:
    candidate = Candidate(Passage("a", "text"))
    first, second = Judgement(Grade.RELEVANT, 1), Judgement(Grade.WORSE, 1)
    assert decide_candidate(0, candidate, first, second, counts_worse=True).outcome is Outcome.RELABEL


def test_the_guard_counts_relabels_above_k() -> None:
    first, second = Judgement(Grade.RELEVANT, 1), Judgement(Grade.BETTER_OR_EQUAL, 1)
    made = [decide_candidate(0, Candidate(Passage(str(one), "")), first, second) for one in range(8)]
    assert is_ambiguous(made) and not is_ambiguous(made[:7]) and not is_ambiguous(made, None)
    assert is_ambiguous(made[:3], 2)


def test_lists_without_a_second_look_keep_everything_only_where_nothing_is_flagged() -> None:
    negatives = [Passage(str(one), "") for one in range(2)]
    nothing = [Judgement(Grade.NOT_RELEVANT, one + 1) for one in range(2)]
    flagged = [Judgement(Grade.WORSE, 1), nothing[1]]
    assert [one.outcome for one in decide_from_lists(0, negatives, nothing, None)] == ["keep", "keep"]
    assert [one.outcome for one in decide_from_lists(0, negatives, flagged, None)] == ["abstain", "keep"]
    assert [one.outcome for one in decide_from_lists(0, negatives, flagged, abstain(2, "cut"))] == [
        "abstain"
    ] * 2


@pytest.mark.data
def test_recorded_verdicts_are_parsed_and_decided_as_recorded(data_dir: Path) -> None:
    with gzip.open(data_dir / "rlhn_sample" / "fiqa.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    n_relabelled = 0
    for row in rows:
        negatives = [Passage(one["id"], one["text"]) for one in row["negatives"]]
        first = read_published(row["stage1_gpt4o_mini"]["response"], len(negatives))
        last = row["stage2_gpt4o"]
        second = read_published(last["response"], len(negatives)) if last else None
        decided = decide_from_lists(0, negatives, first, second)
        for outcome, name in (("relabel", "false_negative_ids"), ("drop", "worse_relevant_ids")):
            found = {one.candidate.passage.id for one in decided if one.outcome == outcome}
            assert found == set(last[name] if last else ())
        n_relabelled += sum(one.outcome is Outcome.RELABEL for one in decided)
    assert len(rows) == 25 and n_relabelled == 2
