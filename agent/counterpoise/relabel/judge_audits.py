"""Audits of the two judges: on known positives that were no reference, and on strangers.

A known positive is taken out of a query's reference and planted among that query's negatives; beside it stands a
random passage. What the judges say of the planted ones is their sensitivity and specificity. Random passages are easy
to refuse, so that specificity flatters: where gold says of mined negatives that they are right or wrong, it is measured
on these too, else it is unknown. A judge whose AUROC cannot be told from weak decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise.audits import WEAK_AUROC, Audit, audit
from counterpoise.balance import wilson_interval
from counterpoise.relabel.judges import Judge, Question, Stage
from counterpoise.relabel.verdicts import Grade, Judgement
from counterpoise.retrieval_io import Instance, Passage
from counterpoise.retrieval_values import gather_positives
from counterpoise.splits import keyed_rank

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
class Rate:
    """A share with its 95% interval by Wilson's method; NaN of nothing."""

    k: int
    n: int

    @property
    def value(self) -> float:
        """The share, 0..1."""
        return self.k / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Its lower and upper ends."""
        low, high = wilson_interval(self.k, self.n)
        return float(low), float(high)

    def as_dict(self) -> dict[str, Any] | None:
        """Plain values; None (unknown) where nothing was measured."""
        if not self.n:
            return None
        low, high = self.interval
        return {"value": self.value, "low": low, "high": high, "k": self.k, "n": self.n}

    def __str__(self) -> str:
        """`0.85 (0.78 to 0.90, n = 120)`, or `unknown`."""
        if not self.n:
            return "unknown"
        low, high = self.interval
        return f"{self.value:.2f} ({low:.2f} to {high:.2f}, n = {self.n})"


@dataclass(frozen=True, slots=True)
class Planted:
    """A passage whose answer is known, and what the judges said of it.

    Args:
        is_relevant: the known answer.
        kind: `positive` or `random` (planted), or `gold` (a candidate that gold speaks of).
        first: of the first judge.
        second: of the second judge.
    """

    is_relevant: bool
    kind: str
    first: Judgement
    second: Judgement | None

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
    """

    stage: Stage
    model: str
    audit: Audit | None
    sensitivity: Rate
    specificity_random: Rate
    specificity_mined: Rate
    abstained: Rate

    @property
    def is_passed(self) -> bool:
        """Whether it may decide."""
        return self.audit is not None and not self.audit.is_weak

    @property
    def sentence(self) -> str:
        """What the audit found, for people."""
        who = f"The {self.stage} judge ({self.model})"
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
            numbers += f", no answer on {self.abstained.k} of {self.abstained.n}"
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
        }


@dataclass(frozen=True)
class Plant:
    """The audit question of one query: which of its passages are planted, and the answers that are known."""

    instance: int
    references: tuple[Passage, ...]
    passages: tuple[Passage, ...]
    known: Mapping[str, tuple[bool, str]]


def choose_plants(instances: Sequence[Instance], n_queries: int, n_fillers: int = 3) -> list[Plant]:
    """Audit questions for `n_queries` instances of lowest rank.

    A positive is taken out of the reference; where it is the only one there is no reference, which makes the
    question harder, not easier. Fillers, the first of the query's own negatives by rank, keep the planted ones from
    standing out; nothing is known of them.
    """
    with_positives = [place for place, one in enumerate(instances) if one.positives]
    ranked = keyed_rank([_name(instances[place], place) for place in with_positives], "audited query")
    chosen = [with_positives[place] for place in ranked[:n_queries]]
    asked = {instances[place].query for place in chosen}
    answering = gather_positives(one for one in instances if one.query in asked)
    plants = []
    for turn, place in enumerate(chosen):
        instance = instances[place]
        positives = list({passage.id: passage for passage in instance.positives}.values())
        planted = positives[int(keyed_rank([one.id for one in positives], "planted positive")[0])]
        references = tuple(one for one in positives if one.full_text != planted.full_text)
        own = {one.id for one in instance.negatives} | answering[instance.query].keys()
        texts = {one.full_text for one in (*instance.negatives, *answering[instance.query].values())}
        known = {planted.id: (True, "positive")}
        passages = [planted]
        # A positive of another query answers another question.
        for other in [*chosen[turn + 1 :], *chosen[:turn]]:
            stranger = instances[other].positives[0]
            if stranger.id not in own and stranger.full_text not in texts:
                known[stranger.id] = (False, "random")
                passages.append(stranger)
                break
        negatives = {one.id: one for one in instance.negatives if one.full_text != planted.full_text}
        fillers = [one for name, one in negatives.items() if name not in known]
        order = keyed_rank([one.id for one in fillers], "filler")
        passages += [fillers[int(one)] for one in order[:n_fillers]]
        plants.append(Plant(place, references, tuple(passages), known))
    return plants


async def ask_about_plants(
    judge: Judge, plants: Sequence[Plant], instances: Sequence[Instance]
) -> tuple[dict[tuple[int, str], Judgement], bool]:
    """What a judge says of the planted passages, by plant and passage id, and whether the budget cut it short."""
    questions: list[Question] = []
    for number, plant in enumerate(plants):
        instance = instances[plant.instance]
        questions += judge.make_questions(
            number, f"audit\0{instance.query_id}", instance.query, plant.references, plant.passages
        )
    said = {}
    answers = await judge.ask(questions)
    for answer in answers:
        if answer.is_cut:
            continue
        for passage, judgement in zip(answer.question.passages, answer.judgements, strict=True):
            if passage.id in plants[answer.question.key].known:
                said[answer.question.key, passage.id] = judgement
    return said, any(answer.is_cut for answer in answers)


def join_plants(
    plants: Sequence[Plant],
    first: Mapping[tuple[int, str], Judgement],
    second: Mapping[tuple[int, str], Judgement],
) -> list[Planted]:
    """The planted passages that the first judge answered on, with both answers."""
    return [
        Planted(is_relevant, kind, first[number, name], second.get((number, name)))
        for number, plant in enumerate(plants)
        for name, (is_relevant, kind) in plant.known.items()
        if (number, name) in first
    ]


def audit_judge(stage: Stage, model: str, known: Sequence[Planted]) -> JudgeAudit:
    """Measure one judge on passages whose answer is known."""
    answered = [
        (one, judgement)
        for one in known
        if (judgement := one.first if stage == "first" else one.second) is not None
    ]
    relevant = [judgement for one, judgement in answered if one.is_relevant]
    n_planted = sum(one.kind == "positive" for one, _ in answered)

    def refuse(kind: str) -> Rate:
        others = [judgement for one, judgement in answered if not one.is_relevant and one.kind == kind]
        return Rate(sum(one.grade is Grade.NOT_RELEVANT for one in others), len(others))

    scores = np.array([_SCORES[judgement.grade] for _, judgement in answered], dtype=np.float64)
    truth = np.array([one.is_relevant for one, _ in answered], dtype=np.int64)
    is_enough = n_planted >= FEWEST_PLANTED and 0 < truth.sum() < len(truth)
    return JudgeAudit(
        stage,
        model,
        audit(np.column_stack([1 - scores, scores]), truth) if is_enough else None,
        Rate(sum(one.is_flag for one in relevant), len(relevant)),
        refuse("random"),
        refuse("gold"),
        Rate(sum(judgement.grade is Grade.ABSTAIN for _, judgement in answered), len(answered)),
    )


def _name(instance: Instance, place: int) -> str:
    return f"{instance.query_id}\0{instance.query}\0{len(instance.positives)}"
