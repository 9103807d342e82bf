"""How well the vectors of an encoder tell labels apart with next to nothing to learn from.

Where a classifier of all rows is nearly always right, so few rows err that no cross-validation can tell encoders apart.
Of five rows a label it errs several times as often, and many draws of five can be had from the same rows. A text gets
the label whose mean vector is nearest (prototypes: Snell et al. 2017, https://arxiv.org/abs/1703.05175).
"""

from __future__ import annotations

import numpy as np

from counterpoise.core.records import Floats, Integers
from counterpoise_retrievers.arrays import Vectors

N_ROWS = 5
"""Of each label; of a label that has no more, all but one."""

_N_DRAWS = 60
_N_RESAMPLES = 400


def measure_hits(vectors: Vectors, labels: Integers) -> Floats:
    """How often each row gets its label from prototypes of other rows.

    Args:
        vectors: (n, d) of length 1.
        labels: (n,) label indices.

    Returns:
        (n,) shares of the draws that left the row out, 0 to 1; NaN for rows of a label that has one row alone.

    Example:
        >>> import numpy as np
        >>> measure_hits(np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1]], np.array([0, 0, 0, 1, 1])).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    members = [rows for label in np.unique(labels) if len(rows := np.flatnonzero(labels == label)) > 1]
    right, asked = np.zeros(len(labels)), np.zeros(len(labels))
    generator = np.random.default_rng(11)
    for _ in range(_N_DRAWS if members else 0):
        drawn = [generator.choice(rows, min(N_ROWS, len(rows) - 1), replace=False) for rows in members]
        prototypes = np.stack([vectors[rows].mean(axis=0) for rows in drawn])
        prototypes /= np.maximum(np.linalg.norm(prototypes, axis=1, keepdims=True), 1e-9)
        for place, (rows, shown) in enumerate(zip(members, drawn, strict=True)):
            rest = np.setdiff1d(rows, shown)
            right[rest] += (vectors[rest] @ prototypes.T).argmax(axis=1) == place
            asked[rest] += 1
    shares: Floats = np.divide(right, asked, out=np.full(len(labels), np.nan), where=asked > 0)
    return shares


def compare_hits(mine: Floats, other: Floats, labels: Integers, evidence: float) -> tuple[float, float]:
    """The gain of one encoder over another in the share of rows that are right, every label counted alike.

    Args:
        mine: (n,) of `measure_hits` for the one encoder.
        other: for the other one.
        labels: (n,) label indices.
        evidence: share of resamples of the rows that may show less than the second figure.

    Returns:
        The gain, -1 to 1, and what it surely is at least; 0 and 0 where no label has two rows.
    """
    gains = mine - other
    members = [
        rows
        for label in np.unique(labels)
        if len(rows := np.flatnonzero((labels == label) & ~np.isnan(gains)))
    ]
    if not members:
        return 0.0, 0.0
    generator = np.random.default_rng(11)
    resampled = np.mean(
        [gains[generator.choice(rows, (_N_RESAMPLES, len(rows)))].mean(axis=1) for rows in members], axis=0
    )
    return float(np.mean([gains[rows].mean() for rows in members])), float(np.quantile(resampled, evidence))
