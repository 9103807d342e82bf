"""What the actions that edit records have in common: their sources, what is shown beside them, and their price.

A model that cannot edit is found by trying it on this data: the first requests of each kind of edit are a probe, and
where the filters keep too few of its texts the plan takes another action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import ClassVar

import numpy as np

from counterpoise.actions.base import ActionData, Offer, make_probe, price_requests
from counterpoise.actions.context_fit import open_window
from counterpoise.actions.demonstrations import find_rows
from counterpoise.actions.edit_sources import EditMaterial, Pair, RecordEditor, can_instruct
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.plans import Cell, PlanItem, Proposal
from counterpoise.core.records import Integers
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm import ChatRequest
from counterpoise.llm.models import Models

MOST_SOURCES = 500


class EditAction(ABC):
    """An action that edits real records, one request an edit."""

    name: ClassVar[str]
    effect: ClassVar = "made from records by small changes"

    @abstractmethod
    def open_editor(self, data: ActionData) -> RecordEditor:
        """Who writes the requests."""

    @abstractmethod
    def find_sources(self, cell: Cell, data: ActionData) -> Integers:
        """Positions of the training rows that can be edited for a cell."""

    def make_pairs(self, cell: Cell, sources: Integers, data: ActionData) -> tuple[Pair, ...]:
        """Texts before and after such an edit, made without a model, for models that only continue texts."""
        return ()

    def offer(self, cell: Cell, data: ActionData, models: Models) -> Offer | None:
        """As many edits as sources are left, where somebody can judge them."""
        if not data.is_trusted:
            return None
        material = self.gather(cell, data, models.capabilities)
        left = material.n_edits - data.count_requests(self.name, cell)
        if left <= 0 or (not can_instruct(models.capabilities) and not material.pairs):
            return None
        requests = self.list_requests(make_probe(self.name, cell), data, models)
        return Offer(price_requests(requests, models), most=left, is_probed=True)

    def act(self, item: PlanItem, data: ActionData, models: Models) -> AsyncIterator[Proposal]:
        """Edits as their replies arrive."""
        material = self.gather(item.cell, data, models.capabilities)
        return self.open_editor(data).propose(item, material, models)

    def list_requests(self, item: PlanItem, data: ActionData, models: Models) -> list[ChatRequest]:
        """The requests of an item."""
        material = self.gather(item.cell, data, models.capabilities)
        return self.open_editor(data).make_requests(item, material, models.capabilities)

    def gather(self, cell: Cell, data: ActionData, capabilities: Capabilities) -> EditMaterial:
        """Records to edit for a cell, and what is shown beside them."""
        train = data.train
        rows = self.find_sources(cell, data)
        picked = rows[sample_by_rank(train.records.ids[rows], MOST_SOURCES, f"{data.key}:sources")]
        picked = data.recall(
            (self.name, cell, capabilities), lambda: self._find_fitting(cell, picked, data, capabilities)
        )
        pairs: tuple[Pair, ...] = ()
        if len(picked) and not can_instruct(capabilities):
            pairs = data.recall((self.name, cell), lambda: self.make_pairs(cell, picked, data))
        return EditMaterial(train.take(picked), train.take(find_rows(train.records, cell)), pairs)

    def _find_fitting(
        self, cell: Cell, rows: Integers, data: ActionData, capabilities: Capabilities
    ) -> Integers:
        """The rows that the model's window holds together with their edit."""
        editor, records = self.open_editor(data), data.train.records
        holds = [editor.can_hold(cell, records.row(int(row)), capabilities) for row in rows]
        return rows[np.array(holds, dtype=np.bool_)]

    def note(self, cell: Cell, data: ActionData, capabilities: Capabilities) -> list[str]:
        """Sentences without a subject on what requests for a cell leave out, and why."""
        rows = self.find_sources(cell, data)
        n_rows, window = min(len(rows), MOST_SOURCES), open_window(capabilities)
        material = self.gather(cell, data, capabilities)
        if (n_long := n_rows - len(material.sources)) > 0:
            return [f"edit none of {n_long} records that {window} does not hold together with their edit"]
        return []


NO_ROWS: Integers = np.empty(0, dtype=np.int64)
