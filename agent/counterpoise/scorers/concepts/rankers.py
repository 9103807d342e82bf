"""Scorers of one concept: does a text mention it? From a definition alone, and from a few answers of the user's.

Five ways that cost no token, and a language model beside them, each a number a text that rises with the concept:

- `similarity`: the nearest clause's cosine to the concept's name and definition;
- `taught`: logistic regression on the nearest clause, taught by the texts that similarity is surest of (self-training);
- `classifier`: logistic regression on whole text and nearest clause, trained on the answers;
- `knn`: the answers of the nearest answered clauses, by FAISS;
- `llm`: the model's probability of yes;
- `student`: a classifier that learned the model's answers to a sample;
- `stacked`: all of these, weighted by how well they rank answers they were not shown.

Which of them is believed is decided by audits on other rows (`labeller.fit_concepts`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from sklearn.linear_model import LogisticRegression

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.concepts.views import Views, take_views
from counterpoise.students.linear import find_threads
from counterpoise_retrievers.faiss_index import FaissIndex

SUREST_RATIO = 0.2
"""Share of the texts at either end that similarity teaches the `taught` scorer with."""

FEWEST_ANSWERS = 6
"""Answers, of both kinds, that a trained scorer needs."""

_N_NEIGHBOURS = 5
_N_FOLDS = 5
_FEWEST_TAUGHT = 40

Score = Callable[[Views], Floats]
"""(n,) numbers of n texts that rise with the concept."""


@dataclass(frozen=True, slots=True)
class FittedRanker:
    """One fitted scorer: a function of views, and its mean and spread on the reference texts."""

    score: Score
    centre: float
    spread: float

    def standardise(self, views: Views) -> Floats:
        """(n,) scores with mean 0 and spread 1 on the reference texts."""
        return (self.score(views) - self.centre) / self.spread


class Ranker(Protocol):
    """A way to rank texts by a concept that costs no token.

    Attributes:
        needs_answers: whether it learns from answers, of both kinds.
    """

    needs_answers: bool

    def fit(self, reference: Views, rows: Integers, truth: Integers) -> Score | None:
        """Fit it.

        Args:
            reference: the texts it is scaled on.
            rows: (m,) positions in `reference` of answered texts.
            truth: (m,) their answers, 0 or 1.

        Returns:
            None where the texts do not tell anything.
        """
        ...


class SimilarityRanker:
    """The nearest clause's cosine to the concept's name and definition."""

    needs_answers = False

    def fit(self, reference: Views, rows: Integers, truth: Integers) -> Score | None:
        """Nothing is learned."""
        return lambda views: views.similarity


class SelfTaughtRanker:
    """Logistic regression on the nearest clause, taught by the texts that similarity is surest of."""

    needs_answers = False

    def fit(self, reference: Views, rows: Integers, truth: Integers) -> Score | None:
        """None where similarity is the same for nearly all texts."""
        low, high = np.quantile(reference.similarity, [SUREST_RATIO, 1 - SUREST_RATIO])
        surest = (reference.similarity <= low) | (reference.similarity >= high)
        taught = (reference.similarity[surest] >= high).astype(np.int64)
        if len(np.unique(taught)) < 2:
            return None
        model = _fit_regression(reference.clause[surest], taught, 0.3, balanced=False)
        return lambda views: model(views.clause)


class AnswerRanker:
    """Logistic regression on whole text and nearest clause, trained on the answers."""

    needs_answers = True

    def fit(self, reference: Views, rows: Integers, truth: Integers) -> Score | None:
        """Answers alone are learned from."""
        model = _fit_regression(reference.both[rows], truth, 3.0, balanced=True)
        return lambda views: model(views.both)


class NeighbourRanker:
    """The answers of the nearest answered clauses, by FAISS."""

    needs_answers = True

    def fit(self, reference: Views, rows: Integers, truth: Integers) -> Score | None:
        """Answers alone are looked up."""
        index = FaissIndex(reference.clause.shape[1])
        index.add(reference.clause[rows])
        signs = 2.0 * truth - 1.0

        def vote(views: Views) -> Floats:
            cosines, places = index.search(views.clause, min(_N_NEIGHBOURS, len(signs)))
            weights = np.exp(10.0 * cosines.astype(np.float64))
            return np.asarray((weights * signs[places]).sum(axis=1) / weights.sum(axis=1))

        return vote


FREE_RANKERS: Mapping[str, Ranker] = {
    "similarity": SimilarityRanker(),
    "taught": SelfTaughtRanker(),
    "classifier": AnswerRanker(),
    "knn": NeighbourRanker(),
}
"""What costs no token, by the name that audits and reports have for it."""


def fit_ranker(ranker: Ranker, reference: Views, rows: Integers, truth: Integers) -> FittedRanker | None:
    """Fit one of the ways that cost no token; arguments as of `Ranker.fit`.

    Returns:
        None where it needs answers of both kinds and has too few, or where the texts do not tell anything.
    """
    if ranker.needs_answers and not can_train(truth):
        return None
    score = ranker.fit(reference, rows, truth)
    return None if score is None else _scale(score, reference)


def fit_student(reference: Views, answers: Floats) -> FittedRanker | None:
    """A classifier that learns a language model's answers to a sample, and labels the rest.

    Args:
        reference: n texts.
        answers: (n,) the model's probability of yes, NaN where it was not asked.

    Returns:
        None where the model was asked about fewer than 40 texts or said the same of all.
    """
    rows = np.flatnonzero(~np.isnan(answers))
    said = (answers[rows] > 0.5).astype(np.int64)
    if len(rows) < _FEWEST_TAUGHT or not 0 < said.sum() < len(said):
        return None
    model = _fit_regression(reference.both[rows], said, 1.0, balanced=True)
    return _scale(lambda views: model(views.both), reference)


def can_train(truth: Integers) -> bool:
    """Whether there are answers enough, of both kinds."""
    return len(truth) >= FEWEST_ANSWERS and 0 < truth.sum() < len(truth)


def cross_fit_ranker(ranker: Ranker, reference: Views, rows: Integers, truth: Integers) -> Floats | None:
    """(m,) standardised scores of the answered texts, each given by a scorer that was not shown its answer."""
    if not ranker.needs_answers:
        fitted = fit_ranker(ranker, reference, rows, truth)
        return None if fitted is None else fitted.standardise(take_views(reference, rows))
    scores = np.zeros(len(rows))
    folds = divide_answers(truth)
    for fold in range(_N_FOLDS):
        inside, outside = folds != fold, np.flatnonzero(folds == fold)
        if not len(outside):
            continue
        if not can_train(truth[inside]):
            return None
        fitted = fit_ranker(ranker, reference, rows[inside], truth[inside])
        assert fitted is not None  # noqa: S101 (there are answers enough)
        scores[outside] = fitted.standardise(take_views(reference, rows[outside]))
    return scores


def divide_answers(truth: Integers) -> Integers:
    """(m,) folds, by turns within each answer, so that every part has both kinds."""
    folds = np.empty(len(truth), dtype=np.int64)
    for answer in (0, 1):
        mine = np.flatnonzero(truth == answer)
        folds[mine] = np.arange(len(mine)) % _N_FOLDS
    return folds


def _scale(score: Score, reference: Views) -> FittedRanker:
    values = score(reference)
    return FittedRanker(score, float(values.mean()), float(max(values.std(), 1e-9)))


def _fit_regression(
    features: Vectors, labels: Integers, strength: float, *, balanced: bool
) -> Callable[[Vectors], Floats]:
    model = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced" if balanced else None)
    with find_threads().limit(limits=1):
        model.fit(features, labels)
    return lambda rows: np.asarray(model.decision_function(rows), dtype=np.float64)
