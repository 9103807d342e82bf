"""`counterpoise mine`: hard negatives for queries, into a file of training instances."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from counterpoise.cli.commands.session import Session
from counterpoise.cli.options import OverwriteOption
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.files import writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from counterpoise.data.exporters.base import Exporter
    from counterpoise.data.instances import Instance, Passage

EncoderOption = Annotated[
    str,
    typer.Option(help="minilm (pinned), a folder with model.onnx, or the URL of a server with embeddings."),
]
EncoderModelOption = Annotated[str, typer.Option(help="Model, for a URL.")]
QueryPrefixOption = Annotated[str, typer.Option(help="Put in front of queries, as the model was trained.")]
PassagePrefixOption = Annotated[str, typer.Option(help="Put in front of passages.")]
KeyOption = Annotated[str, typer.Option(help="Environment variable that holds the server's key.")]


def mine(
    context: typer.Context,
    data: Annotated[Path, typer.Argument(help="A BEIR folder, or JSONL instances with their positives.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    corpus: Annotated[Path | None, typer.Option(help="JSONL of passages, where DATA is no folder.")] = None,
    split: Annotated[str, typer.Option(help="Judgements of a BEIR folder that has several.")] = "",
    form: Annotated[
        str,
        typer.Option(
            help="Name of the form to write (docs/data.md lists them); by default that of DATA where it can hold "
            "several positives a query, else Tevatron's."
        ),
    ] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse judgements of passages or queries that are not there.")
    ] = False,
    negatives: Annotated[int, typer.Option(min=1, help="Negatives for each query.")] = 30,
    way: Annotated[str, typer.Option(help="dense, bm25 or fused (both, by rank).")] = "fused",
    band: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Most a negative's cosine may be of the lowest positive's; 1: no band."
        ),
    ] = 0.95,
    range_min: Annotated[int, typer.Option(min=0, help="Nearest ranks to skip.")] = 0,
    range_max: Annotated[int, typer.Option(min=0, help="Ranks to look at; 0: ten times the negatives.")] = 0,
    max_score: Annotated[float | None, typer.Option(help="Most a negative's cosine may be.")] = None,
    encoder: EncoderOption = "minilm",
    encoder_model: EncoderModelOption = "",
    query_prefix: QueryPrefixOption = "",
    passage_prefix: PassagePrefixOption = "",
    api_key_env: KeyOption = "",
    overwrite: OverwriteOption = False,
) -> None:
    """Mine hard negatives: near passages that are not known to answer, and not suspiciously near.

    Vectors are kept: an interrupted run goes on where it was. No language model, no token.
    """
    from counterpoise.core.event_kinds import Warned
    from counterpoise.core.events import tell_event
    from counterpoise.data.outputs import check_outputs
    from counterpoise.tasks.retrieval.mining import mine_hard_negatives

    session: Session = context.obj
    exporter = _find_exporter(form) if form else None
    check_outputs({"--output": output}, (data, corpus), may_replace=overwrite)
    notes: list[str] = []
    queries, passages = _read(data, corpus, split, strict, notes)
    exporter = exporter or _choose_exporter(data)
    with session.open_screen() as listener:
        for note in notes:
            tell_event(Warned(note))
        mined = mine_hard_negatives(
            queries,
            passages,
            n_negatives=negatives,
            way=way,
            range_min=range_min,
            range_max=range_max or None,
            relative_margin=None if band == 1 else 1 - band,
            max_score=max_score,
            encoder=encoder,
            encoder_model=encoder_model,
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
            api_key_env=api_key_env,
            listener=listener,
        )
    instances, n_bare = _fill_columns(mined.instances, exporter)
    check_outputs({"--output": output}, (data, corpus), may_replace=overwrite)
    with writing(output):
        n_lines = exporter.write(output, instances)
    counts = mined.to_dict()
    if session.as_json:
        session.write_event("mined", path=str(output), lines=n_lines, queries_left_out=n_bare, **counts)
        return
    for line in _describe_mined(output, counts, None if session.is_quiet else negatives, n_bare):
        typer.echo(line)


def _describe_mined(
    output: Path, counts: Mapping[str, int], n_negatives: int | None, n_bare: int
) -> Iterator[str]:
    """What was written; with the number of negatives that was asked for also what is short of it."""
    yield (
        f"{counts['negatives']} negatives for {counts['queries']} queries "
        f"out of {counts['passages']} passages: {output}"
    )
    if n_negatives is None:
        return
    if counts["queries_with_fewer"]:
        yield (
            f"{counts['queries_with_fewer']} queries have fewer than {n_negatives}: nothing more lay within the ranks "
            "and below the band"
        )
    if n_bare:
        yield f"{n_bare} queries without a negative are left out: this form has a column for each negative"
    if counts["rows_that_repeat"]:
        yield f"{counts['rows_that_repeat']} rows differed from another one in their negatives only"
    if counts["queries_without_positive"]:
        yield f"{counts['queries_without_positive']} queries without a positive are left out"


def _fill_columns(instances: Sequence[Instance], exporter: Exporter) -> tuple[Sequence[Instance], int]:
    """The instances that a form can hold, and how many are left out for it."""
    from counterpoise.actions.relabel.training_rows import fill_tuples

    # Columns hold texts: a query with fewer negatives than others would have nulls.
    return fill_tuples(instances, exporter) if exporter.has_columns else (instances, 0)


def _find_exporter(form: str) -> Exporter:
    from counterpoise.data.exporters import EXPORTERS

    try:
        return EXPORTERS.find(form)
    except JobError as error:
        error.where = "--form"
        raise


def _choose_exporter(data: Path) -> Exporter:
    """That of the given instances; the default where it cannot hold several positives, or was a collection."""
    from counterpoise.data.exporters import DEFAULT_EXPORTER, EXPORTERS
    from counterpoise.data.instances import find_form

    given = DEFAULT_EXPORTER if data.is_dir() else EXPORTERS.find(find_form(data))
    return given if given.holds_query else DEFAULT_EXPORTER


def _read(
    data: Path, corpus: Path | None, split: str, is_strict: bool, notes: list[str]
) -> tuple[Iterable[Instance], Iterable[Passage]]:
    from counterpoise.data.exporters import find_readable
    from counterpoise.data.instances import find_form, read_beir, read_corpus, read_instances, read_passages
    from counterpoise.tasks.retrieval.mining import list_queries

    if data.is_dir():
        if corpus is not None:
            raise JobError("a BEIR folder has its own corpus", where="--corpus", hint="leave it out")
        collection = read_beir(data, split, is_strict=is_strict, notes=notes)
        try:
            return list_queries(collection), collection.corpus.values()
        except DataError as error:
            error.where = error.where or str(data)
            raise
    passages: list[Passage] = []
    if corpus is not None:
        passages = list(read_corpus(corpus).values() if corpus.is_dir() else read_passages(corpus))
    by_id = None
    if corpus is not None and find_readable(find_form(data)).needs_corpus:
        by_id = {passage.id: passage for passage in passages}
    instances = list(read_instances(data, corpus=by_id, notes=notes))
    if corpus is not None:
        return instances, passages
    # What the instances hold is what there is to search.
    held = {passage.id: passage for each in instances for passage in (*each.positives, *each.negatives)}
    return instances, held.values()
