"""The product's filters on texts of the bank, as a run on the draw would judge them in its first round."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.plans import Cell, PlanItem, Proposal
from counterpoise.runs.judging import judge
from counterpoise.runs.ledger import Ledger
from counterpoise.tasks.text.job import job_from
from counterpoise.tasks.text.label_trust import audit_free_scorers
from counterpoise.tasks.text.parts import RunContext, open_context
from counterpoise.tasks.text.preparation import prepare
from evals.bank_store import Bank, Texts
from evals.simple_ways import Draw


def open_filters(bank: Bank, draw: Draw, seed: int) -> RunContext:
    """The filters of a run on the own rows of a draw; it has no model.

    Args:
        bank: of the draw.
        draw: own rows, and the sealed ones as held-out rows.
        seed: of the run.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = job_from(
            data=_as_columns(bank, draw.own.texts.tolist(), draw.own.labels.tolist()),
            held_out=_as_columns(bank, draw.test.texts.tolist(), draw.test.labels.tolist()),
            text="text",
            label="label",
            labels=dict(bank.corpus.labels),
            llm={"engine": "server", "url": "http://127.0.0.1:9"},
            seed=seed,
            output=str(Path(folder) / "run"),
        )
        inputs = prepare(job)
        return open_context(job, inputs, audit_free_scorers(inputs))


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


def _as_columns(bank: Bank, texts: list[str], labels: list[int]) -> dict[str, list[str]]:
    return {"text": texts, "label": [bank.labels[label] for label in labels]}
