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

from counterpoise.core.errors import JobError, RunDirectoryError, StorageError
from counterpoise.core.events import Listener
from counterpoise.core.html_views import make_view
from counterpoise.core.interrupts import run_alone
from counterpoise.report.preview import Preview, TaskPreview
from counterpoise.report.progress import open_progress
from counterpoise.tasks.job import JobBase
from counterpoise.tasks.text.job import Job, job_from

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

    from counterpoise.actions.relabel.result import RelabelledInstances
    from counterpoise.balance.lint.report import BalanceReport
    from counterpoise.core.instances import Instance
    from counterpoise.core.label_spellings import Spellings
    from counterpoise.data.patches.values import Patch
    from counterpoise.runs.teaching import TaughtTable
    from counterpoise.tasks.retrieval.job import RetrievalJob


class Run:
    """A finished run, read back from its directory.

    Args:
        directory: the run directory.
        report_data: the report (`report.schema.Report`).
        job: what was to be done, where it was called with objects in Python.
    """

    def __init__(self, directory: Path, report_data: dict[str, Any], job: JobBase | None = None) -> None:
        self.directory = directory
        self.report_data = report_data
        self.job = job

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
    def held_out_cells(self) -> list[dict[str, Any]]:
        """What each arm is worth on the sealed rows, cell by cell (`report.cell_schema.ArmCells`).

        Of every arm and student the cells, the worst first, the bias of each concept, the gap between the values of
        each attribute, and the rows that it answers otherwise than the best way without tokens. Empty for a run of a
        version that did not measure it, and for tasks other than text classification.
        """
        return list(self.report_data.get("held_out_cells", {}).get("arms", ()))

    @property
    def patch(self) -> Patch:
        """What was decided about labels that may be wrong; what it relabels was relabelled in the run.

        Raises:
            DataError: the run looked for none: of an earlier version, or of another task.
        """
        from counterpoise.data.patches.values import read_patch

        return read_patch(self.directory)

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

    def recipe(self, student: Any = "", **settings: Any) -> Any:
        """What the arm *counterpoise* trains for a student, as an estimator of scikit-learn (docs/recipe.md).

        Args:
            student: as the report calls it, `words` or `vectors`, or an object that the run was given; `in_context` for
                a prompt with examples; "" for the student that the run advises, trained in the way that it advises.
            **settings: of `Recipe`: `treatment`, `seed`, `pool`, `encoder`, `cache_dir`; of `in_context` those of
                `PromptRecipe`: `k`, `model`, `budget`.

        Returns:
            It, not fitted: `run.recipe("words").fit()` trains it on the result.

        Raises:
            UserError: the run has no such student, or kept no rows.
        """
        from counterpoise.runs.recipe.opening import open_recipe

        return open_recipe(self.directory, self.report_data, student, self.job, settings)

    def __repr__(self) -> str:
        """Where it lies and why it ended."""
        return f"<Run {self.directory}: {self.stopped}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: what came of it, and what was counted before and after."""
        from counterpoise.tasks.registry import find_task

        data = self.report_data
        lines = [data.get("headline", ""), f"The run ended: {self.stopped}", f"Report: {self.report()}"]
        heading = f"Run {data.get('title') or self.directory.name}"
        return make_view(heading, lines, *find_task(data).tabulate(data))


def run(job: JobBase, *, listener: Listener | None = None, progress: bool | None = None) -> Run:
    """Run a job.

    Args:
        job: what to do.
        listener: told of every step, instead of progress being shown.
        progress: whether it is shown; None where somebody looks (see `counterpoise.report.progress`).

    Raises:
        UserError: a mistake in the job or the data.
        ServiceError: a server, a download or a disk failed; run the job again to go on.
    """
    from counterpoise.runs.run import run_job

    job.check_models()
    try:
        with open_progress(listener, progress):
            finished = run_alone(lambda: run_job(job))
    except OSError as error:
        # Vectors, temporary files and the report may each be what fills a disk; users are told alike.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = error.filename or "the cache, the output or the temporary folder"
        raise StorageError(
            "the disk is full", where=str(where), hint="free some space there, then resume the run"
        ) from error
    return Run(finished.directory, finished.report, job)


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
    from counterpoise.tasks.registry import load_job

    job = load_job(path)
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

    from counterpoise.students.old_names import read_old_names
    from counterpoise.tasks.registry import find_task

    source = directory / "report.json"
    resume_it = f"counterpoise resume {shlex.quote(str(directory))}"
    try:
        found = json.loads(read_old_names(source.read_text(encoding="utf-8")))
        return found, find_task(found, str(source)).page.render(found)
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
    job: JobBase, *, listener: Listener | None = None, progress: bool | None = None
) -> TaskPreview: ...
def preview(job: Any, *, listener: Listener | None = None, progress: bool | None = None) -> Any:
    """What a run would do first; spends nothing and writes nothing but caches.

    Of a job over retrieval instances it is what would be asked, with requests, tokens and time; of one over a table its
    labels and cells.

    Args:
        job: what to do.
        listener: as for `run`.
        progress: as for `run`.

    Raises:
        UserError: a mistake in the job or the data.
    """
    from counterpoise.runs.run import preview_job

    with open_progress(listener, progress):
        return run_alone(lambda: preview_job(job))


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


@dataclass(frozen=True)
class Taught:
    """What `teach` came to.

    Args:
        run: the run that audited, mended, labelled and wrote.
        recipe: the small classifier, fitted.
        path: the file that it was saved in; None where the extra `recipe` is not installed.
        table: the ways to answer the sealed rows, side by side, and which one to take.
    """

    run: Run
    recipe: Any
    path: Path | None
    table: TaughtTable


def teach(
    data: Any,
    *,
    text: str | Sequence[str],
    label: str,
    model: Any,
    budget: str | int = "2M",
    listener: Listener | None = None,
    progress: bool | None = None,
    **keys: Any,
) -> Taught:
    """From a table to a small classifier that a model has taught, with what it is worth beside asking the model.

    The model's labels are audited; where they are worth it, it labels the pool, wrong labels are mended, records are
    written where the pool has none, and a student is trained on the result.

    Args:
        data: as `rebalance` takes it.
        text: text column, or columns.
        label: label column.
        model: as `rebalance` takes it.
        budget: tokens for everything.
        listener: told of every step, instead of progress being shown.
        progress: whether it is shown.
        **keys: any other key of a job: pool, held_out, output, ...

    Raises:
        UserError: a mistake in the arguments or the data.
        ServiceError: a server, a download or a disk failed; call again to go on.
    """
    job = job_from(
        data=data, text=text, label=label, llm=model, budget=budget, **{"pool_rows": "all", **keys}
    )
    return teach_job(job, listener=listener, progress=progress)


def teach_job(job: Job, *, listener: Listener | None = None, progress: bool | None = None) -> Taught:
    """The same for a job; see `teach`."""
    import json

    from counterpoise.core.files import write_whole
    from counterpoise.runs.taught_way import choose_taught_way
    from counterpoise.runs.teaching import measure_taught, name_taught_way
    from counterpoise.tasks.registry import load_job
    from counterpoise.tasks.text.preparation import prepare

    finished = run(job, listener=listener, progress=progress)
    report = finished.report_data
    student = str(report["recommendation"]["student"])
    simple_way = str(report["validation"]["best_zero_token"][student])
    taught_way = name_taught_way(str(report["ways"][student]["chosen"]), simple_way)
    resolved = job.model_copy(update={"encoder": load_job(finished.directory / "job.yaml").encoder})
    limit = job.budget.tokens
    left = None if limit is None else max(0, limit - int(report["spend"]["used"]))
    with open_progress(listener, progress):
        taught_way = choose_taught_way(lambda way: finished.recipe(student, treatment=way), taught_way)
        taught, simple = (finished.recipe(student, treatment=way).fit() for way in (taught_way, simple_way))
        inputs = prepare(resolved)
        table: TaughtTable = run_alone(lambda: measure_taught(resolved, inputs, taught, simple, left))
    path, notes = _keep_recipe(taught, finished.directory / "recipe.skops")
    table = replace(table, notes=(*table.notes, *notes))
    text = json.dumps(table.as_dict(timed=False), ensure_ascii=False, indent=2, sort_keys=True)
    write_whole(finished.directory / "teach.json", f"{text}\n")
    return Taught(finished, taught, path, table)


def _keep_recipe(recipe: Any, path: Path) -> tuple[Path | None, tuple[str, ...]]:
    """Where a recipe was saved, and why not where it was not."""
    if path.exists():
        path.unlink()
    try:
        return recipe.save(path), ()
    except JobError as error:
        return None, (f"The recipe was not saved: {error}",)


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


def relabel_negatives(
    data: str | Path | Sequence[Instance],
    *,
    model: Any = "embedded",
    strong_model: Any = None,
    corpus: str | Path = "",
    budget: str | int = "2M",
    listener: Listener | None = None,
    progress: bool | None = None,
    **keys: Any,
) -> RelabelledInstances:
    """Find training negatives that answer their query, with a cascade of two audited judges.

    Nothing is written. Replies are kept, so a call that was stopped goes on where it was.

    Args:
        data: a file of instances (Tevatron, RLHN or sentence-transformers form), or instances.
        model: the cheap judge: `embedded`, a URL, the keys of `llm` in a job, a chat model of LangChain, or any object
            with `generate(request)`.
        strong_model: the strong judge; the same as `model` where not given.
        corpus: passages or a BEIR folder, where further candidates are mined.
        budget: tokens, as a number or `2M`, `500k`.
        listener: told of every step, instead of progress being shown.
        progress: whether it is shown; None where somebody looks: on a terminal and in a notebook.
        **keys: any other key of a `RetrievalJob`: gold, min_precision, check_positives, most_relabels, ...

    Returns:
        Instances before and after, decisions with reasons, audits, estimates, one sentence.

    Raises:
        UserError: a mistake in the arguments or the data.
        ServiceError: a server, a download or a disk failed; call again to go on.

    Example:
        >>> import counterpoise
        >>> done = counterpoise.relabel_negatives("triples.jsonl", model="http://localhost:8000/v1")  # doctest: +SKIP
        >>> print(done.sentence)  # doctest: +SKIP
    """
    from counterpoise.tasks.retrieval.steps import relabel_job

    given = None if isinstance(data, str | Path) else list(data)
    if given == []:
        raise JobError("no instances", where="data", hint="give a file or at least one instance")
    source = str(data) if isinstance(data, str | Path) else "memory"
    job = make_relabel_job(
        source, model=model, strong_model=strong_model, corpus=corpus, budget=budget, **keys
    )
    with open_progress(listener, progress):
        done: RelabelledInstances = run_alone(lambda: relabel_job(job, given))
    return done


def make_relabel_job(
    data: str,
    *,
    model: Any = "embedded",
    strong_model: Any = None,
    corpus: str | Path = "",
    budget: str | int = "2M",
    **keys: Any,
) -> RetrievalJob:
    """The job of these arguments, which are those of `relabel_negatives`; `counterpoise.preview` tells its price.

    Raises:
        JobError: an argument is unknown or wrong.
    """
    from counterpoise.tasks.retrieval.job import RetrievalJob

    return RetrievalJob.make(
        data=data,
        llm=model,
        strong_llm=strong_model,
        corpus=str(corpus),
        budget=budget,
        **{name: value for name, value in keys.items() if value != ""},
    )
