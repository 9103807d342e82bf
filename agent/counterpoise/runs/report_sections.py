"""Sections of the report: cells before and after, rounds, verdicts with examples, spend."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from counterpoise.balance.association import measure_residuals
from counterpoise.balance.counts import count_cells
from counterpoise.balance.deficits import list_short_cells
from counterpoise.core.plans import Cell, Proposal, Verdict
from counterpoise.core.records import Records, State
from counterpoise.llm import TokenBudget
from counterpoise.report.schema import (
    Balance,
    CellCount,
    Example,
    Parent,
    PurposeSpend,
    RejectedExample,
    Round,
    RoundItem,
    SpendSection,
    Verdicts,
    count_within,
    describe_item,
)
from counterpoise.runs.ledger import Ledger, count_changes
from counterpoise.tasks.text.parts import RunContext

MOST_EXAMPLES = 12

MOST_EXAMPLES_A_REASON = 3


def describe_balance(context: RunContext, before: Records, after: Records) -> Balance:
    """The cells of the training rows before and after the run, in the order of those before."""
    cells = list(count_cells(before))
    return Balance(
        before=_list_cells(context, before, cells),
        after=_list_cells(context, after, cells),
        score_before=_score_imbalance(before),
        score_after=_score_imbalance(after),
    )


def _list_cells(context: RunContext, records: Records, cells: Sequence[Cell]) -> list[CellCount]:
    counted = count_cells(records)
    found = list_short_cells(records, context.inputs.corrected, context.target)
    short = {deficit.cell: deficit for deficit in found}
    return [count_within(cell, counted.get(cell, 0), short) for cell in cells]


def _score_imbalance(records: Records) -> float | None:
    """Hinge sum of the label x concept and label x attribute residuals; None without either."""
    n_labels = len(records.label_names)
    present, known = [], []
    if records.concepts is not None:
        for column in range(len(records.concepts.names)):
            states = records.concepts.states[:, column]
            present.append(np.bincount(records.labels[states == State.PRESENT], minlength=n_labels))
            known.append(np.bincount(records.labels[states != State.UNKNOWN], minlength=n_labels))
    for values in records.attributes.values():
        given = values != ""
        for value in sorted(set(values[given]))[:50]:
            present.append(np.bincount(records.labels[values == value], minlength=n_labels))
            known.append(np.bincount(records.labels[given], minlength=n_labels))
    if not present:
        return None
    return measure_residuals(np.array(present), np.array(known)).hinge_sum


def describe_rounds(ledger: Ledger) -> list[Round]:
    """The rounds, each with the items of its plan and what came of them."""
    rounds = []
    for plan, judged in ledger.rounds:
        items = []
        for item in plan.items:
            mine = [place for place, proposal in enumerate(judged.proposals) if proposal.item.id == item.id]
            n_changed = 0 if mine else count_changes(item, judged.changes)
            items.append(
                RoundItem(
                    **asdict(describe_item(item)),
                    proposed=len(mine) + n_changed,
                    accepted=sum(judged.verdicts[place].kept for place in mine) + n_changed,
                    tokens=sum(judged.proposals[place].tokens for place in mine),
                )
            )
        rounds.append(Round(plan.round, plan.reason, items))
    return rounds


def describe_verdicts(context: RunContext, ledger: Ledger) -> Verdicts:
    """What the filters said, with a few examples."""
    rejected = ledger.list_rejected()
    reasons = Counter(verdict.reason for _, verdict in rejected)
    shown: Counter[str] = Counter()
    examples: list[RejectedExample] = []
    for proposal, verdict in rejected:
        if shown[verdict.reason] < MOST_EXAMPLES_A_REASON and len(examples) < MOST_EXAMPLES:
            shown[verdict.reason] += 1
            examples.append(RejectedExample(**_show(context, proposal, verdict), reason=verdict.reason))
    accepted = ledger.list_accepted()
    step = max(1, len(accepted) // MOST_EXAMPLES)
    return Verdicts(
        accepted=len(accepted),
        rejected=dict(sorted(reasons.items())),
        accepted_examples=[Example(**_show(context, *pair)) for pair in accepted[::step][:MOST_EXAMPLES]],
        rejected_examples=examples,
    )


def _show(context: RunContext, proposal: Proposal, verdict: Verdict) -> dict[str, Any]:
    """The fields of an example."""
    train = context.inputs.train.records
    rows = {str(identity): row for row, identity in enumerate(train.ids)}
    return {
        "text": proposal.text,
        "label": proposal.label,
        "cell": str(proposal.item.cell),
        "kind": str(proposal.kind),
        "scores": dict(verdict.scores),
        "parents": [
            Parent(
                id=parent,
                text=str(train.texts[rows[parent]]),
                label=train.label_names[int(train.labels[rows[parent]])],
            )
            for parent in proposal.parents
        ],
    }


def describe_spend(budget: TokenBudget, ledger: Ledger) -> SpendSection:
    """What the tokens of the run went into."""
    written = [proposal for proposal, _ in ledger.list_accepted() if proposal.tokens]
    generated = budget.by_purpose.get("generate")
    return SpendSection(
        used=budget.used,
        paid=budget.paid,
        limit=budget.limit,
        by_purpose={
            name: PurposeSpend(spend.requests, spend.used, spend.paid)
            for name, spend in budget.by_purpose.items()
        },
        tokens_per_accepted=generated.used / len(written) if generated and written else None,
    )
