"""Taking in the whole pool: every row whose label is sure, whatever lacks records (`pool_rows: all` of a job)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from counterpoise.balance.counts import count_labels
from counterpoise.core.plans import Cell, Deficit, Plan
from counterpoise.llm.models import Models
from counterpoise.runs.ledger import Ledger, add_accepted
from counterpoise.runs.offers import make_offers
from counterpoise.runs.planner import make_plan
from counterpoise.runs.rounds import list_short
from counterpoise.scorers.heard import HeardScorer
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.label_trust import LABELLING_SHARE
from counterpoise.tasks.text.model_pool import expect_labels
from counterpoise.tasks.text.parts import RunContext
from counterpoise.tasks.text.second_reading import read_again

WHOLE_POOL_SHARE = 0.8
"""Of the budget that a model may use to label a pool which is to be taken in whole; the rest audits and writes."""


def list_to_ask_for(job: Job, context: RunContext, ledger: Ledger) -> tuple[list[Deficit], float]:
    """What a model is asked about the pool for, and the share of the budget that the questions may cost."""
    if job.pool_rows == "all":
        return expect_in_pool(context), WHOLE_POOL_SHARE
    return list_short(context, ledger), LABELLING_SHARE


def read_pool_again(context: RunContext) -> RunContext:
    """The same after a second reading of a pool that a model has labelled, where that explains known rows better."""
    say, scorer, data, inputs = context.model, context.scorer, context.data, context.inputs
    if say is None or not isinstance(scorer, HeardScorer) or data.pool is None or data.pool_scores is None:
        return context
    sure = inputs.leave_out_doubtful(np.arange(len(inputs.train)))
    train, folds = inputs.train.take(sure), inputs.folds[sure]
    reading = read_again(say, train, folds, data.pool, data.pool_scores.pool, scorer.said)
    if reading is None:
        return context
    read = {str(text): row for text, row in zip(data.pool.records.texts, reading.united, strict=True)}
    return replace(
        context,
        scorer=replace(scorer, read=read),
        data=replace(data, pool_scores=replace(data.pool_scores, united=reading.united)),
    )


def expect_in_pool(context: RunContext) -> list[Deficit]:
    """For each label as many records as the pool is expected to hold of it, by the scorer that costs nothing."""
    records, scores = context.inputs.train.records, context.data.pool_scores
    if scores is None or not len(scores.pool):
        return []
    expected = expect_labels(scores)
    have = count_labels(records.labels, len(records.label_names))
    return [
        Deficit(Cell(name), float(count), float(count + max(1, round(more))))
        for name, count, more in zip(records.label_names, have, expected, strict=True)
    ]


def plan_whole_pool(context: RunContext, ledger: Ledger, models: Models, round_number: int) -> Plan:
    """A round that takes in all rows of the pool whose label is sure; empty where there is none left.

    Args:
        context: what all rounds share.
        ledger: settled rounds.
        models: the model; it is asked nothing.
        round_number: from 1.
    """
    pool, records = context.data.pool, context.inputs.train.records
    if pool is None:
        return Plan(round_number, (), "there is no pool")
    counts = count_labels(add_accepted(records, ledger).labels, len(records.label_names))
    deficits = [
        Deficit(Cell(name), float(have), float(have + len(pool)))
        for name, have in zip(records.label_names, counts, strict=True)
    ]
    offers = {
        cell: {name: offer for name, offer in mine.items() if offer.is_free and offer.most}
        for cell, mine in make_offers(deficits, context, ledger, models).items()
    }
    return make_plan(
        deficits,
        offers,
        ledger.costs,
        round_number=round_number,
        n_rounds=None,
        remaining_tokens=0,
        exhausted=ledger.find_exhausted(),
    )
