"""What short cells have to offer a plan: what can be adopted, shown, edited, and at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from counterpoise.actions.adopt import list_candidates
from counterpoise.actions.base import Offer, add_margin
from counterpoise.actions.demonstrations import find_rows
from counterpoise.balance.counts import count_cells
from counterpoise.balance.deficits import list_short_cells
from counterpoise.core.plans import Cell, Deficit, PlanItem
from counterpoise.core.records import Integers, Records
from counterpoise.llm.models import Models
from counterpoise.runs.ledger import Ledger, add_accepted
from counterpoise.runs.planner import make_plan
from counterpoise.tasks.text.parts import RunContext


def make_offers(
    deficits: Sequence[Deficit],
    context: RunContext,
    ledger: Ledger,
    models: Models,
) -> dict[Cell, Offer]:
    """What each short cell, and the contrast cell of a label that is short alone, has to offer."""
    counts, gone = count_cells(add_accepted(context.inputs.train.records, ledger)), ledger.find_exhausted()
    offers: dict[Cell, Offer] = {}
    for deficit in deficits:
        offers[deficit.cell] = _make_offer(context, ledger, deficit.cell, models)
        # Several thin labels are each other's contrast; a single one needs records of another label beside it.
        alone = all(
            other.cell.label == deficit.cell.label
            for other in deficits
            if replace(other.cell, label="") == replace(deficit.cell, label="")
        )
        contrast = _find_contrast(deficit.cell, counts, context.inputs.train.records) if alone else None
        if contrast is None or ("minority_text", contrast) in gone:
            continue
        if contrast not in offers:
            offers[contrast] = _make_offer(context, ledger, contrast, models)
        if offers[contrast].n_demonstrations:
            offers[deficit.cell] = replace(offers[deficit.cell], contrast=contrast)
    return offers


def foresee_records(context: RunContext, models: Models, limit: int | None) -> dict[str, dict[int, int]]:
    """How many records the labels that are short would get, the whole budget spent at once.

    Args:
        context: the data; nothing of it was repaired yet.
        models: the model; it is asked nothing, requests are estimated.
        limit: tokens of the budget, None without.

    Returns:
        Action -> label index -> records, for adopting and for minority text.
    """
    ledger = Ledger()
    inputs = context.inputs
    deficits = list_short_cells(inputs.train.records, inputs.corrected, context.target, ["label"])
    offers = make_offers(deficits, context, ledger, models)
    adopted = {deficit.cell: min(deficit.need, offers[deficit.cell].n_adoptable) for deficit in deficits}
    plan = make_plan(
        [replace(deficit, have=deficit.have + adopted[deficit.cell]) for deficit in deficits],
        {cell: replace(offer, n_adoptable=0) for cell, offer in offers.items()},
        {},
        round_number=1,
        n_rounds=1,
        remaining_tokens=limit,
    )
    written = {item.cell: item.count for item in plan.items if item.cell in adopted}
    names = inputs.train.records.label_names
    return {
        action: {names.index(cell.label): count for cell, count in counts.items()}
        for action, counts in (("adopt", adopted), ("minority_text", written))
    }


def _make_offer(context: RunContext, ledger: Ledger, cell: Cell, models: Models) -> Offer:
    shown = context.choose_demonstrations(cell)
    request_tokens = 0
    if len(shown):
        probe = PlanItem("minority_text", cell, 1, 0, 0, n_requests=8)
        requests = context.generator.make_requests(probe, shown, models.capabilities)
        request_tokens = add_margin(max(models.chat.estimate(request) for request in requests))
    taken = ledger.list_offered()
    edits = {}
    if context.edits is not None:
        drawn = {action: costs.requests for (action, other), costs in ledger.costs.items() if other == cell}
        edits = context.edits.make_offers(cell, models, drawn)
    return Offer(request_tokens, len(list_adoptable(context, cell, taken)), len(shown), edits=edits)


def list_adoptable(context: RunContext, cell: Cell, taken: frozenset[str]) -> Integers:
    """Rows of the pool that may be adopted for a cell, best first; `taken` are ids that were proposed before."""
    if context.adoptable is None or not context.is_trusted:
        return np.empty(0, dtype=np.int64)
    thin = context.inputs.train.vectors[find_rows(context.inputs.train.records, cell)]
    return list_candidates(
        cell, context.inputs.pool.records, context.adoptable, taken, thin, context.pool_index
    )


def _find_contrast(cell: Cell, counts: Mapping[Cell, int], train: Records) -> Cell | None:
    """The cell of the label that has most beside this one; None where it is this one."""
    siblings = [replace(cell, label=label) for label in train.label_names]
    largest = max(siblings, key=lambda sibling: (counts.get(sibling, 0), sibling.label))
    return None if largest == cell else largest
