"""`counterpoise run`, `preview`, `resume` and `report`: a run from its plan to its page."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from counterpoise.cli.commands.session import Session
from counterpoise.cli.options import OTHER_FOLDER, JobOptions, read_job
from counterpoise.core.errors import RunDirectoryError
from counterpoise.core.files import write_whole, writing

if TYPE_CHECKING:
    from counterpoise.api import Run
    from counterpoise.report.preview import TaskPreview
    from counterpoise.tasks.job import JobBase

DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.")]


def take_job(act: Callable[[Session, Any], None]) -> Callable[..., None]:
    """A command with the options of `JobOptions`, which does `act` with the job that they describe."""

    def command(context: typer.Context, **options: Any) -> None:
        act(context.obj, read_job(JobOptions(**options)))

    hints = get_type_hints(JobOptions, include_extras=True)
    parameters = [("context", typer.Context, inspect.Parameter.empty)]
    parameters += [(option.name, hints[option.name], _find_default(option)) for option in fields(JobOptions)]
    command.__name__, command.__doc__ = act.__name__, act.__doc__
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind, default=default)
            for name, kind, default in parameters
        ]
    )
    command.__annotations__ = {name: kind for name, kind, _ in parameters}
    return command


def _find_default(option: Field[Any]) -> Any:
    """What an option is where it is not given; `Parameter.empty` where it has to be."""
    if option.default_factory is not MISSING:
        return option.default_factory()
    return inspect.Parameter.empty if option.default is MISSING else option.default


@take_job
def run(session: Session, job: JobBase) -> None:
    """Rebalance a data set: measure, adopt or write what is missing, verify, report.

    A job file has the same keys as the options, and more; options override it.
    """
    from counterpoise import api

    session.directory = Path(job.output)
    with session.open_screen(job.budget.minutes) as listener:
        finished = api.run(job, listener=listener)
    _print_result(session, finished)


@take_job
def preview(session: Session, job: JobBase) -> None:
    """Show the plan, the prompts, the cost, and what the simple ways would give. No token is spent."""
    from counterpoise import api

    with session.open_screen() as listener:
        found = api.preview(job, listener=listener)
    show_preview(session, found)


def show_preview(session: Session, found: TaskPreview) -> None:
    """Print what a run would do."""
    if session.as_json:
        session.write_event("preview", **found.as_dict())
        return
    from counterpoise.cli.terminal_tables import list_preview_tables

    console = session.make_console()
    for table in list_preview_tables(found):
        console.print(table)


def resume(context: typer.Context, directory: DirectoryArgument) -> None:
    """Go on with a run that was stopped; what has been paid for is not asked again."""
    from counterpoise import api

    session: Session = context.obj
    _check_run_directory(directory)
    session.directory = directory
    with session.open_screen() as listener:
        finished = api.resume(directory, listener=listener)
    _print_result(session, finished)


def report(context: typer.Context, directory: DirectoryArgument) -> None:
    """Write report.html of a run again and print where it is."""
    from counterpoise.api import read_report

    session: Session = context.obj
    _check_run_directory(directory)
    _, text = read_report(directory)
    page = directory / "report.html"
    with writing(page, OTHER_FOLDER):
        write_whole(page, text)
    if session.as_json:
        session.write_event("report", path=str(page))
    else:
        typer.echo(str(page))


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
