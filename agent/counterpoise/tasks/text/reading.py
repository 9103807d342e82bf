"""Read the tables of a job and divide them into training rows, held-out rows and pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.core.assets import ensure_asset
from counterpoise.core.errors import DataError
from counterpoise.core.records import Integers, Records
from counterpoise.core.splits import choose_held_out
from counterpoise.data.reading import list_warnings, read_pool, read_records, take_sample
from counterpoise.data.result_rows import Part
from counterpoise.data.sources import load_table, name_source
from counterpoise.data.writing import check_parts
from counterpoise.tasks.text.answered import Answered, move_answered
from counterpoise.tasks.text.job import Job, Rest, RestByLabel
from counterpoise.tasks.text.language_cells import add_languages, leave_out_language
from counterpoise_retrievers.near_duplicates import group_near_duplicates


@dataclass(frozen=True, slots=True)
class Parts:
    """The tables of a job with their records, and sentences on what is odd.

    Args:
        train: training rows.
        held_out: sealed rows.
        pool: unlabelled rows, None without a pool.
        notes: sentences.
        answered: rows of the pool that a person has labelled, now training rows; None without such answers.
    """

    train: Part
    held_out: Part
    pool: Part | None
    notes: list[str]
    answered: Answered | None = None


def read_parts(job: Job) -> Parts:
    """Read the tables and divide them into training rows, held-out rows and pool.

    Raises:
        DataError: a file or column that cannot be used as the job says.
        ServiceError: the hub cannot be reached.
    """
    task = job.as_task()
    key = job.key
    name = name_source(job.data)
    cache_dir = Path(job.cache_dir) if job.cache_dir else None
    told: list[str] = []
    table = load_table(_resolve_asset(job.data, cache_dir), task=task, notes=told)
    task = leave_out_language(task, table.column_names)
    records = group_records(read_records(table, task, source=name))
    notes = [*list_warnings(records, _cut_folder(name)), *_cut_folders(told, name)]
    whole = Part(table, records)
    rest = job.held_out.rest if isinstance(job.held_out, RestByLabel) else 0
    pool_rest = job.pool.rest if isinstance(job.pool, Rest) else 0
    train, held_out, pool = whole, None, None
    if job.sample is not None or rest or pool_rest:
        sample = job.sample
        parts = take_sample(
            table,
            records,
            key,
            rows=sample.rows if sample else None,
            where=sample.where if sample else None,
            max_characters=sample.max_characters if sample else None,
            held_out=rest,
            pool=pool_rest,
            source=name,
        )
        train = _take(whole, parts.data)
        held_out = _take(whole, parts.held_out) if rest else None
        pool = _take(whole, parts.pool) if pool_rest else None
        if sample is not None:
            notes.append(
                f"{len(train.records)} of {len(table)} rows of {_cut_folder(name)} are used: {_describe_sample(job)}"
            )
    held_out_name = name
    if held_out is None and isinstance(job.held_out, float):
        mask = choose_held_out(train.records, job.held_out, f"{key}:held_out")
        train, held_out = _take(train, np.flatnonzero(~mask)), _take(train, np.flatnonzero(mask))
    elif held_out is None:
        held_out_name = name_source(job.held_out)
        told = []
        held_table = load_table(_resolve_asset(job.held_out, cache_dir), task=task, notes=told)
        held_out = Part(held_table, read_records(held_table, task, records.label_names, source=held_out_name))
        notes += [
            *list_warnings(held_out.records, _cut_folder(held_out_name)),
            *_cut_folders(told, held_out_name),
        ]
        notes += _note_shared(train.records, held_out.records)
    if pool is None and job.pool is not None:
        told = []
        pool_table = load_table(_resolve_asset(job.pool, cache_dir), task=task, notes=told)
        notes += _cut_folders(told, name_source(job.pool))
        pool = Part(
            pool_table, read_pool(pool_table, task, records.label_names, source=name_source(job.pool))
        )
    elif pool is not None:
        pool = Part(pool.table, read_pool(pool.table, task, records.label_names, source=name))
    check_parts(train.table, held_out.table, name, held_out_name, job.label)
    if len(np.unique(train.records.labels)) < 2:
        found = "one label only" if len(train.records) else "nothing left"
        hint = "hold out fewer rows, or narrow the sample less" if job.sample else "hold out fewer rows"
        raise DataError(f"{found} among the training rows", where=name, hint=hint)
    if task.attributes != job.attributes:
        train, held_out, pool = add_languages(train, held_out, pool)
    if not job.answers or pool is None:
        return Parts(train, held_out, pool, notes)
    moved = move_answered(Path(job.answers), train, pool, held_out.records, task, f"{key}:answers")
    train = replace(moved.train, records=group_records(moved.train.records))
    return Parts(train, held_out, moved.pool, [*notes, moved.note], moved)


def _cut_folder(name: str) -> str:
    """A source as notes call it: they stand in the report and the data card, which others read."""
    return name.rsplit("/", 1)[-1]


def _cut_folders(notes: Sequence[str], name: str) -> list[str]:
    return [note.replace(name, _cut_folder(name)) for note in notes]


def _note_shared(train: Records, held_out: Records) -> list[str]:
    """A sentence on held-out rows whose text is a training row, too, which a model may be shown as such."""
    known = set(train.texts)
    n_shared = sum(text in known for text in held_out.texts)
    if not n_shared:
        return []
    return [
        f"{n_shared} of {len(held_out)} held-out texts are training rows, too, so what is measured on them flatters: "
        "`check` with --held-out finds them"
    ]


def _resolve_asset(source: Any, cache_dir: Path | None) -> Any:
    if isinstance(source, str) and source.startswith("asset:"):
        return ensure_asset(source.removeprefix("asset:"), cache_dir)
    return source


def group_records(records: Records) -> Records:
    """Name each group of near-duplicates by its smallest id, so that no name depends on the order of the rows."""
    first_rows = group_near_duplicates([str(text) for text in records.texts]).tolist()
    names: dict[int, str] = {}
    for row, identity in zip(first_rows, records.ids, strict=True):
        names[row] = min(names.get(row, identity), identity)
    return replace(records, groups=np.array([names[row] for row in first_rows], dtype=object))


def _take(part: Part, positions: Integers) -> Part:
    return Part(part.table.select(positions), part.records.take(positions))


def _describe_sample(job: Job) -> str:
    assert job.sample is not None  # noqa: S101 (asked by the caller)
    sample = job.sample
    parts = [f"{column} is {value}" for column, value in sample.where.items()]
    if sample.max_characters is not None:
        parts.append(f"at most {sample.max_characters} characters")
    if sample.rows is not None:
        counts = ", ".join(f"{count} of '{label}'" for label, count in sample.rows.items())
        parts.append(f"made skew on purpose by the job's sample ({counts})")
    return "; ".join(parts) or "all of them"
