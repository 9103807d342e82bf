"""Whether a concept can be answered: two readings of the same texts have to agree, and to tell some texts from others.

A reading is one wording of the question with the options in one order. A name that a model cannot answer alike twice,
or says of every text or of none, is no concept that rows could be labelled by. Two names that get the same answers are
one concept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.core.records import Floats, Integers, Records
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm import ChatClient
from counterpoise.scorers.audits import measure_kappa
from counterpoise.scorers.concepts.discovery import FoundConcept
from counterpoise.scorers.concepts.model import AGREES_FROM, make_concept_scorer
from counterpoise.scorers.concepts.passages import Passages
from counterpoise.scorers.concepts.views import make_anchors, make_views
from counterpoise_retrievers.encoders import Encoder

N_COMMON, N_NEAREST = 24, 12
"""Texts that all concepts are read on, drawn at random, and those nearest to each, which a rare one is found in."""

MOST_READ = 16
"""Concepts that are read, at most."""

FEWEST_EACH = 3
"""Texts that have to get yes, and no."""

ONE_CONCEPT = 0.8
"""Kappa of the answers to two concepts from which on they are one."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What two readings of one concept said.

    Args:
        concept: which.
        kappa: their agreement beyond chance, -1..1.
        answers: (24,) 1 for yes on the common texts, by both together; -1 where there is none.
        share: of the common texts that got yes, 0..1.
        is_answerable: whether the two agree at 0.6 or more, and some texts have it and some do not.
    """

    concept: FoundConcept
    kappa: float
    answers: Integers
    share: float
    is_answerable: bool


async def read_concepts(
    chat: ChatClient,
    records: Records,
    passages: Passages,
    encoder: Encoder,
    found: Sequence[FoundConcept],
    key: str,
) -> list[Reading]:
    """Read the first sixteen concepts; those the budget does not pay are left out.

    Args:
        chat: the way to the model.
        records: n rows.
        passages: their clauses.
        encoder: of these.
        found: concepts, the most frequent first.
        key: of the draw of the common texts.
    """
    common = sample_by_rank(records.ids, N_COMMON, f"{key}:readings")
    readings = []
    for concept in found[:MOST_READ]:
        views = make_views(passages, make_anchors(concept.name, concept.definition, encoder))
        order = np.argsort(-views.similarity, kind="stable")
        rows = np.concatenate([common, order[~np.isin(order, common)][:N_NEAREST]])
        scorer = make_concept_scorer(chat, concept.name, concept.definition, "concepts")
        price = sum(scorer.estimate_tokens(str(records.texts[row])) for row in rows)
        left = chat.budget.remaining
        if left is not None and price + scorer.estimate_overhead() > left:
            break
        readings.append(judge_readings(concept, await scorer.score_orders(records.take(rows)), len(common)))
    return readings


def judge_readings(concept: FoundConcept, orders: Floats, n_common: int) -> Reading:
    """What two readings come to.

    Args:
        concept: which.
        orders: (2, m, 2) probabilities of no and yes, NaN where there is no reply.
        n_common: the first texts, which all concepts are read on.
    """
    answered = ~np.isnan(orders).any(axis=2).any(axis=0)
    both = np.full(orders.shape[1], -1, dtype=np.int64)
    both[answered] = orders[:, answered].mean(axis=0).argmax(axis=1)
    first, second = orders[:, answered].argmax(axis=2)
    kappa = measure_kappa(first, second)[0] if len(first) else 0.0
    n_yes, n_no = (int(np.sum(both == answer)) for answer in (1, 0))
    common = both[:n_common]
    share = float(np.sum(common == 1)) / max(1.0, float(np.sum(common >= 0)))
    is_answerable = kappa >= AGREES_FROM and n_yes >= FEWEST_EACH and n_no >= FEWEST_EACH
    return Reading(concept, kappa, common, share, is_answerable)


def keep_different(readings: Sequence[Reading]) -> list[Reading]:
    """Those that can be answered, and of several that get the same answers the first."""
    kept: list[Reading] = []
    for reading in readings:
        if reading.is_answerable and not any(_is_same(reading.answers, one.answers) for one in kept):
            kept.append(reading)
    return kept


def _is_same(one: Integers, other: Integers) -> bool:
    known = (one >= 0) & (other >= 0)
    if not known.any() or not min(one[known].sum(), other[known].sum()):
        return False
    return measure_kappa(one[known], other[known])[0] >= ONE_CONCEPT
