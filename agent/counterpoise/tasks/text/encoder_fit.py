"""Whether an encoder fits the texts it is to encode: their length and their language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from counterpoise.core.languages import find_languages, tell_languages
from counterpoise.core.records import Records
from counterpoise.data.encoder_choice import ENCODERS, is_at_hand, list_known_languages
from counterpoise_retrievers.encoders import Encoder, TokenCounter

_UNFIT_RATIO = 0.45
"""Share of unknown tokens from which an encoder does not know a language at all."""

_TEXTS_LOOKED_AT = 500
_FEWEST_TOLD = 20


def note_fit(encoder: Encoder, records: Records, known: Sequence[str], cache_dir: Path) -> list[str]:
    """Sentences on texts that do not fit the encoder: too long, or in a language it does not know.

    Args:
        encoder: of their vectors.
        records: the training rows, in the order of their ids.
        known: languages that the encoder knows, where it says so. Others in the same letters have no unknown tokens.
        cache_dir: where weights are kept: whether an encoder that fits is at hand.
    """
    texts = [str(text) for text in records.texts]
    notes: list[str] = []
    if isinstance(encoder, TokenCounter) and (n_long := encoder.count_long(texts)):
        notes.append(
            f"{n_long} of {len(texts)} texts are longer than the encoder's window of {encoder.max_tokens} tokens: "
            "they are encoded in pieces and the vectors averaged"
        )
    ratio = encoder.unknown_token_ratio(texts[:2000]) if isinstance(encoder, TokenCounter) else 0.0
    shares = _share_languages(texts[:_TEXTS_LOOKED_AT]) if known or ratio > _UNFIT_RATIO else {}
    foreign = [code for code in shares if known and code not in known]
    if foreign:
        share = sum(shares[code] for code in foreign)
        notes.append(
            f"{share:.0%} of these texts look like {' and '.join(foreign)}, which the encoder {encoder.name} does not "
            f"know: {_name_fitting(shares, known, cache_dir)}"
        )
    elif ratio > _UNFIT_RATIO:
        notes.append(
            f"the encoder {encoder.name} does not fit the language of these texts ({ratio:.0%} of the tokens are "
            f"unknown to it): {_name_fitting(shares, known, cache_dir)}"
        )
    return notes


def _share_languages(texts: Sequence[str]) -> dict[str, float]:
    """Language -> its share of the texts that are long enough to tell, the commonest first; none where few are."""
    codes = find_languages(texts)
    counts = Counter(code for code in tell_languages(texts, codes) if code)
    return {code: counts[code] / counts.total() for code in codes} if counts.total() >= _FEWEST_TOLD else {}


def _name_fitting(wanted: Iterable[str], known: Sequence[str], cache_dir: Path) -> str:
    """What to do about it: the encoder that ships and knows all of these languages, where there is one."""
    fitting = [
        name
        for name in ENCODERS.names
        if (knows := list_known_languages(name)) != tuple(known) and set(wanted) <= set(knows)
    ]
    if not fitting:
        return "none that ships knows all of it; name one that does under `encoder`, and trust what rests on it less"
    name = min(fitting, key=lambda one: not is_at_hand(one, cache_dir))
    ready = "" if is_at_hand(name, cache_dir) else f" (`pip install counterpoise[{name}]`)"
    return f"`encoder: {name}`{ready} does"
