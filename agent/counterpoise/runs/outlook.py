"""What is short and what it would cost to write it, from the counts alone: known seconds after the data was read.

Everything else that a preview tells needs vectors of all texts and trained students, which takes minutes. Cells of
concepts are not among this: which texts mention what is not known yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from counterpoise.actions.base import Action, ActionData
from counterpoise.balance.deficits import list_short_cells
from counterpoise.balance.targets.words import Target
from counterpoise.core.encoded_records import EncodedRecords, Vectors
from counterpoise.core.event_kinds import Outlook
from counterpoise.core.plain import to_plain
from counterpoise.core.plans import Cell
from counterpoise.core.records import Records
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm.models import Models
from counterpoise.report.schema import count_cell
from counterpoise.runs.acting import ask_actions
from counterpoise.runs.planner import make_plan

_MOST_SHOWN = 50


def look_ahead(
    records: Records,
    target: Target,
    label_texts: Sequence[str],
    actions: Sequence[Action],
    models: Models,
) -> Outlook:
    """What is short and what it costs, before anything takes long.

    Args:
        records: training rows.
        target: of the job.
        label_texts: one line a label.
        actions: what may be done about a cell.
        models: the model, as far as it is known; it is asked nothing, requests are estimated.
    """
    found = list_short_cells(records, {}, target, ["label", "attribute"])
    of_labels = [one for one in found if not one.cell.is_named]
    names = records.label_names
    data = _draw(records, dict(zip(names, label_texts, strict=True)))
    largest = Cell(names[int(np.bincount(records.labels, minlength=len(names)).argmax())])
    offers = {
        cell: ask_actions(actions, cell, data, models) for cell in (*(one.cell for one in of_labels), largest)
    }
    if len(of_labels) == 1:
        # A label that is short alone gets records of the largest one beside its own, as in a run.
        mine, beside = offers[of_labels[0].cell], offers[largest]
        mine |= {
            name: replace(offer, contrast=largest)
            for name, offer in mine.items()
            if offer.is_marked and name in beside
        }
    plan = make_plan(of_labels, offers, {}, round_number=1, n_rounds=1, remaining_tokens=None)
    return Outlook(
        deficits=[to_plain(count_cell(one)) for one in found],
        labels=len(names),
        short_labels=len(of_labels),
        records=sum(one.need for one in of_labels),
        tokens=sum(item.reserved_tokens for item in plan.items),
        budget=models.chat.budget.limit,
    )


def _draw(records: Records, headings: Mapping[str, str]) -> ActionData:
    """Fifty rows of each label, which is enough to price what would be asked."""
    rows = [np.flatnonzero(records.labels == label) for label in range(len(records.label_names))]
    drawn = [mine[sample_by_rank(records.ids[mine], _MOST_SHOWN, "outlook")] for mine in rows]
    shown = records.take(np.concatenate(drawn))
    return ActionData(
        EncodedRecords(shown, _Alike().encode(list(shown.texts))), _Alike(), headings, "outlook"
    )


class _Alike:
    """Stands for the encoder while nothing is encoded: which texts are alike is not known yet."""

    name = ""
    dimension = 1
    max_tokens = 1

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The same vector for all."""
        return np.ones((len(texts), 1), dtype=np.float32)
