"""What goes wrong in an encoder that is not ours, told as ours is: one line, nothing lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from counterpoise.core.errors import DataError, ServerError
from counterpoise_retrievers.arrays import Vectors
from counterpoise_retrievers.encoders import Encoder


class GuardedEncoder:
    """Another encoder, whose failures become errors of the product's own tree.

    Args:
        encoder: what encodes.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def __getattr__(self, name: str) -> Any:
        """Whatever else the encoder has."""
        return getattr(self._encoder, name)

    @property
    def name(self) -> str:
        """The encoder's."""
        return self._encoder.name

    @property
    def dimension(self) -> int:
        """The encoder's, which may have to ask for it."""
        with _telling():
            return self._encoder.dimension

    @property
    def max_tokens(self) -> int:
        """The encoder's."""
        return self._encoder.max_tokens

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Encode n texts.

        Raises:
            ServerError: the encoder cannot be reached.
            DataError: it refuses the texts, or what it gives are no vectors for them.
        """
        with _telling():
            return self._encoder.encode(texts)


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        raise ServerError(str(error), where="encoder", hint="run again: what is encoded is kept") from error
    except (ValueError, TypeError) as error:
        hint = "is the model's name right, and is it one for embeddings?"
        raise DataError(str(error), where="encoder", hint=hint) from error
