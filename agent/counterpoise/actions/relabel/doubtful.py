"""Rows whose label is likelier wrong than right and that nobody has decided about: kept out of what teaches and tests.

They are shown to no model as an example, no scorer is audited by their label, and no way of training is chosen by it.
How many there are is estimated, never a share that was set:

- where labels are known, from probabilities that were learned from these: the given label is less likely than another;
- where none are, by two rules that have to agree. By the confident joint (Northcutt, Jiang and Chuang, 2021, Confident
  learning) a row is suspect where another label has at least the probability that rows of that label have on average,
  and more than any other such label has. And all views, which see the row's words and its neighbours apart, name one
  and the same other label. On labels as they were published at most 1.3% of the rows are such (two trial draws of
  four data sets with fifteen rows of a rare label); with a tenth of wrong ones planted they are half of these.

Of no label more than half of the rows are kept out: what is then left is the less doubtful half.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.relabel.suspects import KNOWN_LABELS, Suspects
from counterpoise.core.records import Floats, Integers


def find_doubtful(labels: Integers, suspects: Suspects, *, is_learned: bool) -> NDArray[np.bool_]:
    """(n,) rows whose label is likelier wrong than right.

    Args:
        labels: (n,) given label indices.
        suspects: the rows, scored.
        is_learned: whether their probabilities were learned from known labels.
    """
    rows = np.arange(len(labels))
    if is_learned:
        found = suspects.probabilities[rows, suspects.proposed] > suspects.probabilities[rows, labels]
    else:
        views = [view for name, view in suspects.views.items() if name != KNOWN_LABELS]
        answers = np.stack([view.argmax(axis=1) for view in views])
        is_agreed = (answers == answers[0]).all(axis=0) & (answers[0] != labels)
        found = is_agreed & (join_confidently(labels, views[0]) != labels)
    doubtful = np.asarray(found, dtype=np.bool_)
    for label in np.unique(labels[doubtful]):
        mine = np.flatnonzero(doubtful & (labels == label))
        most = int((labels == label).sum()) // 2
        if len(mine) > most:
            order = np.argsort(-suspects.scores[mine], kind="stable")
            doubtful[mine[order[most:]]] = False
    return doubtful


def join_confidently(labels: Integers, probabilities: Floats) -> Integers:
    """(n,) the label that each row is counted under in the confident joint; its own where there is none.

    Args:
        labels: (n,) given label indices.
        probabilities: (n, k), each from a scorer that did not see the row's label.
    """
    n_labels = probabilities.shape[1]
    present = np.bincount(labels, minlength=n_labels) > 0
    thresholds = np.array(
        [
            probabilities[labels == label, label].mean() if present[label] else np.inf
            for label in range(n_labels)
        ]
    )
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = confident.argmax(axis=1)
    return np.asarray(np.where(confident.max(axis=1) > 0, best, labels))
