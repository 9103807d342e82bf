"""Macro-F1 and AUROC of scores, quick enough to be bootstrapped."""

from __future__ import annotations

import numpy as np

from counterpoise.records import Floats, Integers

METRICS = ("macro_f1", "auroc")


def compute_macro_f1(
    answers: Integers,
    truth: Integers,
    n_labels: int,
    *,
    equalise: bool = False,
    shares: Integers | None = None,
) -> float:
    """Mean over the labels that occur in `truth` of 2 hits / (answers + rows).

    Args:
        answers: (n,) label indices given.
        truth: (n,) right ones.
        n_labels: k.
        equalise: count every label as if it had as many rows as the others. On data that is skew the usual
            macro-F1 rewards ways that suit the skew; the data a repair is for is not skew.
        shares: (k,) count the labels as if they were as common as this instead, in any unit.
    """
    table = np.bincount(truth * n_labels + answers, minlength=n_labels**2).reshape(n_labels, n_labels)
    table = table.astype(np.float64)
    rows = table.sum(axis=1)
    present = rows > 0
    if equalise or shares is not None:
        wanted = np.ones(n_labels) if shares is None else shares.astype(np.float64)
        table[present] *= (wanted[present] / rows[present])[:, None]
        rows = table.sum(axis=1)
    hits, given = np.diag(table), table.sum(axis=0)
    return float((2 * hits[present] / (given[present] + rows[present])).mean())


def compute_auroc(scores: Floats, truth: Integers) -> float:
    """AUROC of (n, k) scores, one against the rest, mean over the labels that occur; NaN with one label only.

    With two labels the difference of the columns is ranked, so log-scores do as well as probabilities; with
    more, pass probabilities, or scores that are comparable between rows. Ties count half (Mann and Whitney).
    """
    labels = np.unique(truth)
    if len(labels) < 2:
        return float("nan")
    if scores.shape[1] == 2:
        columns, labels = (scores[:, 1] - scores[:, 0])[:, None], np.array([1])
    else:
        columns = scores[:, labels]
    hits = truth[:, None] == labels[None, :]
    n_hits = hits.sum(axis=0)
    rank_sums = (_rank(columns) * hits).sum(axis=0)
    areas = (rank_sums - n_hits * (n_hits + 1) / 2) / (n_hits * (len(truth) - n_hits))
    return float(areas.mean())


def _rank(columns: Floats) -> Floats:
    """Ranks from 1 within each column, ties at their mean; a column with a NaN is NaN.

    As `scipy.stats.rankdata`, whose checks take longer than its work where it is called for every draw of a bootstrap.
    """
    ranks = np.empty(columns.shape)
    for place, column in enumerate(columns.T):
        order = column.argsort()
        ordered = column[order]
        if np.isnan(ordered[-1]):
            ranks[:, place] = np.nan
            continue
        bounds = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1], [True])))
        n_tied = bounds[1:] - bounds[:-1]
        ranks[order, place] = np.repeat(bounds[:-1] + (n_tied + 1) / 2, n_tied)
    return ranks
