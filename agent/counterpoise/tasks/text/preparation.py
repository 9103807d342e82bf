"""Read the inputs of a job and make them ready: rows, splits, vectors, concepts, folds.

Inside, rows stand in the order of their ids, so that nothing that is fitted depends on the order of the file; the
result is written in the user's order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from counterpoise.balance.corrected_counts import Answers, CorrectedCount, correct_cells
from counterpoise.balance.counts import resolve_target
from counterpoise.core.assets import ensure_asset, find_cache_dir
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.events import Event, Listener, tell_progress
from counterpoise.core.label_spellings import match_label
from counterpoise.core.plans import Cell
from counterpoise.core.records import Floats, Integers, Records
from counterpoise.core.sides import Side
from counterpoise.core.splits import assign_folds, choose_held_out
from counterpoise.data.encoders import make_encoder
from counterpoise.data.reading import list_warnings, read_marks, read_pool, read_records, take_sample
from counterpoise.data.result_rows import Part
from counterpoise.data.sources import load_table, name_source
from counterpoise.data.writing import check_parts
from counterpoise.filters.languages import list_languages, score_languages
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.scorers.concepts.labeller import (
    ConceptLabeller,
    ModelScores,
    fit_concepts,
    standardise_model,
)
from counterpoise.scorers.gold import LABEL, Gold, read_gold
from counterpoise.tasks.text.job import Job, Rest, RestByLabel
from counterpoise_retrievers.encoders import CachedEncoder, Encoder, OnnxEncoder
from counterpoise_retrievers.near_duplicates import group_near_duplicates

N_FOLDS = 5
_UNFIT_RATIO = 0.45
_MOST_FOREIGN = 0.5
_TEXTS_LOOKED_AT = 500
_FEWEST_TOLD = 20
_TRUST_LESS = "trust what rests on it less, or name a multilingual one under `encoder`"


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything a run works on.

    Args:
        train_part: training rows in the user's order, with their table.
        held_out_part: sealed rows, likewise.
        pool_table: the pool's table, None without a pool.
        train, held_out, pool: the same rows by id, with vectors; `pool` may have no rows.
        folds: (n,) folds of the training rows.
        encoder: the encoder, cached.
        label_texts: one line a label.
        concepts: name -> definition.
        notes: sentences on what is odd.
        fingerprint: hash of the ids of all rows, of the encoder and of the known answers.
        labeller: labels the concepts of further texts; None without concepts.
        gold: by concept, and for the label under `label`, what is known of some training rows.
        trusted: (n,) whether a training row's label is known to be right, where the job names such a column.
        corrected: counts of concept cells of the training rows, corrected for the scorers' errors.
    """

    train_part: Part
    held_out_part: Part
    pool_table: Dataset | None
    train: Side
    held_out: Side
    pool: Side
    folds: Integers
    encoder: Encoder
    label_texts: tuple[str, ...]
    concepts: Mapping[str, str]
    notes: tuple[str, ...]
    fingerprint: str
    labeller: ConceptLabeller | None = None
    gold: Mapping[str, Gold] = field(default_factory=dict)
    trusted: NDArray[np.bool_] | None = None
    corrected: Mapping[Cell, CorrectedCount] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Parts:
    train: Part
    held_out: Part
    pool: Part | None
    notes: list[str]


def read_parts(job: Job) -> _Parts:
    """Read the tables and divide them into training rows, held-out rows and pool.

    Raises:
        DataError: a file or column that cannot be used as the job says.
        ServiceError: the hub cannot be reached.
    """
    task = job.as_task()
    key = f"seed {job.seed}"
    name = name_source(job.data)
    cache_dir = Path(job.cache_dir) if job.cache_dir else None
    told: list[str] = []
    table = load_table(_resolve_asset(job.data, cache_dir), task=task, notes=told)
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
    return _Parts(train, held_out, pool, notes)


def prepare(
    job: Job, listener: Listener, after_read: Callable[[Records, tuple[str, ...]], None] | None = None
) -> Inputs:
    """Read, divide, encode and label the inputs of a job.

    Args:
        job: what to do.
        listener: told of every step.
        after_read: given the training rows, and a line a label, before what takes long begins.

    Raises:
        UserError: a mistake in the job or the data.
        ServiceError: weights that cannot be had, a hub that cannot be reached.
    """
    parts = read_parts(job)
    task_labels = parts.train.records.label_names
    counts = np.bincount(parts.train.records.labels, minlength=len(task_labels))
    listener(
        Event(
            "read",
            {
                "rows": len(parts.train.records),
                "held_out": len(parts.held_out.records),
                "pool": len(parts.pool.records) if parts.pool else 0,
                "labels": dict(zip(task_labels, counts.tolist(), strict=True)),
            },
        )
    )
    folds = divide(_sort(parts.train.records), f"seed {job.seed}:folds", name_source(job.data))
    described = describe_labels(job.labels, task_labels)
    resolve_target(task_labels, job.target)
    label_texts = tuple(described.get(label, label) for label in task_labels)
    if after_read is not None:
        after_read(parts.train.records, label_texts)
    cache_dir = find_cache_dir(Path(job.cache_dir) if job.cache_dir else None)
    plain = make_encoder(job.encoder, cache_dir, listener)
    encoder = CachedEncoder(
        plain,
        cache_dir / "vectors",
        on_progress=tell_progress(listener, "encoding"),
    )
    empty_pool = parts.train.records.take(np.empty(0, dtype=np.int64))
    pool_records = _sort(parts.pool.records) if parts.pool else empty_pool
    train = _encode(_sort(parts.train.records), encoder, label_texts)
    held_out = _encode(_sort(parts.held_out.records), encoder, label_texts)
    pool = _encode(pool_records, encoder, label_texts)
    gold: dict[str, Gold] = {}
    if job.gold:
        gold = read_gold(Path(job.gold), train.records, (*job.concepts, LABEL), f"seed {job.seed}:gold")
    notes = [*parts.notes, *_note_fit(plain, train.records, is_english=not job.encoder)]
    digest = sha256()
    for records in (train.records, held_out.records, pool.records):
        digest.update("\n".join(map(str, records.ids)).encode() + b"\0")
    digest.update(encoder.name.encode())
    for question, known in sorted(gold.items()):
        digest.update(f"{question}{known.audit_rows}{known.audit_truth}".encode())
        digest.update(f"{known.training_rows}{known.training_truth}".encode())
    inputs = Inputs(
        train_part=parts.train,
        held_out_part=parts.held_out,
        pool_table=parts.pool.table if parts.pool else None,
        train=train,
        held_out=held_out,
        pool=pool,
        folds=folds,
        encoder=encoder,
        label_texts=label_texts,
        concepts=job.concepts,
        notes=tuple(notes),
        fingerprint=digest.hexdigest()[:16],
        gold=gold,
        trusted=_find_trusted(parts.train, train.records, job.trusted),
    )
    return label_inputs(inputs) if job.concepts else inputs


def describe_labels(labels: Mapping[str, str], label_names: Sequence[str]) -> dict[str, str]:
    """The descriptions of labels by the labels of the data; 1 and 1.0 are one.

    Raises:
        JobError: a label that the data does not have.
    """
    described = {}
    for name, text in labels.items():
        label = match_label(name, label_names)
        if label is None:
            known = ", ".join(repr(one) for one in label_names)
            raise JobError(f"there is no label '{name}'", where="labels", hint=f"the data has {known}")
        described[label] = text
    return described


def label_inputs(inputs: Inputs, model: ModelScores | None = None) -> Inputs:
    """Fit the scorers of the concepts and label all rows; correct the counts where answers are known.

    Args:
        inputs: with concepts.
        model: what a language model says of the training rows, where it passed its pilot.
    """
    train = inputs.train
    texts = [str(text) for text in train.records.texts]
    labeller = fit_concepts(
        texts, train.vectors, train.records.ids, inputs.concepts, inputs.encoder, inputs.gold, model
    )
    said = None
    if model is not None:
        said = {
            name: standardise_model(column)
            for name, column in model.probabilities.items()
            if not np.isnan(column).any()
        }

    def label(side: Side, llm: Mapping[str, Floats] | None = None) -> Side:
        columns = labeller.label([str(text) for text in side.records.texts], side.vectors, llm)
        return replace(side, records=replace(side.records, concepts=columns))

    labelled = label(train, said)
    answers = {
        name: Answers(known.audit_rows, known.audit_truth)
        for name, known in inputs.gold.items()
        if name in inputs.concepts
    }
    return replace(
        inputs,
        train=labelled,
        held_out=label(inputs.held_out),
        pool=label(inputs.pool),
        labeller=labeller,
        corrected=correct_cells(labelled.records, answers),
    )


def _find_trusted(part: Part, sorted_records: Records, column: str) -> NDArray[np.bool_] | None:
    """(n,) which of the rows, in the order of their ids, the user marked; None without such a column."""
    if not column:
        return None
    marked = dict(zip(part.records.ids, read_marks(part.table, column, "data"), strict=True))
    return np.array([marked[identity] for identity in sorted_records.ids], dtype=np.bool_)


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


def divide(records: Records, key: str, source: str) -> Integers:
    """The fold of each row, (n,).

    Args:
        records: the rows.
        key: another key gives other folds.
        source: what errors call the rows.

    Raises:
        DataError: all rows fall into one fold, so that there is none to learn from for any.
    """
    folds = assign_folds(records, N_FOLDS, key)
    if len(np.unique(folds)) < 2:
        found = f"too few different texts among the {len(folds)} training rows to learn from some and test on others"
        hint = "give more rows, hold out fewer, or drop rows that repeat"
        raise DataError(found, where=source, hint=hint)
    return folds


def group_records(records: Records) -> Records:
    """Name each group of near-duplicates by its smallest id, so that no name depends on the order of the rows."""
    first_rows = group_near_duplicates([str(text) for text in records.texts]).tolist()
    names: dict[int, str] = {}
    for row, identity in zip(first_rows, records.ids, strict=True):
        names[row] = min(names.get(row, identity), identity)
    return replace(records, groups=np.array([names[row] for row in first_rows], dtype=object))


def _take(part: Part, positions: Integers) -> Part:
    return Part(part.table.select(positions), part.records.take(positions))


def _sort(records: Records) -> Records:
    return records.take(np.argsort(records.ids.astype(str), kind="stable"))


def _encode(records: Records, encoder: Encoder, label_texts: tuple[str, ...]) -> Side:
    if not len(records):
        return Side(records, np.empty((0, encoder.dimension), np.float32), np.empty((0, len(label_texts))))
    vectors = encoder.encode([str(text) for text in records.texts])
    return Side(records, vectors, SimilarityScorer(encoder, label_texts).score_vectors(vectors))


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


def _note_fit(encoder: OnnxEncoder, records: Records, *, is_english: bool) -> list[str]:
    """Sentences on texts that do not fit the encoder: too long, or in a language it does not know.

    Args:
        encoder: of their vectors.
        records: the training rows.
        is_english: the encoder knows English alone; other languages in the same letters have no unknown tokens.
    """
    texts = [str(text) for text in records.texts]
    notes = []
    if n_long := encoder.count_long(texts):
        notes.append(
            f"{n_long} of {len(texts)} texts are longer than the encoder's window of {encoder.max_tokens} tokens: "
            "they are encoded in pieces and the vectors averaged"
        )
    ratio = encoder.unknown_token_ratio(texts[:2000])
    if ratio > _UNFIT_RATIO:
        notes.append(
            f"the encoder {encoder.name} does not fit the language of these texts ({ratio:.0%} of the tokens are "
            f"unknown to it): {_TRUST_LESS}"
        )
    elif is_english and (foreign := _count_foreign(texts[:_TEXTS_LOOKED_AT])) > _MOST_FOREIGN:
        notes.append(
            f"the encoder {encoder.name} knows English, and {foreign:.0%} of these texts look like another language: "
            f"{_TRUST_LESS}"
        )
    return notes


def _count_foreign(texts: Sequence[str]) -> float:
    """Share of the texts long enough to tell that look like another language than English; 0 where few are."""
    names = list_languages()
    scores = score_languages(texts)
    told = ~np.isnan(scores[:, 0])
    if told.sum() < _FEWEST_TOLD:
        return 0.0
    return float(np.mean(scores[told].argmax(axis=1) != names.index("en")))
