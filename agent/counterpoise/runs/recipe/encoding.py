"""The encoder of a recipe: opened when a text has to be encoded, and checked to be the one it was fitted with."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.errors import CounterpoiseError, JobError
from counterpoise.core.label_lines import LabelLines, encode_lines
from counterpoise.core.records import Floats
from counterpoise.data.encoder_choice import EncoderChoice, check_encoder_choice, resolve_encoder
from counterpoise.data.encoders import open_cached
from counterpoise.scorers.base import SimilarityScorer
from counterpoise_retrievers.encoder_protocol import Encoder, name_vectors

_HINT = "give it the encoder that it was fitted with: encoder=..."


class RecipeEncoder:
    """An encoder that is opened at the first text.

    Args:
        choice: as a job names it.
        descriptions: one line a label.
        expected: name and identity that its vectors must go by; "" for any.
        cache_dir: where vectors and weights are kept; None for the user's cache folder.

    Attributes:
        is_used: whether a text was encoded.
    """

    def __init__(
        self, choice: EncoderChoice, descriptions: tuple[str, ...], expected: str, cache_dir: Path | None
    ) -> None:
        self.choice = choice
        self.expected = expected
        self.is_used = False
        self._descriptions = descriptions
        self._cache_dir = find_cache_dir(cache_dir)

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder, open.

        Raises:
            JobError: it is not at hand, or it is another one.
        """
        try:
            checked = check_encoder_choice(resolve_encoder(self.choice, Path.cwd()))
            encoder: Encoder = open_cached(checked, self._cache_dir)
        except (CounterpoiseError, ValueError) as error:
            if not self.expected:
                raise
            found = f"the recipe needs the encoder '{self.expected}', which cannot be opened here ({error})"
            raise JobError(found, where="encoder", hint=_HINT) from error
        name = name_vectors(encoder)
        if self.expected and name != self.expected:
            found = f"the recipe was fitted with the encoder '{self.expected}', and this one is '{name}'"
            raise JobError(found, where="encoder", hint=_HINT)
        return encoder

    @property
    def name(self) -> str:
        """Name and identity of the vectors, as far as they are known."""
        return name_vectors(self.encoder) if self.is_used else self.expected

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """(n, d) vectors."""
        self.is_used = True
        return self.encoder.encode(texts)

    def compare(self, vectors: NDArray[np.float32]) -> Floats:
        """(n, k) zero-shot scores of vectors."""
        self.is_used = True
        return SimilarityScorer(self.encoder, self._descriptions).score_vectors(vectors)

    def make_lines(self) -> LabelLines:
        """The lines about the labels."""
        return self._lines

    @cached_property
    def _lines(self) -> LabelLines:
        return encode_lines(lambda texts: self.encode(list(texts)), self._descriptions)
