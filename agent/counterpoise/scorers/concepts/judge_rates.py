"""How often a model that judges concepts is right, and what its answers then mean.

A judge that errs on a tenth of the texts says yes too often of a rare concept and too seldom of a common one. Its
sensitivity and specificity, counted on all answers of the user's whatever concept they are about, take that out: of
what it says of a sample of texts follow the share that has the concept (Rogan and Gladen) and, by Bayes, how likely a
text has it that got a yes or a no.

Paper: Rogan, Gladen (1978) Estimating prevalence from the results of a screening test.

    >>> rates = JudgeRates(found=45, n_present=50, cleared=45, n_absent=50)
    >>> said = np.array([1] * 18 + [0] * 82)
    >>> soft = rates.soften(said)
    >>> print(f"{rates.sensitivity:.2f} {soft.mean():.2f} {soft[0]:.1f} {soft[-1]:.2f}")
    0.90 0.10 0.5 0.01
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.gold import Gold

_PRIOR_ANSWERS = 10
"""Answers of either kind that the judge's accuracy over both stands for, where there are few of one kind."""

_FEWEST_ASKED = 40
_LEAST_SHARE = 0.01
_LEAST_SKILL = 0.1


@dataclass(frozen=True, slots=True)
class JudgeRates:
    """What a judge found of what is known.

    Args:
        found: texts known to have their concept that it says yes to.
        n_present: texts known to have it.
        cleared: texts known to be without it that it says no to.
        n_absent: texts known to be without it.
    """

    found: int
    n_present: int
    cleared: int
    n_absent: int

    @property
    def accuracy(self) -> float:
        """Share of right answers, with one right and one wrong answer added, 0..1."""
        return (self.found + self.cleared + 1) / (self.n_present + self.n_absent + 2)

    @property
    def sensitivity(self) -> float:
        """Share of yes among texts that have the concept, drawn towards the accuracy where few are known, 0..1."""
        return (self.found + _PRIOR_ANSWERS * self.accuracy) / (self.n_present + _PRIOR_ANSWERS)

    @property
    def specificity(self) -> float:
        """Share of no among texts without it, drawn likewise, 0..1."""
        return (self.cleared + _PRIOR_ANSWERS * self.accuracy) / (self.n_absent + _PRIOR_ANSWERS)

    def soften(self, said: Integers) -> Floats:
        """(m,) how likely each of a sample of texts has the concept, of (m,) answers 0 and 1."""
        alarm = 1.0 - self.specificity
        skill = max(_LEAST_SKILL, self.sensitivity - alarm)
        share = float(np.clip((said.mean() - alarm) / skill, _LEAST_SHARE, 1 - _LEAST_SHARE))
        yes = self.sensitivity * share / (self.sensitivity * share + alarm * (1 - share))
        no = (1 - self.sensitivity) * share
        no /= no + self.specificity * (1 - share)
        return np.where(said == 1, yes, no)


@dataclass(frozen=True, slots=True)
class JudgedShare:
    """What a judge's answers to a sample of texts mean for one concept, 0..1 each.

    Args:
        yes: how likely a text has the concept that it says yes to.
        no: that it says no to.
        share: of all texts.
    """

    yes: float
    no: float
    share: float

    def read(self, said: Floats) -> Floats:
        """(n,) probabilities of present, of the judge's (n,) probabilities of yes."""
        return np.where(said > 0.5, self.yes, self.no)

    def fill(self, like: Floats) -> Floats:
        """(n,) the share, for texts of which nothing is known."""
        return np.full(len(like), self.share)


def judge_share(rates: JudgeRates, said: Floats) -> JudgedShare | None:
    """What answers mean; None where fewer than forty texts were asked about.

    Args:
        rates: how often the judge is right.
        said: (n,) its probabilities of yes, NaN where it was not asked.
    """
    answers = (said[~np.isnan(said)] > 0.5).astype(np.int64)
    if len(answers) < _FEWEST_ASKED:
        return None
    soft = rates.soften(np.concatenate([answers, [0, 1]]))
    return JudgedShare(float(soft[-1]), float(soft[-2]), float(soft[:-2].mean()))


def count_rates(gold: Mapping[str, Gold], judged: Mapping[str, Floats]) -> JudgeRates:
    """What a judge found, over the answers to all concepts.

    Args:
        gold: by concept the answers.
        judged: by concept (n,) its probabilities of yes, NaN where it was not asked.
    """
    counts = np.zeros((2, 2), dtype=np.int64)
    for name, known in gold.items():
        if name in judged:
            rows = np.concatenate([known.audit_rows, known.training_rows])
            truth = np.concatenate([known.audit_truth, known.training_truth])
            asked = ~np.isnan(judged[name][rows])
            said = (judged[name][rows[asked]] > 0.5).astype(np.int64)
            np.add.at(counts, (truth[asked], said), 1)
    absent, present = counts
    return JudgeRates(int(present[1]), int(present.sum()), int(absent[0]), int(absent.sum()))
