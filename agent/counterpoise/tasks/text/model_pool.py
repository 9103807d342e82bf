"""What a model that may say labels is asked during a run: the pool's rows that thin labels need, and new texts.

Of the pool the likely rows of each thin label come first, the labels in turn, until as many rows of the label are to be
expected among them as it lacks, or a fifth of the budget is promised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from counterpoise.actions.adopt import SURE_FROM, find_adoptable, weigh_by_shares
from counterpoise.actions.base import PoolScores
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Deficit
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.core.splits import keyed_rank
from counterpoise.scorers.label_choice import LabelAnswers, LabelQuestion
from counterpoise.scorers.model_labels import Asked, ModelLabels, ModelSay
from counterpoise.scorers.weighing import Weighing
from counterpoise.tasks.text.label_trust import LABELLING_SHARE
from counterpoise.tasks.text.model_trust import plan_within


def choose_asked(likely: Floats, wanted: Integers, ids: Objects, key: str) -> Integers:
    """Rows of a pool in the order in which a model is asked about them.

    Args:
        likely: (m, k) calibrated probabilities of the labels.
        wanted: (k,) records that each label lacks; 0 of those that lack none.
        ids: (m,) ids of the rows, which decide ties.
        key: of the run.

    Returns:
        Positions; each label's likeliest rows until as many are expected among them as are wanted.
    """
    order = keyed_rank(ids, f"{key}:model")
    queues = []
    for label in np.flatnonzero(wanted > 0):
        ranked = order[np.argsort(-likely[order, label], kind="stable")]
        expected = np.cumsum(likely[ranked, label])
        queues.append(ranked[: int(np.searchsorted(expected, wanted[label])) + 1])
    longest = max((len(queue) for queue in queues), default=0)
    turns = [int(queue[turn]) for turn in range(longest) for queue in queues if turn < len(queue)]
    return np.array(list(dict.fromkeys(turns)), dtype=np.int64)


def expect_labels(scores: PoolScores) -> Floats:
    """(k,) rows of each label that a pool is expected to hold, by the scorer that costs nothing."""
    return np.asarray(find_adoptable(scores.own, scores.labels, scores.pool).posteriors.sum(axis=0))


def count_wanted(deficits: Sequence[Deficit], label_names: Sequence[str]) -> Integers:
    """(k,) records that each label lacks: of itself, or in all its thin cells together where that is more."""
    wanted = np.zeros((2, len(label_names)), dtype=np.int64)
    for deficit in deficits:
        wanted[int(deficit.cell.is_named), label_names.index(deficit.cell.label)] += deficit.need
    return np.asarray(wanted.max(axis=0))


@dataclass(frozen=True, slots=True)
class PoolQuestions:
    """What a model is to be asked about a pool.

    Args:
        rows: (a,) positions.
        questions: one a row.
        tokens: what that costs at most.
    """

    rows: Integers
    questions: Sequence[LabelQuestion]
    tokens: int


def plan_questions(
    way: ModelLabels,
    weighing: Weighing | None,
    pool: EncodedRecords,
    scores: PoolScores,
    wanted: Integers,
    limit: float | None,
    key: str,
) -> PoolQuestions:
    """The rows that a model is asked about, within `limit` tokens; a price needs no weighing."""
    calm = scores.pool if weighing is None else weighing.temper(scores.pool)
    likely = weigh_by_shares(calm).posteriors
    rows = choose_asked(likely, wanted, pool.records.ids, key)
    described = pool.zero_shot[rows] if len(pool.zero_shot) else pool.zero_shot
    asked = Asked(pool.records.texts[rows], pool.vectors[rows], scores.pool[rows], described)
    questions, tokens = plan_within(way, asked, limit)
    return PoolQuestions(rows[: len(questions)], questions, tokens)


def find_unsure(weighing: Weighing, likely: Floats, labels: Integers) -> Integers:
    """Positions of texts whose label a scorer that gave (m, k) probabilities is not sure of."""
    return np.flatnonzero(weighing.temper(likely)[np.arange(len(labels)), labels] < SURE_FROM)


async def ask_pool(
    say: ModelSay,
    pool: EncodedRecords,
    scores: PoolScores,
    wanted: Integers,
    key: str,
    *,
    is_trusted: bool,
    share: float = LABELLING_SHARE,
) -> tuple[PoolScores, dict[str, Floats]]:
    """Ask the model about the pool.

    Args:
        say: the model.
        pool: m rows.
        scores: of the scorer that costs nothing.
        wanted: (k,) records that each label lacks.
        key: of the run.
        is_trusted: whether that scorer may adopt what the model was not asked about.
        share: of the budget that the questions may cost.

    Returns:
        The scores with `united`, and what the model said, by text.
    """
    limit = say.way.chat.budget.limit
    most = None if limit is None else share * limit
    plan = plan_questions(say.way, say.weighing, pool, scores, wanted, most, key)
    answers = await say.way.answer(plan.questions)
    factors = np.full(scores.pool.shape, np.nan)
    factors[plan.rows] = answers.factors
    united = say.weighing.unite(scores.pool, factors)
    if not is_trusted:
        united[np.isnan(factors).any(axis=1)] = 1.0 / united.shape[1]
    return replace(scores, united=united), list_said(plan.questions, answers)


def list_said(questions: Sequence[LabelQuestion], answers: LabelAnswers) -> dict[str, Floats]:
    """Text -> what a model said of it (`LabelAnswers.factors`); texts without an answer are not there."""
    return {
        one.text: row
        for one, row, given in zip(questions, answers.factors, answers.is_given, strict=True)
        if given
    }
