"""The command line: `check run preview resume report doctor assets`, and from errors to exit codes.

Exit codes: 0 done, 1 a check that fails, 2 a mistake of the user's, 3 a server, a download or a disk that failed,
4 a fault of ours, 130 interrupted (Ctrl-C or SIGTERM, see `interrupts`). A mistake is one line on standard error,
without a traceback unless `--debug` is given.

The command line is the only package that prints. It loads nothing heavy at import, so that `--help` answers at once:
whatever a command needs is imported by the command.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated

import typer

from counterpoise.cli.commands.assets import assets_app
from counterpoise.cli.commands.check import check
from counterpoise.cli.commands.doctor import doctor
from counterpoise.cli.commands.label import concepts, label
from counterpoise.cli.commands.label_errors import label_errors
from counterpoise.cli.commands.mine import mine
from counterpoise.cli.commands.patches import apply, diff, undo
from counterpoise.cli.commands.relabel import relabel
from counterpoise.cli.commands.runs import preview, report, resume, run
from counterpoise.cli.commands.session import Session
from counterpoise.cli.commands.teach import teach
from counterpoise.core.errors import FAULT, CounterpoiseError, JobError, ServiceError
from counterpoise.core.interrupts import Interrupts
from counterpoise.core.redactions import redact

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

app.add_typer(assets_app, name="assets", invoke_without_command=True)
app.command("label-errors")(label_errors)
for command in (
    *(diff, apply, undo, doctor, mine, relabel, check),
    *(run, preview, resume, report, teach, label, concepts),
):
    app.command()(command)


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
