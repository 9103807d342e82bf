"""Collections in BEIR's form, in and out: a corpus, queries, and judgements by split."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from counterpoise.errors import DataError
from counterpoise.json_lines import open_to_write, read_rows, write_rows
from counterpoise.judgements import read_judgements
from counterpoise.retrieval_values import (
    Collection,
    FieldError,
    Passage,
    Query,
    format_passage,
    format_query,
    parse_passage,
    parse_query,
)

_Named = TypeVar("_Named", Passage, Query)

_JUDGEMENT = "a line has a query id, a passage id and a whole number"


def read_passages(path: Path) -> Iterator[Passage]:
    """Read a corpus (`_id`, `title`, `text` a line), one passage at a time; DataError as in `read_instances`."""
    for number, row in read_rows(Path(path)):
        try:
            yield parse_passage(row, "docid" if "docid" in row else "_id" if "_id" in row else "id")
        except FieldError as error:
            raise DataError(
                str(error), where=f"{path}: line {number}", hint="a line has _id, title and text"
            ) from None


def read_beir(folder: Path, split: str = "") -> Collection:
    """Read a collection: `corpus.jsonl`, `queries.jsonl`, and `qrels/SPLIT.tsv` or `qrels.csv`; gzip too.

    Args:
        folder: where the files lie.
        split: which judgements; may be empty where there are only those of one split.

    Raises:
        DataError: a file is missing or broken, an id appears twice, or the split is not there.
    """
    folder = Path(folder)
    corpus = _index(read_passages(_find(folder, "corpus.jsonl")), folder / "corpus.jsonl")
    queries = _index(_read_queries(_find(folder, "queries.jsonl")), folder / "queries.jsonl")
    splits = list_splits(folder)
    if not split and len(splits) == 1:
        split = next(iter(splits))
    if split not in splits:
        hint = f"there are {', '.join(splits)}" if splits else "judgements are expected in qrels/SPLIT.tsv"
        raise DataError(f"no judgements of split '{split}'", where=str(folder), hint=hint)
    return Collection(corpus, queries, _read_qrels(splits[split]))


def write_beir(folder: Path, collection: Collection, split: str = "test") -> None:
    """Write a collection as a BEIR folder; OSError where that fails.

    Args:
        folder: made where it is missing.
        collection: what to write.
        split: the name of its judgements; other splits that lie in the folder stay.
    """
    folder = Path(folder)
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    write_rows(folder / "corpus.jsonl", (format_passage(each, "_id") for each in collection.corpus.values()))
    write_rows(folder / "queries.jsonl", (format_query(each) for each in collection.queries.values()))
    with open_to_write(folder / "qrels" / f"{split}.tsv") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(("query-id", "corpus-id", "score"))
        for query_id, judged in collection.qrels.items():
            writer.writerows((query_id, passage_id, score) for passage_id, score in judged.items())


def list_splits(folder: Path) -> dict[str, Path]:
    """The files of judgements in a BEIR folder, by the name of their split."""
    found: dict[str, Path] = {}
    for path in [*sorted((Path(folder) / "qrels").glob("*.tsv*")), *sorted(Path(folder).glob("qrels.*sv*"))]:
        found.setdefault(path.name.split(".")[0], path)
    return found


def _read_queries(path: Path) -> Iterator[Query]:
    for number, row in read_rows(path):
        try:
            yield parse_query(row)
        except FieldError as error:
            raise DataError(
                str(error), where=f"{path}: line {number}", hint="a line has _id and text"
            ) from None


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for where, query_id, passage_id, score in read_judgements(path, _JUDGEMENT):
        if not score.is_integer():
            # Cut off, 0.5 would say "not relevant".
            raise DataError(f"the score {score} is no whole number", where=where, hint=_JUDGEMENT)
        known = qrels.setdefault(query_id, {}).setdefault(passage_id, int(score))
        if known != score:
            raise DataError(
                f"query {query_id} and passage {passage_id} are judged twice, {known} and {int(score)}",
                where=where,
                hint="keep one of the two",
            )
    return qrels


def _index(items: Iterable[_Named], path: Path) -> dict[str, _Named]:
    found: dict[str, _Named] = {}
    for item in items:
        if found.setdefault(item.id, item) is not item:
            raise DataError(f"the id '{item.id}' appears twice", where=str(path), hint="ids must differ")
    return found


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(
        "no such file", where=str(folder / name), hint="a BEIR folder has corpus.jsonl and queries.jsonl"
    )
