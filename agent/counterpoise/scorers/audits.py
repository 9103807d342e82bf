"""Audits: how reliable a scorer is, measured on records whose answer is known.

No model's answer is believed because a model gave it. A scorer is used for a decision only where its audit is
better than chance and better than the cheaper scorer; otherwise the report says which audit failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.balance.intervals import wilson_interval
from counterpoise.balance.rates import Rate, count_rate
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.students.metrics import compute_auroc, compute_drawn_aurocs, draw_counts

WEAK_AUROC = 0.6
WEAK_KAPPA = 0.4
"""A language model whose kappa may be lower than this does not label the rest."""

_N_RESAMPLES = 500
_N_BINS = 10
_MOST_PAIRED_ROWS = 1_000  # up to so many rows all pairs are held in memory
_MOST_CELLS = 2_000_000  # draws x rows at a time


@dataclass(frozen=True, slots=True)
class PartAudit:
    """Accuracy in one part of the audited records: those of a label, or of a cell; `low`..`high` by Wilson."""

    n: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Audit:
    """The measured reliability of one scorer on one question.

    Args:
        n: records it was measured on.
        accuracy: share of right answers, with its Wilson interval `low`..`high`.
        kappa: Cohen's kappa, agreement beyond chance, -1..1; `kappa_low`..`kappa_high` is its 95% interval.
        auc: area under the ROC curve; with more than two labels the mean of one against the rest. The interval
            is a bootstrap over records. NaN where only one answer occurs.
        brier: mean squared distance of the probabilities from the truth, 0..2; lower is better calibrated.
        by_label: accuracy for each true label index that occurs.
        calibration_error: mean distance of the probability of the given answer from how often such answers are
            right, over ten bins of equal size, 0..1.
        parts: accuracy with its interval for each label and each cell, by name.
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
    kappa_low: float = float("nan")
    kappa_high: float = float("nan")
    calibration_error: float = float("nan")
    parts: Mapping[str, PartAudit] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @property
    def is_weak(self) -> bool:
        """Whether it may not decide anything: the interval of its AUROC touches 0.6, or is unknown."""
        return not self.auc_low > WEAK_AUROC


def audit(
    probabilities: Floats,
    truth: Integers,
    *,
    names: tuple[str, ...] = (),
    cells: Objects | None = None,
    groups: Objects | None = None,
) -> Audit:
    """Measure a scorer.

    Args:
        probabilities: (n, k), rows summing to 1, given by a scorer that was not shown these records' answers.
        truth: (n,) right label indices in 0..k-1.
        names: (k,) names of the answers, for `parts`; without them these are numbers.
        cells: (n,) the part of the data that each record stands in, by name; "" for none.
        groups: (n,) names of what records come from together (a query); intervals of AUROC, accuracy and kappa go by
            them. Without them each record comes alone.

    Raises:
        ValueError: no records, or shapes that do not belong together.
    """
    n = len(truth)
    if n == 0 or probabilities.ndim != 2 or len(probabilities) != n:
        raise ValueError(f"probabilities {probabilities.shape} for {n} answers")
    answers = probabilities.argmax(axis=1)
    right = answers == truth
    n_right = int(right.sum())
    rate = Rate(n_right, n) if groups is None else count_rate(zip(groups, right.tolist(), strict=True))
    low, high = rate.interval
    auc, auc_low, auc_high = measure_auroc(probabilities, truth, groups)
    kappa, kappa_low, kappa_high = measure_kappa(answers, truth, rate)
    masks = {(names[label] if names else str(label)): truth == label for label in np.unique(truth)}
    if cells is not None:
        masks |= {str(cell): cells == cell for cell in np.unique(cells.astype(str)) if cell}
    target = np.zeros_like(probabilities)
    target[np.arange(n), truth] = 1.0
    return Audit(
        n=n,
        accuracy=n_right / n,
        low=float(low),
        high=float(high),
        kappa=kappa,
        auc=auc,
        auc_low=auc_low,
        auc_high=auc_high,
        brier=float(((probabilities - target) ** 2).sum(axis=1).mean()),
        by_label={int(label): float((answers[truth == label] == label).mean()) for label in np.unique(truth)},
        kappa_low=kappa_low,
        kappa_high=kappa_high,
        calibration_error=_measure_calibration(probabilities.max(axis=1), right),
        parts={name: _audit_part(right[mask]) for name, mask in masks.items()},
    )


def measure_auroc(
    scores: Floats, truth: Integers, groups: Objects | None = None
) -> tuple[float, float, float]:
    """AUROC of (n, k) scores with a stratified bootstrap interval: value, low, high; NaN where it is undefined.

    One against the rest, averaged over the labels that occur; for two labels the usual AUROC. With `groups`
    whole groups are drawn.
    """
    value = compute_auroc(scores, truth)
    if np.isnan(value):
        return value, value, value
    generator = np.random.default_rng(0)
    members = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    if groups is not None and len(np.unique(groups)) < len(truth):
        draws = _resample_groups(scores, truth, groups, generator)
    elif scores.shape[1] == 2 and len(members) == 2 and len(truth) <= _MOST_PAIRED_ROWS:
        draws = _resample_pairs(scores[:, 1] - scores[:, 0], members, generator)
    else:
        draws = _resample_rows(scores, truth, generator)
    if not len(draws):
        return value, 0.0, 1.0
    low, high = np.quantile(draws, [0.025, 0.975])
    # Resampling cannot leave a perfect score; a rule-of-three bound keeps a handful of rows from looking sure.
    rarest = min(len(group) for group in members)
    if low >= 1.0:
        low = 1.0 - 3.0 / (3.0 + rarest)
    return value, float(low), float(high)


def _resample_pairs(
    scores: Floats, members: list[NDArray[np.int64]], generator: np.random.Generator
) -> Floats:
    """(_N_RESAMPLES,) AUROCs of two labels from the table of all pairs, each row drawn so often."""
    below, above = (scores[group] for group in members)
    wins = np.sign(above[:, None] - below[None, :]) / 2 + 0.5
    sizes = [len(group) for group in members]
    counts = [generator.multinomial(size, np.full(size, 1 / size), size=_N_RESAMPLES) for size in sizes]
    return np.asarray(
        np.einsum("ra,ab,rb->r", counts[1], wins, counts[0], optimize=True) / (sizes[0] * sizes[1])
    )


def _resample_groups(
    scores: Floats, truth: Integers, groups: Objects, generator: np.random.Generator
) -> Floats:
    """AUROCs with whole groups drawn; draws that lack a label are left out."""
    names, places = np.unique(groups.astype(str), return_inverse=True)
    n_at_once = max(1, _MOST_CELLS // len(truth))
    found = []
    for first in range(0, _N_RESAMPLES, n_at_once):
        size = (min(n_at_once, _N_RESAMPLES - first), len(names))
        picked = generator.multinomial(size[1], np.full(size[1], 1 / size[1]), size=size[0])[:, places]
        is_whole = np.all([picked[:, truth == label].any(axis=1) for label in np.unique(truth)], axis=0)
        if is_whole.any():
            found.append(compute_drawn_aurocs(scores, truth, picked[is_whole].astype(np.int64)))
    return np.concatenate(found) if found else np.empty(0)


def _resample_rows(scores: Floats, truth: Integers, generator: np.random.Generator) -> Floats:
    """(_N_RESAMPLES,) AUROCs of any number of labels, as many draws at a time as fit."""
    n_at_once = max(1, _MOST_CELLS // len(truth))
    sizes = (min(n_at_once, _N_RESAMPLES - first) for first in range(0, _N_RESAMPLES, n_at_once))
    return np.concatenate(
        [compute_drawn_aurocs(scores, truth, draw_counts(truth, size, generator)) for size in sizes]
    )


def measure_kappa(
    answers: NDArray[np.int64], truth: Integers, rate: Rate | None = None
) -> tuple[float, float, float]:
    """Cohen's kappa of two raters with its interval: value, low, high.

    The interval is Wilson's of the agreement, with the agreement by chance held as it is: it stays honest for a
    dozen records and for agreement without exception, where a normal interval does not. `rate` is the agreement as
    counted by groups, where records come in such.
    """
    n = len(truth)
    rate = rate or Rate(int((answers == truth).sum()), n)
    agreed = rate.k
    low, high = rate.interval
    shares = [
        np.bincount(side, minlength=int(max(answers.max(), truth.max())) + 1) / n for side in (answers, truth)
    ]
    chance = float((shares[0] * shares[1]).sum())
    if chance >= 1.0:
        return 0.0, -1.0, 1.0
    value, lower, upper = ((share - chance) / (1 - chance) for share in (agreed / n, low, high))
    return float(value), float(lower), float(upper)


def describe_audit(
    name: str, question: str, result: Audit | None, *, role: str, price: float | None, note: str
) -> dict[str, Any]:
    """A line of the report (`report.schema.ScorerAudit`).

    Args:
        name: of the scorer.
        question: what it answers.
        result: its audit; None where there is none.
        role: `used`, `reported` or `refused`.
        price: tokens for 1,000 records.
        note: why, a sentence.
    """
    fields = ("accuracy", "low", "high", "kappa", "auc", "auc_low", "auc_high")
    values = {field: None if result is None else getattr(result, field) for field in fields}
    # JSON knows no number that is none.
    values = {
        field: None if value is not None and value != value else value for field, value in values.items()
    }
    return {
        "name": name,
        "question": question,
        "n": 0 if result is None else result.n,
        **values,
        "role": role,
        "price_per_1000": price,
        "note": note,
    }


def _measure_calibration(sureness: Floats, right: NDArray[np.bool_]) -> float:
    """Expected calibration error over bins of equal size."""
    bins = np.array_split(np.argsort(sureness, kind="stable"), min(_N_BINS, len(right)))
    return float(
        sum(abs(sureness[rows].mean() - right[rows].mean()) * len(rows) for rows in bins) / len(right)
    )


def _audit_part(right: NDArray[np.bool_]) -> PartAudit:
    low, high = wilson_interval(int(right.sum()), len(right))
    return PartAudit(len(right), float(right.mean()), float(low), float(high))
