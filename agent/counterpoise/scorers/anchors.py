"""Which rows of a pool a person is asked to label, where labels are thin.

Half of them are drawn at random, so that audits may use them; the other half by anchors (Lesci and Vlachos, 2024,
AnchorAL: computationally efficient active learning for large and imbalanced datasets):

1. rows of a thin label that are unlike each other are its anchors;
2. the pool rows nearest to an anchor form a small part of the pool, in which the label is far more common;
3. of these the ones are asked about that the classifier holds for the label, not surest first but those that together
   have the words that many of them have and no labelled row of the label has yet (`word_coverage`), and unlike each
   other and the labelled rows: the surest rows, and copies, teach least.

A pool is large and a thin label rare in it, so that random rows are nearly all of labels that have enough already.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from counterpoise.core.encoded_records import EncodedRecords, Vectors
from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import keyed_rank, sample_by_rank
from counterpoise.scorers.base import cross_fit
from counterpoise.scorers.gold import RowsToAsk
from counterpoise.scorers.word_coverage import order_by_coverage
from counterpoise.students.calibration import calibrate_labels, estimate_shares
from counterpoise.students.linear import fit_log_probabilities
from counterpoise.students.samples import draw_sample
from counterpoise.students.weights import log_prior
from counterpoise_retrievers.faiss_index import FaissIndex

MOST_POOL_ROWS = 20_000
"""Of a pool that are looked at."""

_MOST_ANCHORS = 10
_N_NEAREST = 100  # pool rows around an anchor
_SPARE = 2  # rows to draw from for each that is wanted
_MOST_PRODUCTS = 50_000_000  # cosines of pool rows to labelled rows at a time
_MOST_MEASURED = 2_000  # rows that tell how alike rows are
_ALIKE = 0.6  # settled, like the others, on five draws of the sets of the evaluation `asked`


def choose_pool_rows(
    train: EncodedRecords, folds: Integers, pool: EncodedRecords, n: int, key: str
) -> RowsToAsk:
    """Choose pool rows to ask about.

    Args:
        train: labelled rows, of two labels or more.
        folds: (n_train,) their folds, two or more.
        pool: rows that may be asked about; those whose text is a training row, or stands above, are not.
        n: how many; there may be fewer.
        key: another key draws other rows.

    Returns:
        The rows in the order of their ids; those drawn at random are for audits.
    """
    new = _list_new(train, pool)
    random = new[sample_by_rank(pool.records.ids[new], n - n // 2, f"{key}:random")]
    left = np.setdiff1d(new, random)
    anchored = left[choose_by_anchors(train, folds, pool.take(left), n // 2, f"{key}:anchors")]
    rows = np.concatenate([random, anchored])
    is_audit = np.arange(len(rows)) < len(random)
    order = np.argsort(pool.records.ids[rows].astype(str), kind="stable")
    return RowsToAsk(rows[order], is_audit[order])


def choose_by_anchors(
    train: EncodedRecords, folds: Integers, pool: EncodedRecords, n: int, key: str
) -> Integers:
    """Positions of pool rows that are likely to be of a thin label, the labels in turn; the thinnest comes first.

    Args:
        train: labelled rows, of two labels or more.
        folds: (n_train,) their folds, two or more.
        pool: rows that may be asked about.
        n: how many; there may be fewer.
        key: another key draws other rows.
    """
    if not n or not len(pool):
        return np.empty(0, dtype=np.int64)
    posteriors = score_pool(train, folds, pool.vectors)
    index = FaissIndex(pool.vectors.shape[1])
    index.add(pool.vectors)
    rank = np.argsort(keyed_rank(pool.records.ids, key))
    limit = _find_likeness(train, key)
    thin = find_thin_labels(train.records.labels, len(train.records.label_names))[:n]
    queues = []
    for label in thin:
        anchors = _spread(train.vectors[train.records.labels == label], _MOST_ANCHORS)
        near = np.unique(index.search(anchors, min(_N_NEAREST, len(pool)))[1])
        near = near[near >= 0]
        is_held = posteriors[near].argmax(axis=1) == label
        # A classifier that has seen few rows of a label holds too little for it; the likeliest others fill up.
        n_drawn_from = max(int(is_held.sum()), -(-_SPARE * n // len(thin)))
        likely = near[np.lexsort((-posteriors[near, label], ~is_held))]
        drawn_from, others = likely[:n_drawn_from], likely[n_drawn_from:]
        drawn_from = drawn_from[np.argsort(rank[drawn_from])]
        known = train.records.texts[train.records.labels == label]
        covering = order_by_coverage(pool.records.texts[drawn_from], known, _SPARE * n)
        queues.append((drawn_from[covering], others))
    first, last = [drawn for drawn, _ in queues], [others for _, others in queues]
    return _take_in_turn([(first, limit), (first, np.inf), (last, np.inf)], pool.vectors, train.vectors, n)


def score_pool(train: EncodedRecords, folds: Integers, vectors: Vectors) -> Floats:
    """(m, k) calibrated probabilities of the labels of pool rows, under the shares that the pool itself shows.

    What says them has learned from the rows of `draw_sample`.
    """
    drawn = draw_sample(train.records).rows
    train, folds = train.take(drawn), folds[drawn]
    labels, n_labels = train.records.labels, len(train.records.label_names)
    ones = np.ones(len(labels))
    out_of_fold, _ = cross_fit(train.vectors, labels, folds, n_labels)
    scores = fit_log_probabilities(train.vectors, labels, ones, vectors, n_labels)
    even = np.asarray(softmax(scores - log_prior(labels, ones, n_labels), axis=1))
    likelihoods = calibrate_labels(out_of_fold, labels, even)
    posteriors = likelihoods * estimate_shares(likelihoods)
    return np.asarray(posteriors / posteriors.sum(axis=1, keepdims=True))


def find_thin_labels(labels: Integers, n_labels: int) -> Integers:
    """The labels with fewer rows than the mean label, the thinnest first; all where they are even.

    >>> find_thin_labels(np.repeat([0, 1, 2], [300, 15, 5]), 3).tolist()
    [2, 1]
    """
    counts = np.bincount(labels, minlength=n_labels)
    present = np.flatnonzero(counts)
    order = present[np.argsort(counts[present], kind="stable")]
    thin = order[counts[order] < counts[present].mean()]
    return thin if len(thin) else order


def _list_new(train: EncodedRecords, pool: EncodedRecords) -> Integers:
    """Positions of pool rows with a text of their own."""
    seen = {"", *map(str.strip, train.records.texts)}
    new = []
    for row, text in enumerate(map(str.strip, pool.records.texts)):
        if text not in seen:
            seen.add(text)
            new.append(row)
    return np.array(new, dtype=np.int64)


def _spread(vectors: Vectors, n: int) -> Vectors:
    """At most n rows that are unlike each other: the one nearest to the mean, then always the farthest from those."""
    picked = [int(np.argmax(vectors @ vectors.mean(axis=0)))]
    nearest = vectors @ vectors[picked[0]]
    while len(picked) < min(n, len(vectors)):
        picked.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, vectors @ vectors[picked[-1]])
    return vectors[picked]


def _find_likeness(train: EncodedRecords, key: str) -> float:
    """The cosine from which rows count as alike: most of the way from that of any two labelled rows to 1.

    Encoders differ in how near all texts are to each other, so a fixed cosine would mean something else for each.
    """
    vectors = train.vectors[sample_by_rank(train.records.ids, _MOST_MEASURED, key)]
    n = len(vectors)
    usual = (float(np.square(vectors.sum(axis=0)).sum()) - n) / (n * (n - 1))
    return usual + _ALIKE * (1.0 - usual)


def _take_in_turn(
    turns: Sequence[tuple[Sequence[Integers], float]], pool: Vectors, train: Vectors, n: int
) -> Integers:
    """One row of each queue in turn, as long as its cosine to what is labelled or taken lies below a limit.

    Args:
        turns: queues with their limit; the next ones are looked at where there are too few rows.
        pool: vectors of the rows that the queues hold.
        train: vectors of the labelled rows.
        n: how many.
    """
    candidates = np.unique(np.concatenate([queue for queues, _ in turns for queue in queues]))
    n_at_once = max(1, _MOST_PRODUCTS // max(1, len(train)))
    alike_most = [
        float(value)
        for first in range(0, len(candidates), n_at_once)
        for value in (pool[candidates[first : first + n_at_once]] @ train.T).max(axis=1)
    ]
    nearest = dict(zip(candidates.tolist(), alike_most, strict=True))
    taken: list[int] = []
    for queues, limit in turns:
        waiting = [queue.tolist() for queue in queues]
        while len(taken) < n and any(waiting):
            for queue in waiting:
                while queue and len(taken) < n:
                    row = queue.pop(0)
                    alike = max([nearest[row], *(pool[taken] @ pool[row]).tolist()])
                    if row not in taken and alike < limit:
                        taken.append(row)
                        break
    return np.array(taken, dtype=np.int64)
