"""What two judgements of a candidate mean: relabel, drop, keep or abstain. Pure functions, no model.

| first stage | second stage | outcome |
|---|---|---|
| not relevant | not asked, or asked only to see what the first stage misses | keep |
| relevant | better or equal to the known positives | relabel |
| relevant | relevant, but worse | drop from the negatives |
| relevant | not relevant | keep |
| no answer | any | abstain: left as it is, and counted |
| relevant | no answer, or its evidence is not in the passage | abstain |

What repeats a known positive is dropped without being asked about. Where gold shows that too few of what would be
relabelled are surely right, it is dropped, too (see `conclusions`). A query with more than `most_relabels` relabelled
candidates is ambiguous: its instance is left out of the result.

Paper: Thakur, Zhang, Ma, Lin (2025), whose released code keeps up to 8 and whose text drops above 7.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from counterpoise.actions.relabel.verdicts import Grade, Judgement
from counterpoise.data.instances import Passage

MOST_RELABELS = 7
"""Default of the ambiguity guard."""

MIN_PRECISION = 0.7
"""Share of right ones among the relabelled from which a retriever was better for them than for dropping them.

Where 0.8 were right it gained 0.0013 nDCG@10, where 0.7 were it lost 0.0007 (`python -m evals false_negatives --only
break_even`).
"""


class Outcome(enum.StrEnum):
    """What becomes of a candidate."""

    RELABEL = "relabel"
    DROP = "drop"
    KEEP = "keep"
    ABSTAIN = "abstain"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that may answer the query although it is not among its positives.

    Args:
        passage: the passage.
        is_mined: found in the corpus by us; it was not among the instance's negatives, and never becomes one.
    """

    passage: Passage
    is_mined: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided on a candidate, and why.

    Args:
        instance: position of the instance in the data, from 0.
        candidate: the candidate.
        outcome: what becomes of it.
        reason: in words.
        first: what the first judge said, None where it was not asked.
        second: what the second judge said, None where it was not asked.
        is_sampled: not flagged; the second judge was asked only to see what the first one misses.
    """

    instance: int
    candidate: Candidate
    outcome: Outcome
    reason: str
    first: Judgement | None = None
    second: Judgement | None = None
    is_sampled: bool = False

    @classmethod
    def leave(cls, instance: int, candidate: Candidate, reason: str, first: Judgement | None) -> Decision:
        """A candidate that is left as it is."""
        return cls(instance, candidate, Outcome.ABSTAIN, reason, first)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; the passage's text is left out."""
        return {
            "passage_id": self.candidate.passage.id,
            "mined": self.candidate.is_mined,
            "outcome": str(self.outcome),
            "reason": self.reason,
            "first": _show(self.first),
            "second": _show(self.second),
            "sampled": self.is_sampled,
        }


def decide_candidate(
    instance: int,
    candidate: Candidate,
    first: Judgement,
    second: Judgement | None,
    *,
    is_sampled: bool = False,
    counts_worse: bool = False,
) -> Decision:
    """The outcome of one candidate.

    Args:
        instance: position of its instance.
        candidate: the candidate.
        first: of the first judge.
        second: of the second judge, None where it was not asked.
        is_sampled: the second judge was asked although the first did not flag; that decides nothing.
        counts_worse: relabel what is relevant but worse, too (as the released code of the paper does).
    """

    def decide(outcome: Outcome, reason: str) -> Decision:
        return Decision(instance, candidate, outcome, reason, first, second, is_sampled)

    if first.grade is Grade.ABSTAIN:
        return decide(Outcome.ABSTAIN, f"first judge: {first.reason}")
    if second is None or is_sampled:
        if first.is_flag:
            return decide(Outcome.ABSTAIN, "flagged, but the second judge was not asked")
        return decide(Outcome.KEEP, "first judge: not relevant")
    if second.grade is Grade.ABSTAIN:
        return decide(Outcome.ABSTAIN, f"second judge: {second.reason}")
    if second.grade is Grade.NOT_RELEVANT:
        return decide(Outcome.KEEP, "second judge: not relevant")
    if second.grade is Grade.BETTER_OR_EQUAL or counts_worse:
        return decide(Outcome.RELABEL, f"second judge: {str(second.grade).replace('_', ' ')}")
    return decide(Outcome.DROP, "second judge: relevant, but worse than the known positives")


def is_ambiguous(decisions: Sequence[Decision], most_relabels: int | None = MOST_RELABELS) -> bool:
    """Whether more candidates of one instance were relabelled than a clear query has; None allows any number."""
    n_relabels = sum(decision.outcome is Outcome.RELABEL for decision in decisions)
    return most_relabels is not None and n_relabels > most_relabels


def _show(judgement: Judgement | None) -> dict[str, Any] | None:
    if judgement is None:
        return None
    shown = {"grade": str(judgement.grade), "number": judgement.number}
    return shown | ({"evidence": judgement.evidence} if judgement.evidence else {})
