"""`counterpoise doctor`: what servers can do and how fast, found by asking, as a table or a line of JSON each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from counterpoise.cli.commands.encoder import examine_encoder
from counterpoise.cli.commands.mine import PassagePrefixOption, QueryPrefixOption
from counterpoise.cli.commands.session import Session
from counterpoise.core.errors import CounterpoiseError, JobError, ServerError

if TYPE_CHECKING:
    from rich.table import Table

    from counterpoise.llm.config import LlmConfig

SUBJECTS = {
    "model": "model",
    "chat": "chat",
    "continuation": "continues plain text",
    "follows_instructions": "follows short instructions",
    "thinks": "thinks before it answers",
    "structured": "structured replies enforced",
    "logprobs": "log-probabilities",
    "multiple": "several completions a request",
    "lists": "several texts in one JSON reply",
    "prefix_caching": "prefix caching",
    "seed": "takes a seed",
    "context_tokens": "context, tokens",
    "refused": "sent without, as it refuses them",
    "concurrency": "requests at once",
    "tokens_per_second_alone": "tokens/s, one at a time",
    "tokens_per_second": "tokens/s, all at once",
}


def doctor(
    context: typer.Context,
    job: Annotated[
        str,
        typer.Argument(
            metavar="[JOB.yaml]", help="Examine what its `llm` key names, and start it if need be."
        ),
    ] = "",
    model: Annotated[
        list[str],
        typer.Option(metavar="URL|embedded", help="A server; may be repeated: they share the work."),
    ] = [],  # noqa: B006
    name: Annotated[str, typer.Option(help="Model, where a server has several.")] = "",
    api_key_env: Annotated[str, typer.Option(help="Environment variable that holds the key.")] = "",
    concurrency: Annotated[int, typer.Option(help="Requests at once; 0 for the engine's own number.")] = 0,
    encoder: Annotated[
        str, typer.Option(metavar="minilm|FOLDER|URL", help="Audit an encoder on --corpus instead.")
    ] = "",
    corpus: Annotated[
        Path | None, typer.Option(help="A BEIR folder, or JSONL of passages, for --encoder.")
    ] = None,
    query_prefix: QueryPrefixOption = "",
    passage_prefix: PassagePrefixOption = "",
) -> None:
    """Find out what model servers can do, and how fast they are; or what an encoder prefers to the answer.

    Servers: costs some thousand tokens; what is found is kept for later runs with the same model. Encoder: no token.
    """
    import asyncio

    from counterpoise.core.assets import find_cache_dir
    from counterpoise.llm.doctor import examine
    from counterpoise.llm.findings import keep_findings

    session: Session = context.obj
    if encoder or corpus is not None:
        if job or model:
            hint = "audit the encoder in a call of its own"
            raise JobError("found servers and an encoder", where="doctor", hint=hint)
        examine_encoder(
            session,
            encoder,
            corpus,
            model=name,
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
            api_key_env=api_key_env,
        )
        return
    config, folder = _read_config(job, model, name, api_key_env)
    cache_dir = find_cache_dir(folder)
    columns: list[dict[str, Any]] = []
    with session.open_screen():
        for patient, address in _list_patients(config, cache_dir, concurrency):
            try:
                found = asyncio.run(examine(patient)).to_dict()
            except CounterpoiseError as error:
                columns.append({"url": address, "failure": str(error), "error": error})
                continue
            keep_findings(found["model"], found, cache_dir)
            columns.append({**found, "url": address})
    for column in columns:
        if session.as_json:
            session.write_event(
                "diagnosis", **{key: value for key, value in column.items() if key != "error"}
            )
    if not session.as_json:
        session.make_console().print(make_doctor_table(columns))
    if failed := [column["error"] for column in columns if "error" in column]:
        raise failed[0]
    if len(names := sorted({column["model"] for column in columns})) > 1:
        raise ServerError(
            f"the servers serve different models: {', '.join(names)}", hint="they cannot share the work"
        )


def make_doctor_table(columns: Sequence[Mapping[str, Any]]) -> Table:
    """The table: a row a question, a column a server, reasons at the end."""
    from rich.table import Table
    from rich.text import Text

    from counterpoise.report.screen import clean_text

    table = Table("", *(clean_text(column["url"]) for column in columns), box=None, padding=(0, 2))
    for key, subject in SUBJECTS.items():
        cells = [_write_cell(column, key) for column in columns]
        table.add_row(subject, *(Text(clean_text(cell)) for cell in cells))
    return table


def _write_cell(column: Mapping[str, Any], key: str) -> str:
    from counterpoise.report.pages import format_count

    if "failure" in column:
        return str(column["failure"]) if key == "model" else ""
    value, note = column[key], column["notes"].get(key, "")
    if isinstance(value, tuple | list):
        said = ", ".join(value) or "nothing"
    elif value is None or isinstance(value, bool):
        said = "not known" if value is None else "yes" if value else "no"
    elif isinstance(value, int | float):
        said = format_count(value) if value else "not known"
    else:
        said = str(value)
    return f"{said} ({note})" if note else said


def _read_config(
    job: str, models: Sequence[str], name: str, api_key_env: str
) -> tuple[LlmConfig, Path | None]:
    from counterpoise.core.strict_yaml import validate
    from counterpoise.llm.config import LlmConfig
    from counterpoise.tasks.registry import load_job

    if bool(job) == bool(models):
        hint = "give a job file, or --model with the URL of a server"
        raise JobError("found " + ("both" if job else "neither"), where="doctor", hint=hint)
    if job:
        loaded = load_job(job)
        return loaded.llm, Path(loaded.cache_dir) if loaded.cache_dir else None
    if models == ["embedded"]:
        return LlmConfig(), None
    keys = {"engine": "server", "url": list(models), "model": name, "api_key_env": api_key_env}
    return validate(LlmConfig, keys, "--model"), None


def _list_patients(config: LlmConfig, cache_dir: Path, concurrency: int) -> list[tuple[Any, str]]:
    """The servers of a configuration, and what to call each."""
    from counterpoise.llm.doctor import make_patients

    config = config.model_copy(update={"concurrency": concurrency or config.concurrency})
    patients = make_patients(config, cache_dir=cache_dir)
    return list(zip(patients, config.url or (config.engine,), strict=True))
