"""What an encoder is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from counterpoise_retrievers.arrays import Vectors


class Encoder(Protocol):
    """Turns texts into vectors.

    Attributes:
        name: names the vectors in caches and reports; stands for everything that changes a vector.
        dimension: numbers in a vector.
        max_tokens: tokens of a text that are seen at once.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def dimension(self) -> int: ...  # noqa: D102

    @property
    def max_tokens(self) -> int: ...  # noqa: D102

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts: (n, dimension) float32, rows of length 1, in their order."""
        ...
