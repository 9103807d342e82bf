"""The options of commands that take a job, and the job they describe.

A job file and the options have the same keys; what stands on the command line overrides the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from counterpoise.core.errors import JobError

if TYPE_CHECKING:
    from counterpoise.core.schema import TextClassification
    from counterpoise.tasks.job import JobBase

OTHER_FOLDER = "name a file in a folder that can be"
"""What to do where a file cannot be written."""

DataArgument = Annotated[str, typer.Argument(metavar="DATA", help="A file, a folder or a hub id.")]
TextOption = Annotated[list[str], typer.Option("--text", help="Text column; several are joined.")]
LabelOption = Annotated[str, typer.Option("--label", help="Label column.")]
AttributeOption = Annotated[
    list[str],
    typer.Option(
        "--attribute",
        help="Column that should not decide the label (text.language: the language of the text); may be repeated.",
    ),
]
SpellingsOption = Annotated[
    str,
    typer.Option(
        "--label-spellings",
        help="Labels that differ only in blanks, case or Unicode form: merge (one label), keep (several), or ask.",
    ),
]
KeepLabelOption = Annotated[
    list[str],
    typer.Option("--keep-label", help="Word such as null, NA or None that is a label; may be repeated."),
]


def make_task(
    text: Sequence[str],
    label: str,
    attributes: Sequence[str] = (),
    label_spellings: str = "",
    keep_labels: Sequence[str] = (),
) -> TextClassification:
    """The task of commands that take no job.

    Raises:
        JobError: `label_spellings` is none of the three.
    """
    from counterpoise.core.schema import TextClassification

    spellings = label_spellings or "ask"
    if spellings not in ("ask", "merge", "keep"):
        raise JobError(f"found '{spellings}'", where="--label-spellings", hint="write merge, keep or ask")
    return TextClassification(
        tuple(text), label, tuple(attributes), "", tuple(keep_labels), cast(Any, spellings)
    )


OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Files that exist may be replaced; those that are read never are.")
]


@dataclass(frozen=True)
class JobOptions:
    """The options of a command that takes a job, as typer reads them."""

    source: Annotated[
        str, typer.Argument(metavar="JOB.yaml | DATA", help="A job file, or a file, a folder or a hub id.")
    ]
    text: TextOption = field(default_factory=list)
    label: LabelOption = ""
    attribute: AttributeOption = field(default_factory=list)
    label_spellings: SpellingsOption = ""
    keep_label: KeepLabelOption = field(default_factory=list)
    trusted: Annotated[str, typer.Option(help="Column that marks rows whose label is right.")] = ""
    gold: Annotated[str, typer.Option(metavar="FILE", help="Answers, as `label --ask` asks for them.")] = ""
    concepts: Annotated[
        str, typer.Option(metavar="FILE|auto", help="YAML file of name: definition, or auto.")
    ] = ""
    pool: Annotated[str, typer.Option(help="Unlabelled rows that may be adopted.")] = ""
    answers: Annotated[
        str, typer.Option(metavar="FILE", help="Rows of the pool that you have labelled, see `label --pool`.")
    ] = ""
    held_out: Annotated[str, typer.Option(help="Rows to score on at the end, or a share of DATA.")] = ""
    metric: Annotated[str, typer.Option(help="macro_f1, auroc or worst_group.")] = ""
    encoder: Annotated[
        str,
        typer.Option(
            metavar="NAME|DIR|auto", help="What makes vectors: nomic, multilingual, owner/name, ..."
        ),
    ] = ""
    model: Annotated[str, typer.Option(metavar="URL|embedded", help="The model that writes.")] = ""
    budget: Annotated[str, typer.Option(help="Tokens that may be spent, e.g. 2M or 500k.")] = ""
    minutes: Annotated[float | None, typer.Option(help="Minutes that may be spent.")] = None
    seed: Annotated[int | None, typer.Option(help="Another seed draws other held-out rows.")] = None
    output: Annotated[str, typer.Option(metavar="DIR", help="The run directory.")] = ""


def read_job(options: JobOptions) -> JobBase:
    """The job of a command line; what is given here overrides the keys of the job file."""
    from counterpoise.tasks.registry import load_job
    from counterpoise.tasks.text.job import job_from

    given = {
        "text": options.text,
        "label": options.label,
        "attributes": options.attribute,
        "label_spellings": options.label_spellings,
        "keep_labels": options.keep_label,
        "trusted": options.trusted,
        "gold": options.gold,
        "concepts": options.concepts,
        "pool": options.pool,
        "answers": options.answers,
        "held_out": _read_share(options.held_out),
        "metric": options.metric,
        "encoder": options.encoder,
        "llm": _check_model(options.model),
        "seed": options.seed,
        "output": options.output,
    }
    keys = {name: value for name, value in given.items() if value not in ("", [], None)}
    if Path(options.source).suffix.lower() in (".yaml", ".yml"):
        job: JobBase = load_job(options.source, **keys)
    else:
        for option in ("text", "label"):
            if option not in keys:
                hint = f"name the {option} column, or give a job file, whose name ends in .yaml"
                raise JobError("missing", where=f"--{option}", hint=hint)
        job = job_from(data=options.source, **keys)
    return _limit(job, options.budget, options.minutes)


def _read_share(held_out: str) -> str | float:
    """A number is a share of the data; anything else names a source."""
    try:
        return float(held_out)
    except ValueError:
        return held_out


def _check_model(model: str) -> str:
    if model and model != "embedded" and "://" not in model:
        hint = "write embedded or a URL such as http://localhost:8000/v1; a job file knows more under llm"
        raise JobError(f"found '{model}'", where="--model", hint=hint)
    return model


def _limit(job: JobBase, budget: str, minutes: float | None) -> JobBase:
    """The job with the limits of the command line; a limit that is not given stays that of the job file."""
    from counterpoise.core.strict_yaml import validate
    from counterpoise.llm.config import Budget

    limits = job.budget
    if budget:
        limits = validate(Budget, limits.model_dump() | {"tokens": budget}, "--budget")
    if minutes is not None:
        limits = validate(Budget, limits.model_dump() | {"minutes": minutes}, "--minutes")
    return job.model_copy(update={"budget": limits})
