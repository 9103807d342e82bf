"""Which of the user's rows filters are set by."""

from __future__ import annotations

import numpy as np

from counterpoise.core.records import Integers, Records
from counterpoise.core.splits import sample_by_rank
from counterpoise.filters.alarms import FEWEST_ROWS

MOST_ROWS = 1_200
"""Rows that the filters are set by, the labels in equal parts as far as they go."""


def draw_own_rows(records: Records, key: str) -> Integers:
    """At most `MOST_ROWS` rows by keyed hash of their ids, the labels in equal parts as far as they go."""
    n_labels = max(1, len(records.label_names))
    drawn = []
    for label in range(n_labels):
        members = np.flatnonzero(records.labels == label)
        most = max(FEWEST_ROWS // 2, MOST_ROWS // n_labels)
        drawn.append(members[sample_by_rank(records.ids[members], most, f"{key}:filters")])
    return np.sort(np.concatenate(drawn)) if drawn else np.empty(0, dtype=np.int64)
