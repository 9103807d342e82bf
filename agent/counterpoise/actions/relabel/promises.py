"""A precision that is promised is tested before a label changes.

Angelopoulos, Bates, Candes, Jordan and Lei (2021), Learn then test: which changes to make is a question of many
hypotheses, one a threshold, each "the changes above it are right less often than promised". They are tested on rows
whose label is known, drawn at random and scored as the other rows are, with the exact binomial tail, in an order that
is fixed beforehand (from strict to lax, until one cannot be refuted). So the chance of a patch that is worse than
promised is at most one minus the confidence, whatever the scores are worth: a poor scorer costs changes, not truth.

Where the known rows were drawn from a part of the rows with a higher chance (`asked_suspects`), they say nothing of the
others. Then the hypothesis is about all changes, and those outside the part are counted as wrong: so many fewer may be
inside it, which is what the known rows are tested against. It is exact, which bounds on answers that weigh one over
their chance (Horvitz and Thompson, 1952) are not with a dozen of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

from counterpoise.core.records import Floats, Integers

DEFAULT_CONFIDENCE = 0.8
ANY_CHANGE = 1e-12
"""The threshold that every change with a score above 0 reaches."""

_FIRST_ERRORS = 1
"""Errors that the first test forgives: with none forgiven one unlucky row ends it, with more it starts too lax."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The changes that could be made, by whether known rows were drawn from among them.

    Args:
        inside: (a,) scores of rows of the part that known rows were drawn from, all with one chance.
        outside: (b,) scores of all others.
    """

    inside: Floats
    outside: Floats

    def find_largest_share(self, thresholds: Floats, wrong_ratio: float) -> Floats:
        """(t,) wrong changes of those inside, 0..1, where `wrong_ratio` of all above each threshold are wrong at least.

        0 where the changes outside alone may be so many.
        """
        inside = len(self.inside) - np.searchsorted(np.sort(self.inside), thresholds, side="left")
        outside = len(self.outside) - np.searchsorted(np.sort(self.outside), thresholds, side="left")
        left = wrong_ratio * (inside + outside) - outside
        return np.asarray(np.clip(left / np.maximum(inside, 1), 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Promise:
    """The outcome of the tests.

    Args:
        min_precision: share of right changes that is promised.
        confidence: of the promise.
        threshold: changes with at least this score are made; infinite where no set of changes passed.
        n_gold_changed: known rows among these changes.
        n_gold_right: those of them that the change makes right.
        low: lower Clopper-Pearson bound of the precision at this threshold, at the given confidence.
        n_gold: known rows in all.
    """

    min_precision: float
    confidence: float
    threshold: float
    n_gold_changed: int
    n_gold_right: int
    low: float
    n_gold: int

    @property
    def is_kept(self) -> bool:
        """Whether any change may be made."""
        return bool(np.isfinite(self.threshold))


def list_tests(min_precision: float, confidence: float, n: int) -> list[tuple[int, int]]:
    """The tests in their order: known rows among the changes, and how many may be wrong.

    For every number of errors the fewest rows at which that few refute the hypothesis; where there are not enough
    rows for the first test, the one that forgives nothing.

    >>> list_tests(0.7, 0.8, 20)
    [(9, 1), (14, 2), (18, 3)]
    """
    tests: list[tuple[int, int]] = []
    sizes = np.arange(1, n + 1)
    while True:
        chances = binom.cdf(len(tests), sizes, 1 - min_precision)
        enough = np.flatnonzero(chances <= 1 - confidence)
        if not len(enough):
            break
        tests.append((int(sizes[enough[0]]), len(tests)))
    return tests[_FIRST_ERRORS:] or tests


def certify(
    is_right: NDArray[np.bool_],
    gold_scores: Floats,
    min_precision: float,
    confidence: float = DEFAULT_CONFIDENCE,
    reach: Reach | None = None,
) -> Promise:
    """Find the laxest threshold whose changes are right as often as promised.

    Args:
        is_right: (g,) whether the likeliest change of a known row is right.
        gold_scores: (g,) its score, given by a scorer that was not shown the row's right label; above 0 where it would
            ever be made.
        min_precision: between 0 and 1.
        confidence: between 0 and 1; the promise fails in at most `1 - confidence` of draws of the known rows.
        reach: the changes that could be made, where known rows were drawn from a part of them; None where they are a
            draw of all.

    Returns:
        The promise; its threshold is above 0, and infinite where nothing passed.
    """
    possible = gold_scores > 0
    order = np.argsort(-gold_scores[possible], kind="stable")
    scores = gold_scores[possible][order]
    errors = np.cumsum(~is_right[possible][order])
    # Changes of the same score are made together.
    ends = np.searchsorted(-scores, -scores, side="right")
    wrong = np.full(len(scores), 1 - min_precision)
    if reach is not None:
        wrong = reach.find_largest_share(scores, 1 - min_precision)
    best = 0
    # Which hypotheses there are depends on the number of known rows, never on their labels. The last one is about all
    # changes.
    if reach is None:
        sizes = [
            size for size, _ in list_tests(min_precision, confidence, len(gold_scores)) if size <= len(scores)
        ]
    else:
        sizes = _list_sizes(ends, wrong, confidence)
    for size in [*sizes, *([len(scores)] if sizes else [])]:
        end = int(ends[size - 1])
        if binom.cdf(errors[end - 1], end, wrong[size - 1]) > 1 - confidence:
            break
        best = end
    if not best:
        return Promise(min_precision, confidence, float("inf"), 0, 0, 0.0, len(gold_scores))
    n_right = best - int(errors[best - 1])
    low = float(beta.ppf(1 - confidence, n_right, best - n_right + 1)) if n_right else 0.0
    # Where all known changes pass, so do those with a score below theirs: that hypothesis has the same known rows.
    threshold = float(scores[best - 1]) if best < len(scores) else min(float(scores[-1]), ANY_CHANGE)
    if reach is not None:
        # Of what lies below the last known change nothing was tested.
        threshold = float(scores[best - 1])
        low *= 1 - _count_share(reach, threshold)
    return Promise(min_precision, confidence, threshold, best, n_right, low, len(gold_scores))


def _list_sizes(ends: Integers, wrong: Floats, confidence: float) -> list[int]:
    """For every number of errors the fewest known changes at which that few refute the hypothesis, see `list_tests`."""
    sizes: list[int] = []
    n_errors = 0
    while True:
        refuted = np.flatnonzero(binom.cdf(n_errors, ends, wrong) <= 1 - confidence)
        if not len(refuted):
            break
        sizes.append(max(int(ends[refuted[0]]), sizes[-1] if sizes else 0))
        n_errors += 1
    return sizes[_FIRST_ERRORS:] or sizes


def _count_share(reach: Reach, threshold: float) -> float:
    """The share of the changes above a threshold that no known row speaks of."""
    n_outside = int((reach.outside >= threshold).sum())
    return n_outside / max(1, n_outside + int((reach.inside >= threshold).sum()))
