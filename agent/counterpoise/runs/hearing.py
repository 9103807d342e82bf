"""Where a model has a say about labels: asking it what a run needs, before rounds and before texts are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from counterpoise.core.plans import Deficit, Proposal
from counterpoise.llm.models import Models
from counterpoise.scorers.heard import HeardScorer
from counterpoise.scorers.model_labels import N_SHOWN, Asked
from counterpoise.tasks.text.label_trust import LABELLING_SHARE
from counterpoise.tasks.text.model_pool import ask_pool, count_wanted, find_unsure, list_said, plan_questions
from counterpoise.tasks.text.model_trust import make_way, plan_within
from counterpoise.tasks.text.parts import RunContext


async def hear_model(
    context: RunContext, deficits: Sequence[Deficit], share: float = LABELLING_SHARE
) -> RunContext:
    """Ask a model that has a say about the rows of the pool that thin labels need.

    Args:
        context: of the run.
        deficits: what labels lack.
        share: of the budget that the questions may cost.

    Returns:
        The same where it has none; else with what it said, by which rows are adopted and proposals judged.
    """
    say, inputs = context.model, context.inputs
    data, scorer = context.data, context.scorer
    if say is None or isinstance(scorer, HeardScorer):
        return context
    if data.pool is None or data.pool_scores is None:
        return replace(context, scorer=HeardScorer(scorer, say.weighing))
    wanted = count_wanted(deficits, inputs.train.records.label_names)
    scores, said = await ask_pool(
        say, data.pool, data.pool_scores, wanted, context.key, is_trusted=data.is_trusted, share=share
    )
    return replace(
        context, scorer=HeardScorer(scorer, say.weighing, said), data=replace(data, pool_scores=scores)
    )


async def hear_about(proposals: Sequence[Proposal], context: RunContext) -> RunContext:
    """Ask it about new texts whose label the other scorer is not sure of; edits are judged by others."""
    say, scorer = context.model, context.scorer
    if say is None or not isinstance(scorer, HeardScorer):
        return context
    names = context.inputs.train.records.label_names
    new = [one for one in proposals if not one.nature.is_edit and one.text not in scorer.said]
    if not new:
        return context
    texts = np.array([one.text for one in new] + [None], dtype=object)[:-1]
    vectors = context.inputs.encoder.encode([one.text for one in new])
    likely = scorer.score_texts([one.text for one in new], vectors)
    wanted = np.array([names.index(one.label) for one in new])
    unsure = find_unsure(say.weighing, likely, wanted)
    budget = say.way.chat.budget
    left = None if budget.limit is None else budget.limit - budget.used
    asked = Asked(texts[unsure], vectors[unsure], likely[unsure], np.empty((0, 0)))
    # Cut in order: what a budget no longer pays for does not depend on which replies come first.
    questions, _ = plan_within(say.way, asked, left)
    said = list_said(questions, await say.way.answer(questions))
    return replace(context, scorer=replace(scorer, said={**scorer.said, **said}))


def price_model(
    context: RunContext, deficits: Sequence[Deficit], models: Models, share: float = LABELLING_SHARE
) -> str:
    """What asking the model about the pool would cost at most, in a sentence; "" where nothing would be asked."""
    inputs, scores, pool = context.inputs, context.data.pool_scores, context.data.pool
    wanted = count_wanted(deficits, inputs.train.records.label_names)
    if pool is None or scores is None or not wanted.any():
        return ""
    limit = models.chat.budget.limit
    most = None if limit is None else share * limit
    way = make_way(inputs, models.chat, 0, "label")
    plan = plan_questions(way, None, pool, scores, wanted, most, context.key)
    few = make_way(inputs, models.chat, N_SHOWN, "label")
    times = plan_questions(few, None, pool, scores, np.minimum(wanted, 1), most, context.key)
    each = plan.tokens / max(1, len(plan.rows)), times.tokens / max(1, len(times.rows))
    return (
        f"Where its audit gives the model a say about labels, it is asked about {len(plan.rows):,} rows of the pool "
        f"for {plan.tokens:,} tokens at most ({each[0]:,.0f} a row, {each[1]:,.0f} beside examples)."
    )
