"""From where on a text is a copy: measured on how alike the user's own rows are to each other.

Two measures. The cosine to the nearest text finds what says the same; rows of a template lie nearer to each other
than most copies of a poem, so the limit follows the rows. The overlap with the rows that were shown finds what was
copied with a few words changed: it is counted in runs of six signs, so that it holds in any script, and a word put
in, left out or moved changes little.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats, Integers
from counterpoise.filters.alarms import FEWEST_ROWS, Alarm, Bars, choose_bars, cross_refuse, find_bar
from counterpoise_retrievers.faiss_index import FaissIndex

RUN = 6
"""Signs of a run."""

N_SHOWN = 5
"""Rows that a prompt shows, which the overlap of real rows is measured with."""

LEAST_OVERLAP = 0.4
LEAST_COSINE = 0.95
MOST_COSINE = 0.999
"""Limits are never stricter than the first two: a text that shares less is no copy in any data. Where rows that are no
copies come nearer than the last, vectors tell nothing (of a script that the encoder does not know, say): no limit."""

OVERLAP_ALARM = 0.03
"""Share of real rows that may share more with five others than a text with what was shown: a few rows of a template are
no licence to copy."""

_BY_COSINE, _BY_OVERLAP = "near_copy", "copy_of_demonstration"


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """Limits from which a text is a copy.

    Args:
        data: cosine to a row of the data, or a held-out one.
        proposal: cosine to an earlier proposal.
        overlap: (k,) for each label, share of runs that stand in the rows shown.
    """

    data: float = 0.95
    proposal: float = 0.95
    overlap: tuple[float, ...] = ()

    def allow_overlap(self, label: int) -> float:
        """The most that a text for a label may share with what was shown for it."""
        return self.overlap[label] if label < len(self.overlap) else LEAST_OVERLAP


def list_runs(text: str) -> frozenset[str]:
    """The runs of a text in lower case, letters and digits only; a shorter text is one run."""
    folded = " ".join(re.findall(r"\w+", text.casefold()))
    return frozenset(folded[start : start + RUN] for start in range(max(1, len(folded) - RUN + 1)))


def measure_overlap(text: str, others: Sequence[str]) -> float:
    """Share of the text's runs that stand in one or another of the other texts, 0 to 1.

    Example:
        >>> measure_overlap("The soup was cold!", ["the soup was cold", "a warm room"])
        1.0
    """
    runs = list_runs(text)
    return len(runs & frozenset().union(*map(list_runs, others))) / len(runs)


def fit_copy_limits(
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    labels: Integers,
    folds: Integers,
    n_labels: int,
    alarm: float,
) -> tuple[CopyLimits, tuple[Alarm, ...]]:
    """Limits that few real rows are beyond, and how many rows they refuse that did not set them.

    Args:
        texts: n real rows.
        vectors: (n, d) of them.
        labels: (n,) label indices.
        folds: (n,) fold numbers; near-duplicates share one, so that copies that are in the data make no copy legal.
        n_labels: k.
        alarm: share of real rows that may be refused by their cosine, 0 to 1.
    """
    if len(texts) < FEWEST_ROWS or len(np.unique(folds)) < 2:
        note = f"It keeps to usual limits: {len(texts)} rows, it takes {FEWEST_ROWS} to set it."
        return CopyLimits(), (Alarm(_BY_COSINE, 0, 0, note), Alarm(_BY_OVERLAP, 0, 0, note))
    nearest, overlap = np.zeros(len(texts)), np.zeros(len(texts))
    generator = np.random.default_rng(0)
    for fold in np.unique(folds):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        index = FaissIndex(vectors.shape[1])
        index.add(vectors[inside])
        nearest[outside] = index.search(vectors[outside], 1)[0][:, 0]
        for row in outside:
            alike = inside[labels[inside] == labels[row]]
            shown = generator.permutation(alike)[:N_SHOWN]
            overlap[row] = measure_overlap(texts[int(row)], [texts[int(other)] for other in shown])

    def limit(values: Floats, _: Integers) -> Bars:
        cosine = max(LEAST_COSINE, find_bar(values, alarm))
        return np.full(n_labels, cosine if cosine < MOST_COSINE else np.inf)

    allow = partial(choose_bars, n_labels=n_labels, alarm=OVERLAP_ALARM, floor=LEAST_OVERLAP)
    cosine = float(limit(nearest, labels)[0])
    found = CopyLimits(cosine, cosine, tuple(float(bar) for bar in allow(overlap, labels)))
    refused = [
        (name, int(cross_refuse(values, labels, folds, choose).sum()))
        for name, values, choose in ((_BY_COSINE, nearest, limit), (_BY_OVERLAP, overlap, allow))
    ]
    return found, tuple(Alarm(name, len(texts), count) for name, count in refused)
