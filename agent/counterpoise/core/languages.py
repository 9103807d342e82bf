"""Which languages texts are written in, by py3langid (naive Bayes over byte n-grams, 140 languages).

Its first guess for one short text is often wrong, so languages are told of a data set: the commonest, then each that
enough rows are surely in. A row counts as one of an earlier language unless it is surely in a later one.

    >>> texts = ["The soup was cold and late."] * 30 + ["Die Suppe war kalt und fad."] * 20
    >>> codes = find_languages(texts)
    >>> codes, list(tell_languages(["Wir kamen wieder, leider.", "ok"], codes))
    (('en', 'de'), ['de', ''])
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from counterpoise.core.letters import list_letters, strip_marks
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.core.splits import sample_by_rank

LANGUAGE = "text.language"
"""The attribute that is found and no column: the language of a row's text. A column of this very name goes before."""

SURE_FROM = 3.0
"""How much likelier (odds of 20 to 1, in nats) one language must be than another for a text to be surely in it."""

FEWEST_BYTES = 20
"""Bytes of letters below which the language of a text is not looked at: twenty Latin letters, seven Chinese ones."""

FEWEST_ROWS = 10
FEWEST_SHARE = 0.01
"""Of the rows that can be told: one language of the data and not misreadings, of which there are up to 0.1% in one."""

MOST_LOOKED_AT = 5_000
"""Rows that the languages of a data set are found from; the others are told apart by these languages alone."""

_BATCH_ROWS = 2_000
N_NOTED = 500
"""Rows that a note is made from: half a second."""

_MOST_LABELS_NOTED = 8


@lru_cache(maxsize=1)
def _open_identifier() -> Any:
    # Half a second, most of it unpacking: not before a text is there.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def list_languages() -> tuple[str, ...]:
    """Codes of the languages that are told apart (ISO 639), sorted."""
    return tuple(sorted(_open_identifier().labels))


def score_languages(texts: Sequence[str]) -> Floats:
    """(n, m) log-probabilities of the languages of `list_languages`; rows of NaN for texts of too few letters."""
    names = list_languages()
    scores = np.full((len(texts), len(names)), np.nan)
    identifier = _open_identifier()
    for row, text in enumerate(texts):
        if len(list_letters(text).encode("utf-8", "replace")) < FEWEST_BYTES:
            continue
        plain = "".join(" " if sign.isdigit() else sign for sign in strip_marks(text))
        found = dict(identifier.rank(plain.encode("utf-8", "replace").decode()))
        scores[row] = [np.log(max(found.get(name, 0.0), 1e-12)) for name in names]
    return scores


def tell_apart(scores: Floats, own: Sequence[int]) -> Integers:
    """(n,) place in `own` of each text's language: an earlier one unless it is surely another; -1 without letters."""
    told = np.where(np.isnan(scores[:, 0]), -1, 0)
    for place in range(1, len(own)):
        before = scores[np.arange(len(scores)), np.array(own)[np.maximum(told, 0)]]
        told = np.where((told >= 0) & (scores[:, own[place]] - before > SURE_FROM), place, told)
    return np.asarray(told, dtype=np.int64)


def find_languages(texts: Sequence[str]) -> tuple[str, ...]:
    """Codes of the languages that enough of n texts are surely in, the commonest first; none where none can be told.

    Args:
        texts: n; of more than `MOST_LOOKED_AT` so many are looked at, drawn by a hash of the text.
    """
    drawn = sample_by_rank(texts, MOST_LOOKED_AT, "languages")
    return list_surest(score_languages([texts[row] for row in drawn]))


def list_surest(scores: Floats) -> tuple[str, ...]:
    """As `find_languages`, of texts that have been looked at: (n, m) of `score_languages`."""
    names = list_languages()
    judged = scores[~np.isnan(scores[:, 0])]
    if not len(judged):
        return ()
    guesses = judged.argmax(axis=1)
    counts = np.bincount(guesses, minlength=len(names))
    enough = max(FEWEST_ROWS, FEWEST_SHARE * len(judged))
    own: list[int] = []
    for code in np.argsort(-counts, kind="stable"):
        if own and counts[code] < enough:
            break
        lead = judged[:, code] - judged[:, own].max(axis=1) if own else np.full(len(judged), np.inf)
        if (lead[guesses == code] > SURE_FROM).sum() >= enough or not own:
            own.append(int(code))
    return tuple(names[code] for code in own)


def tell_languages(texts: Sequence[str], codes: Sequence[str]) -> Objects:
    """(n,) code of each text's language among those of the data; "" where a text is too short to tell."""
    names = list_languages()
    own = [names.index(code) for code in codes]
    told = np.full(len(texts), "", dtype=object)
    if not own:
        return told
    for start, scores in _score_in_batches(texts):
        for row, place in enumerate(tell_apart(scores, own), start):
            told[row] = codes[place] if place >= 0 else ""
    return told


def note_languages(texts: Sequence[str], labels: Sequence[str]) -> list[str]:
    """A sentence with counts of label x language, where the texts are in more than one language.

    Args:
        texts: n.
        labels: n names; "" where there is none.

    Example:
        >>> texts = ["The soup was cold and late."] * 30 + ["Die Suppe war kalt und fad."] * 20
        >>> print(note_languages(texts, ["good", "bad"] * 15 + ["bad"] * 20)[0].split(": name")[0])
        the texts are in 2 languages (of 50 rows looked at: bad en 15 de 20, good en 15 de 0)
    """
    drawn = sample_by_rank(texts, N_NOTED, "languages")
    looked_at = [texts[row] for row in drawn]
    codes = find_languages(looked_at)
    if len(codes) < 2:
        return []
    counts = Counter(zip((labels[row] for row in drawn), tell_languages(looked_at, codes), strict=True))
    names = sorted({label for label, _ in counts if label})
    cells = [
        f"{name} " + " ".join(f"{code} {counts[name, code]}" for code in codes)
        for name in names[:_MOST_LABELS_NOTED]
    ]
    more = ", ..." if len(names) > len(cells) else ""
    return [
        f"the texts are in {len(codes)} languages (of {len(drawn)} rows looked at: {', '.join(cells)}{more}): name "
        f"`{LANGUAGE}` among the attributes to count and fill labels within them"
    ]


def _score_in_batches(texts: Sequence[str]) -> Iterator[tuple[int, Floats]]:
    for start in range(0, len(texts), _BATCH_ROWS):
        yield start, score_languages(texts[start : start + _BATCH_ROWS])
