"""The plain classifiers that data is judged by, and the ways to treat imbalance that cost no token.

A *student* is a representation under logistic regression: `minilm_lr` on sentence vectors, `tfidf_lr` on words.
The second shares nothing with the filters of proposals, so it cannot be flattered by them. An *arm* is a way to
train a student on skewed data. Before a token is spent every arm is measured; what generation adds is counted
from the best of them.

All arms give log-scores whose largest entry is the prediction, so one threshold rule serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from counterpoise.core.records import Floats, Integers
from counterpoise.students.linear import PROBABILITY_FLOOR, Features, fit_log_probabilities, make_features
from counterpoise.students.rows import Rows
from counterpoise.students.weights import balance_weights, log_prior

STUDENTS = ("minilm_lr", "tfidf_lr")
ZERO_TOKEN_ARMS = (
    "nothing",
    "class_weights",
    "oversampling",
    "downsampling",
    "logit_adjustment",
    "balanced_bags",
    "embedding_zero_shot",
    "zero_shot_prior",
)
OWN_WAYS = ("added_rows", "added_rows_prior")
"""How a student uses added rows: as they are, or with the zero-shot scores as a prior."""

MIXTURES = {
    "averaged": ("logit_adjustment", "added_rows"),
    "averaged_prior": ("zero_shot_prior", "added_rows_prior"),
}
"""Ways whose log-probabilities are averaged: the user's own rows alone, and the same way with the added rows.

What added rows get wrong the own rows do not repeat, so the mean loses little where they help and hardly anything
where they harm (a mixture of experts with equal shares: Genest and Zidek, 1986, call it a logarithmic opinion pool).
"""

_NEED_ZERO_SHOT = frozenset({"embedding_zero_shot", "zero_shot_prior", "added_rows_prior", "averaged_prior"})
N_BAGS = 10
_MOST_REPEATED = 10_000  # rows of an oversampled side that are trained on one by one


def find_mixture(own_way: str) -> str:
    """The mixture that a way of using added rows is part of."""
    return next(name for name, parts in MIXTURES.items() if own_way in parts)


def list_students(arm: str) -> tuple[str, ...]:
    """The students an arm exists for: zero-shot scores come from the encoder, so words cannot have them."""
    return ("minilm_lr",) if arm in _NEED_ZERO_SHOT else STUDENTS


@dataclass(frozen=True)
class _Fit:
    """One student on one training side: features of both sides, and what an arm may draw from."""

    train: Features
    labels: Integers
    weights: Floats
    original: NDArray[np.bool_]
    test: Features
    zero_shot: Floats
    n_labels: int
    seed: int
    train_zero_shot: Floats

    @cached_property
    def plain(self) -> Floats:
        """Log-probabilities of the rows as they are, all of weight 1: three arms begin with them."""
        return _fit(self, np.ones(len(self.labels)))


def predict(arm: str, student: str, train: Rows, test: Rows, n_labels: int, seed: int = 0) -> Floats:
    """Train `student` in the way of one arm and score `test`; see `predict_arms`."""
    return predict_arms((arm,), student, train, test, n_labels, seed)[arm]


def predict_arms(
    arms: Iterable[str], student: str, train: Rows, test: Rows, n_labels: int, seed: int = 0
) -> dict[str, Floats]:
    """Train `student` in the way of each arm and score `test`. What arms have in common is computed once.

    Args:
        arms: names of `ARMS` or `MIXTURES`.
        student: a name of `STUDENTS`.
        train: training rows; arms that cost no token use the user's own rows only.
        test: rows to score; their labels are not read.
        n_labels: k.
        seed: of what the arms draw (bags, repeated rows).

    Returns:
        For each arm (n, k) log-scores; the largest of a row is the prediction, their softmax ranks.

    Raises:
        ValueError: an arm that needs zero-shot scores without them.
    """
    tasks: dict[bool, _Fit] = {}
    found: dict[str, Floats] = {}

    def score(arm: str) -> Floats:
        if arm in MIXTURES:
            return np.asarray(np.mean([log_softmax(look_up(part), axis=1) for part in MIXTURES[arm]], axis=0))
        uses_added = arm in OWN_WAYS
        if uses_added not in tasks:
            rows = train if uses_added or train.original.all() else train.take(train.original)
            tasks[uses_added] = _make_task(student, rows, test, n_labels, seed)
        return ARMS[arm](tasks[uses_added])

    def look_up(arm: str) -> Floats:
        if arm not in found:
            found[arm] = score(arm)
        return found[arm]

    return {arm: look_up(arm) for arm in arms}


def _make_task(student: str, train: Rows, test: Rows, n_labels: int, seed: int) -> _Fit:
    features, test_features = make_features(student, train, test)
    return _Fit(
        train=features,
        labels=train.labels,
        weights=train.weights,
        original=train.original,
        test=test_features,
        zero_shot=test.zero_shot,
        n_labels=n_labels,
        seed=seed,
        train_zero_shot=train.zero_shot,
    )


def _fit(task: _Fit, weights: Floats, rows: Integers | None = None) -> Floats:
    if rows is None:
        return fit_log_probabilities(task.train, task.labels, weights, task.test, task.n_labels)
    picked = task.train[rows]
    return fit_log_probabilities(picked, task.labels[rows], weights[rows], task.test, task.n_labels)


def _do_nothing(task: _Fit) -> Floats:
    return task.plain


def _weigh_classes(task: _Fit) -> Floats:
    return _fit(task, balance_weights(task.labels, task.n_labels))


def _draw(task: _Fit, per_label: Callable[[Integers], int], *, draw: int = 0) -> Integers:
    """Positions with so many rows a label: without repeating where there are enough, else repeating."""
    counts = np.bincount(task.labels, minlength=task.n_labels)
    want = per_label(counts[counts > 0])
    picked = []
    for label in np.flatnonzero(counts):
        members = np.flatnonzero(task.labels == label)
        generator = np.random.default_rng([task.seed, draw, int(label)])
        repeats, rest = divmod(want, len(members))
        picked.append(np.repeat(members, repeats))
        picked.append(np.sort(generator.permutation(members)[:rest]))
    return np.concatenate(picked)


def _oversample(task: _Fit) -> Floats:
    rows = _draw(task, lambda counts: int(counts.max()))
    if len(rows) > _MOST_REPEATED:
        # Many labels beside a large one would repeat their few rows over and over: a weight is the same sum of losses.
        return _fit(task, np.bincount(rows, minlength=len(task.labels)).astype(np.float64))
    return _fit(task, np.ones(len(task.labels)), rows)


def _downsample(task: _Fit) -> Floats:
    rows = _draw(task, lambda counts: int(counts.min()))
    return _fit(task, np.ones(len(task.labels)), rows)


def _adjust_logits(task: _Fit) -> Floats:
    """Menon et al. (2021), Long-tail learning via logit adjustment: post hoc, with tau = 1."""
    return task.plain - log_prior(task.labels, np.ones(len(task.labels)), task.n_labels)


def _bag(task: _Fit) -> Floats:
    """Wallace et al. (2011), Class imbalance, redux: the mean of models on balanced subsamples."""
    ones = np.ones(len(task.labels))
    bags = [
        np.exp(_fit(task, ones, _draw(task, lambda counts: int(counts.min()), draw=bag)))
        for bag in range(N_BAGS)
    ]
    return np.asarray(np.log(np.maximum(np.mean(bags, axis=0), PROBABILITY_FLOOR)))


def _score_by_similarity(task: _Fit) -> Floats:
    """Log-probabilities of the label descriptions, centred so that a text half way between two labels scores 0.

    The centre is the mean over labels of the mean over the label's own training rows: descriptions differ in how
    near all texts are to them, and a threshold that ignores it halves the macro-F1.
    """
    if not len(task.zero_shot) or not len(task.train_zero_shot):
        raise ValueError("this arm needs similarities to label descriptions")
    own = np.flatnonzero(task.original)
    logs = np.log(np.maximum(task.train_zero_shot[own], PROBABILITY_FLOOR))
    labels = task.labels[own]
    centre = np.mean([logs[labels == label].mean(axis=0) for label in np.unique(labels)], axis=0)
    return np.asarray(np.log(np.maximum(task.zero_shot, PROBABILITY_FLOOR)) - centre)


def _add_prior(score: Callable[[_Fit], Floats]) -> Callable[[_Fit], Floats]:
    """The log-scores of an arm with those of the label descriptions added: a prior that costs no token."""
    return lambda task: score(task) + _score_by_similarity(task)


def _use_added_rows(task: _Fit) -> Floats:
    """The written data set as it is, rows weighted as its `weight` column says, logits adjusted."""
    weights = task.weights
    return _fit(task, weights) - log_prior(task.labels, weights, task.n_labels)


ARMS: dict[str, Callable[[_Fit], Floats]] = {
    "nothing": _do_nothing,
    "class_weights": _weigh_classes,
    "oversampling": _oversample,
    "downsampling": _downsample,
    "logit_adjustment": _adjust_logits,
    "balanced_bags": _bag,
    "embedding_zero_shot": _score_by_similarity,
    "zero_shot_prior": _add_prior(_adjust_logits),
    "added_rows": _use_added_rows,
    "added_rows_prior": _add_prior(_use_added_rows),
}
