"""What follows from what the judges said: estimates, what is withheld, ambiguous queries, decisions row by row.

Everything is counted by query and passage, in however many rows a pair stands; only the decisions that are handed back
go by row. Where gold tells how many of the relabelled are right, and that is not surely enough, they are dropped from
the negatives instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from counterpoise.actions.relabel.cascade import Decision, Outcome, is_ambiguous
from counterpoise.actions.relabel.cases import Case
from counterpoise.actions.relabel.estimates import Estimates, estimate
from counterpoise.actions.relabel.gold_pairs import GoldMatch
from counterpoise.actions.relabel.judge_audits import JudgeAudit, Planted, audit_judge
from counterpoise.actions.relabel.result import Meter, PositiveCheck, RelabelledInstances
from counterpoise.actions.relabel.verdicts import Grade, Judgement
from counterpoise.balance.rates import count_rate
from counterpoise.core.splits import keyed_hash
from counterpoise.data.instances import Instance

NO_ANSWER = Judgement(Grade.ABSTAIN, reason="the budget is spent")


@dataclass
class Findings:
    """What is known of a relabelling while it goes on.

    Args:
        instances: the rows that were given.
        cases: the queries that they hold.
        gold: what gold says of their candidates.
        decided: number of a case -> decisions of the judges on its candidates.
        planted: what the judges said of planted passages.
        audits: of the judges.
        checks: of known positives.
        meters: by source.
        paused: numbers of cases whose source was paused.
        sampled_share: part of the unflagged that the second judge reads, 0..1.
        is_cut: the budget ended first.
    """

    instances: Sequence[Instance]
    cases: Sequence[Case]
    gold: GoldMatch
    decided: dict[int, list[Decision]] = field(default_factory=dict)
    planted: list[Planted] = field(default_factory=list)
    audits: list[JudgeAudit] = field(default_factory=list)
    checks: list[PositiveCheck] = field(default_factory=list)
    meters: dict[str, Meter] = field(default_factory=dict)
    paused: set[int] = field(default_factory=set)
    sampled_share: float = 0.0
    is_cut: bool = False


def is_random(case: Case, text: str, share: float) -> bool:
    """Whether an unflagged candidate is one of the random part that the second judge reads."""
    return keyed_hash("unflagged", f"{case.query}\0{text}") < share * 2**64


def conclude(
    found: Findings, *, most_relabels: int | None, counts_worse: bool, min_precision: float, tokens: int
) -> RelabelledInstances:
    """What came of it; gold candidates complete the audits.

    Args:
        found: all that was found.
        most_relabels: a query with more is ambiguous; None for no limit.
        counts_worse: whether what is relevant but worse was relabelled, too.
        min_precision: relabel only where the lower end of precision is at least this; else drop.
        tokens: that were spent.
    """
    known = [*found.planted, *_list_gold(found)]
    audits = found.audits
    if len(known) > len(found.planted):
        audits = [audit_judge(one.stage, one.model, known) for one in audits]
    is_passed = all(one.is_passed for one in audits)
    decided = found.decided if is_passed else {}
    estimates = None
    if is_passed and len(audits) == 2 and any(decided.values()):
        estimates = _estimate(found, known, counts_worse=counts_worse)
    ambiguous = {number for number, some in decided.items() if is_ambiguous(some, most_relabels)}
    withheld, decided = _withhold(decided, estimates, min_precision)
    rows: dict[int, list[Decision]] = {}
    for meter in found.meters.values():
        meter.outcomes.clear()  # until now they counted what the judges did
    for case in found.cases:
        some = [*case.settled, *decided.get(case.number, ())]
        rows |= case.spread(some)
        found.meters[case.source].outcomes.update(one.outcome for one in some)
    return RelabelledInstances(
        before=found.instances,
        sources=_list_sources(found),
        decisions=dict(sorted(rows.items())),
        positives=sorted(found.checks, key=lambda one: one.instance),
        audits=audits,
        meters=[found.meters[source] for source in sorted(found.meters)],
        ambiguous=frozenset(place for number in ambiguous for place in found.cases[number].rows),
        estimates=estimates,
        withheld=withheld,
        is_cut=found.is_cut,
        tokens=tokens,
        gold=found.gold,
    )


def _list_sources(found: Findings) -> list[str]:
    sources = [""] * len(found.instances)
    for case in found.cases:
        for place in case.rows:
            sources[place] = case.source
    return sources


def _withhold(
    decided: dict[int, list[Decision]], estimates: Estimates | None, least: float
) -> tuple[str, dict[int, list[Decision]]]:
    """Drop instead of relabelling where too few are surely right; says why, "" where there is nothing to say."""
    if estimates is None:
        return "", decided
    precision = estimates.precision
    n_relabels = sum(one.outcome is Outcome.RELABEL for some in decided.values() for one in some)
    # Without gold precision is NaN, and not below anything. With gold it is NaN where judges relabel right and
    # wrong candidates nearly alike: that too few are right is then known well enough.
    is_guessing = np.isnan(precision.low) and estimates.false_alarms.n and n_relabels
    if not (precision.low < least or is_guessing):
        return "", decided
    why = "precision is not surely at least min_precision: dropped, not relabelled"
    dropped = {
        number: [
            replace(one, outcome=Outcome.DROP, reason=f"{one.reason}; {why}")
            if one.outcome is Outcome.RELABEL
            else one
            for one in some
        ]
        for number, some in decided.items()
    }
    if is_guessing:
        return (
            f"on gold {estimates.false_alarms} of the wrong candidates would be relabelled and "
            f"{estimates.recall_known} of the right ones, too near for min_precision = {least:g}: dropped, not "
            "relabelled"
        ), dropped
    return (
        f"precision is estimated at {precision}, below what min_precision = {least:g} asks surely: dropped, not "
        "relabelled"
    ), dropped


def _list_gold(found: Findings) -> list[Planted]:
    """Candidates that gold speaks of, with what the judges said of them."""
    return [
        Planted(answers[text], "gold", one.first, one.second, case.query)
        for case, one in _list_judged(found)
        if one.first is not None
        and (answers := found.gold.answers.get(case.number, {}))
        and (text := one.candidate.passage.full_text) in answers
    ]


def _list_judged(found: Findings) -> Iterator[tuple[Case, Decision]]:
    """Decisions on candidates that went all the way, as far as they had to."""
    for number, decided in sorted(found.decided.items()):
        if number in found.paused:
            continue
        for one in decided:
            if one.first not in (None, NO_ANSWER) and one.second is not NO_ANSWER:
                yield found.cases[number], one


def _estimate(found: Findings, known: Sequence[Planted], *, counts_worse: bool) -> Estimates:
    judged = list(_list_judged(found))
    answered = [(case, one) for case, one in judged if one.first and one.first.grade is not Grade.ABSTAIN]
    sampled = [
        (case.query, one.second.grade is Grade.BETTER_OR_EQUAL)
        for case, one in answered
        if one.is_sampled
        and one.second is not None
        and one.second.grade is not Grade.ABSTAIN
        and is_random(case, one.candidate.passage.full_text, found.sampled_share)
    ]
    return estimate(
        known,
        n_judged=len(judged),
        n_relabelled=sum(one.outcome is Outcome.RELABEL for _, one in judged),
        n_confirmed=sum(
            one.second is not None and one.second.grade is Grade.BETTER_OR_EQUAL and not one.is_sampled
            for _, one in judged
        ),
        n_unflagged=sum(one.first is not None and not one.first.is_flag for _, one in answered),
        missed=count_rate(sampled),
        counts_worse=counts_worse,
    )
