"""Audits: how reliable a scorer is, measured on records whose answer is known.

No model's answer is believed because a model gave it. A scorer is used for a decision only where its audit is
better than chance and better than the cheaper scorer; otherwise the report says which audit failed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from counterpoise.balance import wilson_interval
from counterpoise.metrics import compute_auroc
from counterpoise.records import Floats, Integers

WEAK_AUROC = 0.6
_N_RESAMPLES = 500


@dataclass(frozen=True, slots=True)
class Audit:
    """The measured reliability of one scorer on one question.

    Args:
        n: records it was measured on.
        accuracy: share of right answers, with its Wilson interval `low`..`high`.
        kappa: Cohen's kappa, agreement beyond chance, -1..1.
        auc: area under the ROC curve; with more than two labels the mean of one against the rest. The interval
            is a bootstrap over records. NaN where only one answer occurs.
        brier: mean squared distance of the probabilities from the truth, 0..2; lower is better calibrated.
        by_label: accuracy for each true label index that occurs.
    """

    n: int
    accuracy: float
    low: float
    high: float
    kappa: float
    auc: float
    auc_low: float
    auc_high: float
    brier: float
    by_label: dict[int, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @property
    def is_weak(self) -> bool:
        """Whether it may not decide anything: the interval of its AUROC touches 0.6, or is unknown."""
        return not self.auc_low > WEAK_AUROC


def audit(probabilities: Floats, truth: Integers) -> Audit:
    """Measure a scorer.

    Args:
        probabilities: (n, k), rows summing to 1, given by a scorer that was not shown these records' answers.
        truth: (n,) right label indices in 0..k-1.

    Raises:
        ValueError: no records, or shapes that do not belong together.
    """
    n = len(truth)
    if n == 0 or probabilities.ndim != 2 or len(probabilities) != n:
        raise ValueError(f"probabilities {probabilities.shape} for {n} answers")
    answers = probabilities.argmax(axis=1)
    n_right = int((answers == truth).sum())
    low, high = wilson_interval(n_right, n)
    auc, auc_low, auc_high = measure_auroc(probabilities, truth)
    target = np.zeros_like(probabilities)
    target[np.arange(n), truth] = 1.0
    return Audit(
        n=n,
        accuracy=n_right / n,
        low=float(low),
        high=float(high),
        kappa=_measure_kappa(answers, truth),
        auc=auc,
        auc_low=auc_low,
        auc_high=auc_high,
        brier=float(((probabilities - target) ** 2).sum(axis=1).mean()),
        by_label={int(label): float((answers[truth == label] == label).mean()) for label in np.unique(truth)},
    )


def measure_auroc(scores: Floats, truth: Integers) -> tuple[float, float, float]:
    """AUROC of (n, k) scores with a stratified bootstrap interval: value, low, high; NaN where it is undefined.

    One against the rest, averaged over the labels that occur; for two labels the usual AUROC.
    """
    value = compute_auroc(scores, truth)
    if np.isnan(value):
        return value, value, value
    generator = np.random.default_rng(0)
    members = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    draws = np.empty(_N_RESAMPLES)
    for draw in range(_N_RESAMPLES):
        rows = np.concatenate([generator.choice(group, len(group)) for group in members])
        draws[draw] = compute_auroc(scores[rows], truth[rows])
    low, high = np.quantile(draws, [0.025, 0.975])
    # Resampling cannot leave a perfect score; a rule-of-three bound keeps a handful of rows from looking sure.
    rarest = min(len(group) for group in members)
    if low >= 1.0:
        low = 1.0 - 3.0 / (3.0 + rarest)
    return value, float(low), float(high)


def _measure_kappa(answers: NDArray[np.int64], truth: Integers) -> float:
    if len(np.unique(np.concatenate([answers, truth]))) < 2:
        return 0.0
    return float(cohen_kappa_score(truth, answers))
