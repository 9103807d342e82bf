"""What follows from what the judges said: estimates, what is withheld, ambiguous queries, decisions row by row.

Everything is counted by query and passage, in however many rows a pair stands; only the decisions that are handed back
go by row. Where gold tells how many of the relabelled are right, and that is not surely enough, they are dropped from
the negatives instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from counterpoise.actions.relabel.cascade import Decision, Outcome, is_ambiguous
from counterpoise.actions.relabel.cases import Case
from counterpoise.actions.relabel.decisions import JudgedCases
from counterpoise.actions.relabel.estimates import Estimates, estimate
from counterpoise.actions.relabel.judge_audits import PairAudit, PlantedPassage, audit_judge
from counterpoise.actions.relabel.preparation import CascadeSettings, PreparedCases, is_random
from counterpoise.actions.relabel.result import RelabelledInstances, SourceMeter
from counterpoise.actions.relabel.verdicts import NO_ANSWER, Grade
from counterpoise.balance.rates import count_rate


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found out for tokens.

    Args:
        prepared: what was to be judged.
        audit: of the judges.
        judged: what they said of the cases; nothing where one of them failed.
        meters: by source.
        sampled_share: part of the unflagged that the second judge reads, 0..1.
    """

    prepared: PreparedCases
    audit: PairAudit
    judged: JudgedCases
    meters: Mapping[str, SourceMeter]
    sampled_share: float


def conclude(found: Findings, settings: CascadeSettings, *, tokens: int) -> RelabelledInstances:
    """What came of it; gold candidates complete the audits.

    Args:
        found: all that was found.
        settings: of the cascade; `most_relabels`, `counts_worse` and `min_precision` decide here.
        tokens: that were spent.
    """
    prepared, planted = found.prepared, found.audit.planted
    known = [*planted, *_list_gold(found)]
    audits = found.audit.audits
    if len(known) > len(planted):
        audits = [audit_judge(one.stage, one.model, known) for one in audits]
    is_passed = all(one.is_passed for one in audits)
    decided = found.judged.decided if is_passed else {}
    estimates = None
    if is_passed and len(audits) == 2 and any(decided.values()):
        estimates = _estimate(found, known, counts_worse=settings.counts_worse)
    ambiguous = {number for number, some in decided.items() if is_ambiguous(some, settings.most_relabels)}
    withheld, decided = _withhold(decided, estimates, settings.min_precision)
    rows: dict[int, list[Decision]] = {}
    # The meters counted what the judges would do.
    outcomes: dict[str, Counter[str]] = {source: Counter() for source in found.meters}
    for case in prepared.cases:
        some = [*case.settled, *decided.get(case.number, ())]
        rows |= case.spread(some)
        outcomes[case.source].update(one.outcome for one in some)
    return RelabelledInstances(
        before=prepared.instances,
        sources=_list_sources(prepared),
        decisions=dict(sorted(rows.items())),
        positives=sorted(found.judged.checks, key=lambda one: one.instance),
        audits=audits,
        meters=[replace(found.meters[source], outcomes=outcomes[source]) for source in sorted(found.meters)],
        ambiguous=frozenset(place for number in ambiguous for place in prepared.cases[number].rows),
        estimates=estimates,
        withheld=withheld,
        is_cut=found.audit.is_cut or found.judged.is_cut,
        tokens=tokens,
        gold=prepared.gold,
    )


def _list_sources(prepared: PreparedCases) -> list[str]:
    sources = [""] * len(prepared.instances)
    for case in prepared.cases:
        for place in case.rows:
            sources[place] = case.source
    return sources


def _withhold(
    decided: Mapping[int, Sequence[Decision]], estimates: Estimates | None, least: float
) -> tuple[str, Mapping[int, Sequence[Decision]]]:
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


def _list_gold(found: Findings) -> list[PlantedPassage]:
    """Candidates that gold speaks of, with what the judges said of them."""
    return [
        PlantedPassage(answers[text], "gold", one.first, one.second, case.query)
        for case, one in _list_judged(found)
        if one.first is not None
        and (answers := found.prepared.gold.answers.get(case.number, {}))
        and (text := one.candidate.passage.full_text) in answers
    ]


def _list_judged(found: Findings) -> Iterator[tuple[Case, Decision]]:
    """Decisions on candidates that went all the way, as far as they had to."""
    for number, decided in sorted(found.judged.decided.items()):
        if number in found.judged.paused:
            continue
        for one in decided:
            if one.first not in (None, NO_ANSWER) and one.second is not NO_ANSWER:
                yield found.prepared.cases[number], one


def _estimate(found: Findings, known: Sequence[PlantedPassage], *, counts_worse: bool) -> Estimates:
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
