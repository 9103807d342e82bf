"""Wrong labels of a job's own rows: found before anything else is measured, so that the rest is taught by right ones.

What is known of labels (answers under `gold`, the column `trusted`) decides which labels change, by the promise that
the job wants (`min_precision`); without known labels none changes. What is in doubt then and undecided is kept out of
prompts, of what scorers are audited by and of inner validation (`doubtful`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.relabel.asked_suspects import ERROR_FOLDS, estimate_wrong, weigh_answers
from counterpoise.actions.relabel.doubtful import find_doubtful
from counterpoise.actions.relabel.label_patches import make_patch
from counterpoise.actions.relabel.label_promises import LabelSettings
from counterpoise.actions.relabel.label_queue import LabelledRows
from counterpoise.actions.relabel.labels import Decisions, conclude
from counterpoise.actions.relabel.suspects import UNKNOWN, find_suspects
from counterpoise.core.records import Integers, Records
from counterpoise.core.splits import assign_folds
from counterpoise.data.patches.values import LabelChange, LabelOutcome, Patch
from counterpoise.data.sources import name_source
from counterpoise.scorers.gold import LABEL
from counterpoise.students.samples import draw_sample
from counterpoise.tasks.text.concept_inputs import label_inputs
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.preparation import N_FOLDS


@dataclass(frozen=True, slots=True)
class Mending:
    """What was found out about the labels of a job's rows.

    Args:
        patch: what becomes of suspects, the likeliest wrong first; its changes are made by the run.
        doubtful: (n,) training rows whose label is likelier wrong than right and does not change.
        notes: sentences for the report.
    """

    patch: Patch
    doubtful: NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[LabelChange, ...]:
        """The labels that change."""
        return tuple(one for one in self.patch.changes if one.outcome is LabelOutcome.RELABEL)


def find_wrong_labels(job: Job, inputs: Inputs) -> Mending | None:
    """Find wrong labels among the training rows, and decide which change.

    Args:
        job: what is promised.
        inputs: the data, as it was read.

    Returns:
        None where nothing can be told: of one label, or of too few rows.
    """
    train = inputs.train
    folds = assign_folds(train.records, N_FOLDS, ERROR_FOLDS)
    if len(np.unique(train.records.labels)) < 2 or len(np.unique(folds)) < 2:
        return None
    rows = gather_known(inputs, folds)
    looked = np.arange(len(train))
    if not rows.is_known_enough:
        # Nothing is learned from so few, and what is kept out is a matter of the rows that ways are measured on.
        looked = np.union1d(draw_sample(train.records).rows, np.flatnonzero(rows.told != UNKNOWN))
    part = take_rows(rows, looked)
    suspects = find_suspects(
        part.vectors,
        part.labels,
        part.records.groups,
        part.folds,
        len(train.records.label_names),
        part.gold,
        texts=part.records.texts,
    )
    decisions = conclude(part, LabelSettings(job.min_precision, may_drop=False), suspects)
    doubtful = np.zeros(len(train), dtype=np.bool_)
    open_rows = (decisions.outcomes != LabelOutcome.RELABEL) & (part.told == UNKNOWN)
    found = find_doubtful(part.labels, suspects, is_learned=part.is_known_enough)
    doubtful[looked] = found & open_rows
    patch = _make_patch(job, inputs, decisions, part)
    return Mending(patch, doubtful, tuple(_describe(rows, patch, doubtful)))


def gather_known(inputs: Inputs, folds: Integers) -> LabelledRows:
    """The training rows, in folds (n,), with what is known of their labels.

    Rows of a pool that a person labelled are known, but no draw of the rows whose labels may be wrong.
    """
    train = inputs.train
    n = len(train)
    gold = np.full(n, UNKNOWN, dtype=np.int64)
    if inputs.trusted is not None:
        gold[inputs.trusted] = train.records.labels[inputs.trusted]
    answered, chances = inputs.gold.get(LABEL), None
    if answered is not None:
        gold[answered.audit_rows] = answered.audit_truth
        gold[answered.training_rows] = answered.training_truth
    told = gold.copy()
    if inputs.answered:
        gold[np.isin(train.records.ids.astype(str), sorted(inputs.answered))] = UNKNOWN
    elif answered is not None and inputs.trusted is None:
        chances = weigh_answers(answered, n)
    return LabelledRows(train.records, train.vectors, folds, gold, repeats=told, chances=chances)


def take_rows(rows: LabelledRows, picked: NDArray[np.int64]) -> LabelledRows:
    """The rows at some positions."""
    return replace(
        rows,
        records=rows.records.take(picked),
        vectors=rows.vectors[picked],
        folds=rows.folds[picked],
        gold=rows.gold[picked],
        repeats=None if rows.repeats is None else rows.repeats[picked],
        chances=None if rows.chances is None else rows.chances[picked],
    )


def change_labels(inputs: Inputs, changes: Iterable[LabelChange]) -> Inputs:
    """The inputs with labels as they become; what they were stays in `relabelled`."""
    made = {change.id: change for change in changes}
    if not made:
        return inputs
    records = inputs.train.records
    numbers = {name: place for place, name in enumerate(records.label_names)}
    after = [
        numbers[made[identity].after] if identity in made else int(label)
        for identity, label in zip(map(str, records.ids), records.labels, strict=True)
    ]
    mended: Records = replace(records, labels=np.array(after, dtype=np.int64))
    changed = replace(
        inputs, train=replace(inputs.train, records=mended), relabelled={**inputs.relabelled, **made}
    )
    # Which concepts go with which label is counted anew.
    return label_inputs(changed) if inputs.concepts else changed


def _make_patch(job: Job, inputs: Inputs, decisions: Decisions, rows: LabelledRows) -> Patch:
    """The decisions, but those on rows that came from a pool, which no file of the data has."""
    source = name_source(job.data)
    patch = make_patch(decisions, rows, job.as_task(), source)
    kept = tuple(change for change in patch.changes if change.id not in inputs.answered)
    return replace(patch, n_rows=len(inputs.tables.train) + len(inputs.tables.held_out), changes=kept)


def _describe(rows: LabelledRows, patch: Patch, doubtful: NDArray[np.bool_]) -> Iterable[str]:
    n_changes, n_known = len(patch), int((rows.told != UNKNOWN).sum())
    if rows.chances is not None and n_known:
        value, low, high = estimate_wrong(rows, rows.chances)
        yield f"by {n_known} answers {value:.1%} of the labels are wrong ({low:.1%} to {high:.1%})"
    if n_changes:
        yield f"{n_changes} labels of training rows were wrong and are mended before anything is measured: patch.jsonl"
        yield from patch.notes
    if doubtful.any():
        what = (
            "1 training row whose label is"
            if doubtful.sum() == 1
            else f"{doubtful.sum()} training rows whose labels are"
        )
        more = (
            ""
            if n_changes
            else "; some answers would decide about them: "
            "counterpoise label DATA --text COLUMN --label COLUMN --ask 100 --about errors"
        )
        yield (
            f"{what} likelier wrong than right: shown to no model, and no part of what scorers and ways are measured "
            f"by{more}"
        )
