"""Real records that a model is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Records


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """Real records that may be shown for a cell.

    Args:
        records: the rows.
        vectors: (n, d) of their texts, for choosing unlike ones.
    """

    records: Records
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.records)
