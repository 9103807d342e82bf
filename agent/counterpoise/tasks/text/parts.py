"""What all rounds of a run share: the data, scorers, filters and generators, fitted once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from counterpoise.actions import ACTIONS
from counterpoise.actions.base import Action, ActionData, PoolScores
from counterpoise.balance.deficits import Target, list_short_cells
from counterpoise.core.plans import Deficit
from counterpoise.core.records import Floats
from counterpoise.core.schema import RowSchema
from counterpoise.filters.copies import KnownTexts, make_known_texts
from counterpoise.filters.edit_filter import EditFilter
from counterpoise.filters.text import TextFilter, make_text_filter
from counterpoise.filters.written import WrittenFilters, fit_written_filters
from counterpoise.scorers.base import ClassifierScorer
from counterpoise.scorers.without_sources import score_without_sources
from counterpoise.students.cell_choice import score_unlabelled
from counterpoise.students.cell_marks import make_marks, weigh_records
from counterpoise.students.rows import view_rows
from counterpoise.students.validation import MOST_VALIDATION_ROWS
from counterpoise.tasks.text.attribute_filter import AttributeFilter
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.label_trust import LabelTrust


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all rounds share.

    Args:
        inputs: the data.
        scorer: the label scorer, trained on all training rows.
        is_trusted: whether it passed its audit; if not it neither adopts nor refuses.
        out_of_fold: (n, k) what it says of the training rows, cross-fitted.
        schema: which columns mean what.
        actions: what may be done about a cell, in the order of preference.
        data: what actions may know; settled rounds are added to it as they come.
        text_filter: bounds from real rows.
        known: texts that must not be repeated.
        target: as the job says.
        key: the run's key.
        edit_filter: judges edits; without one none is refused.
        attribute_filter: for texts written for an attribute value; without one they are taken for what they are to be.
        written: what is asked of texts that a model wrote; without, only what `filters` ask.
    """

    inputs: Inputs
    scorer: ClassifierScorer
    is_trusted: bool
    out_of_fold: Floats
    schema: RowSchema
    actions: tuple[Action, ...]
    data: ActionData
    text_filter: TextFilter
    known: Mapping[str, KnownTexts]
    target: Target
    key: str
    edit_filter: EditFilter | None = None
    attribute_filter: AttributeFilter | None = None
    written: WrittenFilters | None = None


def open_context(job: Job, inputs: Inputs, trust: LabelTrust) -> RunContext:
    """Fit and index what all rounds share."""
    train, pool = inputs.train, inputs.pool
    names = train.records.label_names
    scorer = ClassifierScorer(
        inputs.encoder,
        train.vectors,
        train.records.labels,
        len(names),
        weights=weigh_records(train.records),
    )
    headings = dict(zip(names, inputs.label_texts, strict=True))
    known = {
        "copy_of_data": make_known_texts(map(str, train.records.texts), train.vectors),
        "copy_of_held_out": make_known_texts(
            map(str, inputs.held_out.records.texts), inputs.held_out.vectors
        ),
    }
    return RunContext(
        inputs=inputs,
        scorer=scorer,
        is_trusted=trust.is_trusted,
        out_of_fold=trust.out_of_fold,
        schema=job.as_task(),
        actions=ACTIONS.choose(job.actions),
        data=ActionData(
            train,
            inputs.encoder,
            headings,
            job.key,
            inputs.concepts,
            pool=pool if len(pool) else None,
            pool_scores=score_pool(job, inputs, trust, scorer) if len(pool) else None,
            is_trusted=trust.is_trusted,
        ),
        text_filter=make_text_filter(train.records.texts, headings.values()),
        known=known,
        target=job.target,
        key=job.key,
        edit_filter=EditFilter(
            train,
            inputs.encoder,
            inputs.concepts,
            trust.is_trusted,
            partial(score_without_sources, train, inputs.folds, inputs.encoder),
        ),
        attribute_filter=AttributeFilter(inputs),
        written=fit_written_filters(
            train.records,
            train.vectors,
            inputs.folds,
            trust.out_of_fold,
            inputs.encoder,
            tuple(headings.values()),
            job.key,
            is_trusted=trust.is_trusted,
        ),
    )


def score_pool(job: Job, inputs: Inputs, trust: LabelTrust, scorer: ClassifierScorer) -> PoolScores:
    """Probabilities of the labels of the training rows, cross-fitted, and of the pool.

    The classifier gives them, but not where a concept or an attribute goes with the label (`cell_choice`).
    """
    train, pool = inputs.train, inputs.pool
    if len(train) > MOST_VALIDATION_ROWS or not find_skewed_cells(job, inputs):
        plain = replace(scorer, weights=None)  # as those that gave `out_of_fold`
        return PoolScores(trust.out_of_fold, plain.score_vectors(pool.vectors))
    own, others = view_rows(train), view_rows(pool)
    marks, n_labels = make_marks(train.records), len(train.records.label_names)
    _, out_of_fold, scores = score_unlabelled(own, marks, inputs.folds, others, n_labels)
    return PoolScores(out_of_fold, scores)


def find_skewed_cells(job: Job, inputs: Inputs) -> list[Deficit]:
    """Cells of concepts and attributes that one label has too few records of."""
    return list_short_cells(inputs.train.records, inputs.corrected, job.target, ["concept", "attribute"])
