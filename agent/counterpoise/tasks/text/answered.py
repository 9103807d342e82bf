"""Rows of the pool that a person has labelled (`counterpoise label --pool`): they become training rows.

Their label is the user's own, so nothing judges it and nobody weighs it down. Those that were drawn at random may audit
scorers; those that were chosen as informative may not, since a scorer is not as good on them as on all rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, concatenate_datasets
from numpy.typing import NDArray

from counterpoise.core.errors import DataError
from counterpoise.core.records import Integers, Objects, Records
from counterpoise.core.schema import TextClassification
from counterpoise.data.column_values import count_noun
from counterpoise.data.result_columns import convert_column, convert_value
from counterpoise.data.result_rows import Part
from counterpoise.scorers.gold import LABEL, Gold, read_gold


@dataclass(frozen=True, slots=True)
class Answered:
    """The parts of a job once the answers are where they belong.

    Args:
        train: training rows, the answered rows of the pool behind them.
        pool: the rows that are left.
        ids: ids of the answered rows.
        is_audit: (m,) whether each was drawn at random.
        note: a sentence for the report.
    """

    train: Part
    pool: Part
    ids: Objects
    is_audit: NDArray[np.bool_]
    note: str


def move_answered(
    path: Path, train: Part, pool: Part, held_out: Records, task: TextClassification, key: str
) -> Answered:
    """Make answered rows of the pool training rows.

    Rows whose text is a training or held-out row stay where they are: the one is known, the other is sealed.

    Args:
        path: the file of answers.
        train: training rows.
        pool: unlabelled rows.
        held_out: sealed rows.
        task: which columns mean what.
        key: of the draw of audit rows where the file does not say which were drawn at random.

    Raises:
        JobError: the file cannot be read.
        DataError: an answer that is no label, or no row that the pool has.
    """
    known = read_gold(path, pool.records, (LABEL,), key, name="answers", data="pool").get(LABEL)
    nothing = np.empty(0, dtype=np.int64)
    answers = known or Gold(nothing, nothing, nothing, nothing)
    rows = np.concatenate([answers.audit_rows, answers.training_rows])
    labels = np.concatenate([answers.audit_truth, answers.training_truth])
    is_audit = np.arange(len(rows)) < len(answers.audit_rows)
    taken = {*map(str, train.records.texts), *map(str, held_out.texts)}
    is_new = np.array([str(pool.records.texts[row]) not in taken for row in rows], dtype=np.bool_)
    rows, labels, is_audit = rows[is_new], labels[is_new], is_audit[is_new]
    note = (
        f"{count_noun(len(rows), 'row')} of the pool have the label that you gave them and are training rows "
        f"({int(is_audit.sum())} of them drawn at random)"
    )
    left = np.setdiff1d(np.arange(len(pool.records)), rows)
    return Answered(
        _append(train, pool, rows, labels, task),
        Part(pool.table.select(left), pool.records.take(left)),
        pool.records.ids[rows],
        is_audit,
        note,
    )


def find_answers(answered: Answered, records: Records) -> Gold:
    """The answers by the positions of the rows among the training rows, in whatever order these stand."""
    places = {str(identity): row for row, identity in enumerate(records.ids)}
    rows = np.array([places[str(identity)] for identity in answered.ids], dtype=np.int64)
    random, others = np.sort(rows[answered.is_audit]), np.sort(rows[~answered.is_audit])
    return Gold(random, records.labels[random], others, records.labels[others])


def _append(train: Part, pool: Part, rows: Integers, labels: Integers, task: TextClassification) -> Part:
    """Training rows and, behind them, rows of the pool with their labels."""
    if not len(rows):
        return train
    picked = pool.table.select(rows)
    columns = {
        name: [convert_value(pool.records.label_names[label], feature) for label in labels]
        if name == task.label
        else _fit_column(picked, name, feature)
        for name, feature in train.table.features.items()
    }
    more = Dataset.from_dict(columns, features=train.table.features)
    own, added = train.records, pool.records.take(rows)
    records = replace(
        own,
        ids=np.concatenate([own.ids, added.ids]),
        texts=np.concatenate([own.texts, added.texts]),
        labels=np.concatenate([own.labels, labels]),
        attributes={
            name: np.concatenate([column, added.attributes[name]]) for name, column in own.attributes.items()
        },
        columns={name: np.concatenate([column, added.columns[name]]) for name, column in own.columns.items()},
        groups=np.empty(0, dtype=object),
    )
    return Part(concatenate_datasets([train.table, more]), records)


def _fit_column(picked: Dataset, name: str, feature: Any) -> list[Any]:
    """The values of a column of the pool as the data's column holds them; empty where it cannot."""
    empty: list[Any] = [None] * len(picked)
    if name not in picked.column_names:
        return empty
    try:
        column = picked.with_format("arrow")[:].column(name)
        fitting = convert_column(column, picked.features[name], feature, name, "pool")
    except DataError:
        return empty
    return fitting if isinstance(fitting, list) else list(fitting.to_pylist())
