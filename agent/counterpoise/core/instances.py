"""The values of retrieval data: passages, queries, training instances, collections; and how a line says them.

A value keeps the line it was read from, so that it can be written as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Passage:
    """A text that can answer a query.

    Args:
        id: its name in the collection; where a form has no ids, a hash of the text.
        text: what it says.
        title: empty where it has none.
        extra: fields that Counterpoise does not know.
        raw: the line or object it was read from; lets the same form be written as it was.
    """

    id: str
    text: str
    title: str = ""
    extra: Row = field(default_factory=dict, hash=False)
    raw: Row | None = field(default=None, repr=False, compare=False)

    @property
    def full_text(self) -> str:
        """Title and text as an encoder or a judge reads them."""
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True)
class Query:
    """A question or a claim.

    Args:
        id: its name in the collection.
        text: what it says.
        extra: fields that Counterpoise does not know.
        raw: the line it was read from.
    """

    id: str
    text: str
    extra: Row = field(default_factory=dict, hash=False)
    raw: Row | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Instance:
    """What a retriever is trained on: a query with passages that answer it and passages that do not.

    Args:
        query_id: the query's name; where a form has no ids, a hash of the query.
        query: its text.
        positives: passages that answer it.
        negatives: passages that are taken not to.
        extra: fields that Counterpoise does not know.
        raw: the line it was read from.
        rows: all of them, where several lines were gathered.
    """

    query_id: str
    query: str
    positives: tuple[Passage, ...]
    negatives: tuple[Passage, ...]
    extra: Row = field(default_factory=dict, hash=False)
    raw: Row | None = field(default=None, repr=False, compare=False)
    rows: tuple[Row, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True)
class Collection:
    """A corpus, queries, and which passages answer which.

    Args:
        corpus: passages by id, in the order of the file.
        queries: queries by id, in the order of the file.
        qrels: relevance by query id and passage id; above 0 is relevant.
    """

    corpus: Mapping[str, Passage]
    queries: Mapping[str, Query]
    qrels: Mapping[str, Mapping[str, int]]


class FieldError(Exception):
    """A field that is missing or of another type; its message says which."""


def gather_positives(instances: Iterable[Instance]) -> dict[str, dict[str, Passage]]:
    """Passages that answer each query, by its text and by their ids.

    Where a row holds a pair, what answers a query stands in several rows.
    """
    positives: dict[str, dict[str, Passage]] = {}
    for one in instances:
        positives.setdefault(one.query, {}).update((passage.id, passage) for passage in one.positives)
    return positives


def hash_text(text: str) -> str:
    """A name for a text that has none: 16 hexadecimal digits of its content."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def parse_passage(row: Row, id_name: str) -> Passage:
    """Read a passage whose id has that name; FieldError where it is none."""
    text_name = _find_text_name(row, "contents", "content", "passage")
    known = (id_name, text_name, "title")
    title = row.get("title")
    if title is not None and not isinstance(title, str):
        raise FieldError(f"'title' is {type(title).__name__}, not a text")
    extra = {name: value for name, value in row.items() if name not in known}
    # Published collections hold passages without a text; they can only be passed over.
    text = "" if text_name in row and row[text_name] is None else take_text(row, text_name)
    return Passage(take_id(row, id_name), text, title or "", extra, row)


def parse_query(row: Row) -> Query:
    """Read a query; FieldError where it is none."""
    id_name = find_id_name(row, "query_id", "query-id", "qid")
    text_name = _find_text_name(row, "query", "query_text")
    extra = {name: value for name, value in row.items() if name not in (id_name, text_name)}
    return Query(take_id(row, id_name), take_text(row, text_name), extra, row)


def find_id_name(row: Row, *names: str) -> str:
    """The field that holds the id of a line of a collection: `_id`, `id`, or one of `names`."""
    return next((name for name in (*names, "_id", "id") if name in row), "_id")


def _find_text_name(row: Row, *names: str) -> str:
    return next((name for name in ("text", *names) if name in row), "text")


def format_passage(passage: Passage, id_name: str) -> Row:
    """Say a passage as it was read, or anew."""
    raw = passage.raw
    if raw is not None and parses_to(lambda: parse_passage(raw, id_name), passage):
        return raw
    return {id_name: passage.id, "title": passage.title, "text": passage.text, **passage.extra}


def format_query(query: Query) -> Row:
    """Say a query as it was read, or anew."""
    raw = query.raw
    if raw is not None and parses_to(lambda: parse_query(raw), query):
        return raw
    return {"_id": query.id, "text": query.text, **query.extra}


def take_id(row: Row, name: str) -> str:
    """A text or a whole number, as a text; FieldError otherwise."""
    value = row.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # what a table makes of ids where one is missing
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise FieldError(f"'{name}' is missing" if value is None else f"'{name}' is no id")
    return str(value)


def take_text(row: Row, name: str) -> str:
    """A text; FieldError otherwise."""
    value = row.get(name)
    if not isinstance(value, str):
        raise FieldError(f"'{name}' is missing" if value is None else f"'{name}' is no text")
    return value


def parses_to(parse: Callable[[], object], value: object) -> bool:
    """Whether what a value was read from still says the same in this form."""
    try:
        return parse() == value
    except FieldError:
        return False
