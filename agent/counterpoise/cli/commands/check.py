"""`counterpoise check`: skew, shortcuts, duplicates and leakage in training data, without a model or a download."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from counterpoise.cli.commands.session import Session
from counterpoise.cli.options import (
    OTHER_FOLDER,
    AttributeOption,
    DataArgument,
    KeepLabelOption,
    LabelOption,
    OverwriteOption,
    SpellingsOption,
    TextOption,
    make_task,
)
from counterpoise.core.errors import DataError, ServiceError
from counterpoise.core.files import write_whole, writing

if TYPE_CHECKING:
    from counterpoise.balance.lint.report import BalanceReport


def check(
    context: typer.Context,
    data: DataArgument,
    text: TextOption,
    label: LabelOption,
    attribute: AttributeOption = [],  # noqa: B006  (typer copies it)
    held_out: Annotated[str, typer.Option(help="Rows that the training rows must not repeat.")] = "",
    within: Annotated[str, typer.Option(help="Attribute within whose values the others are tested.")] = "",
    fail_on: Annotated[
        float | None,
        typer.Option(help="Effect size, 0 to 1, above which a finding fails."),
    ] = None,
    baseline: Annotated[Path | None, typer.Option(help="File of findings that are accepted.")] = None,
    write_baseline: Annotated[
        Path | None, typer.Option(help="Accept what is found now: write it to this file.")
    ] = None,
    page: Annotated[Path | None, typer.Option(help="Write the result as a page (HTML).")] = None,
    label_spellings: SpellingsOption = "",
    keep_label: KeepLabelOption = [],  # noqa: B006
    overwrite: OverwriteOption = False,
) -> None:
    """Check training data: skew, shortcuts, duplicates, leakage. No model, no download.

    Exit code 1 where --fail-on is given and a finding fails.
    """
    from counterpoise.balance.lint import linter
    from counterpoise.cli import terminal_tables as tables
    from counterpoise.data.outputs import check_outputs

    os.environ["HF_HUB_OFFLINE"] = "1"  # read when datasets is imported; a hub id means its local copy
    task = make_task(text, label, attribute, label_spellings, keep_label)
    session: Session = context.obj
    read = (data, held_out, None if write_baseline is not None else baseline)
    check_outputs({"--page": page, "--write-baseline": write_baseline}, read, may_replace=overwrite)
    report = _lint(data, held_out, task, fail_on=fail_on, within=within)
    if write_baseline is not None:
        with writing(write_baseline, OTHER_FOLDER):
            linter.write_baseline(report, write_baseline)
    accepted = write_baseline or baseline
    if accepted is not None:
        report = linter.compare_with_baseline(report, accepted)
    if page is not None:
        _write_page(page, report, title=data)
    if session.as_json:
        session.write_event("checked", **report.to_dict())
    elif session.is_quiet:
        session.make_console().print(tables.write_check_headline(report))
    else:
        console = session.make_console()
        for table in tables.list_check_tables(report):
            console.print(table)
    if report.failures:
        raise typer.Exit(1)


def _lint(data: str, held_out: str, task: Any, *, fail_on: float | None, within: str) -> BalanceReport:
    """Check a source; errors name it, and nothing is downloaded."""
    from counterpoise.balance.lint.linter import lint_table

    notes: list[str] = []
    table = _load_local(data, task, notes)
    sealed = _load_local(held_out, task, notes) if held_out else None
    try:
        report = lint_table(table, task, sealed, fail_on=fail_on, within=within)
        return replace(report, notes=(*report.notes, *notes))
    except DataError as error:
        error.where = held_out if error.where == "held_out" else error.where or data
        raise


def _load_local(source: str, task: Any, notes: list[str]) -> Any:
    from counterpoise.core.assets import list_assets
    from counterpoise.data.sources import load_table

    name = source.removeprefix("asset:")
    if source.startswith("asset:"):
        here = {status.asset.name: status.is_present for status in list_assets()}
        if not here.get(name):
            hint = (
                f"pull it with: counterpoise assets pull {name}"
                if name in here
                else f"there are {', '.join(here)}"
            )
            raise DataError("this asset is not here, and a check downloads nothing", where=source, hint=hint)
    try:
        return load_table(source, task=task, notes=notes)
    except ServiceError as error:
        hint = f"download it first, for example with: hf download --repo-type dataset {source}"
        raise DataError("not here, and a check downloads nothing", where=source, hint=hint) from error


def _write_page(path: Path, report: BalanceReport, title: str) -> None:
    from counterpoise.report.check_page import render_check_page

    text = render_check_page(report.to_dict(), title=Path(title).name)
    with writing(path, OTHER_FOLDER):
        write_whole(path, text)
