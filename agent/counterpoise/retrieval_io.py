"""Retrieval data in and out: training instances (a query, its positives, its negatives) and collections.

Three forms of instances, JSON Lines, plain or gzip, read and written one line at a time::

    tevatron               query_id, query, positive_passages, negative_passages (docid, title, text)
    rlhn                   query_id, query, positives, negatives (id, title, text)
    sentence_transformers  anchor, positive, negative or negative_1 ... negative_n (texts alone)

A collection is a BEIR folder: `corpus.jsonl`, `queries.jsonl`, `qrels/SPLIT.tsv`. What is read and written in the
same form comes back without loss: unknown fields, their order and the spelling of ids are kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from counterpoise.beir import list_splits, read_beir, read_passages, write_beir
from counterpoise.errors import DataError
from counterpoise.json_lines import read_rows, write_rows
from counterpoise.retrieval_values import (
    Collection,
    FieldError,
    Instance,
    Passage,
    Query,
    Row,
    format_passage,
    hash_text,
    parse_passage,
    parses_to,
    take_id,
    take_text,
)

__all__ = [
    "FORMS",
    "Collection",
    "Instance",
    "Passage",
    "Query",
    "find_form",
    "format_instance",
    "hash_text",
    "list_splits",
    "read_beir",
    "read_instances",
    "read_passages",
    "write_beir",
    "write_instances",
]

_PARTS = {
    "tevatron": ("positive_passages", "negative_passages", "docid"),
    "rlhn": ("positives", "negatives", "id"),
}
"""The names of the positives, of the negatives, and of a passage's id, in the forms that have ids."""

FORMS = (*_PARTS, "sentence_transformers")

_QUERY_NAMES = ("anchor", "query", "question", "sentence1")
_POSITIVE_NAMES = ("positive", "answer", "pos")
_NEGATIVE_NAME = re.compile(r"neg(?:ative)?s?(?:_(\d+))?")


def read_instances(path: Path, form: str = "auto") -> Iterator[Instance]:
    """Read training instances, one at a time.

    Args:
        path: JSON Lines, plain or gzip (`.gz`).
        form: one of `FORMS`; `auto` tells by the first line.

    Yields:
        One instance a line, in the order of the file.

    Raises:
        DataError: no such file, a line that is no object, or a field that is missing or of another type.
    """
    path = Path(path)
    if form not in (*FORMS, "auto"):
        raise DataError(f"no form '{form}'", where=str(path), hint=f"there are {', '.join(FORMS)}")
    for number, row in read_rows(path):
        where = f"{path}: line {number}"
        if form == "auto":
            form = _find_form(row, where)
        try:
            yield _parse_instance(row, form)
        except FieldError as error:
            raise DataError(str(error), where=where, hint=_describe_form(form)) from None


def write_instances(path: Path, instances: Iterable[Instance], form: str) -> int:
    """Write training instances, one at a time; whole or not at all.

    An instance with several positives becomes one line a positive in the form `sentence_transformers`, which knows
    no ids; an instance without positives cannot be said there and is left out.

    Args:
        path: JSON Lines; gzip where it ends in `.gz`.
        instances: what to write.
        form: one of `FORMS`.

    Returns:
        Lines written.

    Raises:
        DataError: there is no such form.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if form not in FORMS:
        raise DataError(f"no form '{form}'", where=str(path), hint=f"there are {', '.join(FORMS)}")
    return write_rows(path, (row for instance in instances for row in format_instance(instance, form)))


def find_form(path: Path) -> str:
    """The form of a file of instances, told by its first line.

    Raises:
        DataError: the file cannot be read, is empty, or has no known form.
    """
    for number, row in read_rows(Path(path)):
        return _find_form(row, f"{path}: line {number}")
    raise DataError("holds no instances", where=str(path), hint="one JSON object a line")


def format_instance(instance: Instance, form: str) -> list[Row]:
    """The lines of one instance, as objects: one, or one a positive in the form `sentence_transformers`."""
    raw = instance.raw
    if raw is not None and parses_to(lambda: _parse_instance(raw, form), instance):
        return [raw]
    if form == "sentence_transformers":
        return _format_tuples(instance)
    positives, negatives, id_name = _PARTS[form]
    parts: dict[str, Any] = {
        "query_id": instance.query_id,
        "query": instance.query,
        positives: [format_passage(passage, id_name) for passage in instance.positives],
        negatives: [format_passage(passage, id_name) for passage in instance.negatives],
    }
    if raw is not None and str(raw.get("query_id")) == instance.query_id:
        parts["query_id"] = raw["query_id"]
    fields = {**parts, **instance.extra}
    # Fields keep the order they had in the file.
    return [{**{name: fields[name] for name in raw or () if name in fields}, **fields}]


def _find_form(row: Row, where: str) -> str:
    for form, (positives, _, _) in _PARTS.items():
        if positives in row:
            return form
    if _find_name(row, _QUERY_NAMES) and _find_name(row, _POSITIVE_NAMES):
        return "sentence_transformers"
    found = ", ".join(list(row)[:8]) or "nothing"
    raise DataError(
        f"no known form of training instances: fields {found}",
        where=where,
        hint="; ".join(f"{form}: {_describe_form(form)}" for form in FORMS),
    )


def _describe_form(form: str) -> str:
    if form == "sentence_transformers":
        return "a line has anchor, positive and negative (or negative_1, negative_2, ...)"
    positives, negatives, id_name = _PARTS[form]
    return f"a line has query_id, query, {positives} and {negatives}, whose items have {id_name}, title, text"


def _parse_instance(row: Row, form: str) -> Instance:
    if form == "sentence_transformers":
        return _parse_tuple(row)
    positives, negatives, id_name = _PARTS[form]
    known = ("query_id", "query", positives, negatives)
    return Instance(
        take_id(row, "query_id"),
        take_text(row, "query"),
        _parse_passages(row, positives, id_name),
        _parse_passages(row, negatives, id_name),
        {name: value for name, value in row.items() if name not in known},
        row,
    )


def _parse_passages(row: Row, name: str, id_name: str) -> tuple[Passage, ...]:
    items = row.get(name)
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise FieldError(f"'{name}' is no list of passages")
    return tuple(parse_passage(item, id_name) for item in items)


def _parse_tuple(row: Row) -> Instance:
    query_name, positive_name = _find_name(row, _QUERY_NAMES), _find_name(row, _POSITIVE_NAMES)
    if not query_name or not positive_name:
        raise FieldError(f"no '{'query' if query_name else 'anchor'}' or no 'positive'")
    negative_names = _find_negatives(row)
    negatives: list[Passage] = []
    for name in negative_names:
        value = row[name]
        # A short tuple is filled with null where a table had to be square.
        for text in value if isinstance(value, list) else [] if value is None else [value]:
            if not isinstance(text, str):
                raise FieldError(f"'{name}' is {type(text).__name__}, not a text")
            negatives.append(Passage(hash_text(text), text))
    query, positive = take_text(row, query_name), take_text(row, positive_name)
    known = (query_name, positive_name, *negative_names)
    extra = {name: value for name, value in row.items() if name not in known}
    return Instance(
        hash_text(query), query, (Passage(hash_text(positive), positive),), tuple(negatives), extra, row
    )


def _format_tuples(instance: Instance) -> list[Row]:
    raw: Row = instance.raw or {}
    if not _find_name(raw, _POSITIVE_NAMES):
        raw = {}  # it was read in another form
    query_name = _find_name(raw, _QUERY_NAMES) or "anchor"
    positive_name = _find_name(raw, _POSITIVE_NAMES) or "positive"
    before = _find_negatives(raw)
    stem = before[0].partition("_")[0] if before else "negative"
    texts = [passage.full_text for passage in instance.negatives]
    if before and isinstance(raw[before[0]], list):
        negatives: dict[str, Any] = {before[0]: texts}
    elif before and len(texts) <= len(before):
        # The columns of before, so that a table keeps its own.
        padded = [*texts, *[None] * (len(before) - len(texts))]
        negatives = dict(zip(before, padded, strict=True))
    elif len(texts) == 1:
        negatives = {stem: texts[0]}
    else:
        negatives = {f"{stem}_{place + 1}": text for place, text in enumerate(texts)}
    return [
        {query_name: instance.query, positive_name: positive.full_text, **negatives, **instance.extra}
        for positive in instance.positives
    ]


def _find_name(row: Row, names: Sequence[str]) -> str:
    return next((name for name in names if name in row), "")


def _find_negatives(row: Row) -> list[str]:
    numbers = {name: match[1] for name in row if (match := _NEGATIVE_NAME.fullmatch(name))}
    return sorted(numbers, key=lambda name: int(numbers[name] or 0))
