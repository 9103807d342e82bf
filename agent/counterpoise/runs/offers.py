"""What actions have to offer for the cells that are short, and for the cells that contrast with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from counterpoise.actions.base import ActionData
from counterpoise.balance.counts import count_cells
from counterpoise.balance.deficits import list_short_cells
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Records
from counterpoise.filters.base import list_instructions
from counterpoise.llm.models import Models
from counterpoise.runs.acting import CellOffers, ask_actions
from counterpoise.runs.ledger import Ledger, add_accepted
from counterpoise.runs.planner import make_plan
from counterpoise.tasks.text.parts import RunContext


def make_offers(
    deficits: Sequence[Deficit],
    context: RunContext,
    ledger: Ledger,
    models: Models,
    *,
    by_writer: bool = True,
) -> dict[Cell, CellOffers]:
    """What each short cell, and the contrast cell of a label that is short alone, has to offer.

    Args:
        deficits: of the short cells.
        context: what all rounds share.
        ledger: settled rounds.
        models: the model; it is asked nothing.
        by_writer: whether each of several writers makes an offer of its own.
    """
    train, gone = context.inputs.train.records, ledger.find_exhausted()
    counts, data = count_cells(add_accepted(train, ledger)), view_data(context, ledger)
    # Labels were changed before the rounds: what does that has nothing to offer in one.
    actions = [one for one in context.actions if not getattr(one, "changes_labels", False)]
    offers: dict[Cell, CellOffers] = {}
    for deficit in deficits:
        mine = offers[deficit.cell] = ask_actions(actions, deficit.cell, data, models, by_writer=by_writer)
        # Several thin labels are each other's contrast; a single one needs records of another label beside it.
        alone = all(
            other.cell.label == deficit.cell.label
            for other in deficits
            if replace(other.cell, label="") == replace(deficit.cell, label="")
        )
        contrast = _find_contrast(deficit.cell, counts, train) if alone else None
        marked = [name for name, offer in mine.items() if offer.is_marked]
        if contrast is None or all((name, contrast) in gone for name in marked):
            continue
        if contrast not in offers:
            offers[contrast] = ask_actions(actions, contrast, data, models, by_writer=by_writer)
        for name in marked:
            if name in offers[contrast] and (name, contrast) not in gone:
                mine[name] = replace(mine[name], contrast=contrast)
    return offers


def view_data(context: RunContext, ledger: Ledger) -> ActionData:
    """What actions may know, with what the settled rounds have proposed and cost."""
    instructions = list_instructions([one.part for one in context.filters])
    return replace(
        context.data,
        taken=ledger.list_offered(),
        costs=ledger.costs,
        refused=ledger.list_mendable(instructions),
    )


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What an action would bring, the whole budget spent at once.

    Args:
        counts: label index -> records.
        worth: real rows that one of them is expected to be worth.
        is_free: whether it costs no token.
    """

    counts: Mapping[int, int]
    worth: float
    is_free: bool


def foresee_records(context: RunContext, models: Models, limit: int | None) -> dict[str, Foreseen]:
    """How many records the labels that are short would get, the whole budget spent at once.

    Args:
        context: the data; nothing of it was repaired yet.
        models: the model; it is asked nothing, requests are estimated.
        limit: tokens of the budget, None without.

    Returns:
        Name of an action -> what it would bring, those that cost no token first.
    """
    ledger = Ledger()
    inputs = context.inputs
    deficits = list_short_cells(inputs.train.records, inputs.corrected, context.target, ["label"])
    offers = make_offers(deficits, context, ledger, models, by_writer=False)
    free = {deficit.cell: _give_free(deficit.need, offers[deficit.cell]) for deficit in deficits}
    plan = make_plan(
        [replace(one, have=one.have + sum(free[one.cell].values())) for one in deficits],
        {cell: {name: one for name, one in mine.items() if not one.is_free} for cell, mine in offers.items()},
        {},
        round_number=1,
        n_rounds=1,
        remaining_tokens=limit,
    )
    names = inputs.train.records.label_names
    counts: dict[str, dict[int, int]] = {}
    for cell, given in free.items():
        for name, count in given.items():
            counts.setdefault(name, {})[names.index(cell.label)] = count
    for item in plan.items:
        if item.cell in free and item.count:
            mine, label = counts.setdefault(item.action, {}), names.index(item.cell.label)
            mine[label] = mine.get(label, 0) + item.count
    known = {name: offer for mine in offers.values() for name, offer in mine.items()}
    return {name: Foreseen(mine, known[name].worth, known[name].is_free) for name, mine in counts.items()}


def _give_free(need: int, offers: CellOffers) -> dict[str, int]:
    """What each action that costs no token would give of so many records."""
    given: dict[str, int] = {}
    for name, offer in offers.items():
        if offer.is_free:
            left = need - sum(given.values())
            given[name] = left if offer.most is None else min(left, offer.most)
    return given


def _find_contrast(cell: Cell, counts: Mapping[Cell, int], train: Records) -> Cell | None:
    """The cell of the label that has most beside this one; None where it is this one."""
    siblings = [replace(cell, label=label) for label in train.label_names]
    largest = max(siblings, key=lambda sibling: (counts.get(sibling, 0), sibling.label))
    return None if largest == cell else largest
