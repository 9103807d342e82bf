"""Nearness to the labels' descriptions, as log-scores that labels can be compared by."""

from __future__ import annotations

import numpy as np

from counterpoise.core.records import Floats
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.rows import Rows


def compare_descriptions(train: Rows, rows: Rows) -> Floats:
    """Log-probabilities of the label descriptions, centred so that a text half way between two labels scores 0.

    The centre is the mean over labels of the mean over the label's own training rows: descriptions differ in how
    near all texts are to them, and a threshold that ignores it halves the macro-F1.

    Args:
        train: training rows; those that are the user's own give the centre.
        rows: m rows to compare.

    Returns:
        (m, k) log-scores.

    Raises:
        ValueError: there are no zero-shot scores.
    """
    if not len(rows.zero_shot) or not len(train.zero_shot):
        raise ValueError("this treatment needs similarities to label descriptions")
    own = np.flatnonzero(train.original)
    logs = np.log(np.maximum(train.zero_shot[own], PROBABILITY_FLOOR))
    labels = train.labels[own]
    centre = np.mean([logs[labels == label].mean(axis=0) for label in np.unique(labels)], axis=0)
    return np.asarray(np.log(np.maximum(rows.zero_shot, PROBABILITY_FLOOR)) - centre)
