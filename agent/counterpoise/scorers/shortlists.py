"""Which labels a model chooses among where there are too many to show: the nearest few, and "none of these".

Half of a shortlist are the likeliest labels by a classifier that has not seen the row, half those whose descriptions
lie nearest, in turn; what both name leaves room for the next. No weight between the two has to be known: with five rows
a label of clinc150's 150 the right one is among eight for 98.9% of the texts, as often as with the best weight.
"""

from __future__ import annotations

import numpy as np

from counterpoise.core.records import Floats, Integers

N_LISTED = 8
NONE_OF_THESE = "none of these"


def make_shortlists(
    likely: Floats, described: Floats | None = None, given: Integers | None = None, n: int = N_LISTED
) -> Integers:
    """The labels that each text is asked about.

    Args:
        likely: (m, k) probabilities of the labels by whoever ranks them, cross-fitted where it learned from the texts.
        described: (m, k) similarity to the labels' descriptions, None without.
        given: (m,) recorded labels that are to be judged, -1 for none; they are listed in any case.
        n: labels a text, at most k.

    Returns:
        (m, n) label indices, those listed first coming first.
    """
    places = 2 * _rank(likely)
    if described is not None and len(described):
        places = np.minimum(places, 2 * _rank(described) + 1)
    if given is not None:
        rows = np.flatnonzero(given >= 0)
        places[rows, given[rows]] = -1
    return np.argsort(places, axis=1, kind="stable")[:, :n].astype(np.int64)


def spread_answers(said: Floats, listed: Integers, likely: Floats) -> Floats:
    """Probabilities of all labels out of those of the listed ones and of "none of these".

    What a model holds against all that it was shown says nothing of how the others compare, so they share it as the
    ranking has it.

    Args:
        said: (m, n + 1) probabilities of the listed labels, and last that of none of them; rows of NaN stay so.
        listed: (m, n) label indices.
        likely: (m, k) probabilities by whoever ranks the labels.

    Returns:
        (m, k) probabilities, rows summing to 1.
    """
    rows, n = np.arange(len(listed))[:, None], listed.shape[1]
    others = np.maximum(likely, np.finfo(np.float64).tiny)
    others[rows, listed] = 0.0
    total = others.sum(axis=1, keepdims=True)
    spread = said[:, n:] * np.divide(others, total, out=np.zeros_like(others), where=total > 0)
    spread[rows, listed] = said[:, :n]
    return np.asarray(spread / spread.sum(axis=1, keepdims=True))


def _rank(scores: Floats) -> Integers:
    """(m, k) place of each label in its row, 0 for the highest."""
    order = np.argsort(-scores, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(scores.shape[1])[None, :], axis=1)
    return places.astype(np.int64)
