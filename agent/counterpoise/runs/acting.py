"""Asking actions for offers and having them act; what one of a user's own does wrong ends the run in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from counterpoise.actions import ACTIONS
from counterpoise.actions.base import Action, ActionData, Offer, Outcome
from counterpoise.core.errors import CounterpoiseError
from counterpoise.core.guards import fault, guard
from counterpoise.core.plans import Cell, PlanItem, Proposal, name_way
from counterpoise.core.schema import RowSchema, divide_text
from counterpoise.data.patches.values import LabelChange
from counterpoise.llm import BudgetSpent
from counterpoise.llm.models import Models

CellOffers = dict[str, Offer]


def ask_actions(
    actions: Iterable[Action], cell: Cell, data: ActionData, models: Models, *, by_writer: bool = True
) -> CellOffers:
    """Way -> its offer for a cell, in the order of the actions; see `core.plans.name_way`.

    Args:
        actions: which.
        cell: the cell.
        data: what they may know.
        models: the model; it is asked nothing.
        by_writer: whether each of several writers is a way of its own; else they take turns.

    Raises:
        PartError: an action of the user's own raised, or offers what cannot be.
    """
    offers: CellOffers = {}
    for action in actions:
        for way, known in _list_ways(action, data, by_writer=by_writer):
            offer = guard(ACTIONS, action, action.offer, cell, known, models)
            if offer is not None and (offer.request_tokens < 0 or offer.per_request < 1):
                raise fault(ACTIONS, action, f"it offers what cannot be ({offer})")
            if offer is not None:
                offers[way] = offer
    return offers


def _list_ways(action: Action, data: ActionData, *, by_writer: bool) -> list[tuple[str, ActionData]]:
    """The ways of an action with what each may know: where several writers write, each is one."""
    if not by_writer or len(data.writers) < 2 or not getattr(action, "has_writers", False):
        return [(action.name, data)]
    return [(name_way(action.name, one.name), replace(data, writers=(one,))) for one in data.writers]


async def act(
    action: Action, item: PlanItem, data: ActionData, models: Models, schema: RowSchema
) -> AsyncIterator[Outcome]:
    """What an action does for an item: proposals, each with its content and its text, or changes of labels.

    Raises:
        PartError: an action of the user's own raised, or proposes what cannot be.
    """
    checker = _Checker(action, item, data)
    if item.writer:
        data = replace(data, writers=tuple(one for one in data.writers if one.name == item.writer))
    proposals = action.act(item, data, models)
    while True:
        try:
            proposal = await anext(proposals)
        except StopAsyncIteration:
            return
        except (CounterpoiseError, BudgetSpent):
            raise
        except Exception as error:
            if action.name in ACTIONS.names:
                raise
            raise fault(ACTIONS, action, f"it raised {type(error).__name__}: {error}") from error
        checker.check(proposal)
        yield proposal if isinstance(proposal, LabelChange) else _complete(proposal, schema)


class _Checker:
    """What has to hold for the proposals of one item."""

    def __init__(self, action: Action, item: PlanItem, data: ActionData) -> None:
        self._action = action
        self._item = item
        self._labels = frozenset(data.train.records.label_names)
        self._ids = data.recall("ids of training rows", lambda: frozenset(map(str, data.train.records.ids)))
        self._seen: set[str] = set()

    def check(self, proposal: Outcome) -> None:
        """Nothing where it can be judged and kept.

        Raises:
            PartError: says what cannot be.
        """
        if said := self._find_fault(proposal):
            raise fault(ACTIONS, self._action, f"its proposal {said}")
        self._seen.add(proposal.id)

    def _find_fault(self, proposal: Outcome) -> str:
        if isinstance(proposal, LabelChange):
            return self._find_fault_of_change(proposal)
        if not isinstance(proposal, Proposal):
            return f"is {proposal!r:.60}; yield `counterpoise.core.plans.Proposal`"
        named = f"'{proposal.id}'"
        if proposal.item != self._item:
            return f"{named} is of another item; pass on the one that it was given"
        if not proposal.id.startswith(f"{self._item.id}-") or proposal.id in self._seen:
            return f"{named} needs an id of its own that begins with '{self._item.id}-'"
        if proposal.label not in self._labels:
            return f"{named} has the label '{proposal.label}', which the data does not know"
        if stranger := next((one for one in proposal.parents if one not in self._ids), None):
            return f"{named} has the parent '{stranger}', which is no id of a training row"
        if proposal.nature.is_edit and not proposal.parents:
            return f"{named} is an edit without a parent"
        return ""

    def _find_fault_of_change(self, change: LabelChange) -> str:
        named = f"'{change.id}'"
        if change.id not in self._ids or change.id in self._seen:
            return f"{named} needs the id of a training row that it has not changed yet"
        if change.after != self._item.cell.label or change.before == change.after:
            return f"{named} has to change another label into '{self._item.cell.label}'"
        return ""


def _complete(proposal: Proposal, schema: RowSchema) -> Proposal:
    """The proposal with both its content and the text that is rendered of it."""
    if proposal.failure:
        return proposal
    if proposal.content:
        return proposal if proposal.text else replace(proposal, text=schema.render(proposal.content))
    return replace(proposal, content=divide_text(proposal.text, schema.text_columns))
