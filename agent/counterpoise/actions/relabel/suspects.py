"""Which labels may be wrong, and what they should be: several views of every row, none of which was shown its label.

The views: classifiers trained on the given labels (cross-fitted), one on sentence vectors and one on words, the vote
of the nearest rows, and, where some labels are known to be right, a classifier trained on these alone. Without known
labels the views are compared with the given label by cleanlab's scores (Northcutt, Jiang and Chuang 2021, Confident
learning) and averaged. With known labels a second classifier learns from them how far each view is to be believed and
which labels people confuse: its inputs are the views and the given label itself, its answer the right label; where some
label has no known row, all labels share its weights (`shared_stack`). Rows are divided into folds, known and unknown
ones alike, and whatever scores a fold was trained outside it; so the known rows of a fold are a random sample of what
is scored there, and can be counted to audit it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from counterpoise.actions.relabel.shared_stack import fit_shared, score_shared
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.scorers.base import cross_fit
from counterpoise.students.calibration import centre_logs
from counterpoise.students.linear import fit_log_probabilities
from counterpoise_retrievers.faiss_index import FaissIndex

UNKNOWN = -1
KNOWN_LABELS = "known_labels"
N_NEIGHBOURS = 60
FEWEST_GOLD = 40
_STACK_REGULARISATION = 0.1
_GIVEN_WEIGHT = 2.0
_FLOOR = 1e-3
_MOST_WORDS = 50_000


@dataclass(frozen=True, slots=True)
class Suspects:
    """All rows, scored.

    Args:
        views: (n, k) probabilities of the label, by name of the view.
        probabilities: (n, k) of the right label, all views together.
        proposed: (n,) likeliest label other than the given one.
        scores: (n,) how likely the given label is wrong, higher is likelier.
        queue: (n,) rows, the likeliest wrong first.
    """

    views: dict[str, Floats]
    probabilities: Floats
    proposed: Integers
    scores: Floats
    queue: Integers


def find_suspects(
    vectors: NDArray[np.float32],
    labels: Integers,
    groups: Objects,
    folds: Integers,
    n_labels: int,
    gold: Integers | None = None,
    *,
    texts: Objects | None = None,
    views: Mapping[str, Floats] | None = None,
) -> Suspects:
    """Score every row's label.

    Args:
        vectors: (n, d) of unit length.
        labels: (n,) given label indices.
        groups: (n,) near-duplicates share one; they do not vote for each other.
        folds: (n,) fold numbers; near-duplicates share one.
        n_labels: k.
        gold: (n,) right label indices, `UNKNOWN` where nobody knows; used from 40 known rows on.
        texts: (n,) the texts; without them there is no view of their words.
        views: the views that need no known labels, if they were computed before.
    """
    views = dict(views or {})
    if not views:
        views["classifier"], _ = cross_fit(vectors, labels, folds, n_labels)
        views["neighbours"] = vote(vectors, labels, groups, n_labels)
        words = None if texts is None else read_words(texts, labels, folds, n_labels)
        if words is not None:
            views["words"] = words
    if gold is None or not is_enough(gold, folds):
        probabilities = np.mean(list(views.values()), axis=0)
        return rank(labels, probabilities, views, doubt_labels(labels, views))
    if is_told_of_all(gold, folds, n_labels):
        views[KNOWN_LABELS] = _score_by_known(vectors, gold, folds, n_labels)
        probabilities = stack(list(views.values()), labels, gold, folds)
    else:
        probabilities = stack_shared(list(views.values()), labels, gold, folds)
    return rank(labels, probabilities, views)


def doubt_labels(labels: Integers, views: Mapping[str, Floats]) -> Floats:
    """(n,) how likely each given label is wrong by the views that need no known labels, 0 to 1; cleanlab's scores."""
    bare = [view for name, view in views.items() if name != KNOWN_LABELS]
    return np.asarray(np.mean([1.0 - score_labels(labels, view) for view in bare], axis=0))


def is_told_of_all(gold: Integers, folds: Integers, n_labels: int) -> bool:
    """Whether every label is that of a known row outside every fold: what has no row, nothing learns to give."""
    known = gold != UNKNOWN
    return all(len(np.unique(gold[known & (folds != fold)])) == n_labels for fold in np.unique(folds))


def is_enough(gold: Integers, folds: Integers) -> bool:
    """Whether so many labels are known that others can be learned from them, and outside every fold some."""
    known = gold != UNKNOWN
    return bool(known.sum() >= FEWEST_GOLD and len(np.unique(folds[known])) > 1)


def rank(
    labels: Integers, probabilities: Floats, views: dict[str, Floats], scores: Floats | None = None
) -> Suspects:
    """Suspects by the probability that the given label is wrong, or by other scores."""
    rows = np.arange(len(labels))
    if scores is None:
        scores = 1.0 - probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1.0
    proposed = others.argmax(axis=1).astype(np.int64)
    return Suspects(
        views, probabilities, proposed, scores, np.argsort(-scores, kind="stable").astype(np.int64)
    )


def score_labels(labels: Integers, probabilities: Floats, method: str = "self_confidence") -> Floats:
    """Cleanlab's quality of every given label, 0 to 1; low is suspicious."""
    from cleanlab.rank import get_label_quality_scores

    scores = get_label_quality_scores(labels, np.ascontiguousarray(probabilities), method=method)
    return np.asarray(scores, dtype=np.float64)


def vote(
    vectors: NDArray[np.float32], labels: Integers, groups: Objects, n_labels: int, k: int = N_NEIGHBOURS
) -> Floats:
    """(n, k) share of each label among the nearest other rows, weighted by their cosine."""
    k = min(k, len(labels) - 1)
    index = FaissIndex(vectors.shape[1])
    index.add(vectors)
    cosines, places = index.search(vectors, min(len(labels), k + 5))
    _, numbers = (
        np.unique(groups.astype(str), return_inverse=True) if len(groups) else (None, np.arange(len(labels)))
    )
    fits = (places >= 0) & (numbers[places] != numbers[:, None])
    fits &= np.cumsum(fits, axis=1) <= k
    weights = np.where(fits, np.maximum(cosines, 0.0), 0.0).astype(np.float64)
    votes = np.full((len(labels), n_labels), _FLOOR)
    for label in range(n_labels):
        votes[:, label] += (weights * (labels[places] == label)).sum(axis=1)
    return np.asarray(votes / votes.sum(axis=1, keepdims=True))


def read_words(texts: Objects, labels: Integers, folds: Integers, n_labels: int) -> Floats | None:
    """(n, k) of a classifier on words, cross-fitted; None where words say nothing about the given labels."""
    vectoriser = TfidfVectorizer(sublinear_tf=True, min_df=2, max_features=_MOST_WORDS, dtype=np.float32)
    try:
        features = vectoriser.fit_transform([str(text) for text in texts])
    except ValueError:  # no word stands in two texts
        return None
    probabilities, _ = cross_fit(features, labels, folds, n_labels)
    agreed = (probabilities.argmax(axis=1) == labels).mean()
    return probabilities if agreed > np.bincount(labels).max() / len(labels) else None


def stack(views: Sequence[Floats], labels: Integers, gold: Integers, folds: Integers) -> Floats:
    """(n, k) probabilities of the right label, learned from known rows outside the row's fold."""
    n_labels = views[0].shape[1]
    given = _GIVEN_WEIGHT * np.eye(n_labels)[labels]
    features = np.hstack([*(centre_logs(view, _FLOOR) for view in views), given])
    probabilities = np.empty((len(labels), n_labels))
    for fold in np.unique(folds):
        known = np.flatnonzero((gold != UNKNOWN) & (folds != fold))
        outside = folds == fold
        probabilities[outside] = _fit_stack(features[known], gold[known], features[outside], n_labels)
    return probabilities


def stack_shared(views: Sequence[Floats], labels: Integers, gold: Integers, folds: Integers) -> Floats:
    """The same where some label has no known row outside some fold: all labels share the weights of the views."""
    probabilities = np.empty_like(views[0])
    for fold in np.unique(folds):
        known = np.flatnonzero((gold != UNKNOWN) & (folds != fold))
        outside = np.flatnonzero(folds == fold)
        weights = fit_shared(views, labels, known, gold[known])
        probabilities[outside] = score_shared(weights, [view[outside] for view in views], labels[outside])
    return probabilities


def _fit_stack(features: Floats, truth: Integers, test: Floats, n_labels: int) -> Floats:
    present = np.unique(truth)
    scored = np.full((len(test), n_labels), 1e-9)
    if len(present) == 1:
        scored[:, present[0]] = 1.0
        return scored
    model = LogisticRegression(C=_STACK_REGULARISATION, max_iter=2000)
    model.fit(features, truth)
    scored[:, present] = model.predict_proba(test)
    return np.asarray(scored / scored.sum(axis=1, keepdims=True))


def _score_by_known(vectors: NDArray[np.float32], gold: Integers, folds: Integers, n_labels: int) -> Floats:
    """(n, k) of a classifier trained on known rows of other folds."""
    probabilities = np.empty((len(gold), n_labels))
    for fold in np.unique(folds):
        known = np.flatnonzero((gold != UNKNOWN) & (folds != fold))
        outside = folds == fold
        scores = fit_log_probabilities(
            vectors[known], gold[known], np.ones(len(known)), vectors[outside], n_labels
        )
        probabilities[outside] = np.exp(scores)
    return probabilities
