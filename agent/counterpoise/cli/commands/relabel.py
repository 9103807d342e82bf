"""`counterpoise relabel`: false negatives in training data, found and relabelled; the user's file stays as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from counterpoise.cli.commands.runs import show_preview
from counterpoise.cli.commands.session import Session
from counterpoise.cli.options import OverwriteOption
from counterpoise.core.errors import JobError

if TYPE_CHECKING:
    from counterpoise.actions.relabel.result import RelabelledInstances
    from counterpoise.actions.relabel.training_rows import TrainingRows

MODEL_HELP = "The cheap judge, which reads everything."
STRONG_HELP = "The strong judge, which reads what the cheap one flags."


def relabel(
    context: typer.Context,
    data: Annotated[str, typer.Argument(metavar="TRIPLES", help="Training instances (JSON Lines).")],
    corpus: Annotated[str, typer.Option(help="Passages or a BEIR folder, to mine more candidates in.")] = "",
    candidates: Annotated[int, typer.Option(help="Mined candidates a query.")] = 30,
    model: Annotated[str, typer.Option(metavar="URL|embedded", help=MODEL_HELP)] = "embedded",
    model_name: Annotated[str, typer.Option(help="Its name, where the server has several.")] = "",
    strong_model: Annotated[str, typer.Option(metavar="URL|embedded", help=STRONG_HELP)] = "",
    strong_model_name: Annotated[str, typer.Option(help="Its name, where the server has several.")] = "",
    api_key_env: Annotated[str, typer.Option(help="Environment variable that holds the key.")] = "",
    strong_api_key_env: Annotated[str, typer.Option(help="The same for the strong judge.")] = "",
    budget: Annotated[str, typer.Option(help="Tokens that may be spent, e.g. 2M or 500k.")] = "2M",
    output: Annotated[str, typer.Option(help="Repaired file; by default beside the given one.")] = "",
    form: Annotated[str, typer.Option(help="auto, or the form of DATA (docs/data.md).")] = "auto",
    gold: Annotated[
        str, typer.Option(help="Judged candidates (query id, passage id, score), for audits.")
    ] = "",
    most_relabels: Annotated[int, typer.Option(help="More relabels a query: ambiguous, left out.")] = 7,
    max_flag_rate: Annotated[
        float, typer.Option(help="A source flagged more often than this is paused.")
    ] = 0.5,
    counts_worse: Annotated[bool, typer.Option("--counts-worse", help="Relabel what is worse, too.")] = False,
    min_precision: Annotated[
        float, typer.Option(help="With gold: relabel only if precision is surely at least this; else drop.")
    ] = 0.7,
    check_positives: Annotated[
        bool, typer.Option("--check-positives", help="Judge known positives, too; reported only.")
    ] = False,
    source_field: Annotated[str, typer.Option(help="Field that names the source of an instance.")] = "source",
    cache_dir: Annotated[str, typer.Option(help="Where replies and vectors are kept.")] = "",
    overwrite: OverwriteOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show requests, tokens and time; spend and write nothing.")
    ] = False,
) -> None:
    """Find training negatives that answer their query; relabel them as positives, or drop them.

    Writes the repaired file in the same form, and every decision with its reason beside it. Stopped, it goes on where
    it was when it is called again.
    """
    from counterpoise import api
    from counterpoise.data.outputs import check_outputs
    from counterpoise.tasks.retrieval.outputs import list_outputs, write_relabelled

    session: Session = context.obj
    keys: dict[str, Any] = {
        "model": _describe_model("--model", model, model_name, api_key_env),
        "corpus": corpus,
        "candidates": candidates,
        "budget": budget,
        "form": form,
        "gold": gold,
        "most_relabels": most_relabels,
        "most_flagged": max_flag_rate,
        "counts_worse": counts_worse,
        "min_precision": min_precision,
        "check_positives": check_positives,
        "source_field": source_field,
        "cache_dir": cache_dir,
    }
    if strong_model:
        keys["strong_model"] = _describe_model(
            "--strong-model", strong_model, strong_model_name, strong_api_key_env
        )
    if dry_run:
        with session.open_screen() as listener:
            found = api.preview(api.make_relabel_job(data, **keys), listener=listener)
        show_preview(session, found)
        return
    target = Path(output) if output else _name_output(Path(data))
    # Told before tokens are spent, not when the result is to be written.
    check_outputs(list_outputs(target), (data, corpus, gold), may_replace=overwrite)
    with session.open_screen() as listener:
        done = api.relabel_negatives(data, listener=listener, **keys)
    written, rows = write_relabelled(done, Path(data), target, form, overwrite=overwrite)
    _show(session, done, rows, {name: str(path) for name, path in written.items()})


def _describe_model(option: str, model: str, name: str, key_variable: str) -> str | dict[str, str]:
    if model != "embedded" and "://" not in model:
        raise JobError(
            f"found '{model}'", where=option, hint="write embedded or a URL such as http://localhost:8000/v1"
        )
    if model == "embedded":
        return model
    return {"engine": "server", "url": model, "model": name, "api_key_env": key_variable}


def _name_output(path: Path) -> Path:
    """`triples.jsonl.gz` becomes `triples.relabelled.jsonl.gz`."""
    stem, _, ending = path.name.partition(".")
    return path.with_name(f"{stem}.relabelled.{ending or 'jsonl'}")


def _show(session: Session, done: RelabelledInstances, rows: TrainingRows, written: dict[str, str]) -> None:
    summary = done.summary()
    if session.as_json:
        session.write_event("relabelled", **summary, **written, written=rows.as_dict())
        return
    from counterpoise.cli.relabel_tables import list_relabel_tables

    console = session.make_console()
    if not session.is_quiet:
        for table in list_relabel_tables(done):
            console.print(table)
    console.print(done.sentence)
    for sentence in (*done.notes, rows.sentence):
        if sentence:
            console.print(sentence)
    for name, path in written.items():
        console.print(f"{name}: {path}", soft_wrap=True)
