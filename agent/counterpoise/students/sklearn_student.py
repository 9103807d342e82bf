"""Any classifier of scikit-learn as a student, on sentence vectors or on words."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from counterpoise.core.errors import JobError
from counterpoise.core.records import Floats, Integers
from counterpoise.students.base import Student
from counterpoise.students.linear import PROBABILITY_FLOOR, Features, find_threads
from counterpoise.students.recipe_lines import StudentCode
from counterpoise.students.representations import REPRESENTATIONS, Transform
from counterpoise.students.rows import Rows

MOST_REPEATS = 20
"""Of a row for a classifier that knows no weights."""

_WHERE = "key 'students'"
_REPEAT = f"""
def repeat(weights):
    unit = max(weights[weights > 0].min(), weights.max() / {MOST_REPEATS})
    times = np.where(weights > 0, np.maximum(1, np.rint(weights / unit)), 0)
    return np.repeat(np.arange(len(weights)), times.astype(int))

"""
_DECIDE = """
def decide(values):
    return log_softmax(values if values.ndim == 2 else np.stack([-values / 2, values / 2], axis=1), axis=1)

"""


class SklearnStudent(Student):
    """A classifier of scikit-learn on vectors or words.

    It is cloned for each fit, and what it draws is drawn with the seed 0 where it has none of its own. Where its `fit`
    takes no `sample_weight`, rows are repeated instead, at most `MOST_REPEATS` times. Where it has no `predict_proba`,
    the softmax of its `decision_function` stands for probabilities. A label that it never saw has the floor.

    Args:
        name: what reports and tables call it.
        classifier: not trained.
        on: `vectors` or `words`.

    Raises:
        JobError: it is no classifier, gives neither probabilities nor decisions, or cannot be put on words.

    Example:
        >>> from sklearn.naive_bayes import GaussianNB
        >>> SklearnStudent("bayes", GaussianNB()).meaning
        'GaussianNB on sentence vectors'
    """

    def __init__(
        self, name: str, classifier: BaseEstimator, on: Literal["vectors", "words"] = "vectors"
    ) -> None:
        if on not in REPRESENTATIONS:
            raise JobError(f"a student is on 'vectors' or 'words', not on {on!r}", where=_WHERE)
        self.name = name
        self.uses_vectors = on == "vectors"
        self._representation = REPRESENTATIONS[on]()
        kind = _name_kind(classifier)
        self.meaning = f"{kind} on {self._representation.meaning}"
        if not is_classifier(classifier):
            raise JobError(f"{kind} is no classifier of scikit-learn", where=_WHERE)
        if not any(hasattr(classifier, method) for method in ("predict_proba", "decision_function")):
            raise JobError(f"{kind} has neither predict_proba nor decision_function", where=_WHERE)
        if self._representation.is_sparse and not get_tags(classifier).input_tags.sparse:
            raise JobError(
                f"{kind} takes no sparse matrices, which words are", where=_WHERE, hint="put it on vectors"
            )
        self._classifier = _fix_seeds(clone(classifier))
        self._takes_weights = has_fit_parameter(classifier, "sample_weight")

    @property
    def classifier(self) -> BaseEstimator:
        """What is cloned for each fit."""
        return self._classifier

    def features(self, train: Rows, test: Rows) -> tuple[Features, Features]:
        """See `Representation.features`."""
        return self._representation.features(train, test)

    def learn_features(self, train: Rows) -> tuple[Features, Transform]:
        """See `Representation.learn`."""
        return self._representation.learn(train)

    def fit_log_probabilities(
        self, features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
    ) -> Floats:
        """Train a clone of the classifier; see `Student.fit_log_probabilities`.

        Raises:
            JobError: the classifier refuses the rows, or gives what is no number.
        """
        return self.score_model(self.fit_model(features, labels, weights), test, n_labels)

    def fit_model(self, features: Features, labels: Integers, weights: Floats) -> Any:
        """A trained clone of the classifier, or the one label that there was to learn."""
        rows = np.flatnonzero(weights > 0) if self._takes_weights else repeat_rows(weights)
        present = np.unique(labels[rows])
        if len(present) == 1:
            return int(present[0])
        given = {"sample_weight": weights[rows]} if self._takes_weights else {}
        with self._training():
            return clone(self._classifier).fit(features[rows], labels[rows], **given)

    def score_model(self, model: Any, test: Features, n_labels: int) -> Floats:
        """(m, k) log-probabilities of what `fit_model` gave."""
        scores = np.full((test.shape[0], n_labels), np.log(PROBABILITY_FLOOR))
        if isinstance(model, int):
            scores[:, model] = 0.0
            return scores
        with self._training():
            scores[:, model.classes_] = _score(model, test)
        if not np.isfinite(scores).all():
            raise JobError(f"the student '{self.name}' gives a score that is no number", where=_WHERE)
        return scores

    @contextmanager
    def _training(self) -> Iterator[None]:
        """One thread, no warnings of slow convergence, and errors in one line."""
        try:
            with find_threads().limit(limits=1), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                yield
        except (ValueError, TypeError, ArithmeticError, np.linalg.LinAlgError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise JobError(
                f"the student '{self.name}' cannot be trained ({said:.200})",
                where=_WHERE,
                hint="choose another classifier, or leave it out",
            ) from error

    def write_code(self, encoder: str) -> StudentCode:
        """Plain scikit-learn."""
        seen = self._representation
        has_probabilities = hasattr(self._classifier, "predict_proba")
        helpers = ("" if self._takes_weights else _REPEAT) + ("" if has_probabilities else _DECIDE)
        drawn = "" if self._takes_weights else "[repeat(weights.to_numpy())]"
        weighted = ", sample_weight=weights" if self._takes_weights else ""
        return StudentCode(
            imports=seen.join_imports(_write_imports(self._classifier)),
            setting=seen.write_setting(encoder) + helpers,
            make=seen.make,
            model=_write_expression(self._classifier),
            trained=f'{{model}}.fit(encode(part["content"]){drawn}, part[{{label}}].to_numpy(){drawn}{weighted})',
            log_probabilities=(
                f"np.log(np.maximum(model.predict_proba(encode(texts)), {PROBABILITY_FLOOR}))"
                if has_probabilities
                else "decide(model.decision_function(encode(texts)))"
            ),
        )


def repeat_rows(weights: Floats) -> Integers:
    """Positions of rows, each as often as it weighs: once for the least weight, `MOST_REPEATS` times at most.

    Args:
        weights: (n,) weights, 0 or more; rows of weight 0 are left out, and one is more.

    >>> repeat_rows(np.array([0.5, 0.0, 1.0])).tolist()
    [0, 2, 2]
    """
    positive = weights > 0
    unit = max(float(weights[positive].min()), float(weights.max()) / MOST_REPEATS)
    repeats = np.where(positive, np.maximum(1, np.rint(weights / unit)), 0)
    return np.repeat(np.arange(len(weights)), repeats.astype(np.int64))


def _name_kind(classifier: Any) -> str:
    """The class of a classifier; of a pipeline those of its steps."""
    steps = getattr(classifier, "steps", None)
    return " and ".join(_name_kind(step) for _, step in steps) if steps else type(classifier).__name__


def _fix_seeds(classifier: Any) -> Any:
    """The classifier, which draws the same at each fit."""
    seeds = [
        key
        for key, value in classifier.get_params(deep=True).items()
        if value is None and key.rpartition("__")[2] == "random_state"
    ]
    return classifier.set_params(**dict.fromkeys(seeds, 0))


def _score(model: Any, test: Features) -> NDArray[np.float64]:
    """(m, number of `classes_`) log-probabilities."""
    if hasattr(model, "predict_proba"):
        return np.log(np.maximum(np.asarray(model.predict_proba(test), np.float64), PROBABILITY_FLOOR))
    decisions = np.asarray(model.decision_function(test), np.float64)
    if decisions.ndim == 1:
        decisions = np.stack([-decisions / 2, decisions / 2], axis=1)
    if decisions.shape[1] != len(model.classes_):
        raise ValueError(
            f"its decision_function has {decisions.shape[1]} columns for {len(model.classes_)} labels"
        )
    return np.maximum(log_softmax(decisions, axis=1), np.log(PROBABILITY_FLOOR))


def _write_expression(classifier: Any) -> str:
    """The classifier as an expression on one line."""
    return " ".join(classifier.__repr__(N_CHAR_MAX=10**6).split())


def _write_imports(classifier: Any) -> str:
    """Lines that import it and the estimators within it, from the modules that are public."""
    nested = [classifier, *(value for value in classifier.get_params(deep=True).values())]
    kinds = {type(one) for one in nested if isinstance(one, BaseEstimator)}
    lines = {f"from {_find_public(kind)} import {kind.__name__}\n" for kind in kinds}
    return "".join(sorted(lines))


def _find_public(kind: type) -> str:
    parts = kind.__module__.split(".")
    first_private = next((place for place, part in enumerate(parts) if part.startswith("_")), len(parts))
    return ".".join(parts[:first_private])
