"""What the scorers of one concept see of a text: the whole of it, and the clause that is nearest to the concept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.concepts.passages import Passages
from counterpoise_retrievers.encoders import Encoder

_WHOLE_WEIGHT = 0.5

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Views:
    """What the scorers of one concept see of n texts.

    Args:
        similarity: (n,) mean cosine of the nearest clause to the wordings, plus half that of the whole text.
        clause: (n, d) vector of the nearest clause.
        both: (n, 2d) vector of the whole text beside that of the nearest clause.
    """

    similarity: Floats
    clause: Vectors
    both: Vectors


def make_anchors(name: str, definition: str, encoder: Encoder) -> Vectors:
    """(3, d) vectors of three wordings: the name, the definition, both."""
    return encoder.encode([name, definition, f"{name}: {definition}"])


def make_views(passages: Passages, anchors: Vectors) -> Views:
    """Look at texts for one concept."""
    nearest, best = passages.find_nearest(anchors)
    whole = (passages.whole @ anchors.T).astype(np.float64).mean(axis=1)
    clause = passages.vectors[best] if len(passages) else passages.whole
    return Views(nearest + _WHOLE_WEIGHT * whole, clause, np.hstack([passages.whole, clause]))


def take_views(views: Views, rows: Integers) -> Views:
    """The views of the texts at `rows`."""
    return Views(views.similarity[rows], views.clause[rows], views.both[rows])
