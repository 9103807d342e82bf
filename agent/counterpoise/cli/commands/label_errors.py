"""`counterpoise label-errors`: propose a patch of wrong labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.commands.patches import MOST_LINES, print_patch, write_patch_page
from counterpoise.cli.commands.session import Session
from counterpoise.cli.options import (
    DataArgument,
    KeepLabelOption,
    LabelOption,
    OverwriteOption,
    SpellingsOption,
    TextOption,
    make_task,
)
from counterpoise.core.files import writing


def label_errors(
    context: typer.Context,
    data: DataArgument,
    text: TextOption,
    label: LabelOption,
    gold: Annotated[str, typer.Option(help="Table of right labels for a random draw of the rows.")] = "",
    answers: Annotated[
        str, typer.Option(metavar="FILE", help="What `label --ask 100 --about errors` wrote, filled in.")
    ] = "",
    trusted: Annotated[str, typer.Option(help="Column that marks rows whose label is right.")] = "",
    min_precision: Annotated[
        float | None, typer.Option(help="Share of right changes to promise; needs known labels.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="Confidence of the promise.")] = 0.8,
    drop: Annotated[
        bool,
        typer.Option("--drop/--no-drop", help="Drop rows whose label is wrong and the right one unsure."),
    ] = True,
    model: Annotated[str, typer.Option(metavar="URL|embedded", help="Model to ask about suspects.")] = "",
    output: Annotated[Path, typer.Option("--output", "-o", help="The patch to write.")] = Path("patch.jsonl"),
    page: Annotated[Path | None, typer.Option(help="Write the patch as a page (HTML) too.")] = None,
    label_spellings: SpellingsOption = "",
    keep_label: KeepLabelOption = [],  # noqa: B006
    overwrite: OverwriteOption = False,
) -> None:
    """Find wrong labels and write a patch; the data is not touched.

    Without known labels nothing is promised: the patch is a ranked list for review.
    """
    from counterpoise.data.outputs import check_outputs
    from counterpoise.data.patches.values import write_patch
    from counterpoise.runs.label_errors import find_label_errors

    session: Session = context.obj
    task = make_task(text, label, (), label_spellings, keep_label)
    outputs = {"--output": output, "--page": page}
    check_outputs(outputs, (data, gold, answers), may_replace=overwrite)
    with session.open_screen() as listener:
        found = find_label_errors(
            data,
            list(text),
            label,
            gold=gold or None,
            answers=answers,
            trusted=trusted,
            min_precision=min_precision,
            confidence=confidence,
            may_drop=drop,
            model=model,
            label_spellings=task.label_spellings,
            keep_labels=task.keep_labels,
            listener=listener,
        )
    check_outputs(outputs, (data, gold, answers), may_replace=overwrite)
    with writing(output):
        write_patch(output, found.patch)
    if page is not None:
        write_patch_page(page, found.patch)
    if session.as_json:
        session.write_event(
            "label_errors",
            patch=str(output),
            counts=found.patch.count(),
            promise=dict(found.patch.promise),
            judge=found.decisions.trial.as_dict() if found.decisions.trial else {},
            notes=list(found.patch.notes),
        )
        return
    print_patch(session, found.patch, MOST_LINES // 2)
    typer.echo(str(output))
