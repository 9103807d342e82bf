"""Macro-F1 and AUROC of scores, quick enough to be bootstrapped."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from counterpoise.core.records import Floats, Integers

METRICS = ("macro_f1", "auroc")
_LEAST_LOG = float(np.log(1e-9))  # one row without hope must not decide
_LOG_SHARPNESS = (-4.0, 3.0)
METRIC_NAMES = {"macro_f1": "macro-F1", "auroc": "AUROC"}
"""For people."""


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


def compute_drawn_macro_f1s(
    answers: Integers, truth: Integers, n_labels: int, counts: Integers | Floats
) -> Floats:
    """What `compute_macro_f1` gives for resamples of the rows.

    Args:
        answers: (n,) label indices given.
        truth: (n,) right ones.
        n_labels: k.
        counts: (d, n) how often each row is drawn, or what it weighs; every label that occurs is drawn at least once.

    Returns:
        (d,) means over the labels that occur.
    """
    is_label, weights = np.eye(n_labels), counts.astype(np.float64)
    rows, given = weights @ is_label[truth], weights @ is_label[answers]
    hits = weights @ (is_label[truth] * (answers == truth)[:, None])
    present = np.unique(truth)
    scores = np.ascontiguousarray(2 * hits[:, present] / (given + rows)[:, present])
    return np.asarray(scores.mean(axis=1))


def compute_auroc(scores: Floats, truth: Integers) -> float:
    """AUROC of (n, k) scores, one against the rest, mean over the labels that occur; NaN with one label only.

    With two labels the difference of the columns is ranked, so log-scores do as well as probabilities; with
    more, pass probabilities, or scores that are comparable between rows. Ties count half (Mann and Whitney).
    """
    columns, labels = _list_columns(scores, truth)
    if not len(labels):
        return float("nan")
    hits = truth[:, None] == labels[None, :]
    n_hits = hits.sum(axis=0)
    rank_sums = (_rank(columns) * hits).sum(axis=0)
    areas = (rank_sums - n_hits * (n_hits + 1) / 2) / (n_hits * (len(truth) - n_hits))
    return float(areas.mean())


def compute_log_loss(scores: Floats, truth: Integers) -> float:
    """Log-loss with the labels weighed alike, at the temperature under which it is least (Guo et al., 2017).

    Ways differ in how sure their scores are, which is no merit: at one temperature each the losses are of one scale.

    Args:
        scores: (n, k) log-scores.
        truth: (n,) right label indices.

    Returns:
        0 or more; the log of k is what a guess has.
    """
    logs = np.maximum(log_softmax(scores, axis=1), _LEAST_LOG)
    weights = 1 / np.bincount(truth)[truth]
    weights /= weights.sum()
    rows = np.arange(len(truth))

    def measure(log_sharpness: float) -> float:
        return -float(weights @ log_softmax(np.exp(log_sharpness) * logs, axis=1)[rows, truth])

    return float(minimize_scalar(measure, bounds=_LOG_SHARPNESS, method="bounded").fun)


def compute_drawn_aurocs(scores: Floats, truth: Integers, counts: Integers) -> Floats:
    """What `compute_auroc` gives for resamples of the rows; each column is sorted once for all of them.

    Args:
        scores: (n, k).
        truth: (n,) right label indices.
        counts: (d, n) how often each row is drawn; every label that occurs is drawn at least once.

    Returns:
        (d,) areas.
    """
    columns, labels = _list_columns(scores, truth)
    if not len(labels):
        return np.full(len(counts), np.nan)
    counts = counts.astype(np.int32)
    areas = np.empty((len(counts), len(labels)))
    for place, (label, column) in enumerate(zip(labels, columns.T, strict=True)):
        order = column.argsort()
        ordered, hits = column[order], (truth == label)[order]
        if np.isnan(ordered[-1]):
            areas[:, place] = np.nan
            continue
        # A hit stands above what is below its score, and level with half of what has it.
        others = np.zeros((len(counts), len(order) + 1), dtype=np.int32)
        np.cumsum(counts[:, order] * ~hits, axis=1, out=others[:, 1:])
        first, last = (np.searchsorted(ordered, ordered[hits], side=side) for side in ("left", "right"))
        drawn = counts[:, order[hits]]
        pairs = drawn.astype(np.int64) * (others[:, first] + others[:, last])
        areas[:, place] = pairs.sum(axis=1) / 2 / (drawn.sum(axis=1) * others[:, -1].astype(np.int64))
    return np.asarray(areas.mean(axis=1))


def draw_counts(truth: Integers, n_draws: int, generator: np.random.Generator) -> Integers:
    """(d, n) how often a resample has each row; of each label it has as many rows as there are."""
    members = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    rows = (
        np.concatenate([generator.choice(group, len(group)) for group in members]) for _ in range(n_draws)
    )
    return np.stack([np.bincount(picked, minlength=len(truth)) for picked in rows])


def _list_columns(scores: Floats, truth: Integers) -> tuple[Floats, Integers]:
    """(n, c) what is ranked, and (c,) the labels that it speaks for; none where `truth` has one label only."""
    labels = np.unique(truth)
    if len(labels) < 2:
        return scores[:, :0], labels[:0]
    if scores.shape[1] == 2:
        return (scores[:, 1] - scores[:, 0])[:, None], np.array([1])
    return scores[:, labels], labels


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
