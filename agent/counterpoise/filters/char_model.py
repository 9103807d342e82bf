"""How surprising the letters of a text are to someone who has read the user's rows.

A model of character n-grams, learned from the rows themselves, so that it fits product codes as well as tweets in
two scripts. Rows differ in how surprising they are, and the mean over a short text is noisier than over a long one:
both are taken out (`standardise`), so that one word and a page can be held to the same limit.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats, Integers
from counterpoise.filters.ngrams import NGrams, fit_ngrams
from counterpoise.filters.text_measures import fold_symbols

ORDER = 5
"""Letters of the longest n-gram."""

MOST_SIGNS = 600
"""Signs of a text that are read, from its beginning."""

N_SHUFFLES = 4
"""Orders of a text's signs that it is compared with."""

_N_UNSEEN = 2_000
"""Signs that share what is left for a sign that no row has."""

_LINK = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_RUN = re.compile(r"(.)\1{3,}")
"""Signs that are drawn out (`soooo`, a line of dots): how far says nothing of the words."""

_HANDLE = re.compile(r"@\w+")


@dataclass(frozen=True, slots=True)
class CharModel:
    """N-grams of signs.

    Args:
        alphabet: signs of the rows -> number, from 1.
        ngrams: of these numbers.
    """

    alphabet: dict[str, int]
    ngrams: NGrams

    def measure_disorder(self, texts: Sequence[str]) -> tuple[Floats, Integers]:
        """How surprising n texts are, and how little less so than their own signs in any order.

        Texts of words that no row has surprise as much as gibberish does where rows are few; but their signs stand in
        an order that surprises less than chance would. Gibberish gains nothing by its order.

        Returns:
            (n,) surprise a sign less what the order gains, in nats, and (n,) signs (0 signs: 0 nats).
        """
        surprise, signs = self.measure(texts)
        shuffled, _ = self.measure([turn for text in texts for turn in _shuffle(text)])
        return 2 * surprise - shuffled.reshape(len(texts), N_SHUFFLES).mean(axis=1), signs

    def measure(self, texts: Sequence[str]) -> tuple[Floats, Integers]:
        """Mean surprise a sign of n texts in nats, and how many signs that is taken over (0 signs: 0 nats)."""
        return self.ngrams.measure(*_encode(texts, self.alphabet))


def fit_char_model(texts: Sequence[str]) -> CharModel:
    """Learn n-grams of 1 to `ORDER` signs from texts."""
    alphabet = {
        sign: place for place, sign in enumerate(sorted({s for text in texts for s in _plain(text)}), 1)
    }
    codes, _ = _encode(texts, alphabet)
    return CharModel(alphabet, fit_ngrams(codes, len(alphabet) + 2, ORDER, _N_UNSEEN))


@dataclass(frozen=True, slots=True)
class Spread:
    """How the surprise of real rows is spread: variance between rows, and of one sign within a row."""

    mean: float
    between: float
    within: float

    def standardise(self, surprise: Floats, signs: Integers) -> Floats:
        """(n,) how many standard deviations above the mean of real rows of that length; texts of no sign have 0."""
        deviation = np.sqrt(np.maximum(self.between + self.within / np.maximum(signs, 1), 1e-9))
        return np.where(signs > 0, (surprise - self.mean) / deviation, 0.0)


def fit_spread(surprise: Floats, signs: Integers) -> Spread:
    """Mean and the two variances, by least squares of squared deviations on 1 / signs, neither below 0."""
    used = signs > 0
    if not used.any():
        return Spread(0.0, 1.0, 0.0)
    mean = float(np.average(surprise[used], weights=np.sqrt(signs[used])))
    squares = np.minimum((surprise[used] - mean) ** 2, 25.0)
    inverse = 1.0 / signs[used]
    slope = (
        float(np.cov(squares, inverse)[0, 1] / max(float(np.var(inverse, ddof=1)), 1e-12))
        if used.sum() > 2
        else 0.0
    )
    within = max(0.0, slope)
    between = float(squares.mean() - within * inverse.mean())
    if between <= 0:
        between, within = 1e-6, float(squares.mean() / inverse.mean())
    return Spread(mean, between, within)


def blend_spreads(parts: Sequence[tuple[Spread, float]]) -> Spread:
    """The spread of texts that mix several kinds of letters, each with its share of them; shares sum to 1."""
    return Spread(
        sum(spread.mean * share for spread, share in parts),
        sum(spread.between * share for spread, share in parts),
        sum(spread.within * share for spread, share in parts),
    )


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text[: 2 * MOST_SIGNS]).casefold()
    folded = _RUN.sub(r"\1\1\1", _HANDLE.sub("@", _LINK.sub("\x02", folded)))
    folded = fold_symbols(
        "".join("0" if sign.isdigit() else sign for sign in " ".join(folded.split())), "\x03"
    )
    return folded[:MOST_SIGNS]


def _shuffle(text: str) -> list[str]:
    """A text's signs in `N_SHUFFLES` orders of no meaning, the same at each call."""
    plain = _plain(text)
    source = random.Random(plain.encode("utf-8", "surrogatepass"))  # noqa: S311  (no secret)
    return ["".join(source.sample(plain, len(plain))) for _ in range(N_SHUFFLES)]


def _encode(texts: Sequence[str], alphabet: dict[str, int]) -> tuple[Integers, Integers]:
    """Numbers of the signs of all texts, each text begun by a 0, and where the texts begin."""
    unseen = len(alphabet) + 1
    parts, starts, size = [], [], 0
    for text in texts:
        part = [0, *(alphabet.get(sign, unseen) for sign in _plain(text))]
        parts.append(np.array(part, dtype=np.int64))
        starts.append(size)
        size += len(part)
    whole: NDArray[np.int64] = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    return whole, np.array(starts, dtype=np.int64)
