"""What an encoder is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from counterpoise_retrievers.arrays import Vectors


class Encoder(Protocol):
    """Turns texts into vectors. A text's vector depends on the text alone, whatever is encoded beside it.

    An encoder may also have an attribute `identity`: a word that changes whenever its vectors do (a version, a hash of
    its weights, prefixes and pooling), `""` where its name says all of that. Vectors are kept on disk by name and
    identity; see `find_identity`.

    Attributes:
        name: names the vectors in caches and reports.
        dimension: numbers in a vector.
        max_tokens: the window: tokens of a text that are seen at once.
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


@runtime_checkable
class TokenCounter(Protocol):
    """What an encoder may tell of texts beside their vectors."""

    def count_long(self, texts: Sequence[str]) -> int:
        """Count the texts that do not fit the window."""
        ...

    def unknown_token_ratio(self, texts: Sequence[str]) -> float:
        """Give the share of tokens that say nothing, 0 to 1."""
        ...


def find_identity(encoder: object) -> str | None:
    """What an encoder says its vectors go by beside its name; None where it says nothing."""
    identity = getattr(encoder, "identity", None)
    return None if identity is None else str(identity)


def name_vectors(encoder: Encoder) -> str:
    """What the vectors of an encoder are called: its name, and its identity where it has one."""
    identity = find_identity(encoder)
    return f"{encoder.name}@{identity}" if identity else encoder.name


def mend_text(text: str) -> str:
    """The text with `?` for halves of characters (lone surrogates), which no tokenizer and no server takes."""
    return text.encode("utf-8", "replace").decode("utf-8")
