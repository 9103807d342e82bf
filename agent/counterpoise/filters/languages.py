"""Which languages the user's rows are written in, and how foreign another text is to them.

The names of py3langid (naive Bayes over byte n-grams, 140 languages) are never taken for true: it may call one
language by the name of another for good, which does no harm as long as it calls the user's rows so too. Foreign is a
text for which some language that is rare among the user's rows is likelier than all that are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import betabinom

from counterpoise.core.languages import SURE_FROM, list_languages, tell_apart
from counterpoise.core.records import Floats

FEWEST_ROWS = 2
"""Rows that are surely in a language, which it needs to be one of the data's and not a misreading."""


@dataclass(frozen=True, slots=True)
class LanguageShares:
    """The languages of the user's rows.

    Args:
        shares: code -> share of the rows whose language could be looked at, the most first; empty where none could.
        texts: text of a row -> its code, for rows that may be shown.
    """

    shares: Mapping[str, float]
    texts: Mapping[str, str] = field(default_factory=dict)

    def measure(self, scores: Floats) -> Floats:
        """(n,) how much likelier the likeliest language is than the likeliest of the rows', in nats; 0 or more.

        Args:
            scores: (n, m) of `score_languages`; rows of NaN stay NaN.
        """
        if not self.shares:
            return np.full(len(scores), np.nan)
        own = [list_languages().index(code) for code in self.shares]
        return np.asarray(scores.max(axis=1) - scores[:, own].max(axis=1))

    def find_surplus(self, scores: Floats, shown: Sequence[Sequence[str]], alarm: float) -> list[bool]:
        """Which texts are one too many in their language; the first ones stay.

        A writer may use each language of the rows as often as the rows that it was shown do (and, for what chance
        left out of them, as all rows do), and so much more as chance would have it.

        Args:
            scores: (n, m) of the texts.
            shown: for each text the rows that were shown for it.
            alarm: share of texts that may be refused though the writer keeps to the shares.
        """
        if len(self.shares) < 2:
            return [False] * len(scores)
        codes = list(self.shares)
        own = [list_languages().index(code) for code in codes]
        written = ["" if place < 0 else codes[place] for place in tell_apart(scores, own)]
        judged = [place for place, code in enumerate(written) if code]
        n_seen = len({text for place in judged for text in shown[place] if text in self.texts})
        expected = dict.fromkeys(codes, 0.0)
        for place in judged:
            told = [self.texts[text] for text in shown[place] if text in self.texts]
            for code in codes:
                share = told.count(code) / len(told) if told else self.shares[code]
                expected[code] += (n_seen * share + self.shares[code]) / (n_seen + 1)
        n = len(judged)
        left = {code: allow_chance(expected[code] / max(1, n), n, alarm, n_seen + 1) for code in codes}
        surplus = [False] * len(scores)
        for place in judged:
            left[written[place]] -= 1
            surplus[place] = left[written[place]] < 0
        return surplus

    def describe(self) -> dict[str, float]:
        """Code -> share of rows."""
        return dict(self.shares)


def fit_languages(scores: Floats, texts: Sequence[str]) -> LanguageShares:
    """The languages of n rows: the one of the most, then each that `FEWEST_ROWS` are surely in and in none before it.

    Args:
        scores: (n, m) of `score_languages`.
        texts: n.
    """
    judged = np.flatnonzero(~np.isnan(scores[:, 0]))
    if not len(judged):
        return LanguageShares({})
    counts = np.bincount(scores[judged].argmax(axis=1), minlength=scores.shape[1])
    own: list[int] = []
    for code in np.argsort(-counts, kind="stable"):
        if counts[code] < FEWEST_ROWS and own:
            break
        if own:
            lead = scores[judged, code] - scores[judged][:, own].max(axis=1)
            if (lead[scores[judged].argmax(axis=1) == code] > SURE_FROM).sum() < FEWEST_ROWS:
                continue
        own.append(int(code))
    told = tell_apart(scores[judged], own)
    names = list_languages()
    shares = {names[code]: float(np.mean(told == place)) for place, code in enumerate(own)}
    return LanguageShares(
        shares, {texts[int(row)]: names[own[place]] for row, place in zip(judged, told, strict=True)}
    )


def allow_chance(share: float, n: int, alarm: float, n_seen: int) -> int:
    """The most of n texts that may have what a share of texts has, so that few are refused for chance alone.

    Args:
        share: estimated from some texts, 0 to 1.
        n: texts to come.
        alarm: expected share of them that may be refused though they keep to the share.
        n_seen: texts that the share was estimated from: few say little of it (the beta-binomial distribution).

    Example:
        >>> [allow_chance(share, 100, 0.01, 200) for share in (0.0, 0.3, 1.0)]
        [0, 34, 100]
    """
    if share <= 0:
        return 0
    if share >= 1:
        return n
    counts = np.arange(n + 1)
    chances = betabinom.pmf(counts, n, share * n_seen, (1 - share) * n_seen)
    for allowed in range(n + 1):
        if float((np.maximum(counts - allowed, 0) * chances).sum()) <= alarm * n:
            return allowed
    return n
