"""Audits of the two judges: on known positives that were no reference, and on strangers.

A known positive is taken out of a query's reference and planted among that query's negatives; beside it stands a
random passage. What the judges say of the planted ones is their sensitivity and specificity. Random passages are easy
to refuse, so that specificity flatters: where gold says of mined negatives that they are right or wrong, it is measured
on these too, else it is unknown. A judge whose AUROC cannot be told from weak decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise.actions.relabel.cases import Case, sort_by_hash
from counterpoise.actions.relabel.judges import Judge, Question, Stage
from counterpoise.actions.relabel.verdicts import Grade, Judgement
from counterpoise.balance.rates import Rate, count_rate
from counterpoise.core.event_kinds import JudgeAudited
from counterpoise.core.events import tell_event
from counterpoise.core.splits import keyed_rank
from counterpoise.data.instances import Passage
from counterpoise.scorers.audits import WEAK_AUROC, Audit, audit

FEWEST_PLANTED = 10
"""Known positives below which there is no audit to speak of."""

_SCORES = {
    Grade.BETTER_OR_EQUAL: 0.95,
    Grade.RELEVANT: 0.95,
    Grade.WORSE: 0.6,
    Grade.ABSTAIN: 0.3,
    Grade.NOT_RELEVANT: 0.05,
}
"""Grades as probabilities of being relevant; only their order and the side of one half matter."""


@dataclass(frozen=True, slots=True)
class PlantedPassage:
    """A passage whose answer is known, and what the judges said of it.

    Args:
        is_relevant: the known answer.
        kind: `positive` or `random` (planted), or `gold` (a candidate that gold speaks of).
        first: of the first judge.
        second: of the second judge.
        query: what it was judged for; "" for one of its own.
    """

    is_relevant: bool
    kind: str
    first: Judgement
    second: Judgement | None
    query: str = ""

    def is_relabelled(self, *, counts_worse: bool = False) -> bool:
        """Whether both stages together would make it a positive."""
        grades = (Grade.BETTER_OR_EQUAL, Grade.WORSE) if counts_worse else (Grade.BETTER_OR_EQUAL,)
        return self.first.is_flag and self.second is not None and self.second.grade in grades


@dataclass(frozen=True)
class JudgeAudit:
    """What one judge is worth.

    Args:
        stage: which judge.
        model: its name.
        audit: AUROC, accuracy, kappa on everything known; None where too little is.
        sensitivity: share of known relevant passages that it calls relevant (any grade).
        specificity_random: share of planted random passages that it calls not relevant.
        specificity_mined: the same on mined negatives that gold calls wrong; unknown without gold.
        abstained: share of known passages that it gave no answer on.
        reason: the commonest reason why it gave none, "" where it always did.
    """

    stage: Stage
    model: str
    audit: Audit | None
    sensitivity: Rate
    specificity_random: Rate
    specificity_mined: Rate
    abstained: Rate
    reason: str = ""

    @property
    def is_passed(self) -> bool:
        """Whether it may decide."""
        return self.audit is not None and not self.audit.is_weak

    @property
    def sentence(self) -> str:
        """What the audit found, for people."""
        who = f"The {self.stage} judge ({self.model})"
        if 0 < self.abstained.n == self.abstained.k:
            share = f"{self.abstained.k} of {self.abstained.n}"
            return f"{who} gave no usable reply on {share} known passages: {self.reason}."
        if self.audit is None:
            return (
                f"{who} could not be audited: {self.sensitivity.n} known positives, at least {FEWEST_PLANTED} "
                "are needed."
            )
        numbers = (
            f"AUROC {self.audit.auc:.2f} ({self.audit.auc_low:.2f} to {self.audit.auc_high:.2f}), known positives "
            f"recognised {self.sensitivity}, random passages refused {self.specificity_random}, mined negatives "
            f"refused {self.specificity_mined}"
        )
        if self.abstained.k:
            numbers += f", no answer on {self.abstained.k} of {self.abstained.n} ({self.reason})"
        if self.is_passed:
            return f"{who} passed its audit: {numbers}."
        return f"{who} failed its audit: {numbers}; its AUROC would have to be above {WEAK_AUROC} for sure."

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "stage": self.stage,
            "model": self.model,
            "passed": self.is_passed,
            "sentence": self.sentence,
            "audit": self.audit.as_dict() if self.audit else None,
            "sensitivity": self.sensitivity.as_dict(),
            "specificity_random": self.specificity_random.as_dict(),
            "specificity_mined": self.specificity_mined.as_dict() or "unknown",
            "abstained": self.abstained.as_dict(),
            "abstained_reason": self.reason,
        }


@dataclass(frozen=True)
class Plant:
    """The audit question of one query: which of its passages are planted, and the answers that are known, by text."""

    query: str
    references: tuple[Passage, ...]
    passages: tuple[Passage, ...]
    known: Mapping[str, tuple[bool, str]]


def choose_plants(cases: Sequence[Case], n_queries: int, n_fillers: int = 3) -> list[Plant]:
    """Audit questions for the `n_queries` queries of lowest rank, one each, whatever rows and sources they stand in.

    A positive is taken out of the reference; where it is the only one there is no reference, which makes the
    question harder, not easier. Fillers, the first of the query's own negatives by rank, keep the planted ones from
    standing out; nothing is known of them.
    """
    by_query: dict[str, list[Case]] = {}
    for case in cases:
        by_query.setdefault(case.query, []).append(case)
    answering = {
        query: {passage.full_text: passage for one in own for passage in one.positives}
        for query, own in by_query.items()
    }
    names = [query for query, positives in answering.items() if positives]
    chosen = [names[place] for place in keyed_rank(names, "audited query")[:n_queries]]
    planted = {
        query: sort_by_hash(list(answering[query].values()), "planted positive")[0] for query in chosen
    }
    plants = []
    for turn, query in enumerate(chosen):
        hidden = planted[query]
        own = {text for case in by_query[query] for text in case.standing} | answering[query].keys()
        known = {hidden.full_text: (True, "positive")}
        passages = [hidden]
        # A positive of another query answers another question.
        for other in [*chosen[turn + 1 :], *chosen[:turn]]:
            if planted[other].full_text not in own:
                known[planted[other].full_text] = (False, "random")
                passages.append(planted[other])
                break
        fillers = {
            text: places[0][1]
            for case in by_query[query]
            for text, places in case.standing.items()
            if text not in known
        }
        passages += sort_by_hash(list(fillers.values()), "filler")[:n_fillers]
        references = sort_by_hash(list(answering[query].values()), f"references\0{query}")
        shown = tuple(one for one in references if one.full_text != hidden.full_text)
        plants.append(Plant(query, shown, tuple(passages), known))
    return plants


@dataclass(frozen=True, slots=True)
class PairAudit:
    """Audits of both judges; of the first only, where it failed.

    Args:
        planted: what they said of planted passages.
        audits: of none, the first, or both.
        is_cut: the budget ended first.
    """

    planted: Sequence[PlantedPassage] = ()
    audits: Sequence[JudgeAudit] = ()
    is_cut: bool = False

    @property
    def is_passed(self) -> bool:
        """Whether both were audited and may decide."""
        return len(self.audits) == 2 and all(one.is_passed for one in self.audits)


async def audit_pair(first: Judge, second: Judge, plants: Sequence[Plant]) -> PairAudit:
    """Audit the first judge, and where it passes the second one."""
    said_first, is_cut = await ask_about_plants(first, plants)
    planted = join_plants(plants, said_first, {})
    audits = [audit_judge("first", first.chat.name, planted)]
    tell_event(JudgeAudited(**audits[0].as_dict()))
    if audits[0].is_passed:
        said_second, is_second_cut = await ask_about_plants(second, plants)
        is_cut |= is_second_cut
        planted = join_plants(plants, said_first, said_second)
        audits.append(audit_judge("second", second.chat.name, planted))
        tell_event(JudgeAudited(**audits[1].as_dict()))
    return PairAudit(planted, audits, is_cut)


def make_plant_questions(judge: Judge, plants: Sequence[Plant]) -> list[Question]:
    """What a judge is asked about the planted passages, by the number of the plant."""
    return [
        question
        for number, plant in enumerate(plants)
        for question in judge.make_questions(
            number, f"audit\0{plant.query}", plant.query, plant.references, plant.passages
        )
    ]


async def ask_about_plants(
    judge: Judge, plants: Sequence[Plant]
) -> tuple[dict[tuple[int, str], Judgement], bool]:
    """What a judge says of the planted passages, by plant and text, and whether the budget cut it short."""
    said = {}
    answers = await judge.ask(make_plant_questions(judge, plants))
    for answer in answers:
        if answer.is_cut:
            continue
        for passage, judgement in zip(answer.question.passages, answer.judgements, strict=True):
            if passage.full_text in plants[answer.question.key].known:
                said[answer.question.key, passage.full_text] = judgement
    return said, any(answer.is_cut for answer in answers)


def join_plants(
    plants: Sequence[Plant],
    first: Mapping[tuple[int, str], Judgement],
    second: Mapping[tuple[int, str], Judgement],
) -> list[PlantedPassage]:
    """The planted passages that the first judge answered on, with both answers."""
    return [
        PlantedPassage(is_relevant, kind, first[number, text], second.get((number, text)), plant.query)
        for number, plant in enumerate(plants)
        for text, (is_relevant, kind) in plant.known.items()
        if (number, text) in first
    ]


def audit_judge(stage: Stage, model: str, known: Sequence[PlantedPassage]) -> JudgeAudit:
    """Measure one judge on passages whose answer is known."""
    answered = [
        (one, judgement)
        for one in known
        if (judgement := one.first if stage == "first" else one.second) is not None
    ]
    n_planted = sum(one.kind == "positive" for one, _ in answered)

    def count(is_hit: Callable[[Judgement], bool], *kinds: str, is_relevant: bool) -> Rate:
        return count_rate(
            (one.query, is_hit(judgement))
            for one, judgement in answered
            if one.is_relevant == is_relevant and one.kind in kinds
        )

    def is_refusal(judgement: Judgement) -> bool:
        return judgement.grade is Grade.NOT_RELEVANT

    unanswered = Counter(judgement.reason for _, judgement in answered if judgement.grade is Grade.ABSTAIN)
    n_unanswered = unanswered.total()
    scores = np.array([_SCORES[judgement.grade] for _, judgement in answered], dtype=np.float64)
    truth = np.array([one.is_relevant for one, _ in answered], dtype=np.int64)
    queries = np.array([one.query or f"\0{place}" for place, (one, _) in enumerate(answered)], dtype=object)
    is_enough = n_planted >= FEWEST_PLANTED and 0 < truth.sum() < len(truth) and n_unanswered < len(answered)
    return JudgeAudit(
        stage,
        model,
        audit(np.column_stack([1 - scores, scores]), truth, groups=queries) if is_enough else None,
        count(lambda one: one.is_flag, "positive", "gold", is_relevant=True),
        count(is_refusal, "random", is_relevant=False),
        count(is_refusal, "gold", is_relevant=False),
        count_rate((one.query, judgement.grade is Grade.ABSTAIN) for one, judgement in answered),
        max(unanswered, key=lambda reason: (unanswered[reason], reason), default=""),
    )
