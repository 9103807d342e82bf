"""Texts in pieces: a concept is mentioned in a clause, and the mean over a whole text drowns it.

The similarity of a text to a concept is that of its nearest clause; the vector of this clause is what a classifier of
the concept looks at. On restaurant reviews that is worth more than labels (see the evaluation `judges`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.letters import is_written_without_blanks
from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.concepts.languages import ENGLISH, make_break
from counterpoise_retrievers.encoders import Encoder

MOST_PASSAGES = 64
"""Pieces a text is cut into at most; a longer text has its last pieces joined."""


def split_passages(text: str, codes: Sequence[str] = ENGLISH) -> list[str]:
    """The clauses of a text, in order; a lone word stays with the clause before it.

    Args:
        text: the text.
        codes: of the languages that the data set is written in.

    Returns:
        At least one piece, which may be empty if the text is.
    """
    pieces: list[str] = []
    for part in make_break(tuple(codes)).split(text):
        part = part.strip()
        if not part:
            continue
        if pieces and " " not in part and not is_written_without_blanks(part):
            pieces[-1] += f" {part}"
        else:
            pieces.append(part)
    if len(pieces) > MOST_PASSAGES:
        pieces = [*pieces[: MOST_PASSAGES - 1], " ".join(pieces[MOST_PASSAGES - 1 :])]
    return pieces or [text]


@dataclass(frozen=True, slots=True)
class Passages:
    """The clauses of n texts.

    Args:
        vectors: (m, d) of all clauses, text after text.
        owners: (m,) the text each belongs to, 0..n-1, not falling; every text has one at least.
        whole: (n, d) vectors of the whole texts.
    """

    vectors: NDArray[np.float32]
    owners: Integers
    whole: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.whole)

    def find_nearest(self, anchors: NDArray[np.float32]) -> tuple[Floats, Integers]:
        """How near each text's clauses come to a concept.

        Args:
            anchors: (a, d) vectors of several wordings of one concept.

        Returns:
            (n,) mean over the wordings of the cosine of the nearest clause, and (n,) the position in `vectors` of
            the clause that is nearest to all wordings together.
        """
        cosines = (self.vectors @ anchors.T).astype(np.float64)
        starts = np.searchsorted(self.owners, np.arange(len(self)))
        if not len(self):
            return np.empty(0), np.empty(0, dtype=np.int64)
        nearest = np.maximum.reduceat(cosines, starts, axis=0).mean(axis=1)
        order = np.lexsort((-np.arange(len(cosines)), cosines.mean(axis=1), self.owners))
        best = np.empty(len(self), dtype=np.int64)
        best[self.owners[order]] = order  # the last of a text's clauses in this order is its nearest
        return nearest, best


def make_passages(
    texts: Sequence[str], whole: NDArray[np.float32], encoder: Encoder, codes: Sequence[str] = ENGLISH
) -> Passages:
    """Cut texts into clauses and encode them.

    Args:
        texts: n texts.
        whole: (n, d) their vectors.
        encoder: the encoder these come from.
        codes: of the languages that the data set is written in.
    """
    pieces = [split_passages(text, codes) for text in texts]
    owners = np.repeat(np.arange(len(pieces)), [len(parts) for parts in pieces]).astype(np.int64)
    flat = [piece for parts in pieces for piece in parts]
    vectors = encoder.encode(flat) if flat else np.empty((0, whole.shape[1]), np.float32)
    return Passages(vectors, owners, whole)
