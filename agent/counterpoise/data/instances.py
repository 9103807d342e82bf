"""Retrieval data in and out: training instances (a query, its positives, its negatives) and collections.

Five forms of instances, JSON Lines, plain or gzip, read and written one line at a time::

    tevatron               query_id, query, positive_passages, negative_passages (docid, title, text)
    tevatron_ids           query_id, query_text, positive_document_ids, negative_document_ids; texts in a corpus
    rlhn                   query_id, query, positives, negatives (id, title, text)
    flag_embedding         query, pos, neg (lists of texts), perhaps pos_scores, neg_scores, prompt, type
    sentence_transformers  anchor, positive, negative or negative_1 ... negative_n (texts alone), and judged pairs

A collection is a BEIR or MTEB folder (see `beir`). What is read and written in the same form comes back without loss:
unknown fields, their order and the spelling of ids are kept. Only judged pairs of one query are gathered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from pathlib import Path
from typing import Any

from counterpoise.core.errors import DataError
from counterpoise.core.instances import (
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
from counterpoise.data.beir import list_splits, read_beir, read_corpus, read_passages, write_beir
from counterpoise.data.instance_tuples import (
    format_tuples,
    gather_pairs,
    is_flag_embedding,
    is_judged_pair,
    is_tuple,
    list_unread_passages,
    name_query,
    parse_tuple,
)
from counterpoise.data.json_lines import read_rows, write_rows

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
    "read_corpus",
    "read_instances",
    "read_passages",
    "write_beir",
    "write_instances",
]

_PARTS = {
    "tevatron": ("positive_passages", "negative_passages", "docid"),
    "rlhn": ("positives", "negatives", "id"),
}
"""The names of the positives, of the negatives, and of a passage's id, in the forms that have ids and texts."""

_IDS = ("positive_document_ids", "negative_document_ids")

FORMS = (*_PARTS, "tevatron_ids", "flag_embedding", "sentence_transformers")


def read_instances(
    path: Path,
    form: str = "auto",
    *,
    corpus: Mapping[str, Passage] | None = None,
    notes: MutableSequence[str] | None = None,
) -> Iterator[Instance]:
    """Read training instances, one at a time; judged pairs are gathered by query and follow at the end.

    Args:
        path: JSON Lines, plain or gzip (`.gz`).
        form: one of `FORMS`; `auto` tells by the first line.
        corpus: passages by id, for the form that names them by id only.
        notes: sentences on what was not understood or left out are added, once the last instance is read.

    Yields:
        One instance a line, in the order of the file.

    Raises:
        DataError: no such file, a line that is no object, or a field that is missing or of another type.
    """
    path = Path(path)
    if form not in (*FORMS, "auto"):
        raise DataError(f"no form '{form}'", where=str(path), hint=f"there are {', '.join(FORMS)}")
    pairs: dict[tuple[str, str], list[tuple[int, Row]]] = {}
    unread: dict[str, int] = {}
    missing: list[str] = []
    for number, row in read_rows(path):
        where = f"{path}: line {number}"
        if form == "auto":
            form = _find_form(row, where)
        try:
            if form in ("flag_embedding", "sentence_transformers"):
                for name in list_unread_passages(row):
                    unread[name] = unread.get(name, 0) + 1
            if form == "sentence_transformers" and is_judged_pair(row):
                pairs.setdefault(name_query(row), []).append((number, row))
                continue
            yield _parse_instance(row, form, corpus, missing)
        except FieldError as error:
            raise DataError(str(error), where=where, hint=_describe_form(form)) from None
    for rows in pairs.values():
        yield _gather(rows, path)
    if notes is not None:
        notes.extend(_note_unread(path.name, unread))
        if missing:
            passages = "1 passage is" if len(missing) == 1 else f"{len(missing):,} passages are"
            notes.append(
                f"{path.name}: {passages} named that the corpus does not have (such as '{missing[0]}') and left out"
            )


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
    """The lines of one instance, as objects: one; in the form `sentence_transformers` one a positive or a judgement."""
    raw = instance.raw
    if instance.rows:
        if form == "sentence_transformers" and parses_to(lambda: gather_pairs(instance.rows), instance):
            return list(instance.rows)
    elif raw is not None and parses_to(lambda: _parse_instance(raw, form, _index(instance), []), instance):
        return [raw]
    if form in ("flag_embedding", "sentence_transformers"):
        return format_tuples(instance, as_lists=form == "flag_embedding")
    parts: dict[str, Any] = {"query_id": instance.query_id}
    if form == "tevatron_ids":
        parts["query_text"] = instance.query
        for name, side in zip(_IDS, (instance.positives, instance.negatives), strict=True):
            parts[name] = [_spell_id(passage) for passage in side]
    else:
        positives, negatives, id_name = _PARTS[form]
        parts["query"] = instance.query
        parts[positives] = [format_passage(passage, id_name) for passage in instance.positives]
        parts[negatives] = [format_passage(passage, id_name) for passage in instance.negatives]
    if raw is not None and str(raw.get("query_id")) == instance.query_id:
        parts["query_id"] = raw["query_id"]
    fields = {**parts, **instance.extra}
    # Fields keep the order they had in the file.
    return [{**{name: fields[name] for name in raw or () if name in fields}, **fields}]


def _find_form(row: Row, where: str) -> str:
    if _IDS[0] in row:
        return "tevatron_ids"
    for form, (positives, _, _) in _PARTS.items():
        value = row.get(positives)
        # A list of texts under `positives` is none of passages with ids.
        if positives in row and not (
            form == "rlhn" and value and isinstance(value, list) and isinstance(value[0], str)
        ):
            return form
    if is_tuple(row):
        return "flag_embedding" if is_flag_embedding(row) else "sentence_transformers"
    found = ", ".join(list(row)[:8]) or "nothing"
    raise DataError(
        f"no known form of training instances: fields {found}",
        where=where,
        hint="; ".join(f"{form}: {_describe_form(form)}" for form in FORMS),
    )


def _describe_form(form: str) -> str:
    if form == "sentence_transformers":
        return "a line has anchor, positive and negative (or negative_1, negative_2, ...), or query, answer and label"
    if form == "flag_embedding":
        return "a line has query, pos and neg, two lists of texts"
    if form == "tevatron_ids":
        return f"a line has query_id, query_text, {_IDS[0]} and {_IDS[1]}"
    positives, negatives, id_name = _PARTS[form]
    return f"a line has query_id, query, {positives} and {negatives}, whose items have {id_name}, title, text"


def _parse_instance(
    row: Row, form: str, corpus: Mapping[str, Passage] | None, missing: MutableSequence[str]
) -> Instance:
    if form in ("flag_embedding", "sentence_transformers"):
        return parse_tuple(row)
    if form == "tevatron_ids":
        return _parse_ids(row, corpus, missing)
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


def _parse_ids(row: Row, corpus: Mapping[str, Passage] | None, missing: MutableSequence[str]) -> Instance:
    """An instance that names its passages by id; those that the corpus lacks are noted and left out."""
    if corpus is None:
        raise FieldError("names its passages by id only: name their corpus too (--corpus)")
    sides = []
    for name in _IDS:
        items = row.get(name)
        if not isinstance(items, list):
            raise FieldError(f"'{name}' is no list of ids")
        side = []
        for item in items:
            found = corpus.get(take_id({name: item}, name))
            if found is None:
                missing.append(str(item))
            else:
                side.append(found)
        sides.append(tuple(side))
    known = ("query_id", "query_text", *_IDS)
    extra = {name: value for name, value in row.items() if name not in known}
    return Instance(take_id(row, "query_id"), take_text(row, "query_text"), sides[0], sides[1], extra, row)


def _index(instance: Instance) -> dict[str, Passage]:
    return {passage.id: passage for passage in (*instance.positives, *instance.negatives)}


def _spell_id(passage: Passage) -> Any:
    raw = passage.raw or {}
    return next(
        (raw[name] for name in ("docid", "_id", "id") if str(raw.get(name)) == passage.id), passage.id
    )


def _gather(rows: list[tuple[int, Row]], path: Path) -> Instance:
    try:
        return gather_pairs([row for _, row in rows])
    except FieldError as error:
        # The line at which the rows before it stop going together.
        for end in range(1, len(rows) + 1):
            try:
                gather_pairs([row for _, row in rows[:end]])
            except FieldError as first:
                where = f"{path}: line {rows[end - 1][0]}"
                raise DataError(
                    str(first), where=where, hint=_describe_form("sentence_transformers")
                ) from None
        raise DataError(str(error), where=str(path)) from None


def _note_unread(name: str, unread: Mapping[str, int]) -> Iterator[str]:
    for field, n_lines in unread.items():
        lines = "1 line" if n_lines == 1 else f"{n_lines:,} lines"
        yield (
            f"{name}: the field '{field}' ({lines}) looks like passages and is not understood: it is kept as it is, "
            "and nobody judges or searches it; rename it to negative_1 or positive if it is one of these"
        )
