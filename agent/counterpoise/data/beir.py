"""Collections as BEIR and MTEB publish them, in and out: a corpus, queries, and judgements by split.

    corpus.jsonl, queries.jsonl, qrels/test.tsv                       BEIR
    corpus.jsonl, queries.jsonl, qrels/test.jsonl                     MTEB
    corpus/*.parquet, queries/*.parquet, qrels/test-*.parquet         MTEB, as the hub stores it (or `default/`)

Each may be JSON Lines, gzip or Parquet; judgements also TSV, CSV or TREC's four columns. MTEB's `instruction` (a file,
a folder, or a field of the queries) stands behind the text of its query, as MTEB joins them. Published collections have
gaps: judgements of passages or queries that are not there are left out, counted and told, or refused where that is
asked for.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from pathlib import Path
from typing import TypeVar

from counterpoise.core.errors import DataError
from counterpoise.core.instances import (
    Collection,
    FieldError,
    Passage,
    Query,
    Row,
    find_id_name,
    format_passage,
    format_query,
    parse_passage,
    parse_query,
    take_id,
    take_text,
)
from counterpoise.data.json_lines import open_to_write, read_rows, write_rows
from counterpoise.data.qrels import read_judgements

_Named = TypeVar("_Named", Passage, Query)

_JUDGEMENT = "a line has a query id, a passage id and a whole number"
_ENDINGS = (".jsonl", ".jsonl.gz", ".ndjson", ".json", ".parquet")
_QRELS_ENDINGS = (".tsv", ".csv", ".txt", ".qrels", ".trec", *_ENDINGS, ".tsv.gz", ".csv.gz", ".txt.gz")
_SHARD = re.compile(r"-\d+-of-\d+$")


def read_passages(path: Path) -> Iterator[Passage]:
    """Read a corpus (`_id`, `title`, `text` a line), one passage at a time; DataError as in `read_instances`."""
    for number, row in read_rows(Path(path)):
        try:
            yield parse_passage(row, find_id_name(row, "docid", "doc_id", "pid", "passage_id"))
        except FieldError as error:
            raise DataError(
                str(error), where=f"{path}: line {number}", hint="a line has _id, title and text"
            ) from None


def read_corpus(folder: Path) -> dict[str, Passage]:
    """The passages of a collection by id; its queries and judgements are not looked at.

    Raises:
        DataError: there is no corpus, it is broken, or an id appears twice.
    """
    folder = Path(folder)
    files = _find(folder, "corpus")
    return _index((passage for file in files for passage in read_passages(file)), files[0])


def read_queries(folder: Path) -> dict[str, Query]:
    """The queries of a collection by id, with their instructions; its corpus and judgements are not looked at.

    Raises:
        DataError: there are no queries, they are broken, or an id appears twice.
    """
    folder = Path(folder)
    files = _find(folder, "queries", "query")
    queries = _index((query for file in files for query in _read_queries(file)), files[0])
    if instructions := _read_instructions(folder):
        queries = {name: _instruct(query, instructions.get(name, "")) for name, query in queries.items()}
    return queries


def read_beir(
    folder: Path,
    split: str = "",
    *,
    is_strict: bool = False,
    notes: MutableSequence[str] | None = None,
) -> Collection:
    """Read a collection; see the head of this module.

    Args:
        folder: where the files lie.
        split: which judgements; may be empty where there are only those of one split.
        is_strict: refuse judgements of passages or queries that are not there, instead of leaving them out.
        notes: sentences on what was left out are added.

    Raises:
        DataError: a file is missing or broken, an id appears twice, or the split is not there.
    """
    folder = Path(folder)
    corpus = read_corpus(folder)
    queries = read_queries(folder)
    splits = list_splits(folder)
    if not split and len(splits) == 1:
        split = next(iter(splits))
    if split not in splits:
        hint = f"there are {', '.join(splits)}" if splits else "judgements are expected in qrels/SPLIT.tsv"
        raise DataError(f"no judgements of split '{split}'", where=str(folder), hint=hint)
    gaps = _Gaps(corpus, queries, is_strict)
    qrels = _read_qrels(_list_shards(splits[split]), gaps)
    if notes is not None:
        notes.extend(gaps.describe(splits[split].name))
    return Collection(corpus, queries, qrels)


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
    """The files of judgements in a folder, by the name of their split; the first shard where there are several."""
    found: dict[str, Path] = {}
    folder = Path(folder)
    listed = [path for name in ("qrels", "default") for path in sorted((folder / name).glob("*"))]
    for path in [*listed, *sorted(folder.glob("qrels.*"))]:
        ending = next((one for one in _QRELS_ENDINGS if path.name.endswith(one)), "")
        if ending and path.is_file():
            found.setdefault(_SHARD.sub("", path.name.removesuffix(ending)).split(".")[0], path)
    return found


class _Gaps:
    """Judgements that point nowhere."""

    def __init__(self, corpus: Mapping[str, Passage], queries: Mapping[str, Query], is_strict: bool) -> None:
        self.corpus, self.queries, self.is_strict = corpus, queries, is_strict
        self.passages: dict[str, int] = {}
        self.lost_queries: dict[str, int] = {}

    def resolve(self, query_id: str, passage_id: str, where: str) -> tuple[str, str] | None:
        """The ids as the collection spells them, None where it has no such query or passage."""
        found = (_look_up(query_id, self.queries), _look_up(passage_id, self.corpus))
        for given, known, kind, missing in (
            (query_id, found[0], "query", self.lost_queries),
            (passage_id, found[1], "passage", self.passages),
        ):
            if known is None:
                if self.is_strict:
                    place = "queries" if kind == "query" else "corpus"
                    hint = "mend the judgements, or leave out --strict"
                    raise DataError(
                        f"{kind} {given} is judged and not in the {place}", where=where, hint=hint
                    )
                missing[given] = missing.get(given, 0) + 1
        return None if None in found else (str(found[0]), str(found[1]))

    def describe(self, name: str) -> Iterator[str]:
        for missing, kind, place in (
            (self.passages, "passage", "the corpus"),
            (self.lost_queries, "query", "the queries"),
        ):
            if (n_missing := sum(missing.values())) == 1:
                yield f"{name}: 1 judgement of a {kind} that is not in {place} ('{next(iter(missing))}') is left out"
            elif missing:
                plural = {"passage": "passages", "query": "queries"}[kind]
                yield (
                    f"{name}: {n_missing:,} judgements of {plural} that are not in {place}, such as "
                    f"'{next(iter(missing))}', are left out"
                )


def _look_up(identity: str, known: Mapping[str, object]) -> str | None:
    """An id as it is known; `12.0` is what a table makes of 12 where an id is missing."""
    if identity in known:
        return identity
    whole = identity.removesuffix(".0")
    return whole if whole in known else None


def _read_queries(path: Path) -> Iterator[Query]:
    for number, row in read_rows(path):
        try:
            query = parse_query(row)
        except FieldError as error:
            raise DataError(
                str(error), where=f"{path}: line {number}", hint="a line has _id and text"
            ) from None
        said = row.get("instruction")
        yield _instruct(query, said) if isinstance(said, str) else query


def _read_instructions(folder: Path) -> dict[str, str]:
    """MTEB's instructions by query id, where they have a file of their own."""
    found: dict[str, str] = {}
    for path in _list_files(folder, "instruction"):
        for number, row in read_rows(path):
            try:
                found[take_id(row, find_id_name(row, "query-id", "query_id"))] = take_text(row, "instruction")
            except FieldError as error:
                hint = "a line has query-id and instruction"
                raise DataError(str(error), where=f"{path}: line {number}", hint=hint) from None
    return found


def _instruct(query: Query, instruction: str) -> Query:
    if not instruction or query.text.endswith(instruction):
        return query
    extra: Row = {**query.extra, "instruction": instruction}
    return Query(query.id, f"{query.text} {instruction}", extra, query.raw)


def _read_qrels(paths: Iterable[Path], gaps: _Gaps) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for path in paths:
        for where, said_query, said_passage, score in read_judgements(path, _JUDGEMENT):
            if not score.is_integer():
                # Cut off, 0.5 would say "not relevant".
                raise DataError(f"the score {score} is no whole number", where=where, hint=_JUDGEMENT)
            ids = gaps.resolve(said_query, said_passage, where)
            if ids is None:
                continue
            query_id, passage_id = ids
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


def _find(folder: Path, *names: str) -> list[Path]:
    """The files of one part of a collection: one file, or the files of a folder of that name."""
    for name in names:
        if files := _list_files(folder, name):
            return files
    raise DataError(
        "no such file",
        where=str(folder / f"{names[0]}.jsonl"),
        hint="a BEIR folder has corpus.jsonl and queries.jsonl",
    )


def _list_files(folder: Path, name: str) -> list[Path]:
    for path in (folder / f"{name}{ending}" for ending in _ENDINGS):
        if path.is_file():
            return [path]
    return [
        path for path in sorted((folder / name).glob("*")) if path.name.endswith(_ENDINGS) and path.is_file()
    ]


def _list_shards(path: Path) -> list[Path]:
    """All shards of the split that a file begins."""
    stem = re.sub(r"-\d+-of-\d+(\..*)$", "", path.name)
    if stem == path.name:
        return [path]
    return sorted(one for one in path.parent.glob(f"{stem}-*-of-*") if one.suffix == path.suffix)
