"""The product's filters on texts of the bank, as a run on the draw would judge them in its first round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.plans import Cell, PlanItem, Proposal
from counterpoise.runs.judging import judge
from counterpoise.runs.ledger import Ledger
from counterpoise.students.rows import Rows
from counterpoise.tasks.text.parts import RunContext
from evals.bank_store import Bank, Texts
from evals.run_contexts import open_run_context
from evals.simple_ways import Draw


def open_filters(bank: Bank, draw: Draw, seed: int) -> RunContext:
    """The filters of a run on the own rows of a draw; it has no model.

    Args:
        bank: of the draw.
        draw: own rows, and the sealed ones as held-out rows.
        seed: of the run.
    """

    def name(rows: Rows) -> list[tuple[str, str]]:
        return [(text, bank.labels[label]) for text, label in zip(rows.texts, rows.labels, strict=True)]

    return open_run_context(name(draw.own), name(draw.test), seed, bank.corpus.labels)


def accept(context: RunContext, bank: Bank, texts: Texts) -> NDArray[np.bool_]:
    """(n,) whether the filters let each text pass."""
    records = context.inputs.train.records
    id_of = dict(zip(records.texts, map(str, records.ids), strict=True))
    proposals = []
    for place, (text, label, parents) in enumerate(
        zip(texts.texts, texts.labels, texts.parents, strict=True)
    ):
        cell = Cell(bank.labels[label])
        item = PlanItem("minority_text", cell, len(texts), 1, int(label), len(texts))
        # Rows are normalised when they are read, so that a parent may have another text there.
        shown = tuple(id_of[parent] for parent in parents if parent in id_of)
        proposals.append(
            Proposal(f"{item.id}-{place:05d}", item, text, cell.label, parents=shown, model=texts.writer)
        )
    proposals.sort(key=lambda proposal: proposal.id)
    judged = judge(proposals, context, Ledger())
    kept = {one.id for one, verdict in zip(judged.proposals, judged.verdicts, strict=True) if verdict.kept}
    places = [int(one.id.rsplit("-", 1)[1]) for one in proposals if one.id in kept]
    return np.isin(np.arange(len(texts)), places)
