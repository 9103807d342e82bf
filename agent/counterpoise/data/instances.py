"""Retrieval data in and out: training instances (a query, its positives, its negatives) and collections.

Instances lie in JSON Lines, plain or gzip, read and written one line at a time; `data.exporters` has a file for each
form. A collection is a BEIR or MTEB folder (see `beir`). What is read and written in the same form comes back without
loss: unknown fields, their order and the spelling of ids are kept. Only judged pairs of one query are gathered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from pathlib import Path

from counterpoise.core.errors import DataError
from counterpoise.core.instances import Collection, FieldError, Instance, Passage, Query, Row, hash_text
from counterpoise.data.beir import list_splits, read_beir, read_corpus, read_passages, write_beir
from counterpoise.data.exporters import EXPORTERS, find_readable, list_forms
from counterpoise.data.exporters.base import InstanceForm
from counterpoise.data.json_lines import read_rows

__all__ = [
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
        form: name of one; `auto` tells by the first line.
        corpus: passages by id, for the form that names them by id only.
        notes: sentences on what was not understood or left out are added, once the last instance is read.

    Yields:
        One instance a line, in the order of the file.

    Raises:
        DataError: no such file, a line that is no object, or a field that is missing or of another type.
        JobError: no such form, or one that is written only.
    """
    path = Path(path)
    known = None if form == "auto" else find_readable(form)
    pairs: dict[tuple[str, str], list[tuple[int, Row]]] = {}
    unread: dict[str, int] = {}
    missing: list[str] = []
    for number, row in read_rows(path):
        where = f"{path}: line {number}"
        known = known or _recognise(row, where)
        try:
            for name in known.list_unread(row):
                unread[name] = unread.get(name, 0) + 1
            if known.gathers(row):
                pairs.setdefault(known.name_query(row), []).append((number, row))
                continue
            yield known.parse(row, corpus, missing)
        except FieldError as error:
            raise DataError(str(error), where=where, hint=known.layout) from None
    for rows in pairs.values():
        if known is not None:
            yield _gather(rows, known, path)
    if notes is not None:
        notes.extend(_note_unread(path.name, unread))
        if missing:
            passages = "1 passage is" if len(missing) == 1 else f"{len(missing):,} passages are"
            notes.append(
                f"{path.name}: {passages} named that the corpus does not have (such as '{missing[0]}') and left out"
            )


def write_instances(path: Path, instances: Iterable[Instance], form: str) -> int:
    """Write training instances, one at a time; whole or not at all.

    Args:
        path: of the file; gzip where it ends in `.gz`.
        instances: what to write.
        form: name of an exporter.

    Returns:
        Lines written.

    Raises:
        JobError: there is no such form.
        OSError: the file cannot be written.
    """
    return EXPORTERS.find(form).write(Path(path), instances)


def find_form(path: Path) -> str:
    """The name of the form of a file of instances, told by its first line.

    Raises:
        DataError: the file cannot be read, is empty, or has no known form.
    """
    for number, row in read_rows(Path(path)):
        return _recognise(row, f"{path}: line {number}").name
    raise DataError("holds no instances", where=str(path), hint="one JSON object a line")


def format_instance(instance: Instance, form: str) -> list[Row]:
    """The lines of one instance, as objects: one; in the form `sentence_transformers` one a positive or a judgement.

    Raises:
        JobError: there is no such form of lines.
    """
    return find_readable(form).format(instance)


def _recognise(row: Row, where: str) -> InstanceForm:
    for form in list_forms():
        if form.recognises(row):
            return form
    found = ", ".join(list(row)[:8]) or "nothing"
    raise DataError(
        f"no known form of training instances: fields {found}",
        where=where,
        hint="; ".join(f"{form.name}: {form.layout}" for form in list_forms()),
    )


def _gather(rows: list[tuple[int, Row]], form: InstanceForm, path: Path) -> Instance:
    try:
        return form.gather([row for _, row in rows])
    except FieldError as error:
        # The line at which the rows before it stop going together.
        for end in range(1, len(rows) + 1):
            try:
                form.gather([row for _, row in rows[:end]])
            except FieldError as first:
                where = f"{path}: line {rows[end - 1][0]}"
                raise DataError(str(first), where=where, hint=form.layout) from None
        raise DataError(str(error), where=str(path)) from None


def _note_unread(name: str, unread: Mapping[str, int]) -> Iterator[str]:
    for field, n_lines in unread.items():
        lines = "1 line" if n_lines == 1 else f"{n_lines:,} lines"
        yield (
            f"{name}: the field '{field}' ({lines}) looks like passages and is not understood: it is kept as it is, "
            "and nobody judges or searches it; rename it to negative_1 or positive if it is one of these"
        )
