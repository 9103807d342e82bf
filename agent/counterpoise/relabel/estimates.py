"""How good the relabelling is, estimated from audits alone: recall, precision, and what the first judge misses.

Recall is the share of known relevant passages that both judges together relabel. Its interval is for what was found
among the candidates at hand, not for the judges' rate: a few hundred false negatives are a draw of their own, which a
rate's interval leaves out (it held the truth 91 times in a hundred). Precision follows from recall, from the share of
gold negatives that are relabelled, and from the share of all candidates that were (Rogan and Gladen's correction);
without gold it is unknown, because planted random passages are easier than mined ones.

Paper: Rogan, Gladen (1978) "Estimating prevalence from the results of a screening test".

>>> from counterpoise.relabel.judge_audits import Rate
>>> found = estimate_prevalence(Rate(120, 1000), Rate(80, 100), Rate(5, 100))
>>> print(f"{found.value:.4f}")
0.0933
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.relabel.judge_audits import Planted, Rate
from counterpoise.relabel.verdicts import Grade

_N_DRAWS = 4000
_LEAST_YOUDEN = 0.3
"""Sensitivity and specificity that together exceed one by less say nothing about a share."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantity with its 95% interval; NaN where it is unknown."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float] | None:
        """Plain values; None where it is unknown."""
        return None if np.isnan(self.value) else {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        """`0.91 (0.84 to 0.95)`, or `unknown`."""
        return "unknown" if np.isnan(self.value) else f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Estimates:
    """What the audits say of a relabelling.

    Args:
        recall: share of the false negatives among the candidates that are relabelled.
        recall_known: the same on passages that are known to be relevant, planted or gold.
        recall_planted: the same on planted positives alone.
        false_alarms: share of wrong candidates that are relabelled, on gold.
        precision: share of the relabelled that are right.
        n_false_negatives: false negatives among the candidates, found or not.
        first_recall: share of what the second judge confirms that the first one flags; without gold only its lower
            end is known.
        missed: of unflagged candidates that the second judge was asked about, those it calls better or equal.
    """

    recall: Estimate
    recall_known: Rate
    recall_planted: Rate
    false_alarms: Rate
    precision: Estimate
    n_false_negatives: Estimate
    first_recall: Estimate
    missed: Rate

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        known = self.recall_known
        recall = self.recall.as_dict()
        return {
            "recall": {**recall, "k": known.k, "n": known.n} if recall else "unknown",
            "recall_on_planted": self.recall_planted.as_dict() or "unknown",
            "false_alarm_ratio_on_gold": self.false_alarms.as_dict() or "unknown",
            "precision": self.precision.as_dict() or "unknown",
            "n_false_negatives": self.n_false_negatives.as_dict() or "unknown",
            "first_judge_recall": self.first_recall.as_dict() or "unknown",
            "missed_of_unflagged": self.missed.as_dict() or "unknown",
        }


def estimate(
    known: Sequence[Planted],
    *,
    n_judged: int,
    n_relabelled: int,
    n_confirmed: int,
    n_unflagged: int,
    missed: Rate,
    counts_worse: bool = False,
) -> Estimates:
    """Estimates for a relabelling.

    Args:
        known: planted passages and gold candidates, with both judges' answers.
        n_judged: candidates that were judged.
        n_relabelled: those that the judges relabelled, before the ambiguity guard.
        n_confirmed: flagged candidates that the second judge called better or equal.
        n_unflagged: candidates that the first judge refused.
        missed: of a random part of these, those that the second judge called better or equal.
        counts_worse: whether what is relevant but worse was relabelled, too.
    """

    def count(some: Sequence[Planted]) -> Rate:
        return Rate(sum(one.is_relabelled(counts_worse=counts_worse) for one in some), len(some))

    relevant = [one for one in known if one.is_relevant]
    planted = [one for one in relevant if one.kind == "positive"]
    gold = [one for one in known if one.kind == "gold" and not one.is_relevant]
    recall = count(relevant)
    false_alarms = count(gold)
    relabelled = Rate(n_relabelled, n_judged)
    prevalence = estimate_prevalence(relabelled, recall, false_alarms)
    return Estimates(
        recall=_estimate_recall(
            recall, count([one for one in relevant if one.kind == "gold"]), relabelled, false_alarms
        ),
        recall_known=recall,
        recall_planted=count(planted),
        false_alarms=false_alarms,
        precision=_estimate_precision(relabelled, recall, false_alarms),
        n_false_negatives=Estimate(
            *(end * n_judged for end in (prevalence.value, prevalence.low, prevalence.high))
        ),
        first_recall=_estimate_first_recall(known, Rate(n_confirmed, n_judged), n_unflagged, missed),
        missed=missed,
    )


def estimate_prevalence(found: Rate, sensitivity: Rate, false_alarms: Rate) -> Estimate:
    """The true share behind a share that an imperfect judge found.

    Args:
        found: what the judge found.
        sensitivity: share of true ones that it finds.
        false_alarms: share of others that it finds.

    Returns:
        Unknown where nothing was measured, or where the judge is too close to guessing.
    """
    if not _is_usable(found, sensitivity, false_alarms):
        return UNKNOWN
    p, se, fa = (_draw(rate, turn) for turn, rate in enumerate((found, sensitivity, false_alarms)))
    value = (found.value - false_alarms.value) / (sensitivity.value - false_alarms.value)
    return _summarise(value, _correct(p, se, fa))


def _estimate_recall(known: Rate, gold: Rate, found: Rate, false_alarms: Rate) -> Estimate:
    """The share of the false negatives at hand that was relabelled.

    What gold says of them is counted; the others, as many as there seem to be, are drawn at the rate that the known
    ones give. Without gold every relabelled passage is taken for right, which makes them as many as they can be.
    """
    if not known.n:
        return UNKNOWN
    rates = _draw(known, 1)
    if _is_usable(found, known, false_alarms):
        shares = _correct(_draw(found, 0), rates, _draw(false_alarms, 2))
    else:
        shares = np.clip(found.k / max(found.n, 1) / rates, 0.0, 1.0)
    n_others = np.maximum(np.rint(shares * found.n).astype(np.int64) - gold.n, 0)
    n_found = gold.k + np.random.default_rng(6).binomial(n_others, rates)
    totals = n_others + gold.n
    return _summarise(known.value, np.where(totals > 0, n_found / np.maximum(totals, 1), rates))


def _estimate_precision(found: Rate, sensitivity: Rate, false_alarms: Rate) -> Estimate:
    if not found.k or not _is_usable(found, sensitivity, false_alarms):
        return UNKNOWN
    p, se, fa = (_draw(rate, turn) for turn, rate in enumerate((found, sensitivity, false_alarms)))
    share = (found.value - false_alarms.value) / (sensitivity.value - false_alarms.value)
    return _summarise(share * sensitivity.value / found.value, _correct(p, se, fa) * se / p)


def _estimate_first_recall(
    known: Sequence[Planted], confirmed: Rate, n_unflagged: int, missed: Rate
) -> Estimate:
    """Confirmed over confirmed and missed; corrected for errors in both where gold tells them.

    Without gold the second judge's false alarms among the unflagged count as missed, so that the figure is a lower
    bound: the interval then reaches up to 1.
    """
    if not missed.n or not confirmed.k + missed.k:
        return UNKNOWN
    relevant = [one for one in known if one.is_relevant]
    others = [one for one in known if one.kind == "gold" and not one.is_relevant]
    second, second_alarms = (_count_confirmed(some) for some in (relevant, others))
    both, both_alarms = (
        Rate(sum(one.is_relabelled() for one in some), len(some)) for some in (relevant, others)
    )
    right, share = float(confirmed.k), missed.value
    rights: NDArray[np.float64] | float = right
    shares = _draw(missed, 3)
    is_corrected = _is_usable(missed, second, second_alarms) and _is_usable(confirmed, both, both_alarms)
    if is_corrected:
        # Of the confirmed and of what would be, only what is right counts.
        right = confirmed.n * _correct_value(confirmed, both, both_alarms) * both.value
        share = _correct_value(missed, second, second_alarms) * second.value
        found, rates = _draw(confirmed, 0), _draw(both, 1)
        rights = confirmed.k * _correct(found, rates, _draw(both_alarms, 2)) * rates / found
        shares = _correct(shares, _draw(second, 4), _draw(second_alarms, 5)) * _draw(second, 4)
    if not right + share:
        return UNKNOWN
    draws = np.maximum(rights, 1e-9) / np.maximum(rights + shares * n_unflagged, 1e-9)
    found_share = _summarise(right / (right + share * n_unflagged), draws)
    return found_share if is_corrected else replace(found_share, high=1.0)


def _count_confirmed(known: Sequence[Planted]) -> Rate:
    """Those that the second judge calls better or equal, of those it was asked about."""
    asked = [one.second for one in known if one.second is not None]
    return Rate(sum(one.grade is Grade.BETTER_OR_EQUAL for one in asked), len(asked))


def _is_usable(found: Rate, sensitivity: Rate, false_alarms: Rate) -> bool:
    if not (found.n and sensitivity.n and false_alarms.n):
        return False
    return sensitivity.value - false_alarms.value >= _LEAST_YOUDEN


def _draw(rate: Rate, turn: int) -> NDArray[np.float64]:
    """Plausible values of a share: draws from its Jeffreys posterior, the same in every run."""
    return np.random.default_rng(turn).beta(rate.k + 0.5, rate.n - rate.k + 0.5, _N_DRAWS)


def _correct(p: NDArray[np.float64], se: NDArray[np.float64], fa: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip((p - fa) / np.maximum(se - fa, 0.05), 0.0, 1.0)


def _correct_value(p: Rate, se: Rate, fa: Rate) -> float:
    return float(_correct(*(np.array([rate.value]) for rate in (p, se, fa)))[0])


def _summarise(value: float, draws: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(np.clip(draws, 0.0, 1.0), [0.025, 0.975])
    held = min(max(value, 0.0), 1.0)
    return Estimate(held, min(float(low), held), max(float(high), held))
