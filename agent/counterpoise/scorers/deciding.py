"""Which scorer takes the decisions about labels: who is adopted from a pool, and which proposals are refused.

It is the classifier, which costs no token, unless a scorer of the user's own is surely better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.guards import fault, guard
from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.audits import Audit
from counterpoise.scorers.family import SCORERS, FittedScorer, Scorer, ScorerRows
from counterpoise.students.calibration import calibrate_labels

_MOST_OFF = 1e-3
"""By so much the probabilities of a row may miss 1."""


def choose_decider(baseline: Audit, others: Mapping[str, Audit]) -> str:
    """The name of the scorer that decides instead of the classifier; "" where the classifier does.

    Args:
        baseline: audit of the classifier.
        others: audits of the scorers that may decide, by name.

    Returns:
        The one with the highest AUROC of those whose audit passes and whose interval lies above the classifier's.
    """
    better = {name: result.auc for name, result in others.items() if is_surely_better(result, baseline)}
    return max(better, key=lambda name: better[name]) if better else ""


def is_surely_better(result: Audit, baseline: Audit) -> bool:
    """Whether an audit passes and its AUROC interval lies above that of another."""
    return not result.is_weak and result.auc_low > baseline.auc_high


def score_out_of_fold(
    part: Scorer, rows: ScorerRows, folds: Integers, learned: Integers | None = None
) -> Floats:
    """(n, k) probabilities, each from a scorer that never saw the label of the row.

    Args:
        part: the scorer.
        rows: n, with their labels.
        folds: (n,) fold numbers; near-duplicates share one.
        learned: positions of those of them that it learns from; None for all.

    Raises:
        PartError: a scorer of the user's own raised, or what it gave is no table of probabilities.
    """
    if not hasattr(part, "fit"):
        return ask_scorer(part, fit_scorer(part, rows), rows)
    scores = np.zeros((len(rows), len(rows.label_names)))
    shown = np.arange(len(rows)) if learned is None else learned
    for fold in np.unique(folds):
        inside, outside = shown[folds[shown] != fold], np.flatnonzero(folds == fold)
        scores[outside] = ask_scorer(part, fit_scorer(part, rows.take(inside)), rows.take(outside))
    return scores


def fit_scorer(part: Scorer, rows: ScorerRows) -> FittedScorer:
    """A scorer that has learned from rows, or the one that learns nothing.

    Raises:
        PartError: it raised, or has neither `fit` nor `score`.
    """
    fit = getattr(part, "fit", None)
    fitted = part if fit is None else guard(SCORERS, part, fit, rows)
    if not hasattr(fitted, "score"):
        raise fault(SCORERS, part, "it has no `score`")
    return cast("FittedScorer", fitted)


def ask_scorer(part: Scorer, fitted: FittedScorer, rows: ScorerRows) -> Floats:
    """(n, k) probabilities for rows whose labels are not shown.

    Raises:
        PartError: it raised, or what it gave is no table of probabilities.
    """
    wanted = (len(rows), len(rows.label_names))
    if not len(rows):
        return np.empty(wanted)
    found = guard(SCORERS, part, _score, fitted, rows.hide_labels())
    if found.shape != wanted:
        message = f"it gave an array of shape {found.shape}, and not {wanted} for {wanted[0]} texts"
        raise fault(SCORERS, part, message)
    if not np.isfinite(found).all() or (found < 0).any() or np.abs(found.sum(axis=1) - 1).max() > _MOST_OFF:
        raise fault(SCORERS, part, "it gave rows that are no probabilities: each has to sum to 1")
    return found


def _score(fitted: FittedScorer, rows: ScorerRows) -> Floats:
    return np.asarray(fitted.score(rows), dtype=np.float64)


@dataclass(frozen=True)
class Decider:
    """A scorer of the user's own that takes the classifier's decisions.

    Args:
        part: the scorer.
        rows: n training rows with their labels.
        folds: (n,) their folds.
        out_of_fold: (n, k) what it says of them, cross-fitted.
    """

    part: Scorer
    rows: ScorerRows
    folds: Integers
    out_of_fold: Floats

    @cached_property
    def _fitted(self) -> FittedScorer:
        return fit_scorer(self.part, self.rows)

    def score_texts(self, texts: Sequence[str], vectors: Vectors) -> Floats:
        """(m, k) probabilities of m texts with their (m, d) vectors."""
        return ask_scorer(self.part, self._fitted, self._show(texts, vectors))

    def score_without_sources(self, texts: Sequence[str], vectors: Vectors, source_rows: Integers) -> Floats:
        """(m, k) calibrated probabilities of edits, by a scorer that never saw the fold of their (m,) sources."""
        shown = self._show(texts, vectors)
        scores = np.zeros((len(shown), len(self.rows.label_names)))
        for fold in np.unique(self.folds[source_rows]):
            mine = np.flatnonzero(self.folds[source_rows] == fold)
            fitted = fit_scorer(self.part, self.rows.take(np.flatnonzero(self.folds != fold)))
            scores[mine] = ask_scorer(self.part, fitted, shown.take(mine))
        return calibrate_labels(self.out_of_fold, self.rows.labels, scores)

    def _show(self, texts: Sequence[str], vectors: Vectors) -> ScorerRows:
        column = np.empty(len(texts), dtype=object)
        column[:] = list(texts)
        return replace(self.rows, texts=column, vectors=vectors, labels=np.full(len(texts), -1))
