"""Students that train the weights of an encoder on the user's rows.

A training takes minutes, so a job has to name them, and of the ways to treat imbalance they take those alone that need
no training of their own (`Student.slow_step`). Their trainings are kept, see `trainer`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Self

import numpy as np
from scipy.special import log_softmax

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.students.base import SlowStep, Student
from counterpoise.students.linear import PROBABILITY_FLOOR, Features, fit_log_probabilities
from counterpoise.students.recipe_lines import StudentCode
from counterpoise.students.rows import Rows
from counterpoise.students.tuned import CONTRASTIVE, FINE_TUNED
from counterpoise.students.tuned.trainer import TuningTask, check_installed, find_missing, run_task, time_task
from counterpoise.students.tuned.weights import Weights, find_weights

_FLOOR = float(np.log(PROBABILITY_FLOOR))


class TunedStudent(Student):
    """What both have in common.

    Args:
        encoder: a folder with the weights to begin with, or a repository of the hub; "" for the pinned ones.
        cache_dir: where weights and trainings are kept; None for the user's cache folder.
        weights: those of `encoder`, where they were looked up.
    """

    method: str
    words: str
    """Its meaning, with `{}` for the encoder."""

    def __init__(
        self, encoder: str = "", cache_dir: Path | None = None, weights: Weights | None = None
    ) -> None:
        self.encoder = encoder
        self.cache_dir = cache_dir
        self.weights = weights or find_weights(encoder)
        last = re.split(r"[/\\]", encoder)[-1]
        self.name = f"{self.method}:{last}" if encoder else self.method
        self.meaning = self.words.replace("{}", self.weights.name)

    @property
    def _cache_dir(self) -> Path:
        return find_cache_dir(self.cache_dir)

    def place(self, cache_dir: Path) -> Self:
        """The student that keeps what it trains in a folder; weights of the hub are fetched into it."""
        return type(self)(self.encoder, cache_dir, self.weights.place(cache_dir))

    def check(self) -> None:
        """Refuse where torch or the weights are not there.

        Raises:
            JobError: says what is missing.
        """
        check_installed(self.name)
        self.weights.check()

    def is_at_hand(self) -> bool:
        """Whether it could be trained without anything being installed or fetched."""
        return find_missing() is None and self.weights.is_at_hand(self._cache_dir)

    def time_training(self, train: Rows, n_scored: int) -> float:
        """Seconds of one training, see `Student.time_training`."""
        if len(np.unique(train.labels)) < 2:
            return 0.0
        return time_task(self._make_task(train.texts, train.labels, train.weights), n_scored, self._cache_dir)

    def _make_task(self, texts: Objects, labels: Integers, weights: Floats) -> TuningTask:
        """Rows of no weight are left out; the labels that are left are numbered from 0."""
        rows = np.flatnonzero(weights > 0)
        _, numbered = np.unique(labels[rows], return_inverse=True)
        return TuningTask(
            self.method,
            self.weights.open(self._cache_dir),
            list(texts[rows]),
            numbered.tolist(),
            weights[rows].tolist(),
        )

    def write_code(self, encoder: str) -> StudentCode:
        """The same training, through `TunedClassifier`."""
        return StudentCode(
            imports="from counterpoise.students.tuned.classifier import TunedClassifier\n",
            setting="",
            make="# trained in a process of its own; what was trained once is kept",
            model=f"TunedClassifier({f'{self.method}:{self.encoder}'.removesuffix(':')!r})",
            trained='{model}.fit(part["content"], part[{label}], weights)',
            log_probabilities="model.predict_log_proba(texts)",
        )


class FineTuned(TunedStudent):
    """All weights of an encoder, with a linear layer on top."""

    method = FINE_TUNED
    words = "{} with all weights fine-tuned"
    slow_step: SlowStep = "fit"

    def features(self, train: Rows, test: Rows) -> tuple[Features, Features]:
        """The texts."""
        return train.texts, test.texts

    def fit_log_probabilities(
        self, features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
    ) -> Floats:
        """Train and score texts, see `Student.fit_log_probabilities`.

        Raises:
            JobError: the encoder cannot be trained.
            ServerError: the process that trains has ended.
        """
        present = np.unique(labels[weights > 0])
        scores = np.full((test.shape[0], n_labels), _FLOOR)
        if len(present) == 1:
            scores[:, present[0]] = 0.0
            return scores
        own, others = np.asarray(features, dtype=object), np.asarray(test, dtype=object)
        task = self._make_task(own, labels, weights)
        logits = run_task(task, list(others), self._cache_dir).astype(np.float64)
        scores[:, present] = np.maximum(log_softmax(logits, axis=1), _FLOOR)
        return scores


class Contrastive(TunedStudent):
    """Logistic regression on the vectors of an encoder that was tuned on pairs of rows (SetFit)."""

    method = CONTRASTIVE
    words = "logistic regression on vectors of {} tuned by contrast"
    slow_step: SlowStep = "features"

    def features(self, train: Rows, test: Rows) -> tuple[Features, Features]:
        """Vectors of the encoder tuned on the training side; one column of zeros where it has one label.

        Rows of no weight have no part in it; their vectors are zeros.
        """
        kept = np.flatnonzero(train.weights > 0)
        if len(np.unique(train.labels[kept])) < 2:
            return np.zeros((len(train), 1), np.float32), np.zeros((len(test), 1), np.float32)
        task = self._make_task(train.texts, train.labels, train.weights)
        vectors = run_task(task, list(test.texts), self._cache_dir)
        own = np.zeros((len(train), vectors.shape[1]), np.float32)
        own[kept] = vectors[: len(kept)]
        return own, vectors[len(kept) :]

    def fit_log_probabilities(
        self, features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
    ) -> Floats:
        """See `linear.fit_log_probabilities`."""
        return fit_log_probabilities(features, labels, weights, test, n_labels)


TUNED: dict[str, type[TunedStudent]] = {one.method: one for one in (FineTuned, Contrastive)}
"""By the word that a job calls them, alone or before `:` and a folder of weights."""
