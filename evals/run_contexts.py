"""The context of a run without a model, for evaluations of filters: its rows, its audits and its fitted filters."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from counterpoise.tasks.text.job import job_from
from counterpoise.tasks.text.label_trust import audit_free_scorers
from counterpoise.tasks.text.parts import RunContext, open_context
from counterpoise.tasks.text.preparation import prepare

Pairs = Iterable[tuple[str, str]]
"""Texts with their labels."""


def open_run_context(
    rows: Pairs, held_out: Pairs, seed: int, labels: Mapping[str, str] | None = None
) -> RunContext:
    """What a run on some rows judges proposals with.

    Args:
        rows: training rows.
        held_out: rows that nothing may copy.
        seed: of the run.
        labels: label -> one line about it; None for the labels' names.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = job_from(
            data=_as_columns(rows),
            held_out=_as_columns(held_out),
            text="text",
            label="label",
            labels=dict(labels or {}),
            llm={"engine": "server", "url": "http://127.0.0.1:9"},
            seed=seed,
            output=str(Path(folder) / "run"),
        )
        inputs = prepare(job)
        return open_context(job, inputs, audit_free_scorers(inputs))


def _as_columns(pairs: Pairs) -> dict[str, list[str]]:
    listed = list(pairs)
    return {"text": [text for text, _ in listed], "label": [label for _, label in listed]}
