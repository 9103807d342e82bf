"""The Python API for retrieval instances: relabel false negatives, and write what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.core.errors import JobError
from counterpoise.core.events import Listener

if TYPE_CHECKING:
    from counterpoise.actions.relabel.result import RelabelledInstances
    from counterpoise.actions.relabel.training_rows import TrainingRows
    from counterpoise.data.instances import Instance
    from counterpoise.tasks.retrieval.job import RetrievalJob


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

    Nothing is written; see `write_relabelled`. Replies are kept, so a call that was stopped goes on where it was.

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
    from counterpoise.core.interrupts import run_alone as wait
    from counterpoise.report.progress import open_progress
    from counterpoise.tasks.retrieval.steps import relabel_job

    given = None if isinstance(data, str | Path) else list(data)
    if given == []:
        raise JobError("no instances", where="data", hint="give a file or at least one instance")
    source = str(data) if isinstance(data, str | Path) else "memory"
    job = make_relabel_job(
        source, model=model, strong_model=strong_model, corpus=corpus, budget=budget, **keys
    )
    with open_progress(listener, progress):
        done: RelabelledInstances = wait(lambda: relabel_job(job, given))
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
) -> dict[str, Path]:
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
        What was written: `repaired`, `decisions`, `summary`.

    Raises:
        JobError: a file cannot be written, or exists.
    """
    return write_rows(done, source, target, form, overwrite=overwrite)[0]


def write_rows(
    done: RelabelledInstances, source: Path, target: Path, form: str = "auto", *, overwrite: bool = False
) -> tuple[dict[str, Path], TrainingRows]:
    """As `write_relabelled`; gives the rows that were written, too."""
    from counterpoise.actions.relabel.training_rows import make_training_rows
    from counterpoise.core.files import write_whole, writing
    from counterpoise.data.instances import find_form, write_instances
    from counterpoise.data.outputs import check_outputs

    outputs = list_outputs(target)
    permission = "give --overwrite (overwrite=True in Python)"
    check_outputs(outputs, (source,), may_replace=overwrite, permission=permission)
    _, decisions, summary = outputs.values()
    with writing(target, "name a file in a folder that can be"):
        form = find_form(source) if form == "auto" else form
        rows = make_training_rows(done, form)
        write_instances(target, rows.instances, form)
        done.write_decisions(decisions)
        said = done.summary() | {"written": {"sentence": rows.sentence, **rows.as_dict()}}
        write_whole(summary, json.dumps(said, ensure_ascii=False, indent=2, sort_keys=True) + "\n")
    return {"repaired": target, "decisions": decisions, "summary": summary}, rows
