"""What all rounds of a run share: the data, scorers, filters and generators, fitted once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from counterpoise.actions import ACTIONS
from counterpoise.actions.base import Action, ActionData, PoolScores
from counterpoise.balance.deficits import list_short_cells, settle_target
from counterpoise.balance.targets.words import Target
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.encoded_records import Vectors
from counterpoise.core.plans import Deficit
from counterpoise.core.records import Floats, Integers
from counterpoise.core.schema import RowSchema
from counterpoise.data.encoder_choice import name_encoder
from counterpoise.filters.chain import ReadyFilter, fit_filters
from counterpoise.filters.data import FilterData
from counterpoise.scorers.base import ClassifierScorer
from counterpoise.scorers.deciding import Decider
from counterpoise.scorers.heard import HeardScorer
from counterpoise.scorers.model_labels import ModelSay
from counterpoise.scorers.without_sources import score_without_sources
from counterpoise.students.base import Student
from counterpoise.students.cell_choice import score_unlabelled
from counterpoise.students.cell_marks import make_marks, weigh_records
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import view_rows
from counterpoise.students.samples import draw_sample
from counterpoise.tasks.filters import FILTERS
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.label_trust import LabelTrust


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all rounds share.

    Args:
        inputs: the data.
        scorer: the label scorer that decides, trained on all training rows.
        is_trusted: whether it passed its audit; if not it neither adopts nor refuses.
        out_of_fold: (n, k) what it says of the training rows, cross-fitted.
        schema: which columns mean what.
        actions: what may be done about a cell, in the order of preference.
        data: what actions may know; settled rounds are added to it as they come.
        filters: what proposals have to pass, in order.
        target: as the job says.
        key: the run's key.
        model: how the job's model is asked for labels, and how far it is believed; None where it has no say.
        in_slices: whether rounds buy slices by what they help; runs that were begun before that was so plan by need.
        student: by whose features it is measured what more rows of a cell help; None where all take minutes to train.
        metric: what helps is told in.
        max_synthetic_share: of a label's records that a model may have made, None without a bound.
    """

    inputs: Inputs
    scorer: ClassifierScorer | Decider | HeardScorer
    is_trusted: bool
    out_of_fold: Floats
    schema: RowSchema
    actions: tuple[Action, ...]
    data: ActionData
    filters: tuple[ReadyFilter, ...]
    target: Target
    key: str
    model: ModelSay | None = None
    in_slices: bool = True
    student: Student | None = None
    metric: Literal["macro_f1", "auroc", "worst_group"] = "macro_f1"
    max_synthetic_share: float | None = None


def open_context(
    job: Job, inputs: Inputs, trust: LabelTrust, *, in_parts: bool = True, in_slices: bool = True
) -> RunContext:
    """Fit and index what all rounds share.

    Args:
        job: the job.
        inputs: the data.
        trust: who may say a label.
        in_parts: whether a model is shown rows of one part together, see `ActionData`.
        in_slices: whether rounds buy slices.
    """
    train, pool = inputs.train, inputs.pool
    names = train.records.label_names
    learned = train.take(draw_sample(train.records).rows)
    scorer = ClassifierScorer(
        inputs.encoder,
        learned.vectors,
        learned.records.labels,
        len(names),
        weights=weigh_records(learned.records),
    )
    headings = dict(zip(names, inputs.label_texts, strict=True))
    return RunContext(
        inputs=inputs,
        scorer=trust.decider or scorer,
        is_trusted=trust.is_trusted,
        out_of_fold=trust.out_of_fold,
        schema=job.as_task(),
        actions=ACTIONS.choose(job.actions),
        data=ActionData(
            train if inputs.doubtful is None else train.take(np.flatnonzero(~inputs.doubtful)),
            inputs.encoder,
            headings,
            job.key,
            inputs.concepts,
            pool=pool if len(pool) else None,
            pool_scores=score_pool(job, inputs, trust, scorer) if len(pool) else None,
            is_trusted=trust.is_trusted,
            writers=job.list_writers(),
            in_parts=in_parts,
        ),
        filters=fit_filters(FILTERS.choose(job.filters), gather_filter_data(job, inputs, trust)),
        target=settle_target(job.target, train.records, inputs.corrected),
        key=job.key,
        model=trust.model,
        in_slices=in_slices,
        student=next((one for one in _list_students(job) if not one.slow_step), None),
        metric=job.metric,
        max_synthetic_share=job.max_synthetic_share,
    )


def _list_students(job: Job) -> tuple[Student, ...]:
    return choose_students(job.students, name_encoder(job.encoder), find_cache_dir(job.cache_dir))


def gather_filter_data(job: Job, inputs: Inputs, trust: LabelTrust) -> FilterData:
    """What filters may know of the data."""
    train = inputs.train
    return FilterData(
        train=train,
        held_out=inputs.held_out,
        folds=inputs.folds,
        encoder=inputs.encoder,
        headings=inputs.label_texts,
        concepts=inputs.concepts,
        key=job.key,
        label_scores=trust.out_of_fold,
        is_trusted=trust.is_trusted,
        score_blind=_choose_blind(inputs, trust),
    )


def _choose_blind(inputs: Inputs, trust: LabelTrust) -> Callable[[Sequence[str], Vectors, Integers], Floats]:
    """Who judges edits without having seen what they were made from."""
    if trust.decider is not None:
        return trust.decider.score_without_sources
    return lambda _, vectors, rows: score_without_sources(
        inputs.train, inputs.folds, inputs.encoder, vectors, rows
    )


def score_pool(job: Job, inputs: Inputs, trust: LabelTrust, scorer: ClassifierScorer) -> PoolScores:
    """Probabilities of the labels of training rows (see `draw_sample`), cross-fitted, and of the pool.

    The classifier gives them, but not where a concept or an attribute goes with the label (`cell_choice`), nor where a
    scorer of the user's own decides.
    """
    drawn = draw_sample(inputs.train.records).rows
    train, pool = inputs.train.take(drawn), inputs.pool
    labels, own_scores = train.records.labels, trust.out_of_fold[drawn]
    if trust.decider is not None:
        scores = trust.decider.score_texts(list(pool.records.texts), pool.vectors)
        return PoolScores(own_scores, labels, scores)
    if not find_skewed_cells(job, inputs):
        plain = replace(scorer, weights=None)  # as those that gave `out_of_fold`
        return PoolScores(own_scores, labels, plain.score_vectors(pool.vectors))
    own, others = view_rows(train), view_rows(pool)
    marks, n_labels = make_marks(train.records), len(train.records.label_names)
    _, out_of_fold, scores = score_unlabelled(own, marks, inputs.folds[drawn], others, n_labels)
    return PoolScores(out_of_fold, labels, scores)


def find_skewed_cells(job: Job, inputs: Inputs) -> list[Deficit]:
    """Cells of concepts and attributes that one label has too few records of."""
    return list_short_cells(inputs.train.records, inputs.corrected, job.target, ["concept", "attribute"])
