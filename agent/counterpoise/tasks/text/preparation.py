"""Make the inputs of a job ready: rows by id, vectors, folds, concepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterpoise.balance.counts import resolve_target
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.errors import DataError, JobError
from counterpoise.core.event_kinds import Read
from counterpoise.core.events import tell_event
from counterpoise.core.label_spellings import match_label
from counterpoise.core.records import Integers, Records
from counterpoise.core.splits import assign_folds
from counterpoise.data.column_values import read_marks
from counterpoise.data.encoder_choice import AUTO, list_known_languages
from counterpoise.data.encoders import open_cached
from counterpoise.data.result_rows import Part
from counterpoise.data.sources import name_source
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.scorers.gold import LABEL, Gold, read_gold, unite_gold
from counterpoise.students.described_ways import find_lines
from counterpoise.students.metrics import METRIC_NAMES
from counterpoise.students.treatments import TREATMENTS
from counterpoise.tasks.text.answered import find_answers
from counterpoise.tasks.text.concept_inputs import label_inputs
from counterpoise.tasks.text.encoder_fit import note_fit
from counterpoise.tasks.text.encoder_sentences import say_choice
from counterpoise.tasks.text.encoder_trials import list_at_hand, try_for_job
from counterpoise.tasks.text.inputs import Inputs, Tables
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.language_cells import note_training_languages
from counterpoise.tasks.text.reading import read_parts
from counterpoise_retrievers.encoders import Encoder

N_FOLDS = 5


def prepare(
    job: Job,
    after_read: Callable[[Records, tuple[str, ...]], None] | None = None,
    *,
    with_speed: bool = False,
) -> Inputs:
    """Read, divide, encode and label the inputs of a job.

    Args:
        job: what to do.
        after_read: given the training rows, and a line a label, before what takes long begins.
        with_speed: whether encoders that are tried are timed, too.

    Raises:
        UserError: a mistake in the job or the data.
        ServiceError: weights that cannot be had, a hub that cannot be reached.
    """
    parts = read_parts(job)
    task_labels = parts.train.records.label_names
    counts = np.bincount(parts.train.records.labels, minlength=len(task_labels))
    tell_event(
        Read(
            rows=len(parts.train.records),
            held_out=len(parts.held_out.records),
            pool=len(parts.pool.records) if parts.pool else 0,
            labels=dict(zip(task_labels, counts.tolist(), strict=True)),
        )
    )
    ordered = parts.train.records.take(_order_by_id(parts.train.records))
    folds = divide(ordered, f"{job.key}:folds", name_source(job.data))
    described = describe_labels(job.labels, task_labels)
    if not isinstance(job.target, str):
        resolve_target(task_labels, job.target)
    label_texts = tuple(described.get(label, label) for label in task_labels)
    if after_read is not None:
        after_read(parts.train.records, label_texts)
    cache_dir = find_cache_dir(job.cache_dir)
    pool_records = parts.pool.records if parts.pool else parts.train.records.take([])
    choice, trials, tried = job.encoder, None, list[str]()
    if choice == AUTO:
        n_all = len(parts.train.records) + len(parts.held_out.records) + len(pool_records)
        at_hand = list_at_hand("", cache_dir)
        trials = try_for_job(job, ordered, folds, label_texts, at_hand, n_all if with_speed else None)
        choice, tried = trials.best.encoder, [say_choice(trials, METRIC_NAMES[job.scored_by])]
    encoder = open_cached(choice, cache_dir)
    lines = find_lines(TREATMENTS.choose(job.treatments), encoder.encode, label_texts)
    train = replace(encode_records(parts.train.records, encoder, label_texts), lines=lines)
    held_out = encode_records(parts.held_out.records, encoder, label_texts)
    pool = encode_records(pool_records, encoder, label_texts)
    gold: dict[str, Gold] = {}
    sealed_gold: dict[str, Gold] = {}
    if job.gold:
        path, key = Path(job.gold), f"{job.key}:gold"
        gold = read_gold(path, train.records, (*job.listed_concepts, LABEL), key)
        sealed_gold = read_gold(path, held_out.records, tuple(job.listed_concepts), key, needed=False)
    answered = frozenset(map(str, parts.answered.ids)) if parts.answered else frozenset[str]()
    if parts.answered and answered:
        gold[LABEL] = unite_gold(gold.get(LABEL), find_answers(parts.answered, train.records))
    fits = note_fit(encoder.encoder, train.records, list_known_languages(choice), cache_dir)
    notes = [*parts.notes, *tried, *fits, *note_training_languages(train.records)]
    inputs = Inputs(
        tables=Tables(parts.train.table, parts.held_out.table),
        train=train,
        held_out=held_out,
        pool=pool,
        folds=folds,
        encoder=encoder,
        label_texts=label_texts,
        concepts=job.listed_concepts,
        notes=tuple(notes),
        fingerprint=_fingerprint((train, held_out, pool), encoder, gold),
        gold=gold,
        sealed_gold=sealed_gold,
        encoder_choice=choice,
        encoder_trials=trials,
        trusted=_find_trusted(parts.train, train, job.trusted),
        answered=answered,
    )
    return label_inputs(inputs) if job.listed_concepts else inputs


def add_concepts(inputs: Inputs, job: Job) -> Inputs:
    """The inputs of a job that named no concepts, with those that it names now: their answers, labels and counts.

    Raises:
        UserError: answers that cannot be read.
    """
    concepts = job.listed_concepts
    gold, sealed_gold = dict(inputs.gold), dict(inputs.sealed_gold)
    if job.gold:
        path, key = Path(job.gold), f"{job.key}:gold"
        gold |= read_gold(path, inputs.train.records, tuple(concepts), key)
        sealed_gold |= read_gold(path, inputs.held_out.records, tuple(concepts), key, needed=False)
    fingerprint = _fingerprint((inputs.train, inputs.held_out, inputs.pool), inputs.encoder, gold)
    named = replace(inputs, concepts=concepts, gold=gold, sealed_gold=sealed_gold, fingerprint=fingerprint)
    return label_inputs(named) if concepts else named


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


def _find_trusted(part: Part, train: EncodedRecords, column: str) -> NDArray[np.bool_] | None:
    """(n,) which of the rows, in the order of their ids, the user marked; None without such a column."""
    if not column:
        return None
    trusted = np.empty(len(train), dtype=np.bool_)
    trusted[train.user_order] = read_marks(part.table, column, "data")
    return trusted


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


def _order_by_id(records: Records) -> Integers:
    return np.argsort(records.ids.astype(str), kind="stable")


def encode_records(records: Records, encoder: Encoder, label_texts: tuple[str, ...]) -> EncodedRecords:
    """The rows by id with their vectors; where the user has them is kept."""
    order = _order_by_id(records)
    ordered = records.take(order)
    if len(records):
        vectors = encoder.encode([str(text) for text in ordered.texts])
        zero_shot = SimilarityScorer(encoder, label_texts).score_vectors(vectors)
    else:
        vectors = np.empty((0, encoder.dimension), np.float32)
        zero_shot = np.empty((0, len(label_texts)))
    return EncodedRecords(ordered, vectors, zero_shot, np.argsort(order))


def _fingerprint(rows: Sequence[EncodedRecords], encoder: Encoder, gold: Mapping[str, Gold]) -> str:
    """Hash of the ids of all rows, of the encoder and of the known answers."""
    digest = sha256()
    for encoded in rows:
        digest.update("\n".join(map(str, encoded.records.ids)).encode() + b"\0")
    digest.update(encoder.name.encode())
    for question, known in sorted(gold.items()):
        digest.update(f"{question}{known.audit_rows}{known.audit_truth}".encode())
        digest.update(f"{known.training_rows}{known.training_truth}".encode())
    return digest.hexdigest()[:16]
