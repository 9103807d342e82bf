"""Sentences on what a measurement or a plan leaves out because there is much of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterpoise.balance.counts import MOST_VALUES
from counterpoise.balance.deficits import MOST_NAMED
from counterpoise.core.plans import Deficit
from counterpoise.core.records import Records
from counterpoise.students.samples import FEWEST_OF_A_LABEL, MOST_TRAINING_ROWS, RowSample


def note_left_out(sample: RowSample, records: Records, short: Sequence[Deficit]) -> list[str]:
    """What stands for all rows, which cells wait for a later round, and which attributes make no cells.

    Args:
        sample: what ways, advice, forecasts and scorers are measured on.
        records: the training rows.
        short: the cells that lack records before the first round.
    """
    notes = []
    if sample.is_part:
        notes.append(
            "ways without a token, advice for cells, forecasts, audits of label scorers and scores of the pool go by "
            f"{sample.describe()}"
        )
    n_named = sum(deficit.cell.is_named for deficit in short)
    if n_named > MOST_NAMED:
        notes.append(
            f"{n_named} cells of concepts and attributes are short; a round plans for the {MOST_NAMED} that lack most, "
            "and for every label"
        )
    for name, column in sorted(records.attributes.items()):
        n_values = len(np.unique(column[column != ""].astype(str)))
        if n_values > MOST_VALUES:
            notes.append(
                f"'{name}' has {n_values:,} values: an attribute makes cells of {MOST_VALUES} at most"
            )
    return notes


def note_held_out(n_rows: int) -> list[str]:
    """What the held-out table was trained on, where that is not all rows."""
    if n_rows <= MOST_TRAINING_ROWS:
        return []
    return [
        f"for the held-out table arms were trained on {MOST_TRAINING_ROWS:,} of {n_rows:,} training rows, drawn by "
        f"hash, and on {FEWEST_OF_A_LABEL} rows of every label besides"
    ]
