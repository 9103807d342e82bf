"""What a retriever prefers to the answer: five tests on pairs of passages that differ in one thing only.

After Fayyaz, Modarressi, Schuetze and Peng (2025), Collapse of Dense Retrievers: short, early and literal passages win
over those that hold the evidence. Here the pairs are built from the user's own corpus:

=============  =====================================  ========================================  =====================
test           first                                  second                                    without a bias
=============  =====================================  ========================================  =====================
brevity        the evidence alone                     the evidence among other sentences        neither wins
position       the evidence in front                  the evidence at the end                   neither wins
literal        the query's words as they are          the same words in another form            neither wins
repetition     the head word before every sentence    the head word in the evidence alone       neither wins
foil           the evidence at the end of a passage   a short passage that repeats the head     the first wins
                                                      word and answers nothing
=============  =====================================  ========================================  =====================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Score = Callable[[Sequence[str], Sequence[str]], Floats]
"""Scores n pairs of a query and a passage: (n,)."""

TESTS = ("brevity", "position", "literal", "repetition", "foil")

_Z_95 = 1.959963984540054
_N_FILLERS = 4
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_LEFT_OUT = """
the and for that with this from are was were has have had not but can could will would should may might which who whom
whose what when where why how does did been being than then them they their there these those its into also such only
other some any all each both more most very our your his her out over under about between
"""
_STOP_WORDS = frozenset(_LEFT_OUT.split())


@dataclass(frozen=True)
class BiasItem:
    """What the five pairs of one query are made of.

    Args:
        query: a text to search with.
        evidence: the sentence that answers it.
        fillers: other sentences of the same passage.
        head: the query's rarest word that the evidence has and other passages have too.
        other: a sentence with the head word, from a passage that does not answer.
    """

    query: str
    evidence: str
    fillers: tuple[str, ...]
    head: str
    other: str


@dataclass(frozen=True)
class BiasTest:
    """How often the first passage of a pair wins.

    Args:
        name: one of `TESTS`.
        n: pairs.
        win_ratio: share that the first wins; ties count half. `low`..`high` is Wilson's 95% interval.
        difference: mean of first minus second score; `difference_low`..`difference_high` is Student's 95% interval.
        t: the paired t statistic.
        p: its two-sided probability.
        passes: True or False where the test has a bar (brevity and position: the interval holds 0.5; foil: it lies
            above 0.5), None for literal and repetition, which are reported.
    """

    name: str
    n: int
    win_ratio: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    t: float
    p: float
    passes: bool | None


def make_items(
    passages: Sequence[str], asked: Sequence[tuple[str, int]] = (), n_items: int = 250, key: str = "bias"
) -> list[BiasItem]:
    """Make what the tests need out of a corpus.

    Args:
        passages: the corpus.
        asked: queries with the place of a passage that answers; where there are none, the first half of a sentence's
            words stands for a query that the sentence answers.
        n_items: items wanted at most, chosen by a hash of their texts.
        key: another key chooses others.

    Returns:
        Items in the order of their hash; fewer than wanted where the corpus does not give more.
    """
    sentences = [_split(passage) for passage in passages]
    # Only a word's first uses are kept: what a foil needs is one other passage that has it.
    counts: Counter[str] = Counter()
    users: dict[str, list[int]] = {}
    for place, passage in enumerate(passages):
        for word in sorted(_find_words(passage)):
            counts[word] += 1
            if counts[word] <= 8:
                users.setdefault(word, []).append(place)
    sources = [(query, place) for query, place in asked if len(sentences[place]) > _N_FILLERS]
    if not asked:
        sources = [("", place) for place in range(len(passages)) if len(sentences[place]) > _N_FILLERS]
    sources.sort(
        key=lambda source: blake2b(
            f"{key}\0{source[0]}\0{passages[source[1]]}".encode("utf-8", "replace")
        ).digest()
    )
    items: list[BiasItem] = []
    seen: set[str] = set()
    for query, place in sources:
        if len(items) == n_items:
            break
        item = _make_item(query, place, sentences, counts, users)
        if item is not None and item.query not in seen:
            seen.add(item.query)
            items.append(item)
    return items


def make_pairs(items: Sequence[BiasItem]) -> dict[str, list[tuple[str, str, str]]]:
    """The pairs of each test: query, first passage, second passage."""
    pairs: dict[str, list[tuple[str, str, str]]] = {name: [] for name in TESTS}
    for item in items:
        fillers = " ".join(item.fillers)
        begun, ended = f"{item.evidence} {fillers}", f"{fillers} {item.evidence}"
        pairs["brevity"].append((item.query, item.evidence, begun))
        pairs["position"].append((item.query, begun, ended))
        varied = _vary(item.evidence, _find_words(item.query))
        if varied != item.evidence:
            pairs["literal"].append((item.query, f"{item.evidence} {fillers}", f"{varied} {fillers}"))
        repeated = " ".join(f"{item.head}: {filler}" for filler in item.fillers)
        pairs["repetition"].append((item.query, f"{item.evidence} {repeated}", begun))
        if item.other:
            pairs["foil"].append((item.query, ended, f"{item.head}. {item.head}: {item.other}"))
    return pairs


def run_bias_tests(items: Sequence[BiasItem], score: Score) -> list[BiasTest]:
    """Score all pairs and count who wins.

    Args:
        items: see `make_items`.
        score: the retriever's score of pairs, higher is nearer.

    Returns:
        One result a test, in the order of `TESTS`; tests with fewer than two pairs are left out.

    Raises:
        ValueError: the scores have another shape or are not finite.
    """
    results = []
    for name, pairs in make_pairs(items).items():
        if len(pairs) < 2:
            continue
        queries = [query for query, _, _ in pairs]
        first = _check(score(queries, [one for _, one, _ in pairs]), len(pairs))
        second = _check(score(queries, [other for _, _, other in pairs]), len(pairs))
        results.append(_test(name, first - second))
    return results


def _test(name: str, differences: Floats) -> BiasTest:
    from scipy.stats import t as student

    n = len(differences)
    # Equal but for rounding is a tie.
    wins = float((differences > 1e-9).sum() + 0.5 * (np.abs(differences) <= 1e-9).sum())
    low, high = _find_interval(wins / n, n)
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / np.sqrt(n))
    half = float(student.ppf(0.975, n - 1)) * error
    statistic = mean / error if error > 0 else 0.0 if mean == 0 else float(np.copysign(np.inf, mean))
    p = float(2 * student.sf(abs(statistic), n - 1))
    passes = {"brevity": low <= 0.5 <= high, "position": low <= 0.5 <= high, "foil": low > 0.5}.get(name)
    return BiasTest(name, n, wins / n, low, high, mean, mean - half, mean + half, statistic, p, passes)


def _find_interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95% interval; here because a share with ties is no count."""
    square = _Z_95**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = _Z_95 / (1 + square / n) * float(np.sqrt(share * (1 - share) / n + square / (4 * n * n)))
    return max(0.0, centre - half), min(1.0, centre + half)


def _make_item(
    query: str, place: int, sentences: list[list[str]], counts: Counter[str], users: dict[str, list[int]]
) -> BiasItem | None:
    own = sentences[place]
    if query:
        wanted = _find_words(query)
        overlaps = [len(wanted & _find_words(sentence)) for sentence in own]
        at = int(np.argmax(overlaps))
        if overlaps[at] < 2:
            return None
    else:
        lengths = [len(_find_words(sentence)) for sentence in own]
        at = int(np.argmin([abs(length - 12) for length in lengths]))
        words = [word for word in _WORD.findall(own[at]) if word.casefold() not in _STOP_WORDS]
        if len(words) < 6:
            return None
        query = " ".join(words[: len(words) // 2])
    evidence = own[at]
    fillers = tuple(sentence for number, sentence in enumerate(own) if number != at)[:_N_FILLERS]
    shared = sorted(_find_words(query) & _find_words(evidence), key=lambda word: (counts[word], word))
    head = next((word for word in shared if counts[word] > 1), "")
    if not head or len(fillers) < _N_FILLERS:
        return None
    answer = _find_words(evidence)
    others = (
        sentence
        for user in users[head]
        if user != place
        for sentence in sentences[user]
        # A sentence that says much of what the evidence says may answer too.
        if head in _find_words(sentence) and len(_find_words(sentence) & answer) <= 1 + len(answer) // 4
    )
    return BiasItem(query, evidence, fillers, head, next(others, ""))


def _split(passage: str) -> list[str]:
    return [sentence for sentence in _SENTENCE_END.split(passage.strip()) if len(_find_words(sentence)) >= 3]


def _find_words(text: str) -> set[str]:
    """Content words in lower case."""
    return {word.casefold() for word in _WORD.findall(text)} - _STOP_WORDS


def _vary(text: str, words: set[str]) -> str:
    """The text with those of its words in another form: names by their initial, other words in the other number."""

    def change(match: re.Match[str]) -> str:
        word = match[0]
        if word.casefold() not in words:
            return word
        if word[0].isupper() and text[match.end() : match.end() + 2].strip()[:1].isupper():
            return f"{word[0]}."  # the first of two names
        if word.endswith("ies"):
            return f"{word[:-3]}y"
        if word.endswith("s") and not word.endswith(("ss", "us", "is")):
            return word[:-1]
        return f"{word[:-1]}ies" if word.endswith("y") and word[-2] not in "aeiou" else f"{word}s"

    return _WORD.sub(change, text)


def _check(scores: Floats, n: int) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.shape != (n,) or not np.isfinite(values).all():
        raise ValueError(f"scores: {n} finite numbers are needed, found shape {values.shape}")
    return values
