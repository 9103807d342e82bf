"""The Python API: the same run as on the command line, with tables in memory where you have them."""

from __future__ import annotations

import contextlib
import errno
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from counterpoise.core.errors import RunDirectoryError, StorageError
from counterpoise.core.events import Listener
from counterpoise.core.html_views import MOST_ROWS, make_view
from counterpoise.core.interrupts import run_alone
from counterpoise.report.progress import open_progress
from counterpoise.tasks.text.job import Job, job_from

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from counterpoise.balance.lint.report import BalanceReport
    from counterpoise.core.label_spellings import Spellings
    from counterpoise.core.plans import Deficit, PlanItem
    from counterpoise.runs.retrieval_preview import RetrievalPreview
    from counterpoise.tasks.retrieval.job import RetrievalJob


class Run:
    """A finished run, read back from its directory.

    Args:
        directory: the run directory.
        report_data: the report (`report.schema.Report`).
    """

    def __init__(self, directory: Path, report_data: dict[str, Any]) -> None:
        self.directory = directory
        self.report_data = report_data

    @cached_property
    def dataset(self) -> DatasetDict:
        """`train` and `held_out`, with the four added columns."""
        from counterpoise.data.writing import load_result

        return load_result(self.directory / "dataset")

    @cached_property
    def rejected(self) -> Dataset:
        """Rejected proposals, each with its reason; no rows where there were none."""
        from counterpoise.data.rejected import load_rejected

        return load_rejected(self.directory / "rejected")

    @property
    def before(self) -> list[dict[str, Any]]:
        """Cells before: cell, have, want, need."""
        return list(self.report_data["balance"]["before"])

    @property
    def after(self) -> list[dict[str, Any]]:
        """The same cells after."""
        return list(self.report_data["balance"]["after"])

    @property
    def stopped(self) -> str:
        """Why the run ended."""
        return str(self.report_data["stopped"])

    @property
    def content_hash(self) -> str:
        """Of the data set; does not depend on the order of its rows."""
        return str(self.report_data["settings"]["content_hash"])

    def report(self) -> Path:
        """The page to look at."""
        return self.directory / "report.html"

    def __repr__(self) -> str:
        """Where it lies and why it ended."""
        return f"<Run {self.directory}: {self.stopped}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: what came of it, and the cells before and after."""
        data = self.report_data
        lines = [data.get("headline", ""), f"The run ended: {self.stopped}", f"Report: {self.report()}"]
        heading = f"Run {data.get('title') or self.directory.name}"
        if data.get("task") == "retrieval":
            return make_view(heading, lines)
        after = {row["cell"]: row for row in self.after}
        rows = [
            (row["cell"], row["have"], after.get(row["cell"], row)["have"], row["want"])
            for row in self.before
        ]
        return make_view(heading, lines, ("cell", "before", "after", "wanted"), rows)


@dataclass(frozen=True, slots=True)
class Preview:
    """What a run would do, before a token is spent.

    Args:
        arms: what the ways that cost no token give on inner validation.
        best: student -> the best of them.
        deficits: cells that lack records.
        plan: the first round.
        prompts: at most two, as they would be sent.
        forecasts: what the records of a whole run are expected to add to logit adjustment (see `forecasts`).
        estimated_tokens: upper estimate of the first round.
        notes: what is odd about the data.
        advice: what to do first.
    """

    arms: list[dict[str, Any]]
    best: dict[str, str]
    deficits: list[Deficit]
    plan: list[PlanItem]
    prompts: list[str]
    forecasts: list[dict[str, Any]]
    estimated_tokens: int
    notes: list[str]
    advice: list[str]

    def _repr_html_(self) -> str:
        """What a notebook shows: advice, what is short, and the simple ways."""
        lines = [
            *self.advice,
            f"The first round takes at most {self.estimated_tokens:,} tokens.",
            *self.notes,
        ]
        rows = [(row["student"], row["arm"], row["macro_f1"], row["auroc"]) for row in self.arms]
        lines += [f"{short.cell} has {short.have:,} of {short.want:,}" for short in self.deficits[:MOST_ROWS]]
        return make_view("Preview", lines, ("student", "without a token", "macro-F1", "AUROC"), rows)


def run(job: Job | RetrievalJob, *, listener: Listener | None = None, progress: bool | None = None) -> Run:
    """Run a job.

    Args:
        job: what to do.
        listener: told of every step, instead of progress being shown.
        progress: whether it is shown; None where somebody looks (see `counterpoise.report.progress`).

    Raises:
        UserError: a mistake in the job or the data.
        ServiceError: a server, a download or a disk failed; run the job again to go on.
    """
    from counterpoise.runs.loop import run_job
    from counterpoise.runs.retrieval import run_retrieval
    from counterpoise.tasks.retrieval.job import RetrievalJob

    job.check_models()
    try:
        with open_progress(listener, progress):
            if isinstance(job, RetrievalJob):
                return Run(Path(job.output), run_alone(lambda: run_retrieval(job)))
            finished = run_alone(lambda: run_job(job))
    except OSError as error:
        # Vectors, temporary files and the report may each be what fills a disk; users are told alike.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = error.filename or "the cache, the output or the temporary folder"
        raise StorageError(
            "the disk is full", where=str(where), hint="free some space there, then resume the run"
        ) from error
    return Run(finished.directory, finished.report)


def resume(directory: str | Path, *, listener: Listener | None = None, progress: bool | None = None) -> Run:
    """Go on with a run that was interrupted; a finished one is read back, and its report written again if need be.

    Args:
        directory: the run directory.
        listener: as for `run`.
        progress: as for `run`.

    Raises:
        RunDirectoryError: there is no run in the directory.
    """
    folder = Path(directory)
    path = folder / "job.yaml"
    if not path.is_file():
        raise RunDirectoryError("no run here (no job.yaml)", where=str(folder), hint="name a run directory")
    if (folder / "FINISHED").is_file():
        with contextlib.suppress(RunDirectoryError):
            return Run(folder, read_report(folder)[0])
    from counterpoise.tasks.any_job import load_any_job

    job = load_any_job(path)
    job.check_tables(str(folder))
    return run(
        job.model_copy(update={"output": str(folder.absolute())}), listener=listener, progress=progress
    )


def read_report(directory: Path) -> tuple[dict[str, Any], str]:
    """The report of a run, and its page.

    Raises:
        RunDirectoryError: there is none yet, or it is none of this version.
    """
    import json

    from jinja2 import TemplateError

    from counterpoise.report.retrieval_page import render_retrieval_report
    from counterpoise.report.run_page import render_report

    source = directory / "report.json"
    resume_it = f"counterpoise resume {shlex.quote(str(directory))}"
    try:
        found = json.loads(source.read_text(encoding="utf-8"))
        is_retrieval = found.get("task") == "retrieval"
        return found, render_retrieval_report(found) if is_retrieval else render_report(found)
    except FileNotFoundError as error:
        hint = f"finish the run with: {resume_it}"
        raise RunDirectoryError("holds no report.json yet", where=str(directory), hint=hint) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, TemplateError) as error:
        hint = f"write it again with: {resume_it}"
        raise RunDirectoryError("is no report of this version", where=str(source), hint=hint) from error


@overload
def preview(job: Job, *, listener: Listener | None = None, progress: bool | None = None) -> Preview: ...
@overload
def preview(
    job: RetrievalJob, *, listener: Listener | None = None, progress: bool | None = None
) -> RetrievalPreview: ...
def preview(
    job: Job | RetrievalJob, *, listener: Listener | None = None, progress: bool | None = None
) -> Preview | RetrievalPreview:
    """What a run would do first; spends nothing and writes nothing but caches.

    Of a job over retrieval instances it is what would be asked, with requests, tokens and time.

    Args:
        job: what to do.
        listener: as for `run`.
        progress: as for `run`.

    Raises:
        UserError: a mistake in the job or the data.
    """
    from counterpoise.runs.preview import make_preview
    from counterpoise.runs.retrieval_preview import preview_relabelling
    from counterpoise.tasks.retrieval.job import RetrievalJob

    if isinstance(job, RetrievalJob):
        with open_progress(listener, progress):
            return preview_relabelling(job)
    with open_progress(listener, progress):
        return Preview(**run_alone(lambda: make_preview(job)))


def rebalance(
    data: Any,
    *,
    text: str | Sequence[str],
    label: str,
    model: Any = "embedded",
    budget: str | int = "2M",
    listener: Listener | None = None,
    progress: bool | None = None,
    **keys: Any,
) -> Run:
    """Rebalance a data set: find what is thin, adopt or write records for it, verify each, and measure the gain.

    Args:
        data: a `Dataset`, a pandas frame, a mapping of columns, a file, a folder or a hub id.
        text: text column, or columns.
        label: label column.
        model: `embedded`, the URL of an OpenAI-compatible server, the keys of `llm` in a job, a chat model of
            LangChain, or any object with `generate(request)`, which is an engine (see `counterpoise.llm.Engine`).
        budget: tokens, as a number or `2M`, `500k`.
        listener: told of every step, instead of progress being shown.
        progress: whether it is shown; None where somebody looks: on a terminal and in a notebook.
        **keys: any other key of a job: attributes, concepts, pool, held_out, target, output, ...

    Returns:
        The run: `dataset`, `rejected`, `before`, `after`, `report()`.

    Raises:
        UserError: a mistake in the arguments or the data.
        ServiceError: a server, a download or a disk failed; call again to go on.

    Example:
        >>> import counterpoise
        >>> run = counterpoise.rebalance("reviews.csv", text="review", label="stars")  # doctest: +SKIP
        >>> run.dataset["train"]  # doctest: +SKIP
    """
    job = job_from(data=data, text=text, label=label, llm=model, budget=budget, **keys)
    return run(job, listener=listener, progress=progress)


def check_balance(
    data: Any,
    *,
    label: str,
    text: str | Sequence[str] = "text",
    attributes: str | Sequence[str] = (),
    held_out: Any = None,
    fail_on: float | None = None,
    label_spellings: Spellings = "ask",
    keep_labels: Sequence[str] = (),
) -> BalanceReport:
    """Lint a data set: counts, associations, shortcuts, duplicates, leakage. No model, nothing is written.

    Args:
        data: as `rebalance` takes it.
        label: label column.
        text: text column, or columns.
        attributes: columns that should not decide the label.
        held_out: test rows, to look for leakage.
        fail_on: effect size from which an association counts as a failure.
        label_spellings: labels that differ only in blanks, case or Unicode form are one (`merge`) or several.
        keep_labels: words such as `null` or `NA` that are labels here.

    Returns:
        The report: `.findings`, `.failures`, `.to_dict()`.

    Raises:
        DataError: a file or column that cannot be used.
    """
    from counterpoise.balance.lint.linter import lint_table
    from counterpoise.core.schema import TextClassification
    from counterpoise.data.sources import load_table

    columns = (text,) if isinstance(text, str) else tuple(text)
    named = (attributes,) if isinstance(attributes, str) else tuple(attributes)
    task = TextClassification(columns, label, named, "", tuple(keep_labels), label_spellings)
    notes: list[str] = []
    test = None if held_out is None else load_table(held_out, task=task, notes=notes)
    report = lint_table(load_table(data, task=task, notes=notes), task, test, fail_on=fail_on)
    return replace(report, notes=(*report.notes, *notes))
