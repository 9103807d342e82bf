"""Records with what an encoder says of their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.label_lines import LabelLines
from counterpoise.core.records import Floats, Integers, Records

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EncodedRecords:
    """Rows with what was computed on their texts.

    Args:
        records: n rows; those of a run stand in the order of their ids.
        vectors: (n, d) of their texts.
        zero_shot: (n, k) similarity of each text to the labels' descriptions, or an empty array.
        user_order: (n,) positions here of the user's first, second, ... row, or an empty array.
        lines: lines about the labels, for students to train on beside the rows; None where none were made.
    """

    records: Records
    vectors: Vectors
    zero_shot: Floats = field(default_factory=lambda: np.empty((0, 0)))
    user_order: Integers = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    lines: LabelLines | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.records)

    def take(self, positions: Sequence[int] | Integers) -> EncodedRecords:
        """The rows at `positions`, in that order, which is no longer the user's."""
        picked = np.asarray(positions, dtype=np.int64)
        return EncodedRecords(
            self.records.take(picked),
            self.vectors[picked],
            self.zero_shot[picked] if len(self.zero_shot) else self.zero_shot,
            lines=self.lines,
        )
