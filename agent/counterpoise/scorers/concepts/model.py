"""A language model as a judge of concepts: a pilot first, and only what passes labels the rest.

The pilot asks about rows whose answer is known, at most 100 of them and at most a tenth of the budget. The answers to
all concepts are judged together, because a dozen rows of one concept say little: where the lower end of the interval
of kappa is 0.4 or more the model labels the rest. Where so few answers leave it open, the other half of the answers is
asked, too: a model that agrees with itself over two readings at a kappa of 0.6 and beats similarity on all answers
there are labels the rest as well. Where nothing is known, its agreement with itself can refuse it, never approve it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from counterpoise.core.records import Floats, Integers, Records
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm import ChatClient
from counterpoise.scorers.audits import WEAK_KAPPA, Audit, audit, describe_audit, measure_kappa
from counterpoise.scorers.base import LLMScorer
from counterpoise.scorers.concepts.labeller import ModelScores
from counterpoise.scorers.gold import Gold

PILOT_ROWS = 100
PILOT_SHARE = 0.1
AGREES_FROM = 0.6
"""Kappa of two readings from which on a model agrees with itself."""

_FEWEST_ROWS = 10
_FEWEST_COMPARED = 20
_ANSWERS = ("no, it does not", "yes, it does")


@dataclass(frozen=True, slots=True)
class ModelPilot:
    """What the pilot found.

    Args:
        passes: whether the model may label the rest.
        result: its audit over all concepts' answers; None where nothing is known.
        probabilities: by concept (n,) probability of yes, NaN where not asked.
        price: tokens for 1,000 records, a concept.
        note: a sentence.
    """

    passes: bool
    result: Audit | None
    probabilities: Mapping[str, Floats]
    price: float
    note: str

    def describe(self, model: str) -> dict[str, Any]:
        """A line of the report."""
        role = "used" if self.passes else "refused"
        question = f"Does the text mention a concept? The language model {model} picks a letter."
        return describe_audit("llm", question, self.result, role=role, price=self.price, note=self.note)


def make_concept_scorer(chat: ChatClient, name: str, definition: str, purpose: str = "label") -> LLMScorer:
    """The two questions about one concept, in two wordings and with the options in two orders."""
    return LLMScorer(
        chat,
        f"Does the text say anything about {name} ({definition})?",
        _ANSWERS,
        second_question=f"Is {name} mentioned in the text? Meant is: {definition}.",
        purpose=purpose,
        is_calibrated=True,
    )


@dataclass(frozen=True, slots=True)
class PilotAnswers:
    """What the model said in the pilot; m is the number of usable answers about a concept.

    Args:
        probabilities: by concept (n,) probability of yes, NaN where not asked.
        orders: for each concept asked about (2, m, 2) probabilities from each order of the options.
        truth: for each of these (m,) known answers; empty where nothing is known.
        n_asked: rows asked about, all concepts together.
        price: tokens for 1,000 records, a concept.
    """

    probabilities: Mapping[str, Floats]
    orders: Sequence[Floats]
    truth: Sequence[Integers]
    n_asked: int
    price: float

    @property
    def agreement(self) -> float:
        """Kappa of the two readings, all concepts together; 0 where there is no answer."""
        if not self.n_usable:
            return 0.0
        first, second = np.concatenate([table.argmax(axis=2) for table in self.orders], axis=1)
        return measure_kappa(first, second)[0]

    @property
    def n_usable(self) -> int:
        """Answers that can be used, all concepts together."""
        return sum(table.shape[1] for table in self.orders)


async def run_pilot(
    chat: ChatClient,
    records: Records,
    concepts: Mapping[str, str],
    gold: Mapping[str, Gold],
    key: str,
    share: float = PILOT_SHARE,
    similarity: Mapping[str, Floats] | None = None,
) -> ModelPilot:
    """Ask a model about the rows whose answer is known, or about a few others where none is.

    Args:
        chat: the way to the model; at most a tenth of its budget is spent.
        records: the rows.
        concepts: name -> definition.
        gold: by concept what is known.
        key: of the draw where nothing is known.
        share: of the budget that it may cost, 0..1.
        similarity: by answered concept (n,) probabilities of present by what costs nothing, which the model may beat
            where the random answers leave it open; None where it may not.
    """
    before = chat.budget.used
    answers = await ask_pilot(chat, records, concepts, gold, key, share)
    pilot = judge_pilot(answers)
    if similarity is None or pilot.passes or pilot.result is None or answers.agreement < AGREES_FROM:
        return pilot
    others = {
        name: Gold(known.training_rows, known.training_truth, known.audit_rows, known.audit_truth)
        for name, known in gold.items()
        if name in concepts and len(known.training_rows)
    }
    limit = chat.budget.limit
    left = share if not limit else max(0.0, share - (chat.budget.used - before) / limit)
    more = await ask_pilot(chat, records, concepts, others, key, left) if others else answers
    judged = {
        name: np.where(np.isnan(column), more.probabilities[name], column)
        for name, column in answers.probabilities.items()
    }
    return judge_against_similarity(pilot, judged, gold, similarity, answers.agreement)


def judge_against_similarity(
    pilot: ModelPilot,
    judged: Mapping[str, Floats],
    gold: Mapping[str, Gold],
    similarity: Mapping[str, Floats],
    agreement: float,
) -> ModelPilot:
    """Whether a model that agrees with itself beats similarity on all the answers there are.

    Better is a smaller squared error of the probability over all concepts together, of twenty answers at least:
    similarity is what would decide about the concepts without answers, so the better of the two is taken.
    With forty answers about reviews a model at chance passed in none of 40 draws, one that is right in 70% in 6, in 90%
    in 34 (evaluation `auto_concepts`).

    Args:
        pilot: what the random answers alone said.
        judged: by concept (n,) the model's probability of yes, NaN where it was not asked.
        gold: by concept the answers.
        similarity: by answered concept (n,) probabilities by similarity.
        agreement: kappa of the model's two readings.
    """
    losses, others = [], []
    for name, known in gold.items():
        if name not in judged or name not in similarity:
            continue
        rows = np.concatenate([known.audit_rows, known.training_rows])
        truth = np.concatenate([known.audit_truth, known.training_truth])
        asked = ~np.isnan(judged[name][rows])
        losses.append((judged[name][rows[asked]] - truth[asked]) ** 2)
        others.append((similarity[name][rows[asked]] - truth[asked]) ** 2)
    mine, free = (np.concatenate(side) if side else np.empty(0) for side in (losses, others))
    passes = len(mine) >= _FEWEST_COMPARED and float(mine.mean()) < float(free.mean())
    errors = [f"{float(side.mean()) if len(side) else 1.0:.3f}" for side in (mine, free)]
    said = (
        f"it agrees with itself at kappa {agreement:.2f}, and over {len(mine)} answers of yours its squared error is "
        f"{errors[0]}, that of similarity {errors[1]}"
    )
    note = f"The model may label concepts: {said}." if passes else f"{pilot.note} Besides, {said}: not less."
    return replace(pilot, passes=passes, probabilities=judged, note=note)


async def ask_pilot(
    chat: ChatClient,
    records: Records,
    concepts: Mapping[str, str],
    gold: Mapping[str, Gold],
    key: str,
    share: float = PILOT_SHARE,
) -> PilotAnswers:
    """The model's answers about known rows, or a few others; arguments as of `run_pilot`."""
    limit = None if chat.budget.limit is None else share * chat.budget.limit
    before = chat.budget.used
    judged = {name: np.full(len(records), np.nan) for name in concepts}
    usable, truth = [], []
    n_asked = n_promised = 0
    known = [name for name in concepts if name in gold and len(gold[name].audit_rows)]
    for name in known or concepts:
        scorer = make_concept_scorer(chat, name, concepts[name], "audit")
        if known:
            rows = gold[name].audit_rows[: PILOT_ROWS // len(known)]
        else:
            rows = sample_by_rank(records.ids, PILOT_ROWS // len(concepts), f"{key}:pilot:{name}")
        if limit is not None and len(rows):
            prices = np.cumsum([scorer.estimate_tokens(str(records.texts[row])) for row in rows])
            prices += n_promised + scorer.estimate_overhead()
            rows = rows[: int(np.searchsorted(prices, limit, side="right"))]
            n_promised = int(prices[len(rows) - 1]) if len(rows) else n_promised
        if not len(rows):
            continue
        orders = await scorer.score_orders(records.take(rows))
        n_asked += len(rows)
        good = ~np.isnan(orders.mean(axis=0)).any(axis=1)
        judged[name][rows[good]] = orders.mean(axis=0)[good, 1]
        usable.append(orders[:, good])
        if known:
            truth.append(gold[name].audit_truth[: len(rows)][good])
    price = (chat.budget.used - before) / max(1, n_asked) * 1000
    return PilotAnswers(judged, usable, truth, n_asked, price)


def judge_pilot(answers: PilotAnswers) -> ModelPilot:
    """Whether a model that answered so may label the rest, and why."""
    result = None
    if answers.n_usable < _FEWEST_ROWS:
        note = (
            "A tenth of the budget does not pay a pilot of ten rows, so the model labels no concept."
            if answers.n_asked < _FEWEST_ROWS
            else "It gave no usable answer (the server may not return log-probabilities), so it labels no concept."
        )
    elif not answers.truth:
        note = _describe_agreement(answers.orders)
    else:
        tables = [orders.mean(axis=0) for orders in answers.orders]
        result = audit(np.concatenate(tables), np.concatenate(answers.truth), names=("absent", "present"))
        result = _judge_within_concepts(result, tables, answers.truth)
        interval = f"{result.kappa_low:.2f} to {result.kappa_high:.2f}"
        span = f"kappa {result.kappa:.2f} ({interval}), {result.n} answers of yours"
        note = (
            f"The model may label concepts: {span}; concept by concept it is used where that beats what costs nothing."
            if result.kappa_low >= WEAK_KAPPA
            else f"The model does not label the concepts: {span}, and 0.4 is the least; a larger model would help."
        )
    passes = result is not None and result.kappa_low >= WEAK_KAPPA
    return ModelPilot(passes, result, answers.probabilities, answers.price, note)


def _describe_agreement(orders: Sequence[Floats]) -> str:
    """Why a model that agrees with itself, or does not, labels nothing where no answer is known."""
    first, second = np.concatenate([table.argmax(axis=2) for table in orders], axis=1)
    kappa, low, high = measure_kappa(first, second)
    if low < WEAK_KAPPA:
        return (
            f"The model does not label the concepts: over two wordings it agrees with itself at "
            f"kappa {kappa:.2f} ({low:.2f} to {high:.2f}), and 0.4 is the least; a larger model would help."
        )
    return (
        f"The model agrees with itself (kappa {kappa:.2f}), which is no proof that it is right: "
        "it labels no concept. 40 answers of yours (`label --ask 40`) would show what it is worth."
    )


def _judge_within_concepts(result: Audit, answers: Sequence[Floats], truth: Sequence[Integers]) -> Audit:
    """The pooled audit with the agreement by chance of each concept on its own.

    A model that always says yes of a common concept and no of a rare one agrees over both, and knows nothing.
    """
    chances = []
    for table, right in zip(answers, truth, strict=True):
        said, are = table.argmax(axis=1).mean(), right.mean()
        chances.append((said * are + (1 - said) * (1 - are)) * len(right))
    chance = float(np.sum(chances) / result.n)
    if chance >= 1.0:
        return replace(result, kappa=0.0, kappa_low=-1.0, kappa_high=1.0)
    value, low, high = (
        (share - chance) / (1 - chance) for share in (result.accuracy, result.low, result.high)
    )
    return replace(result, kappa=value, kappa_low=low, kappa_high=high)


async def ask_model(
    chat: ChatClient,
    records: Records,
    concepts: Mapping[str, str],
    pilot: ModelPilot,
    most_tokens: float | None,
    key: str,
    always: Mapping[str, Gold] | None = None,
) -> ModelScores:
    """Let a model that passed its pilot label texts, as many as the budget pays, drawn by keyed hash.

    What it was not asked about is left to the student that learns from its answers (`rankers.fit_student`).

    Args:
        chat: the way to the model.
        records: the rows.
        concepts: name -> definition.
        pilot: what it said already.
        most_tokens: what labelling may cost; None for no limit.
        key: of the draw.
        always: rows that are asked about first, those with known answers.
    """
    found = {name: column.copy() for name, column in pilot.probabilities.items()}
    order = sample_by_rank(records.ids, len(records), f"{key}:label")
    for name, definition in concepts.items():
        scorer = make_concept_scorer(chat, name, definition)
        first = (
            np.concatenate([always[name].audit_rows, always[name].training_rows])
            if always and name in always
            else order[:0]
        )
        rows = np.concatenate([first, order[~np.isin(order, first)]])
        rows = rows[np.isnan(found[name][rows])]
        if most_tokens is not None:
            prices = np.cumsum([scorer.estimate_tokens(str(records.texts[row])) for row in rows])
            rows = rows[: int(np.searchsorted(prices, most_tokens / len(concepts), side="right"))]
        if len(rows):
            found[name][rows] = (await scorer.score(records.take(rows)))[:, 1]
    return ModelScores(found, pilot.price)
