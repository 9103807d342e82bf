"""Scorers of one concept together: how much each weighs, and the way from their sum to a probability."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.concepts.rankers import FittedRanker, can_train, divide_answers
from counterpoise.scorers.concepts.views import Views
from counterpoise.students.linear import find_threads
from counterpoise.students.metrics import compute_auroc


def cross_fit_stack(scores: Mapping[str, Floats], truth: Integers) -> Floats | None:
    """(m,) probabilities of present, each from weights and a curve that were not shown its answer.

    Args:
        scores: by name (m,) cross-fitted scores of answered texts.
        truth: (m,) their answers.

    Returns:
        None where the answers are too few.
    """
    present, folds = np.zeros(len(truth)), divide_answers(truth)
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        if not can_train(truth[inside]):
            return None
        weights = weigh_scorers({name: column[inside] for name, column in scores.items()}, truth[inside])
        total = np.sum([weight * scores[name] for name, weight in weights.items()], axis=0)
        present[outside] = fit_calibration(total[inside], truth[inside])(total[outside])[:, 1]
    return present


def weigh_scorers(scores: Mapping[str, Floats], truth: Integers) -> dict[str, float]:
    """Weights of a stack from cross-fitted scores: the square of what the AUROC has beyond chance, summing to 1.

    A scorer at chance gets next to nothing, so noise among the scorers cannot pull the others down. Without answers of
    both kinds all weigh alike.

    Args:
        scores: by name (m,) scores of answered texts.
        truth: (m,) their answers.
    """
    if not can_train(truth):
        return dict.fromkeys(scores, 1.0 / max(1, len(scores)))
    skill = {
        name: max(0.0, compute_auroc(np.column_stack([-column, column]), truth) - 0.5) ** 2
        for name, column in scores.items()
    }
    total = sum(skill.values())
    return {name: value / total if total else 1.0 / len(skill) for name, value in skill.items()}


@dataclass(frozen=True, slots=True)
class Calibration:
    """From scores to probabilities: a logistic curve with a slope of at least 0."""

    slope: float
    offset: float

    def __call__(self, scores: Floats) -> Floats:
        """(n, 2) probabilities of absent and present."""
        present = expit(self.slope * scores + self.offset)
        return np.column_stack([1.0 - present, present])


def fit_calibration(scores: Floats, truth: Integers, soft: Floats | None = None) -> Calibration:
    """Platt's curve through answered scores, held back by a prior because answers are few.

    Args:
        scores: (m,) cross-fitted scores of texts spread evenly over the whole range, so that shares are kept.
        truth: (m,) answers, of both kinds.
        soft: (m,) how likely each answer should have been yes, 0..1; None where the answers are right.
    """
    model = LogisticRegression(C=10.0, max_iter=1000)
    with find_threads().limit(limits=1):
        if soft is None:
            model.fit(scores[:, None], truth)
        else:
            both = np.concatenate([np.ones(len(scores)), np.zeros(len(scores))])
            weights = np.concatenate([soft, 1.0 - soft])
            model.fit(np.tile(scores, 2)[:, None], both, sample_weight=weights)
    return Calibration(max(0.0, float(model.coef_[0, 0])), float(model.intercept_[0]))


@dataclass(frozen=True, slots=True)
class Stack:
    """Fitted scorers, their weights, and the way to probabilities.

    Args:
        rankers: by name.
        weights: by name; also of `llm`, whose scores are passed in.
        calibration: of the weighted sum.
    """

    rankers: Mapping[str, FittedRanker]
    weights: Mapping[str, float]
    calibration: Calibration = field(default_factory=lambda: Calibration(1.0, 0.0))

    def score(self, views: Views, given: Mapping[str, Floats] | None = None) -> Floats:
        """(n,) weighted sum of the scorers; `given` holds standardised scores from elsewhere (a language model's)."""
        total = np.zeros(len(views.similarity))
        for name, weight in self.weights.items():
            if not weight:
                continue
            column = (given or {}).get(name)
            if column is None:
                # A text that the model was not asked about is judged by the student that it taught.
                ranker = self.rankers.get("student" if name == "llm" else name)
                column = ranker.standardise(views) if ranker else np.zeros_like(total)
            total += weight * column
        return total

    def predict(self, views: Views, given: Mapping[str, Floats] | None = None) -> Floats:
        """(n, 2) probabilities of absent and present."""
        return self.calibration(self.score(views, given))
