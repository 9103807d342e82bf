"""What a relabelling without a run directory writes: the repaired file, the decisions and the summary beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from counterpoise.actions.relabel.result import RelabelledInstances
    from counterpoise.actions.relabel.training_rows import TrainingRows


def list_outputs(target: Path) -> dict[str, Path]:
    """The files that `write_relabelled` writes, by what errors call them."""
    stem = target.name.removesuffix(".gz").removesuffix(".jsonl")
    return {
        "--output": target,
        "the decisions beside it,": target.with_name(f"{stem}.decisions.jsonl"),
        "the summary beside it,": target.with_name(f"{stem}.summary.json"),
    }


def write_relabelled(
    done: RelabelledInstances, source: Path, target: Path, form: str = "auto", *, overwrite: bool = False
) -> tuple[dict[str, Path], TrainingRows]:
    """Write the repaired instances in the form of their source, the decisions and the summary beside them.

    What is written can be trained on: a row that lost its negative is filled with another one of its query, or left
    out; the summary counts these (`written`).

    Args:
        done: what came of relabelling.
        source: the file that was read; its form is kept.
        target: the file to write; the others take its name and `.decisions.jsonl`, `.summary.json`.
        form: of the source.
        overwrite: whether files that exist may be replaced; the source never is.

    Returns:
        The files that were written, `repaired`, `decisions` and `summary`, and the rows.

    Raises:
        JobError: a file cannot be written, or exists.
    """
    from counterpoise.actions.relabel.training_rows import make_training_rows
    from counterpoise.core.files import write_whole, writing
    from counterpoise.data.exporters import EXPORTERS
    from counterpoise.data.instances import find_form
    from counterpoise.data.outputs import check_outputs

    outputs = list_outputs(target)
    permission = "give --overwrite (overwrite=True in Python)"
    check_outputs(outputs, (source,), may_replace=overwrite, permission=permission)
    _, decisions, summary = outputs.values()
    with writing(target, "name a file in a folder that can be"):
        exporter = EXPORTERS.find(find_form(source) if form == "auto" else form)
        rows = make_training_rows(done, exporter)
        exporter.write(target, rows.instances)
        done.write_decisions(decisions)
        said = done.summary() | {"written": {"sentence": rows.sentence, **rows.as_dict()}}
        write_whole(summary, json.dumps(said, ensure_ascii=False, indent=2, sort_keys=True) + "\n")
    return {"repaired": target, "decisions": decisions, "summary": summary}, rows
