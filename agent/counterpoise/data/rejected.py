"""Rejected proposals, out to a Parquet file and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from counterpoise.core.files import replacing
from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.records import Provenance
from counterpoise.data.outputs import explain_unwritable
from counterpoise.data.result_columns import BATCH_ROWS

_REJECTED_FIELDS = ("id", "text", "label", "reason", "cell", "action", "kind", "round", "parents", "model")


@dataclass(frozen=True, slots=True)
class RejectedProposal:
    """A proposal that was not kept, and why."""

    proposal: Proposal
    verdict: Verdict


def write_rejected(folder: Path, rows: Iterable[RejectedProposal]) -> int:
    """Write rejected proposals in the order of their ids to `rejected-00000-of-00001.parquet`.

    Args:
        folder: where to; made where it is missing.
        rows: the proposals and verdicts.

    Returns:
        How many there were.

    Raises:
        RunDirectoryError: the folder may not be written.
        StorageError: the disk is full.
    """
    ordered = sorted(rows, key=lambda row: row.proposal.id)
    columns = [_describe_rejected(row.proposal, row.verdict) for row in ordered]
    text = pa.string()
    kinds: dict[str, pa.DataType] = {"round": pa.int32(), "parents": pa.list_(text), "tokens": pa.float64()}
    names = (*_REJECTED_FIELDS, "prompt", "attributes", "source_id", "tokens", "scores")
    schema = pa.schema([(name, kinds.get(name, text)) for name in names])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / "rejected-00000-of-00001.parquet"
        with replacing(target) as partial:
            pq.write_table(pa.Table.from_pylist(columns, schema), partial, row_group_size=BATCH_ROWS)
    except OSError as error:
        raise explain_unwritable(error, folder) from error
    return len(ordered)


def load_rejected(folder: Path) -> Dataset:
    """The rejected proposals of a run, as `write_rejected` wrote them."""
    return Dataset(pq.read_table(folder / "rejected-00000-of-00001.parquet"))  # from_parquet refuses no rows


def _describe_rejected(proposal: Proposal, verdict: Verdict) -> dict[str, Any]:
    return {
        "id": proposal.id,
        "text": proposal.text,
        "label": proposal.label,
        "reason": verdict.reason,
        "cell": str(proposal.item.cell),
        "action": str(proposal.item.action),
        "kind": str(proposal.kind),
        "round": proposal.item.round,
        "parents": list(proposal.parents),
        "model": proposal.model,
        "prompt": proposal.prompt,
        "attributes": json.dumps(dict(sorted(proposal.attributes.items())), ensure_ascii=False),
        "source_id": proposal.source_id,
        "tokens": proposal.tokens,
        "scores": Provenance(id="", scores=verdict.scores).as_struct()["scores"],
    }
