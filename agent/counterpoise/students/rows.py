"""Rows as the students see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.label_lines import LabelLines
from counterpoise.core.records import Floats, Integers, Objects


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as the students see them.

    Args:
        texts: (n,) strings.
        vectors: (n, d) float32 of unit length, from the encoder.
        labels: (n,) label indices.
        weights: (n,) weights of the written data set, mean about 1.
        original: (n,) whether the row is the user's own and not added.
        zero_shot: (n, k) similarity to the label descriptions, or an empty array.
        lines: lines about the labels, the same whichever rows are taken; None where there are none.
        sources: (n,) tuples of ids: an own row's own one, those of the rows that an added row was made from. None
            where nobody asks what came from what.
    """

    texts: Objects
    vectors: NDArray[np.float32]
    labels: Integers
    weights: Floats
    original: NDArray[np.bool_]
    zero_shot: Floats
    lines: LabelLines | None = None
    sources: Objects | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def take(self, picked: NDArray[np.int64] | NDArray[np.bool_]) -> Rows:
        """The rows at `picked` (positions or a mask)."""
        return Rows(
            self.texts[picked],
            self.vectors[picked],
            self.labels[picked],
            self.weights[picked],
            self.original[picked],
            self.zero_shot[picked] if len(self.zero_shot) else self.zero_shot,
            self.lines,
            None if self.sources is None else self.sources[picked],
        )


def make_rows(
    texts: Objects,
    vectors: NDArray[np.float32],
    labels: Integers,
    *,
    weights: Floats | None = None,
    original: NDArray[np.bool_] | None = None,
    zero_shot: Floats | None = None,
    lines: LabelLines | None = None,
    sources: Objects | None = None,
) -> Rows:
    """Rows with the usual defaults: weight 1, all of them the user's own, no zero-shot scores, no lines, no sources."""
    n = len(labels)
    return Rows(
        texts,
        vectors,
        labels,
        np.ones(n) if weights is None else weights,
        np.ones(n, dtype=np.bool_) if original is None else original,
        np.empty((0, 0)) if zero_shot is None else zero_shot,
        lines,
        sources,
    )


def view_rows(encoded: EncodedRecords) -> Rows:
    """A run's rows as the students see them, with their zero-shot scores and the lines about their labels."""
    records, near = encoded.records, encoded.zero_shot
    return make_rows(records.texts, encoded.vectors, records.labels, zero_shot=near, lines=encoded.lines)
