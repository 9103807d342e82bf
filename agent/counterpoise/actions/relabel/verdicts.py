"""What a judge says of a numbered passage, and how it is read out of its reply.

What is read is the structured reply of the prompts `relevance_flag` and `relevance_verdict`. A reply that cannot be
read is an abstention for every passage it was asked about; it never counts as "no false negative".

Paper: Thakur, Zhang, Ma, Lin (2025) "Fixing Data That Hurts Performance: Cascading LLMs to Relabel Hard Negatives for
Robust Information Retrieval".
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SHORTEST_EVIDENCE = 12
"""Characters (of letters and digits) below which a quotation proves nothing."""

_WORDS = re.compile(r"\w+")


class Grade(enum.StrEnum):
    """What a judge says of a passage."""

    BETTER_OR_EQUAL = "better_or_equal"
    WORSE = "worse"
    RELEVANT = "relevant"
    NOT_RELEVANT = "not_relevant"
    ABSTAIN = "abstain"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The word of one judge on one passage.

    Args:
        grade: `relevant` comes from the first stage only, which does not compare with the reference.
        number: the passage's number in the shuffled list that the judge saw, from 1.
        evidence: the words of the passage that the judge quoted, "" where it was asked for none.
        reason: why there is no grade, "" where there is one.
    """

    grade: Grade
    number: int = 0
    evidence: str = ""
    reason: str = ""

    @property
    def is_flag(self) -> bool:
        """Whether it calls for a second look."""
        return self.grade in (Grade.RELEVANT, Grade.BETTER_OR_EQUAL, Grade.WORSE)


NO_ANSWER = Judgement(Grade.ABSTAIN, reason="the budget is spent")


def abstain(n: int, reason: str) -> list[Judgement]:
    """An abstention for each of `n` passages."""
    return [Judgement(Grade.ABSTAIN, number, reason=reason) for number in range(1, n + 1)]


def read_flags(reply: Mapping[str, Any], n: int) -> list[Judgement]:
    """Judgements of the first stage, in the order of the numbers.

    Args:
        reply: parsed reply of the prompt `relevance_flag`.
        n: passages it was asked about. Numbers beyond it mean nothing and are passed over; a passage that is not
            named, or is named twice with different answers, is an abstention.
    """
    said = _by_number(reply["verdicts"], n)
    return [
        _settle(
            number, answers, lambda one: Grade.RELEVANT if one["relevant"] == "yes" else Grade.NOT_RELEVANT
        )
        for number, answers in said.items()
    ]


def read_grades(reply: Mapping[str, Any], passages: Sequence[str]) -> list[Judgement]:
    """Judgements of the second stage, in the order of the numbers.

    A passage that is called relevant needs a quotation that really stands in it; without one the judge is not
    believed and the passage is an abstention.

    Args:
        reply: parsed reply of the prompt `relevance_verdict`.
        passages: the texts as they were shown, in the order of their numbers.
    """
    said = _by_number(reply["verdicts"], len(passages))
    judgements = []
    for number, answers in said.items():
        judgement = _settle(number, answers, lambda one: Grade(one["grade"]))
        quoted = str(answers[0].get("evidence", "")) if answers else ""
        if judgement.is_flag and not is_quoted(quoted, passages[number - 1]):
            judgement = Judgement(Grade.ABSTAIN, number, quoted, "the quoted evidence is not in the passage")
        elif judgement.is_flag:
            judgement = Judgement(judgement.grade, number, quoted)
        judgements.append(judgement)
    return judgements


def is_quoted(evidence: str, passage: str) -> bool:
    """Whether a quotation stands word for word in a passage; case, punctuation and white space are nothing.

    >>> is_quoted("Oral iron is  absorbed", "In short: oral iron is absorbed slowly.")
    True
    """
    words = " ".join(_WORDS.findall(evidence.casefold()))
    whole = " ".join(_WORDS.findall(passage.casefold()))
    return (len(words) >= SHORTEST_EVIDENCE or words == whole != "") and words in whole


def _by_number(verdicts: Sequence[Mapping[str, Any]], n: int) -> dict[int, list[Mapping[str, Any]]]:
    said: dict[int, list[Mapping[str, Any]]] = {number: [] for number in range(1, n + 1)}
    for one in verdicts:
        if one["number"] in said:
            said[one["number"]].append(one)
    return said


def _settle(number: int, answers: Sequence[Mapping[str, Any]], grade_of: Any) -> Judgement:
    """One judgement out of what was said of a number: nothing, one thing, or several."""
    if not answers:
        return Judgement(Grade.ABSTAIN, number, reason="the reply does not name this passage")
    grades = Counter(grade_of(one) for one in answers)
    if len(grades) > 1:
        return Judgement(
            Grade.ABSTAIN, number, reason="the reply names this passage twice, with different answers"
        )
    return Judgement(next(iter(grades)), number)
