"""Relabelling: a record of the user's own whose label is wrong gets the right one.

It costs no token and is truer than any text that could be written: a record of the largest label that belongs to a
thin one is a record gained, and the largest label loses what was wrong in it. Which labels change is decided before
(`actions.relabel`), by what is promised of them or known of them; here they become part of a plan.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import ClassVar

from counterpoise.actions.base import ActionData, Offer
from counterpoise.core.plans import Cell, PlanItem
from counterpoise.data.patches.values import LabelChange
from counterpoise.llm.models import Models

_WORTH = 1.0
"""It is a real row."""


class RelabelRecords:
    """Gives records of other labels the label of a cell."""

    name: ClassVar = "relabel_records"
    effect: ClassVar = "relabelled"
    changes_labels: ClassVar = True

    def offer(self, cell: Cell, data: ActionData, models: Models) -> Offer | None:
        """As many records as become those of a label; cells of a concept or an attribute gain theirs by it."""
        n_changes = len(_list_changes(cell, data))
        return Offer(most=n_changes, worth=_WORTH) if n_changes else None

    async def act(self, item: PlanItem, data: ActionData, models: Models) -> AsyncIterator[LabelChange]:
        """The changes, the surest first."""
        for change in _list_changes(item.cell, data)[: item.count]:
            yield change


def _list_changes(cell: Cell, data: ActionData) -> Sequence[LabelChange]:
    return [] if cell.is_named else [change for change in data.changes if change.after == cell.label]
