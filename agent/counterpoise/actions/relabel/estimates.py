"""How good the relabelling is, estimated from audits alone: recall, precision, and what the first judge misses.

Recall is the share of the false negatives at hand that both judges together relabel. Where gold holds some of them it
goes by gold alone. Where it holds none it goes by planted positives, and is called an upper bound: somebody found the
known positives, and what nobody found may be harder.

Precision is the share of the relabelled that are right. What is not right was relabelled by a false alarm, and how
often these come only gold negatives can tell; without gold it is unknown, since planted random passages are easier than
mined ones. How many false negatives there are follows from the share that was relabelled (Rogan and Gladen).

Intervals are for the data at hand: what gold says is counted, the rest is drawn, rates (from Jeffreys' posterior) and
what came of them both. Passages of one query count for fewer where a judge treats them alike (see `rates`).

Paper: Rogan, Gladen (1978) "Estimating prevalence from the results of a screening test".

>>> from counterpoise.balance.rates import Rate
>>> found = estimate_prevalence(Rate(120, 1000), Rate(80, 100), Rate(5, 100))
>>> print(f"{found.value:.4f}")
0.0933
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.relabel.judge_audits import PlantedPassage
from counterpoise.actions.relabel.verdicts import Grade
from counterpoise.balance.rates import Rate, count_rate

_N_DRAWS = 4000
_LEAST_YOUDEN = 0.3
"""Sensitivity and specificity that together exceed one by less say nothing about a share."""

_Draws = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantity with its 95% interval; NaN where it is unknown.

    Args:
        value: the estimate.
        low: of the interval.
        high: of the interval.
        is_upper_bound: the quantity itself may be lower; value and interval are those of a bound.
    """

    value: float
    low: float
    high: float
    is_upper_bound: bool = False

    def as_dict(self) -> dict[str, float] | None:
        """Plain values; None where it is unknown."""
        return None if np.isnan(self.value) else {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        """`0.91 (0.84 to 0.95)`, `at most 0.91 (0.84 to 0.95)`, or `unknown`."""
        if np.isnan(self.value):
            return "unknown"
        said = f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"
        return f"at most {said}" if self.is_upper_bound else said


UNKNOWN = Estimate(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Estimates:
    """What the audits say of a relabelling.

    Args:
        recall: share of the false negatives among the candidates that are relabelled; an upper bound where gold holds
            no false negative.
        recall_known: what it rests on: those relabelled of the gold ones, or else of the planted.
        recall_planted: the same on planted positives.
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

    @property
    def sentence(self) -> str:
        """What recall and precision rest on, for people."""
        if np.isnan(self.recall.value):
            return ""
        if self.recall.is_upper_bound:
            line = (
                f"Recall is {self.recall}: an upper bound, measured on {self.recall_known.n:,} planted positives. "
                "False negatives that nobody found before may be harder; gold that holds some of them tells"
            )
        else:
            line = f"Recall is {self.recall}, measured on {self.recall_known.n:,} false negatives of the gold"
        if np.isnan(self.precision.value):
            why = (
                "the judges relabel right and wrong candidates nearly alike"
                if self.false_alarms.n
                else "only gold on candidates tells"
            )
            return f"{line}. Precision is unknown: {why}."
        return f"{line}. Precision is {self.precision}, measured on {self.false_alarms.n:,} wrong candidates of it."

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        known = self.recall_known
        recall = self.recall.as_dict()
        basis = "planted_positives" if self.recall.is_upper_bound else "gold"
        return {
            "sentence": self.sentence,
            "recall": {
                **recall,
                "k": known.k,
                "n": known.n,
                "is_upper_bound": self.recall.is_upper_bound,
                "measured_on": basis,
            }
            if recall
            else "unknown",
            "recall_on_planted": self.recall_planted.as_dict() or "unknown",
            "false_alarm_ratio_on_gold": self.false_alarms.as_dict() or "unknown",
            "precision": self.precision.as_dict() or "unknown",
            "n_false_negatives": self.n_false_negatives.as_dict() or "unknown",
            "first_judge_recall": self.first_recall.as_dict() or "unknown",
            "missed_of_unflagged": self.missed.as_dict() or "unknown",
        }


def estimate(
    known: Sequence[PlantedPassage],
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

    def count(some: Iterable[PlantedPassage]) -> Rate:
        return count_rate((one.query, one.is_relabelled(counts_worse=counts_worse)) for one in some)

    gold = [one for one in known if one.kind == "gold"]
    hidden = [one for one in gold if one.is_relevant]
    planted = [one for one in known if one.kind == "positive"]
    by_gold, by_planted = count(hidden), count(planted)
    false_alarms = count(one for one in gold if not one.is_relevant)
    sensitivity = by_gold if hidden else by_planted
    candidates = _Candidates(n_judged, n_relabelled, by_gold, sensitivity, false_alarms)
    return Estimates(
        recall=replace(candidates.estimate_recall(), is_upper_bound=not hidden),
        recall_known=sensitivity,
        recall_planted=by_planted,
        false_alarms=false_alarms,
        precision=candidates.estimate_precision(),
        n_false_negatives=candidates.estimate_number(),
        first_recall=_estimate_first_recall(
            hidden or planted, gold, Rate(n_confirmed, n_judged), n_unflagged, missed
        ),
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


class _Candidates:
    """What was relabelled among the candidates at hand, and what of it and of the rest may be false negatives.

    Candidates of gold are counted. Of the others it is known how many were relabelled; what is drawn is how many of
    these are false alarms, and how many false negatives were passed over.

    Args:
        n: candidates.
        n_relabelled: of these, the relabelled.
        gold: false negatives of gold that were relabelled.
        sensitivity: the rate at which false negatives are relabelled.
        false_alarms: wrong candidates of gold that were relabelled.
    """

    def __init__(self, n: int, n_relabelled: int, gold: Rate, sensitivity: Rate, false_alarms: Rate) -> None:
        self.n, self.n_relabelled = n, n_relabelled
        self.gold, self.sensitivity, self.false_alarms = gold, sensitivity, false_alarms
        self.found = Rate(n_relabelled, n)
        self.is_usable = _is_usable(self.found, sensitivity, false_alarms)
        if not sensitivity.n:
            return
        rates = np.maximum(_draw(sensitivity, 1), 1e-3)
        n_others = max(n - gold.n - false_alarms.n, 0)
        n_found = max(n_relabelled - gold.k - false_alarms.k, 0)
        # Without gold everything relabelled is taken for right, which makes false negatives as many as they can be.
        wrong = np.zeros(_N_DRAWS)
        if self.is_usable:
            wrong = self._draw_wrong(n_others, n_found, rates)
        self.right = n_found - wrong
        self.passed_over = _draw_failures(self.right, rates, sensitivity)
        self.wrong = false_alarms.k + wrong

    def estimate_recall(self) -> Estimate:
        """The share of the false negatives at hand that was relabelled."""
        if not self.sensitivity.n:
            return UNKNOWN
        found = self.gold.k + self.right
        totals = self.gold.n + self.right + self.passed_over
        rates = _draw(self.sensitivity, 1)
        return _summarise(
            self.sensitivity.value, np.where(totals > 0, found / np.maximum(totals, 1.0), rates)
        )

    def estimate_precision(self) -> Estimate:
        """The share of the relabelled that is right."""
        if not self.n_relabelled or not self.is_usable:
            return UNKNOWN
        se, fa = self.sensitivity.value, self.false_alarms.value
        share = _clip((self.found.value - fa) / (se - fa)) * se / self.found.value
        return _summarise(share, 1 - self.wrong / self.n_relabelled)

    def estimate_number(self) -> Estimate:
        """How many false negatives there are."""
        if not self.is_usable:
            return UNKNOWN
        se, fa = self.sensitivity.value, self.false_alarms.value
        value = _clip((self.found.value - fa) / (se - fa)) * self.n
        low, high = np.quantile(self.gold.n + self.right + self.passed_over, [0.025, 0.975])
        return Estimate(value, min(float(low), value), max(float(high), value))

    def _draw_wrong(self, n_others: int, n_found: int, rates: _Draws) -> _Draws:
        """How many of the relabelled candidates outside gold are false alarms."""
        alarms = _draw(self.false_alarms, 2)
        share = n_found / max(n_others, 1)
        n_wrong = n_others * (1 - np.clip((share - alarms) / np.maximum(rates - alarms, 0.05), 0.0, 1.0))
        return np.minimum(_draw_hits(n_wrong, alarms, self.false_alarms), n_found)


def _draw_hits(n: _Draws, rates: _Draws, measured: Rate) -> _Draws:
    """Hits among so many, as scattered by query as in what the rate was measured on."""
    scale = measured.n / measured.weight
    drawn = np.random.default_rng(6).binomial(np.rint(n / scale).astype(np.int64), rates)
    return np.asarray(drawn * scale, dtype=np.float64)


def _draw_failures(hits: _Draws, rates: _Draws, measured: Rate) -> _Draws:
    """How many were missed beside so many hits."""
    scale = measured.n / measured.weight
    drawn = np.random.default_rng(7).negative_binomial(np.maximum(hits / scale, 0.0) + 0.5, rates)
    return np.asarray(drawn * scale, dtype=np.float64)


def _estimate_first_recall(
    relevant: Sequence[PlantedPassage],
    gold: Sequence[PlantedPassage],
    confirmed: Rate,
    n_unflagged: int,
    missed: Rate,
) -> Estimate:
    """Confirmed over confirmed and missed; corrected for errors in both where gold tells them.

    Without gold the second judge's false alarms among the unflagged count as missed, so that the figure is a lower
    bound: the interval then reaches up to 1.
    """
    if not missed.n or not confirmed.k + missed.k:
        return UNKNOWN
    others = [one for one in gold if not one.is_relevant]
    second, second_alarms = (_count_confirmed(some) for some in (relevant, others))
    both, both_alarms = (
        count_rate((one.query, one.is_relabelled()) for one in some) for some in (relevant, others)
    )
    right, share = float(confirmed.k), missed.value
    rights: _Draws | float = right
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


def _count_confirmed(known: Sequence[PlantedPassage]) -> Rate:
    """Those that the second judge calls better or equal, of those it was asked about."""
    return count_rate(
        (one.query, one.second.grade is Grade.BETTER_OR_EQUAL) for one in known if one.second is not None
    )


def _is_usable(found: Rate, sensitivity: Rate, false_alarms: Rate) -> bool:
    if not (found.n and sensitivity.n and false_alarms.n):
        return False
    return sensitivity.value - false_alarms.value >= _LEAST_YOUDEN


def _draw(rate: Rate, turn: int) -> _Draws:
    """Plausible values of a share: draws from its Jeffreys posterior, the same in every run."""
    hits = rate.value * rate.weight
    return np.random.default_rng(turn).beta(hits + 0.5, rate.weight - hits + 0.5, _N_DRAWS)


def _correct(p: _Draws, se: _Draws, fa: _Draws) -> _Draws:
    return np.clip((p - fa) / np.maximum(se - fa, 0.05), 0.0, 1.0)


def _correct_value(p: Rate, se: Rate, fa: Rate) -> float:
    return float(_correct(*(np.array([rate.value]) for rate in (p, se, fa)))[0])


def _clip(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _summarise(value: float, draws: _Draws) -> Estimate:
    low, high = np.quantile(np.clip(draws, 0.0, 1.0), [0.025, 0.975])
    held = _clip(value)
    return Estimate(held, min(float(low), held), max(float(high), held))
