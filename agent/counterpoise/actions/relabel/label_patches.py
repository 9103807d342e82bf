"""What becomes of wrong labels as a patch: each change with its text and the rows that stand beside it."""

from __future__ import annotations

from typing import Any

from counterpoise.actions.relabel.label_queue import LabelledRows
from counterpoise.actions.relabel.labels import Decisions
from counterpoise.actions.relabel.promises import Promise
from counterpoise.actions.relabel.suspects import UNKNOWN
from counterpoise.core.records import Integers
from counterpoise.core.schema import TextClassification
from counterpoise.data.patches.values import LabelChange, Neighbour, Patch


def make_patch(decisions: Decisions, rows: LabelledRows, task: TextClassification, source: str) -> Patch:
    """Decisions as a patch, with texts and neighbours for whoever looks through it."""
    known = rows.told
    changes = tuple(_make_change(decisions, rows, known, int(row)) for row in decisions.order)
    promise = _describe_promises(decisions.promise, decisions.drop_promise)
    return Patch(task, source, len(rows.records), changes, promise, decisions.notes)


def _make_change(decisions: Decisions, rows: LabelledRows, known: Integers, row: int) -> LabelChange:
    records, names = rows.records, rows.records.label_names
    neighbours = tuple(
        Neighbour(
            str(records.texts[one]),
            names[known[one] if known[one] != UNKNOWN else records.labels[one]],
            float(rows.vectors[row] @ rows.vectors[one]),
            bool(known[one] != UNKNOWN),
        )
        for one in decisions.references.get(row, ())
    )
    return LabelChange(
        id=str(records.ids[row]),
        outcome=decisions.outcomes[row],
        before=names[records.labels[row]],
        after=names[decisions.after[row]],
        score=float(decisions.scores[row]),
        reason=str(decisions.reasons[row]),
        text=str(records.texts[row]),
        neighbours=neighbours,
    )


def _describe_promises(changes: Promise | None, drops: Promise | None) -> dict[str, Any]:
    """What the patch says of its promises; nothing of one that is not kept."""
    told: dict[str, Any] = {}
    if changes is not None and changes.is_kept:
        told = {
            "min_precision": changes.min_precision,
            "confidence": changes.confidence,
            "n_gold": changes.n_gold,
            "n_gold_changed": changes.n_gold_changed,
            "n_gold_right": changes.n_gold_right,
            "low": round(changes.low, 4),
        }
    if drops is not None and drops.is_kept:
        told |= {
            "min_precision": drops.min_precision,
            "confidence": drops.confidence,
            "n_gold": drops.n_gold,
            "n_gold_wrong_label": drops.n_gold_right,
            "n_gold_dropped": drops.n_gold_changed,
        }
    return told
