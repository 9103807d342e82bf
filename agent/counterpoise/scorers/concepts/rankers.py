"""Scorers of one concept: does a text mention it? From a definition alone, and from a few answers of the user's.

Five ways that cost no token, and a language model beside them, each a number a text that rises with the concept:

- `similarity`: the nearest clause's cosine to the concept's name and definition;
- `taught`: logistic regression on the nearest clause, taught by the texts that similarity is surest of (self-training);
- `classifier`: logistic regression on whole text and nearest clause, trained on the answers;
- `knn`: the answers of the nearest answered clauses, by FAISS;
- `llm`: the model's probability of yes;
- `student`: a classifier that learned the model's answers to a sample;
- `stacked`: all of these, weighted by how well they rank answers they were not shown.

Which of them is believed is decided by audits on other rows (`concepts.fit_concepts`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.concepts.passages import Passages
from counterpoise.students.metrics import compute_auroc
from counterpoise.students.treatments import find_threads
from counterpoise_retrievers.encoders import Encoder
from counterpoise_retrievers.faiss_index import FaissIndex

FREE_SCORERS = ("similarity", "taught", "classifier", "knn")
NEED_ANSWERS = ("classifier", "knn")
SUREST_RATIO = 0.2
"""Share of the texts at either end that similarity teaches the `taught` scorer with."""

FEWEST_ANSWERS = 6
"""Answers, of both kinds, that a trained scorer needs."""

_WHOLE_WEIGHT = 0.5
_N_NEIGHBOURS = 5
_N_FOLDS = 5
_FEWEST_TAUGHT = 40

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Views:
    """What the scorers of one concept see of n texts.

    Args:
        similarity: (n,) mean cosine of the nearest clause to the wordings, plus half that of the whole text.
        clause: (n, d) vector of the nearest clause.
        both: (n, 2d) vector of the whole text beside that of the nearest clause.
    """

    similarity: Floats
    clause: Vectors
    both: Vectors


def make_anchors(name: str, definition: str, encoder: Encoder) -> Vectors:
    """(3, d) vectors of three wordings: the name, the definition, both."""
    return encoder.encode([name, definition, f"{name}: {definition}"])


def make_views(passages: Passages, anchors: Vectors) -> Views:
    """Look at texts for one concept."""
    nearest, best = passages.find_nearest(anchors)
    whole = (passages.whole @ anchors.T).astype(np.float64).mean(axis=1)
    clause = passages.vectors[best] if len(passages) else passages.whole
    return Views(nearest + _WHOLE_WEIGHT * whole, clause, np.hstack([passages.whole, clause]))


@dataclass(frozen=True, slots=True)
class Ranker:
    """One fitted scorer: a function of views, and its mean and spread on the reference texts."""

    score: Callable[[Views], Floats]
    centre: float
    spread: float

    def standardise(self, views: Views) -> Floats:
        """(n,) scores with mean 0 and spread 1 on the reference texts."""
        return (self.score(views) - self.centre) / self.spread


def fit_ranker(name: str, reference: Views, rows: Integers, truth: Integers) -> Ranker | None:
    """Fit one of the ways that cost no token.

    Args:
        name: of `FREE_SCORERS`.
        reference: the texts it is scaled on; `taught` learns from the surest of them.
        rows: (m,) positions in `reference` of answered texts.
        truth: (m,) their answers, 0 or 1.

    Returns:
        None where it needs answers of both kinds and has too few.
    """
    if name in NEED_ANSWERS and not can_train(truth):
        return None
    if name == "similarity":
        return _scale(lambda views: views.similarity, reference)
    if name == "taught":
        low, high = np.quantile(reference.similarity, [SUREST_RATIO, 1 - SUREST_RATIO])
        surest = (reference.similarity <= low) | (reference.similarity >= high)
        taught = (reference.similarity[surest] >= high).astype(np.int64)
        if len(np.unique(taught)) < 2:
            return None
        model = _fit_regression(reference.clause[surest], taught, 0.3, balanced=False)
        return _scale(lambda views: model(views.clause), reference)
    if name == "classifier":
        model = _fit_regression(reference.both[rows], truth, 3.0, balanced=True)
        return _scale(lambda views: model(views.both), reference)
    index = FaissIndex(reference.clause.shape[1])
    index.add(reference.clause[rows])
    signs = 2.0 * truth - 1.0

    def vote(views: Views) -> Floats:
        cosines, places = index.search(views.clause, min(_N_NEIGHBOURS, len(signs)))
        weights = np.exp(10.0 * cosines.astype(np.float64))
        return np.asarray((weights * signs[places]).sum(axis=1) / weights.sum(axis=1))

    return _scale(vote, reference)


def fit_student(reference: Views, answers: Floats) -> Ranker | None:
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


def cross_fit_ranker(name: str, reference: Views, rows: Integers, truth: Integers) -> Floats | None:
    """(m,) standardised scores of the answered texts, each given by a scorer that was not shown its answer."""
    if name not in NEED_ANSWERS:
        ranker = fit_ranker(name, reference, rows, truth)
        return None if ranker is None else ranker.standardise(take_views(reference, rows))
    scores = np.zeros(len(rows))
    folds = _divide(truth)
    for fold in range(_N_FOLDS):
        inside, outside = folds != fold, np.flatnonzero(folds == fold)
        if not len(outside):
            continue
        if not can_train(truth[inside]):
            return None
        ranker = fit_ranker(name, reference, rows[inside], truth[inside])
        assert ranker is not None  # noqa: S101 (there are answers enough)
        scores[outside] = ranker.standardise(take_views(reference, rows[outside]))
    return scores


def _divide(truth: Integers) -> Integers:
    """(m,) folds, by turns within each answer, so that every part has both kinds."""
    folds = np.empty(len(truth), dtype=np.int64)
    for answer in (0, 1):
        mine = np.flatnonzero(truth == answer)
        folds[mine] = np.arange(len(mine)) % _N_FOLDS
    return folds


def cross_fit_stack(scores: Mapping[str, Floats], truth: Integers) -> Floats | None:
    """(m,) probabilities of present, each from weights and a curve that were not shown its answer.

    Args:
        scores: by name (m,) cross-fitted scores of answered texts.
        truth: (m,) their answers.

    Returns:
        None where the answers are too few.
    """
    present, folds = np.zeros(len(truth)), _divide(truth)
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        if not can_train(truth[inside]):
            return None
        weights = weigh_scorers({name: column[inside] for name, column in scores.items()}, truth[inside])
        total = np.sum([weight * scores[name] for name, weight in weights.items()], axis=0)
        present[outside] = calibrate(total[inside], truth[inside])(total[outside])[:, 1]
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


def calibrate(scores: Floats, truth: Integers) -> Calibration:
    """Platt's curve through answered scores, held back by a prior because answers are few.

    Args:
        scores: (m,) cross-fitted scores of texts spread evenly over the whole range, so that shares are kept.
        truth: (m,) answers, of both kinds.
    """
    model = LogisticRegression(C=10.0, max_iter=1000)
    with find_threads().limit(limits=1):
        model.fit(scores[:, None], truth)
    return Calibration(max(0.0, float(model.coef_[0, 0])), float(model.intercept_[0]))


@dataclass(frozen=True, slots=True)
class Stack:
    """Fitted scorers, their weights, and the way to probabilities.

    Args:
        rankers: by name.
        weights: by name; also of `llm`, whose scores are passed in.
        calibration: of the weighted sum.
    """

    rankers: Mapping[str, Ranker]
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


def take_views(views: Views, rows: Integers) -> Views:
    """The views of the texts at `rows`."""
    return Views(views.similarity[rows], views.clause[rows], views.both[rows])


def _scale(score: Callable[[Views], Floats], reference: Views) -> Ranker:
    values = score(reference)
    return Ranker(score, float(values.mean()), float(max(values.std(), 1e-9)))


def _fit_regression(
    features: Vectors, labels: Integers, strength: float, *, balanced: bool
) -> Callable[[Vectors], Floats]:
    model = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced" if balanced else None)
    with find_threads().limit(limits=1):
        model.fit(features, labels)
    return lambda rows: np.asarray(model.decision_function(rows), dtype=np.float64)
