"""The published cascade (RLHN): its recorded verdicts are read and decided as it decides them, by instance.

Paper: Thakur, Zhang, Ma, Lin (2025) "Fixing Data That Hurts Performance: Cascading LLMs to Relabel Hard Negatives for
Robust Information Retrieval".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from counterpoise.actions.relabel.cascade import Candidate, Decision, decide_candidate
from counterpoise.actions.relabel.verdicts import Grade, Judgement, abstain
from counterpoise.data.instances import Passage

_LIST = re.compile(r"\[([^\[\]]*)\]")
_NUMBER = re.compile(r"\d+")


def read_published(text: str, n: int) -> list[Judgement]:
    """Judgements in the tagged text of the published cascade.

    `<verdict><better> ... [Doc (1), Doc (4)] </better><worse> ... [] </worse></verdict>`; passages in neither list
    are not relevant, one in both is a contradiction and so an abstention. Numbers that occur twice in a list count
    once; numbers beyond `n` mean nothing.

    Args:
        text: the whole response.
        n: passages it was asked about.

    Returns:
        n judgements; all abstentions where one of the lists is not there.
    """
    verdict = text[max(text.rfind("<verdict>"), 0) :] if "<verdict>" in text else ""
    found = {}
    for tag in ("better", "worse"):
        block = re.search(rf"<{tag}>(.*?)</{tag}>", verdict, re.DOTALL)
        lists = _LIST.findall(block[1]) if block else []
        if not lists:
            return abstain(n, f"the verdict has no list of {tag} passages")
        found[tag] = {int(number) for item in lists for number in _NUMBER.findall(item)}
    judgements = []
    for number in range(1, n + 1):
        is_better, is_worse = number in found["better"], number in found["worse"]
        if is_better and is_worse:
            judgements.append(Judgement(Grade.ABSTAIN, number, reason="named in both lists"))
        else:
            grade = Grade.BETTER_OR_EQUAL if is_better else Grade.WORSE if is_worse else Grade.NOT_RELEVANT
            judgements.append(Judgement(grade, number))
    return judgements


def decide_from_lists(
    instance: int,
    negatives: Sequence[Passage],
    first: Sequence[Judgement],
    second: Sequence[Judgement] | None,
    *,
    counts_worse: bool = False,
) -> list[Decision]:
    """The outcomes of an instance as the published cascade takes them: by instance, the second judge deciding alone.

    There the second judge sees every negative of an instance in which the first one flagged any.

    Args:
        instance: position of the instance.
        negatives: n passages.
        first: n judgements of the first judge.
        second: n judgements of the second judge, None where it was not asked.
        counts_worse: relabel what is relevant but worse, too.
    """
    candidates = [Candidate(passage) for passage in negatives]
    if second is None or not any(one.is_flag for one in first):
        return [
            decide_candidate(instance, candidate, one, None)
            for candidate, one in zip(candidates, first, strict=True)
        ]
    flagged = [replace(one, grade=Grade.RELEVANT) if one.grade is not Grade.ABSTAIN else one for one in first]
    return [
        decide_candidate(instance, candidate, one, other, counts_worse=counts_worse)
        for candidate, one, other in zip(candidates, flagged, second, strict=True)
    ]
