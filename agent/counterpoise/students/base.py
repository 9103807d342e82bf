"""What a student and a treatment are: the contracts of two families of parts.

A *student* is a representation of rows under a classifier. A *treatment* is a way to train a student on skewed data:
weights, repeated rows, an adjustment of the scores, a mixture of other treatments. Both are objects; nobody knows them
by name but the file that defines and registers them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from counterpoise.core.records import Floats, Integers
from counterpoise.students.cell_marks import CellMarks
from counterpoise.students.left_out import leave_out
from counterpoise.students.linear import Features
from counterpoise.students.recipe_lines import StudentCode
from counterpoise.students.rows import Rows
from counterpoise.students.weights import adjust

SlowStep = Literal["", "features", "fit"]
"""What of a training takes minutes: nothing, learning the representation, or training the classifier."""


class Student(ABC):
    """A representation of rows under a classifier that data is judged by.

    Attributes:
        name: what jobs, reports and tables call it.
        meaning: what it is, in words that go on in a sentence: `logistic regression on words`.
        uses_vectors: whether it sees the encoder's vectors. Descriptions of labels are vectors too, so such a student
            alone has zero-shot scores.
        slow_step: what takes minutes in training it. A student with a slow step is trained where nothing else will do:
            in the simple ways that need no such step of their own (`Treatment.shares`) and in the ways to use added
            rows; forecasts leave it out.
    """

    name: str
    meaning: str
    uses_vectors: bool = False
    slow_step: SlowStep = ""

    def check(self) -> None:
        """Refuse, before anything is read, what cannot be used here; by default nothing is refused.

        Raises:
            JobError: says what is missing.
        """
        return

    def place(self, cache_dir: Path) -> Student:
        """The student as it is in a run that keeps what takes long below `cache_dir`; here itself."""
        return self

    def time_training(self, train: Rows, n_scored: int) -> float:
        """Seconds that a training is expected to take on this machine, measured now; asked of slow students alone.

        Args:
            train: n rows as they would be trained on.
            n_scored: rows that would be scored.
        """
        return 0.0

    def bind(self, encoder: str) -> Student:
        """The student as it is in a run whose vectors are those of `encoder`; here itself.

        Raises:
            JobError: it needs another encoder.
        """
        return self

    @abstractmethod
    def features(self, train: Rows, test: Rows) -> tuple[Features, Features]:
        """The representation, learned on the training side only.

        Args:
            train: n rows.
            test: m rows; their labels are not read.

        Returns:
            (n, d) and (m, d), dense or sparse; for a student that reads texts itself (n,) and (m,) of them.
        """

    @abstractmethod
    def fit_log_probabilities(
        self, features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
    ) -> Floats:
        """Train on some rows and score others.

        Args:
            features: (n, d) of the training rows, 1 or more.
            labels: (n,) label indices.
            weights: (n,) weights, 0 or more.
            test: (m, d) of the rows to score, 1 or more.
            n_labels: k.

        Returns:
            (m, k) finite log-probabilities. A label without a training row has the floor, `log(PROBABILITY_FLOOR)`;
            equal arguments give equal bytes.

        Raises:
            JobError: the classifier cannot be trained on them.
        """

    @abstractmethod
    def write_code(self, encoder: str) -> StudentCode:
        """Its lines of the recipe.

        Args:
            encoder: what the job says of the encoder, "" for the pinned one.
        """


@dataclass(frozen=True)
class FitTask:
    """What a treatment is given: one student, the rows to train on and those to score.

    Args:
        student: who is trained.
        train: n rows: the user's own, for a treatment with `uses_added` the added ones too.
        test: m rows to score, 1 or more; their labels are not read.
        n_labels: k.
        seed: of what the treatment draws.
        score: gives the (m, k) log-scores of another treatment with the same student, rows and seed; each is computed
            once.
        pool: unlabelled rows, whose labels mean nothing; None where there are none, or where the treatment does not
            say that it uses them.
        marks: concepts and attribute values of `train`; None outside of what looks at cells.
    """

    student: Student
    train: Rows
    test: Rows
    n_labels: int
    seed: int
    score: Callable[[Treatment], Floats]
    pool: Rows | None = None
    marks: CellMarks | None = None

    @property
    def labels(self) -> Integers:
        """(n,) label indices of the training rows."""
        return self.train.labels

    @cached_property
    def features(self) -> tuple[Features, Features]:
        """(n, d) and (m, d) of the training rows and of those to score."""
        return self.student.features(self.train, self.test)

    @cached_property
    def plain(self) -> Floats:
        """(m, k) log-probabilities of the rows as they are, all of weight 1: several treatments begin with them."""
        return self.fit()

    @cached_property
    def left_out(self) -> tuple[Floats, Integers]:
        """Adjusted log-probabilities of the training rows by five folds, see `leave_out`."""
        return leave_out(
            self.train,
            lambda part, rest: fit_adjusted(self.student, part, rest, self.n_labels),
            self.n_labels,
        )

    def fit(self, weights: Floats | None = None, rows: Integers | None = None) -> Floats:
        """Train the student.

        Args:
            weights: (n,) of all training rows; None for 1 each.
            rows: positions of those that are trained on, perhaps repeated; None for all.

        Returns:
            (m, k) log-probabilities. Of equal rows and weights they are computed once: where labels are even, several
            treatments train alike, and rows of the pool weigh as much as own ones.
        """
        given = np.ones(len(self.labels)) if weights is None else weights
        key = _name_fit(given), "" if rows is None else _name_fit(np.asarray(rows))
        if key not in self._fits:
            train, test = self.features
            labels = self.labels
            if rows is not None:
                train, labels, given = train[rows], labels[rows], given[rows]
            self._fits[key] = self.student.fit_log_probabilities(train, labels, given, test, self.n_labels)
        return self._fits[key].copy()

    @cached_property
    def _fits(self) -> dict[tuple[str, str], Floats]:
        """What `fit` gave, by hashes of weights and rows."""
        return {}


def _name_fit(values: NDArray[Any]) -> str:
    return f"{values.dtype} {blake2b(np.ascontiguousarray(values).tobytes(), digest_size=16).hexdigest()}"


_FREE_OF: dict[SlowStep, tuple[SlowStep, ...]] = {
    "": ("",),
    "features": ("", "features"),
    "fit": ("", "features", "fit"),
}
"""By what a treatment shares: the slow steps of students to whom it costs nothing more."""


class Treatment(ABC):
    """A way to train a student on skewed data.

    Attributes:
        name: what jobs, reports and tables call it.
        meaning: what it does, in a few words beside its name.
        advice: what to do, as a sentence without its end; `{student}` stands for the student's `meaning`. "" where the
            name says enough.
        needs_zero_shot: whether it needs zero-shot scores, which only students on vectors have.
        uses_added: whether it trains on added rows beside the user's own, so that it is no simple way.
        uses_pool: whether it looks at the unlabelled rows.
        uses_lines: whether it trains on the lines about the labels (`Rows.lines`).
        shares: what it shares with the student trained on the rows as they are, so that it costs a slow student
            nothing more: `fit` where `FitTask.plain` is all that it trains, `features` where it trains on
            `FitTask.features` again. "" where it learns from other rows.
        code: its lines of the recipe, which define `score`; see `recipe_lines`. "" where it has none.
    """

    name: str
    meaning: str = ""
    advice: str = ""
    needs_zero_shot: bool = False
    uses_added: bool = False
    uses_pool: bool = False
    uses_lines: bool = False
    shares: SlowStep = ""
    code: str = ""

    @abstractmethod
    def score(self, task: FitTask) -> Floats:
        """(m, k) finite log-scores of the rows to score: the largest of a row is the prediction, their softmax ranks.

        Raises:
            ValueError: it needs zero-shot scores and there are none.
        """

    def suits(self, student: Student) -> bool:
        """Whether a student can be trained in this way, and in a time that is reasonable."""
        if self.needs_zero_shot and not student.uses_vectors:
            return False
        return self.uses_added or student.slow_step in _FREE_OF[self.shares]

    def list_parts(self, student: Student, train: Rows) -> Mapping[Treatment, float]:
        """For a way that adds others up: these, and the share of each before a row is seen; by default none.

        What such a way says of rows by folds follows from what its parts say of them (`combine`), so that validating
        it trains nothing twice.
        """
        return {}

    def list_parts_alone(self, student: Student, train: Rows) -> Mapping[Treatment, float]:
        """For a way with parts and added rows: the same without what added rows say; by default none."""
        return {}

    def combine(
        self,
        tables: Mapping[str, Floats],
        expected: Mapping[Treatment, float],
        labels: Integers,
        folds: Integers,
    ) -> Floats:
        """(n, k) log-scores of rows by folds, for a way with parts.

        Args:
            tables: name of each part -> (n, k) log-scores of rows by those who were not trained on their fold.
            expected: what `list_parts` gave.
            labels: (n,) label indices.
            folds: (n,) fold of each row.
        """
        raise NotImplementedError

    def write_code(self, student: Student) -> str:
        """Its lines of the recipe for one student."""
        return self.code


def fit_adjusted(student: Student, train: Rows, test: Rows, n_labels: int) -> Floats:
    """(m, k) log-probabilities of a student trained on some rows, the logs of their label shares taken out."""
    features, others = student.features(train, test)
    plain = student.fit_log_probabilities(features, train.labels, np.ones(len(train)), others, n_labels)
    return np.asarray(log_softmax(adjust(plain, train.labels, n_labels), axis=1))
