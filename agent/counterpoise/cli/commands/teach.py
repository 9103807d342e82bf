"""`counterpoise teach`: from a file to a small classifier that a model has taught."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from counterpoise.cli.commands.runs import take_job
from counterpoise.cli.commands.session import Session
from counterpoise.core.errors import JobError

if TYPE_CHECKING:
    from counterpoise.tasks.job import JobBase
    from counterpoise.tasks.text.job import Job


@take_job
def teach(session: Session, job: JobBase) -> None:
    """Train a small classifier with a model as teacher, and say whether asking the model would be better.

    The model's labels are audited; where they are worth it, it labels the pool, wrong labels are mended, records are
    written where the pool has none, and a student is trained on the result and saved (recipe.skops). Takes the options
    of `run`.
    """
    from counterpoise import api
    from counterpoise.report.screen import clean_text

    if "pool_rows" not in type(job).model_fields:
        raise JobError(f"found '{job.task}'", where="key 'task'", hint="a model teaches classifiers of texts")
    if "pool_rows" not in job.model_fields_set:
        job = job.model_copy(update={"pool_rows": "all"})
    session.directory = Path(job.output)
    with session.open_screen(job.budget.minutes) as listener:
        taught = api.teach_job(cast("Job", job), listener=listener)
    if session.as_json:
        path = None if taught.path is None else str(taught.path)
        session.write_event(
            "taught", directory=str(taught.run.directory), recipe=path, **taught.table.as_dict()
        )
        return
    from counterpoise.cli.terminal_tables import make_taught_table

    session.make_console().print(make_taught_table(taught.table))
    for line in (taught.table.advice, *taught.table.notes):
        typer.echo(clean_text(line))
    if taught.path is not None:
        typer.echo(f"classifier: {taught.path}")
    typer.echo(f"report: {taught.run.report()}")
