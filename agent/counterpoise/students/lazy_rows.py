"""Rows whose vectors are made when somebody asks for them.

A student on words needs no encoder, unless the treatment looks at vectors or descriptions. What a treatment of a
user's looks at nobody knows before it has looked, so vectors and zero-shot scores are made at the first look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.label_lines import LabelLines
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.students.rows import Rows

Encode = Callable[[list[str]], NDArray[np.float32]]
Compare = Callable[[NDArray[np.float32]], Floats]


@dataclass
class LazyVectors:
    """Vectors and zero-shot scores of n texts, made once.

    Args:
        texts: (n,) strings.
        encode: gives the (n, d) vectors of texts.
        compare: gives the (n, k) zero-shot scores of vectors.
        known: (n, d) vectors, where they are known.
        near: (n, k) zero-shot scores, where they are known.
    """

    texts: Objects
    encode: Encode
    compare: Compare
    known: NDArray[np.float32] | None = None
    near: Floats | None = None

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(n, d) float32."""
        if self.known is None:
            self.known = self.encode([str(text) for text in self.texts])
        return self.known

    @cached_property
    def zero_shot(self) -> Floats:
        """(n, k)."""
        return self.compare(self.vectors) if self.near is None else self.near


class LazyRows(Rows):
    """Rows as `Rows` has them, over some of the texts of a `LazyVectors`.

    Args:
        source: of the vectors.
        labels: (n,) label indices.
        weights: (n,) weights.
        original: (n,) whether the row is the user's own.
        lines: makes the lines about the labels; None for no lines.
        sources: see `Rows`.
        places: (n,) positions in `source`; None for all of them.
    """

    __slots__ = ("_make_lines", "_places", "_source")
    _source: LazyVectors
    _places: Integers
    _make_lines: Callable[[], LabelLines] | None

    def __init__(
        self,
        source: LazyVectors,
        labels: Integers,
        weights: Floats,
        original: NDArray[np.bool_],
        lines: Callable[[], LabelLines] | None = None,
        sources: Objects | None = None,
        places: Integers | None = None,
    ) -> None:
        chosen = np.arange(len(source.texts)) if places is None else places
        values = {
            "texts": source.texts[chosen],
            "labels": labels,
            "weights": weights,
            "original": original,
            "sources": sources,
            "_source": source,
            "_places": chosen,
            "_make_lines": lines,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(n, d) float32."""
        return self._source.vectors[self._places]

    @property
    def zero_shot(self) -> Floats:
        """(n, k)."""
        return self._source.zero_shot[self._places]

    @property
    def lines(self) -> LabelLines | None:
        """The lines about the labels."""
        return self._make_lines() if self._make_lines else None

    def take(self, picked: NDArray[np.int64] | NDArray[np.bool_]) -> Rows:
        """The rows at `picked`, as lazy as these."""
        return LazyRows(
            self._source,
            self.labels[picked],
            self.weights[picked],
            self.original[picked],
            self._make_lines,
            None if self.sources is None else self.sources[picked],
            self._places[picked],
        )
