"""`counterpoise diff`, `apply` and `undo`: read a patch of label changes, apply it to a file, take it back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from counterpoise.cli.commands.session import Session
from counterpoise.cli.options import OverwriteOption
from counterpoise.core.errors import DataError
from counterpoise.core.files import write_whole, writing

if TYPE_CHECKING:
    from counterpoise.data.patches.apply import AppliedPatch
    from counterpoise.data.patches.values import Patch

PatchArgument = Annotated[
    Path, typer.Argument(metavar="PATCH", help="A patch file, or a run directory that holds one.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The file to write.")]

MOST_LINES = 40


def diff(
    context: typer.Context,
    patch: PatchArgument,
    page: Annotated[Path | None, typer.Option(help="Write the patch as a page (HTML).")] = None,
    most: Annotated[int, typer.Option(help="Changes to show, 0 for all.")] = MOST_LINES,
    overwrite: OverwriteOption = False,
) -> None:
    """Show the label changes of a patch, the most certain first. Changes nothing."""
    from counterpoise.data.outputs import check_outputs
    from counterpoise.data.patches.values import read_patch

    session: Session = context.obj
    read = read_patch(patch)
    check_outputs({"--page": page}, (patch, read.source), may_replace=overwrite)
    if page is not None:
        write_patch_page(page, read)
    if session.as_json:
        session.write_event(
            "patch", source=read.source, rows=read.n_rows, counts=read.count(), promise=dict(read.promise)
        )
        for change in read.changes:
            session.write_event(
                "change",
                id=change.id,
                outcome=str(change.outcome),
                before=change.before,
                after=change.after,
                score=round(change.score, 6),
                reason=change.reason,
            )
        return
    print_patch(session, read, most)


def print_patch(session: Session, patch: Patch, most: int = MOST_LINES) -> None:
    """A patch on a screen: what it does, and its first changes."""
    from rich.table import Table
    from rich.text import Text

    from counterpoise.report.patch_page import write_headline
    from counterpoise.report.screen import clean_text

    console = session.make_console()
    console.print(Text(clean_text(write_headline(patch)), style="bold"))
    for note in patch.notes:
        console.print(Text(clean_text(note), style="dim"))
    if session.is_quiet or not patch.changes:
        return
    table = Table(
        "outcome", "label in the data", "proposed", "certainty", "text", title=clean_text(patch.source)
    )
    shown = patch.changes[: most or None]
    for change in shown:
        cells = (
            str(change.outcome),
            change.before,
            change.after if change.after != change.before else "",
            f"{change.score:.2f}",
            change.text[:100],
        )
        table.add_row(*(Text(clean_text(cell)) for cell in cells))
    console.print(table)
    if len(shown) < len(patch.changes):
        console.print(Text(f"{len(patch.changes) - len(shown)} more; --most 0 shows all", style="dim"))


def write_patch_page(path: Path, patch: Patch) -> None:
    """Write a patch as a page.

    Raises:
        JobError: the page cannot be written.
    """
    from counterpoise.report.patch_page import render_patch_page

    with writing(path, "name a file in a folder that exists"):
        write_whole(path, render_patch_page(patch))


def apply(
    context: typer.Context,
    patch: PatchArgument,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The CSV, JSON-lines or Parquet file.")],
    output: OutputOption,
    accept_review: Annotated[
        bool, typer.Option("--accept-review", help="Relabel what waits for review, too.")
    ] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a copy of a data file with the changes of a patch; the file itself is not touched.

    Records are found by their content, so the file may have been sorted or have grown. OUTPUT.undo is written too.
    """
    from counterpoise.data.outputs import check_outputs
    from counterpoise.data.patches.apply import apply_patch
    from counterpoise.data.patches.receipts import name_receipt
    from counterpoise.data.patches.values import ACCEPT, explain_nothing, read_patch

    read = read_patch(patch)
    if accept_review:
        read = read.accept_review()
    check_outputs({"--output": output}, (patch, data), may_replace=overwrite)
    check_outputs({"its receipt": name_receipt(output)}, (patch, data), may_replace=True)
    if not len(read):
        raise DataError(explain_nothing(read), where=str(patch), hint=ACCEPT)
    with writing(output):
        done = apply_patch(read, data, output, overwrite=overwrite)
    _print_applied(context.obj, "applied", done)


def undo(
    context: typer.Context,
    applied: Annotated[Path, typer.Argument(metavar="APPLIED", help="A file that `apply` wrote.")],
    output: OutputOption,
    receipt: Annotated[Path | None, typer.Option(help="By default APPLIED.undo.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write the file as it was before `apply`, byte for byte."""
    from counterpoise.data.patches.undo import undo_patch

    with writing(output):
        done = undo_patch(applied, output, receipt, overwrite=overwrite)
    _print_applied(context.obj, "undone", done)


def _print_applied(session: Session, name: str, done: AppliedPatch) -> None:
    if session.as_json:
        session.write_event(
            name,
            output=str(done.output),
            receipt=str(done.receipt) if done.receipt else None,
            relabelled=done.n_relabelled,
            dropped=done.n_dropped,
            missing=done.n_missing,
            exact=done.is_exact,
        )
        return
    verb = "restored" if name == "undone" else "relabelled"
    parts = [
        f"{done.n_relabelled} labels {verb}, {done.n_dropped} rows {'put back' if name == 'undone' else 'dropped'}"
    ]
    if done.n_missing:
        parts.append(f"{done.n_missing} changes found no record")
    if name == "undone":
        parts.append("byte for byte as before" if done.is_exact else "by id, for the file was changed since")
    typer.echo(f"{done.output}: {'; '.join(parts)}")
    if done.receipt and not session.is_quiet:
        typer.echo(
            f"undo it with: counterpoise undo {shlex.quote(str(done.output))} --output NEW  (needs {done.receipt.name})"
        )
