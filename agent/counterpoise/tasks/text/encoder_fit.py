"""Whether an encoder fits the texts it is to encode: their length and their language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterpoise.core.records import Records
from counterpoise.filters.languages import list_languages, score_languages
from counterpoise_retrievers.encoders import Encoder, TokenCounter

_UNFIT_RATIO = 0.45
"""Share of unknown tokens from which an encoder does not know a language at all."""

_MOST_FOREIGN = 0.5
"""Share of texts in another language; of English ones some 2% are misread."""

_TEXTS_LOOKED_AT = 500
_FEWEST_TOLD = 20
_TRUST_LESS = "trust what rests on it less, or name a multilingual one under `encoder`"


def note_fit(encoder: Encoder, records: Records, known: Sequence[str] = ()) -> list[str]:
    """Sentences on texts that do not fit the encoder: too long, or in a language it does not know.

    Args:
        encoder: of their vectors.
        records: the training rows.
        known: languages that the encoder knows, where it says so. Others in the same letters have no unknown tokens.
    """
    texts = [str(text) for text in records.texts]
    notes: list[str] = []
    if not isinstance(encoder, TokenCounter):
        return notes
    if n_long := encoder.count_long(texts):
        notes.append(
            f"{n_long} of {len(texts)} texts are longer than the encoder's window of {encoder.max_tokens} tokens: "
            "they are encoded in pieces and the vectors averaged"
        )
    ratio = encoder.unknown_token_ratio(texts[:2000])
    if ratio > _UNFIT_RATIO:
        notes.append(
            f"the encoder {encoder.name} does not fit the language of these texts ({ratio:.0%} of the tokens are "
            f"unknown to it): {_TRUST_LESS}"
        )
    elif tuple(known) == ("en",) and (foreign := _count_foreign(texts[:_TEXTS_LOOKED_AT])) > _MOST_FOREIGN:
        notes.append(
            f"the encoder {encoder.name} knows English, and {foreign:.0%} of these texts look like another language: "
            f"{_TRUST_LESS}"
        )
    return notes


def _count_foreign(texts: Sequence[str]) -> float:
    """Share of the texts long enough to tell that look like another language than English; 0 where few are."""
    names = list_languages()
    scores = score_languages(texts)
    told = ~np.isnan(scores[:, 0])
    if told.sum() < _FEWEST_TOLD:
        return 0.0
    return float(np.mean(scores[told].argmax(axis=1) != names.index("en")))
