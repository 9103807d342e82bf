"""What a run keeps for its recipes when it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.report.schema import StudentWays
from counterpoise.runs.comparison import list_arm_rows
from counterpoise.runs.outcome import RunOutcome
from counterpoise.runs.recipe.data import RecipeData
from counterpoise.runs.simple_ways import SimpleWays
from counterpoise.scorers.gold import LABEL
from counterpoise.students.cell_marks import CellMarks, make_marks
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job
from counterpoise_retrievers.encoder_protocol import name_vectors


def gather_data(
    job: Job, inputs: Inputs, outcome: RunOutcome, simple: SimpleWays, ways: dict[str, StudentWays]
) -> RecipeData:
    """The rows of the arm *counterpoise*.

    Args:
        job: names of columns.
        inputs: the data.
        outcome: what was written.
        simple: the ways that cost no token.
        ways: student -> what was chosen; the pool is kept where one of them looks at it.
    """
    picked = list_arm_rows(inputs.train.records, len(outcome.ours))
    rows = outcome.ours.take(picked)
    chosen = {way.chosen for way in ways.values()}
    seeing = {way.name for way in simple.treatments if way.uses_pool}
    has_pool = any(seeing.intersection(way.split(":")) for way in chosen)  # `tuned_added:labelled_pool` does
    pool = inputs.pool if has_pool else None
    n_added = len(outcome.ours) - len(inputs.train)
    concepts = inputs.train.records.concepts
    return RecipeData(
        texts=rows.texts,
        labels=rows.labels,
        weights=rows.weights,
        original=rows.original,
        classes=_list_values(job, inputs),
        descriptions=inputs.label_texts,
        text_columns=tuple(job.text),
        label_column=job.label,
        sources=rows.sources,
        zero_shot=rows.zero_shot,
        marks=_extend(make_marks(inputs.train.records), n_added).take(picked),
        n_concepts=0 if concepts is None else len(concepts.names),
        trusted=np.concatenate([_find_known(inputs), np.zeros(n_added, np.bool_)])[picked],
        pool=np.empty(0, dtype=object) if pool is None else pool.records.texts,
        pool_zero_shot=None if pool is None else pool.zero_shot,
        encoder=name_vectors(inputs.encoder),
        has_lines=rows.lines is not None,
    )


def _list_values(job: Job, inputs: Inputs) -> tuple[Any, ...]:
    """The labels as the data set has them: texts by their one spelling, else the value of the first row."""
    records, values = inputs.given, inputs.tables.train[job.label][:]
    first = {
        int(label): row for row, label in reversed(list(enumerate(records.labels[inputs.train.user_order])))
    }
    listed = []
    for label, name in enumerate(records.label_names):
        value = values[first[label]] if label in first else name
        listed.append(name if isinstance(value, str) else value)
    return tuple(listed)


def _extend(marks: CellMarks, n_added: int) -> CellMarks:
    """The marks of own rows, and unknown ones of added rows."""
    width = len(marks.names)
    return CellMarks(
        marks.names,
        np.concatenate([marks.states, np.full((n_added, width), -1, np.int8)]),
        np.concatenate([marks.levels, np.full((n_added, width), 0.5)]),
    )


def _find_known(inputs: Inputs) -> NDArray[np.bool_]:
    """(n,) own rows whose label is known to be right: marked, answered, or confirmed by a person."""
    labels = inputs.train.records.labels
    known = np.zeros(len(labels), np.bool_) if inputs.trusted is None else inputs.trusted.copy()
    if LABEL in inputs.gold:
        gold = inputs.gold[LABEL]
        rows = np.concatenate([gold.audit_rows, gold.training_rows])
        truth = np.concatenate([gold.audit_truth, gold.training_truth])
        known[rows] = labels[rows] == truth
    return known
