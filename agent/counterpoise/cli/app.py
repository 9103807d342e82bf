"""The command line: `check run preview resume report doctor assets`, and from errors to exit codes.

Exit codes: 0 done, 1 a check that fails, 2 a mistake of the user's, 3 a server, a download or a disk that failed,
4 a fault of ours, 130 interrupted (Ctrl-C or SIGTERM, see `interrupts`). A mistake is one line on standard error,
without a traceback unless `--debug` is given.

This is the only module that prints. It loads nothing heavy at import, so that `--help` answers at once:
whatever a command needs is imported by the command.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from counterpoise.cli.commands import patches as patch_commands
from counterpoise.cli.commands.doctor import doctor
from counterpoise.cli.commands.label import concepts, label
from counterpoise.cli.commands.label_errors import label_errors
from counterpoise.cli.commands.mine import mine
from counterpoise.cli.commands.relabel import relabel, show_retrieval_preview
from counterpoise.cli.commands.session import Session
from counterpoise.cli.options import (
    AttributeOption,
    DataArgument,
    KeepLabelOption,
    LabelOption,
    OverwriteOption,
    SpellingsOption,
    TextOption,
    make_task,
    read_job,
)
from counterpoise.core.errors import (
    FAULT,
    CounterpoiseError,
    DataError,
    JobError,
    RunDirectoryError,
    ServiceError,
)
from counterpoise.core.interrupts import Interrupts
from counterpoise.core.redactions import redact

if TYPE_CHECKING:
    from counterpoise.api import Run
    from counterpoise.balance.lint.report import BalanceReport
    from counterpoise.tasks.retrieval.job import RetrievalJob
    from counterpoise.tasks.text.job import Job

INTERRUPTED = 130
_GLOBAL_FLAGS = ("--json", "--quiet", "--debug")
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # has no public name in typer

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "--json, --quiet and --debug may also stand behind a command. Exit codes: 0 done; 1 a finding of check fails; "
        "2 a mistake in the job, the data or the command; 3 a server, download or disk failed and the run can be "
        "resumed; 4 a fault of counterpoise itself; 130 interrupted."
    ),
)
assets_app = typer.Typer(help="List the pinned weights and demo data, or pull them.")
app.add_typer(assets_app, name="assets", invoke_without_command=True)
app.command("label-errors")(label_errors)
for command in (patch_commands.diff, patch_commands.apply, patch_commands.undo, doctor, mine):
    app.command()(command)
app.command()(relabel)


DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")]


def main() -> None:
    """The command `counterpoise`: run what the command line says and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # an old terminal may not know every character
    if "--debug" not in sys.argv:
        # What libraries have to say would stand between the user and the one line that matters.
        warnings.simplefilter("ignore")
        sys.warnoptions.append("ignore")  # for the processes that joblib starts
        logging.getLogger().addHandler(logging.NullHandler())
    interrupts = Interrupts(INTERRUPTED)
    interrupts.watch()
    try:
        code = execute(sys.argv[1:], interrupts)
    except KeyboardInterrupt:  # while another last line was being written
        code = INTERRUPTED
    if interrupts.was_told and code == INTERRUPTED:
        interrupts.end()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _leave_pipe()
    sys.exit(code)


def execute(arguments: Sequence[str], interrupts: Interrupts | None = None) -> int:
    """Run one command line.

    Args:
        arguments: without the name of the program.
        interrupts: what ends this process at a signal, where something does.

    Returns:
        The exit code.
    """
    session = Session()
    interrupts = interrupts or Interrupts(INTERRUPTED)
    interrupts.explain = lambda: _explain_interrupt(session)
    try:
        _refuse_zeros(arguments)
        command = typer.main.get_command(app)
        with command.make_context("counterpoise", _move_flags(arguments), obj=session) as context:
            command.invoke(context)
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _fail(session, _explain_interrupt(session), INTERRUPTED)
    except Exception as error:
        # What is cut off may end in any error: its reader in a pipe was stopped as well, or its server.
        if interrupts.was_told:
            return _fail(session, _explain_interrupt(session), INTERRUPTED)
        return _explain_error(session, error)
    finally:
        interrupts.leave()
    return 0


def _refuse_zeros(arguments: Sequence[str]) -> None:
    if zero := next((argument for argument in arguments if "\0" in argument), ""):
        raise JobError("holds a zero character, as no name of a file or column does", where=repr(zero))


def _explain_error(session: Session, error: Exception) -> int:
    """Say what went wrong; gives the exit code."""
    if isinstance(error, _UsageError):
        return _fail(session, f"error: {error.format_message()}", 2)  # type: ignore[attr-defined]
    if isinstance(error, CounterpoiseError):
        hint = _hint_resume(session) if isinstance(error, ServiceError) else ""
        return _fail(session, f"error: {error}{hint}", error.exit_code)
    if isinstance(error, BrokenPipeError):
        return _leave_pipe()
    return _explain_foreign(session, error)


def _explain_interrupt(session: Session) -> str:
    return f"interrupted{session.kept}{_hint_resume(session)}"


def _explain_foreign(session: Session, error: Exception) -> int:
    """Say what an error of others means, or that it is a fault of ours."""
    from counterpoise.core.boundaries import explain

    known = explain(error)
    if known is not None:
        return _fail(session, f"error: {known}", known.exit_code)
    said = redact(f"internal error: {type(error).__name__}: {error}")
    return _fail(session, f"{said}; this is a fault of counterpoise, run again with --debug", FAULT)


@app.callback(invoke_without_command=True)
def begin(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
    is_quiet: Annotated[bool, typer.Option("--quiet", help="The result only, no progress.")] = False,
    is_debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and warnings.")] = False,
    is_version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Find where training data is thin or skewed, repair it, and show what the repair was worth."""
    session: Session = context.obj
    session.as_json, session.is_quiet, session.is_debug = as_json, is_quiet, is_debug
    if is_version:
        from importlib.metadata import version

        typer.echo(f"counterpoise {version('counterpoise')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@app.command()
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
        _write(write_baseline, lambda path: linter.write_baseline(report, path))
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


def _takes_job(act: Callable[[Session, Any], None]) -> Callable[..., None]:
    """A command with the options of `read_job`, which does `act` with that job."""

    def command(context: typer.Context, **options: Any) -> None:
        act(context.obj, read_job(**options))

    hints = get_type_hints(read_job, localns={"Job": Any, "RetrievalJob": Any}, include_extras=True) | {
        "return": None
    }
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    options = inspect.signature(read_job).parameters.values()
    command.__name__, command.__doc__ = act.__name__, act.__doc__
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [context, *(option.replace(annotation=hints[option.name]) for option in options)]
    )
    command.__annotations__ = {"context": typer.Context, **hints}
    return command


@app.command()
@_takes_job
def run(session: Session, job: Job | RetrievalJob) -> None:
    """Rebalance a data set: measure, adopt or write what is missing, verify, report.

    A job file has the same keys as the options, and more; options override it.
    """
    from counterpoise import api

    session.directory = Path(job.output)
    with session.open_screen(job.budget.minutes) as listener:
        finished = api.run(job, listener=listener)
    _print_result(session, finished)


@app.command()
@_takes_job
def preview(session: Session, job: Job | RetrievalJob) -> None:
    """Show the plan, the prompts, the cost, and what the simple ways would give. No token is spent."""
    from counterpoise import api
    from counterpoise.tasks.retrieval.job import RetrievalJob

    with session.open_screen() as listener:
        if isinstance(job, RetrievalJob):
            priced = api.preview(job, listener=listener)
        else:
            found = api.preview(job, listener=listener)
    if isinstance(job, RetrievalJob):
        show_retrieval_preview(session, priced)
        return
    if session.as_json:
        session.write_event(
            "preview",
            arms=found.arms,
            best=found.best,
            deficits=[
                {"cell": str(one.cell), "have": one.have, "want": one.want, "need": one.need}
                for one in found.deficits
            ],
            plan=[
                {
                    "action": str(item.action),
                    "cell": str(item.cell),
                    "count": item.count,
                    "requests": item.n_requests,
                    "tokens": item.reserved_tokens,
                }
                for item in found.plan
            ],
            prompts=found.prompts,
            forecasts=found.forecasts,
            estimated_tokens=found.estimated_tokens,
            notes=found.notes,
            advice=found.advice,
        )
        return
    from counterpoise.cli.terminal_tables import list_preview_tables

    console = session.make_console()
    for table in list_preview_tables(found):
        console.print(table)


@app.command()
def resume(context: typer.Context, directory: DirectoryArgument) -> None:
    """Go on with a run that was stopped; what has been paid for is not asked again."""
    from counterpoise import api

    session: Session = context.obj
    _check_run_directory(directory)
    session.directory = directory
    with session.open_screen() as listener:
        finished = api.resume(directory, listener=listener)
    _print_result(session, finished)


@app.command()
def report(context: typer.Context, directory: DirectoryArgument) -> None:
    """Write report.html of a run again and print where it is."""
    from counterpoise.api import read_report
    from counterpoise.core.files import write_whole

    session: Session = context.obj
    _check_run_directory(directory)
    _, text = read_report(directory)
    page = directory / "report.html"
    _write(page, lambda path: write_whole(path, text))
    if session.as_json:
        session.write_event("report", path=str(page))
    else:
        typer.echo(str(page))


app.command()(label)
app.command()(concepts)


@assets_app.callback()
def assets(context: typer.Context) -> None:
    """List the pinned weights and demo data; `assets pull` fetches them."""
    if context.invoked_subcommand is None:
        list_pinned(context)


@assets_app.command("list")
def list_pinned(context: typer.Context) -> None:
    """List the pinned weights and demo data."""
    from counterpoise.cli.terminal_tables import make_asset_table
    from counterpoise.core.assets import find_cache_dir, list_assets

    session: Session = context.obj
    statuses = list_assets()
    if not session.as_json:
        session.make_console().print(make_asset_table(statuses))
        typer.echo(f"cache: {find_cache_dir()}")
        return
    for status in statuses:
        session.write_event(
            "asset",
            name=status.asset.name,
            description=status.asset.description,
            requirement=status.asset.requirement,
            licence=status.asset.licence,
            sha256=status.asset.sha256,
            size=status.asset.size,
            path=str(status.path),
            is_present=status.is_present,
        )


@assets_app.command()
def pull(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="[NAME]...", help="Which.")] = [],  # noqa: B006
    is_all: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Pull assets into the cache; those that are there already are checked."""
    from counterpoise.core.assets import ASSETS, ensure_asset
    from counterpoise.core.events import report_download
    from counterpoise.core.strict_yaml import suggest

    listed = "there are " + ", ".join(ASSETS)
    if is_all == bool(names):
        raise JobError(
            "found " + ("both" if is_all else "neither"), where="assets pull", hint="give names or --all"
        )
    for name in names:
        if name not in ASSETS:
            raise JobError(f"no asset '{name}'", where="assets pull", hint=suggest(name, ASSETS, listed))
    session: Session = context.obj
    for name in names or list(ASSETS):
        with session.open_screen() as listener:
            path = ensure_asset(name, progress=report_download(listener, name))
        if session.as_json:
            session.write_event("asset", name=name, path=str(path), is_present=True)
        else:
            typer.echo(f"{name}: {path}")


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


def _write(path: Path, write: Callable[[Path], None]) -> None:
    try:
        write(path)
    except OSError as error:
        raise JobError(
            f"cannot be written ({error.strerror})",
            where=str(path),
            hint="name a file in a folder that can be",
        ) from error


def _write_page(path: Path, report: BalanceReport, title: str) -> None:
    from counterpoise.core.files import write_whole
    from counterpoise.report.check_page import render_check_page

    text = render_check_page(report.to_dict(), title=Path(title).name)
    _write(path, lambda target: write_whole(target, text))


def _check_run_directory(directory: Path) -> None:
    if not (directory / "job.yaml").is_file():
        raise RunDirectoryError("this is no run directory", where=str(directory), hint="it holds no job.yaml")


def _print_result(session: Session, finished: Run) -> None:
    """The last lines of a run: what it was worth, and where everything is."""
    from counterpoise.report.screen import clean_text

    page, dataset = finished.directory / "report.html", finished.directory / "dataset"
    headline = finished.report_data["headline"]
    if session.as_json:
        session.write_event(
            "result",
            headline=headline,
            advice=finished.report_data.get("advice", []),
            stopped=finished.stopped,
            report=str(page),
            dataset=str(dataset),
        )
        return
    typer.echo(clean_text(headline))
    if finished.stopped:
        typer.echo(clean_text(f"the run ended: {finished.stopped}"))
    for line in finished.report_data.get("advice", []):
        typer.echo(clean_text(f"what to do: {line}"))
    typer.echo(f"report: {page}")
    typer.echo(f"data set: {dataset}")


def _move_flags(arguments: Sequence[str]) -> list[str]:
    """The arguments with the global flags in front, wherever they stand before a `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = [argument for argument in arguments[:end] if argument in _GLOBAL_FLAGS]
    return [*flags, *(argument for argument in arguments[:end] if argument not in flags), *arguments[end:]]


def _hint_resume(session: Session) -> str:
    """How to go on, where a run has begun."""
    if session.directory is None or not (session.directory / "job.yaml").is_file():
        return ""
    return f"; resume with: counterpoise resume {shlex.quote(str(session.directory))}"


def _fail(session: Session, line: str, code: int) -> int:
    """Say what is wrong in one line on standard error."""
    from counterpoise.report.screen import clean_text

    if session.is_debug:
        typer.echo(redact(traceback.format_exc()), err=True, nl=False)
    with contextlib.suppress(BrokenPipeError):
        typer.echo(clean_text(line), err=True)
    return code


def _leave_pipe() -> int:
    """Whoever read the output has gone, as `head` does: stop without a word."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    return 1
