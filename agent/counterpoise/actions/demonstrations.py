"""Real rows that a model is shown when it writes for a cell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell
from counterpoise.core.records import Integers, Records, State
from counterpoise.core.splits import keyed_hash, keyed_rank, sample_by_rank
from counterpoise_retrievers.encoder_protocol import Encoder

MOST_DEMONSTRATIONS = 500
_FEWEST_OF_CELL = 2
_MOST_PARTS = 5
_ROWS_OF_PART = 5
_FEWEST_TO_DIVIDE = 6
_MANY_ROWS = 50
_TOGETHER = "shown together"
_N_NEAREST = 10


def choose_demonstrations(
    train: EncodedRecords, cell: Cell, key: str, encoder: Encoder, concepts: Mapping[str, str]
) -> EncodedRecords:
    """Real rows of a cell to show; where it has fewer than two, those of its label nearest to what it is about.

    Args:
        train: the training rows.
        cell: what is to be written for.
        key: the run's key; another one draws others of more than 500 rows.
        encoder: of the vectors.
        concepts: name -> definition, which rows are near to or not.
    """
    rows = find_rows(train.records, cell)
    if len(rows) < _FEWEST_OF_CELL:
        rows = _find_nearest(train, cell, encoder, concepts)
    return train.take(
        rows[sample_by_rank(train.records.ids[rows], MOST_DEMONSTRATIONS, f"{key}:demonstrations")]
    )


def divide_to_show(records: Records) -> dict[str, int]:
    """Which rows of a label are shown together: only rows of one part stand in one prompt.

    What written records are worth shows on own rows that are left out, and with them whatever was written from them.
    Were five of fifteen rows shown at random, a fold of three would take three quarters of the records along; of three
    parts of five rows each takes a third.

    Args:
        records: the training rows.

    Returns:
        Id -> part, from 0: as many parts as leave five rows in each, five at most, two from six rows on. With fifty
        rows of a label or more another row moves none.
    """
    parts: dict[str, int] = {}
    for label in np.unique(records.labels):
        ids = records.ids[records.labels == label]
        n_parts = min(_MOST_PARTS, len(ids) // _ROWS_OF_PART)
        n_parts = max(2, n_parts) if len(ids) >= _FEWEST_TO_DIVIDE else 1
        if len(ids) >= _MANY_ROWS:
            parts |= {str(one): keyed_hash(_TOGETHER, str(one)) % n_parts for one in ids}
        else:
            order = keyed_rank(ids, _TOGETHER)
            parts |= {str(ids[row]): place % n_parts for place, row in enumerate(order)}
    return parts


def find_rows(records: Records, cell: Cell) -> Integers:
    """Positions of the records that stand in a cell."""
    mask = records.labels == records.label_names.index(cell.label)
    if cell.attribute:
        mask &= records.attributes[cell.attribute] == cell.value
    if cell.concept and records.concepts is not None:
        mask &= records.concepts.states[:, records.concepts.names.index(cell.concept)] == State.PRESENT
    return np.flatnonzero(mask)


def _find_nearest(
    train: EncodedRecords, cell: Cell, encoder: Encoder, concepts: Mapping[str, str]
) -> Integers:
    """The ten rows of the cell's label that are nearest to its concept, or to the rows of its attribute value."""
    rows = find_rows(train.records, Cell(cell.label))
    if not len(rows):
        return rows
    if cell.concept:
        anchor = encoder.encode([concepts[cell.concept]])[0]
    elif cell.attribute:
        members = np.flatnonzero(train.records.attributes[cell.attribute] == cell.value)
        anchor = train.vectors[members].mean(axis=0) if len(members) else train.vectors[rows].mean(axis=0)
    else:
        return rows
    order = np.argsort(-(train.vectors[rows] @ anchor), kind="stable")
    return rows[np.sort(order[:_N_NEAREST])]
