"""What is short and what it would cost to write it, from the counts alone: known seconds after the data was read.

Everything else that a preview tells needs vectors of all texts and trained students, which takes minutes. Cells of
concepts are not among this: which texts mention what is not known yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from counterpoise.actions.base import Offer, add_margin
from counterpoise.actions.minority_text import MinorityText
from counterpoise.balance.counts import find_deficits
from counterpoise.balance.deficits import is_short
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.event_kinds import Outlook
from counterpoise.core.plain import to_plain
from counterpoise.core.plans import Cell, PlanItem
from counterpoise.core.records import Records
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm.models import Models
from counterpoise.report.schema import count_cell
from counterpoise.runs.planner import make_plan

_MOST_SHOWN = 50
_N_REQUESTS = 2


def look_ahead(
    records: Records,
    target: Literal["equal"] | Mapping[str, float],
    label_texts: Sequence[str],
    models: Models,
) -> Outlook:
    """What is short and what it costs, before anything takes long.

    Args:
        records: training rows.
        target: of the job.
        label_texts: one line a label.
        models: the model, as far as it is known; it is asked nothing, requests are estimated.
    """
    found = [one for one in find_deficits(records, target, ["label", "attribute"]) if is_short(one)]
    of_labels = [one for one in found if not one.cell.is_named]
    names = records.label_names
    writer = MinorityText(dict(zip(names, label_texts, strict=True)), "outlook", {})
    largest = Cell(names[int(np.bincount(records.labels, minlength=len(names)).argmax())])
    # A label that is short alone gets records of the largest one beside its own, as in a run.
    contrast = largest if len(of_labels) == 1 else None
    offers = {
        cell: _price(cell, records, writer, models) for cell in (*(one.cell for one in of_labels), largest)
    }
    offers |= {one.cell: replace(offers[one.cell], contrast=contrast) for one in of_labels}
    plan = make_plan(of_labels, offers, {}, round_number=1, n_rounds=1, remaining_tokens=None)
    return Outlook(
        deficits=[to_plain(count_cell(one)) for one in found],
        labels=len(names),
        short_labels=len(of_labels),
        records=sum(one.need for one in of_labels),
        tokens=sum(item.reserved_tokens for item in plan.items),
        budget=models.chat.budget.limit,
    )


def _price(cell: Cell, records: Records, writer: MinorityText, models: Models) -> Offer:
    """What one request for a label costs at most, and how many rows there are to show."""
    rows = np.flatnonzero(records.labels == records.label_names.index(cell.label))
    if not len(rows):
        return Offer(0, 0, 0)
    shown = records.take(rows[sample_by_rank(records.ids[rows], _MOST_SHOWN, "outlook")])
    alike = np.ones((len(shown), 1), dtype=np.float32)  # which of them are unlike is not known yet
    item = PlanItem("minority_text", cell, 1, 0, 0, n_requests=_N_REQUESTS)
    requests = writer.make_requests(item, EncodedRecords(shown, alike), models.capabilities)
    return Offer(add_margin(max(models.chat.estimate(request) for request in requests)), 0, len(shown))
