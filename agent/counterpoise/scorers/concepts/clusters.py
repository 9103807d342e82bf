"""Clusters of the clauses of a data set, and the words that set each apart: what texts are about, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import CountVectorizer

from counterpoise.core.records import Integers
from counterpoise.scorers.concepts.languages import (
    ENGLISH,
    find_most_common,
    list_stop_words,
    list_words,
)
from counterpoise.scorers.concepts.passages import Passages
from counterpoise.students.linear import find_threads

MOST_CLUSTERS = 12
N_WORDS = 6
"""Words that describe a cluster."""

_MOST_CLAUSES = 20_000


@dataclass(frozen=True, slots=True)
class Cluster:
    """Clauses that are near to one another.

    Args:
        words: those that set it apart, the first names it; up to six.
        share: of the texts that have one of its clauses, 0..1.
        clauses: (m,) their positions, the nearest to its middle first.
    """

    words: tuple[str, ...]
    share: float
    clauses: Integers


def find_clusters(
    clauses: Sequence[str], passages: Passages, codes: Sequence[str] = ENGLISH
) -> list[Cluster]:
    """Clusters of clauses that words set apart, those that most texts have first.

    Args:
        clauses: (m,) the clauses; of more than 20,000 a part is looked at.
        passages: their vectors and owners.
        codes: of the languages they are written in.
    """
    rows = np.arange(0, len(clauses), max(1, len(clauses) // _MOST_CLAUSES + 1))
    n_clusters = min(MOST_CLUSTERS, len(rows) // 5)
    if n_clusters < 2:
        return []
    stop_words = list_stop_words(codes)

    def list_telling(clause: str) -> list[str]:
        return [word for word in list_words(clause.lower()) if word not in stop_words]

    vectoriser = CountVectorizer(analyzer=list_telling, min_df=2, max_df=find_most_common(codes))
    try:
        counts = vectoriser.fit_transform([clauses[int(row)] for row in rows])
    except ValueError:  # no word is left
        return []
    with find_threads().limit(limits=1):
        model = KMeans(n_clusters, n_init=3, random_state=0).fit(passages.vectors[rows])
    distances = model.transform(passages.vectors[rows])
    words = vectoriser.get_feature_names_out()
    total = np.asarray(counts.sum(axis=0)).ravel() + 1.0
    found = []
    for cluster in range(n_clusters):
        mine = np.flatnonzero(model.labels_ == cluster)
        inside = np.asarray(counts[mine].sum(axis=0)).ravel()
        # Log-odds against the rest with the rest as prior: frequent and particular at once.
        weight = inside * np.log((inside + 0.5) * total.sum() / (total * (inside.sum() + 1.0)))
        best = tuple(str(words[place]) for place in np.argsort(-weight)[:N_WORDS] if inside[place] >= 2)
        if best:
            share = len(np.unique(passages.owners[rows[mine]])) / max(1, len(passages))
            nearest = mine[np.argsort(distances[mine, cluster], kind="stable")]
            found.append(Cluster(best, float(share), rows[nearest]))
    return sorted(found, key=lambda one: (-one.share, one.words[0]))
