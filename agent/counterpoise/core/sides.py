"""Rows with what was computed on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats, Records

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Side:
    """Rows with what was computed on them, in the order of their ids.

    Args:
        records: n rows.
        vectors: (n, d) of their texts.
        zero_shot: (n, k) similarity of each text to the labels' descriptions.
    """

    records: Records
    vectors: Vectors
    zero_shot: Floats

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.records)
