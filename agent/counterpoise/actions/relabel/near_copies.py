"""Near copies: whether a text nearly repeats another one, contains it, or is contained in it.

A copy of a known positive among the negatives is a false negative that needs no judge. As a further positive it would
say nothing new. Two texts are compared by their shingles, the distinct runs of three words (case and punctuation are
nothing): the share of the smaller text's shingles that the larger one has, the overlap coefficient, 0..1. That is
Broder's containment of the smaller in the larger; his resemblance, which `counterpoise_retrievers.near_duplicates`
measures, is low where one of the two is much longer.

Paper: Broder (1997) "On the resemblance and containment of documents".

>>> abstract = "Oral iron is absorbed slowly, and so it is given every other day to adults who lack it after surgery."
>>> measure_overlap(abstract, "Oral iron is absorbed slowly, and so it is given every other day to adults.")
1.0
>>> NearCopies([abstract]).has("BACKGROUND. " + abstract.upper() + " We followed 40 patients for a year.")
True
>>> NearCopies([abstract]).has("Vitamin C is absorbed fast, and so it is given every day to children who lack it.")
False
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

Shingle = tuple[str, str, str]
"""Three neighbouring words."""

LEAST_OVERLAP = 0.8
"""Share of the smaller text's shingles, 0..1, from which two texts are near copies. Set beforehand, not tuned."""

FEWEST_SHINGLES = 10
"""A text with fewer is too short to be told from another one by them: twelve words, where none is repeated."""

N_PROBES = 8
"""Shingles of the shorter text that are looked up first: most candidates have none in common and are done.

At an overlap of 0.8 a look-up finds one in 4 of 5 cases, so that all are missed in 3 of a million.
"""

_WORDS = re.compile(r"\w+")


class NearCopies:
    """Tells whether a text is a near copy of one of a few known ones.

    Args:
        texts: the known ones. Those of fewer than `FEWEST_SHINGLES` shingles have no near copies; so have texts of a
            script that is written without spaces, where a run of letters is no word.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        read = (_Shingled(text) for text in texts)
        self._known = [one for one in read if len(one.shingles) >= FEWEST_SHINGLES]

    def has(self, text: str) -> bool:
        """Whether it nearly repeats, contains, or is contained in a known text."""
        if not self._known:
            return False
        given = _Shingled(text)
        return any(
            _may_be_copies(given, one) and _compare(given, one) >= LEAST_OVERLAP for one in self._known
        )


def measure_overlap(one: str, other: str) -> float:
    """The overlap coefficient of the shingles of two texts, 0..1; 0 where the smaller has too few of them."""
    return _compare(_Shingled(one), _Shingled(other))


class _Shingled:
    """A text as its words; what else is asked of it is made when it is asked for."""

    def __init__(self, text: str) -> None:
        self.words = _WORDS.findall(text.casefold())

    @cached_property
    def line(self) -> str:
        return f" {' '.join(self.words)} "

    @cached_property
    def shingles(self) -> frozenset[Shingle]:
        return frozenset(zip(self.words, self.words[1:], self.words[2:], strict=False))

    @cached_property
    def probes(self) -> list[Shingle]:
        """Evenly spaced shingles."""
        last = len(self.words) - 3
        places = dict.fromkeys(round(turn * last / (N_PROBES - 1)) for turn in range(N_PROBES))
        return [(self.words[one], self.words[one + 1], self.words[one + 2]) for one in places]

    @cached_property
    def probe_lines(self) -> list[str]:
        return [f" {' '.join(one)} " for one in self.probes]


def _may_be_copies(given: _Shingled, known: _Shingled) -> bool:
    """Whether any probe of the shorter is in the longer. No set is made of the given text, one of millions perhaps."""
    n_given = len(given.words) - 2  # as many shingles, or fewer where some are repeated
    if n_given < FEWEST_SHINGLES:
        return False
    if n_given <= len(known.shingles):
        return any(one in known.shingles for one in given.probes)
    return any(line in given.line for line in known.probe_lines)


def _compare(one: _Shingled, other: _Shingled) -> float:
    n_smaller = min(len(one.shingles), len(other.shingles))
    if n_smaller < FEWEST_SHINGLES:
        return 0.0
    return len(one.shingles & other.shingles) / n_smaller
