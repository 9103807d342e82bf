"""A recipe: what the arm *counterpoise* of a run trains, as an estimator of scikit-learn.

What it predicts is what the arm predicts: both go through `predict_by_treatments`, which trains and scores in one
call, so it holds for every treatment and every student, users' own among them. Models that the treatment trains
through its student are kept (`KeptModels`); what else it does, such as finding shares on rows left out, is done again
at each call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from counterpoise.core.errors import JobError
from counterpoise.core.label_spellings import spell_value
from counterpoise.core.records import Floats
from counterpoise.data.encoder_choice import EncoderChoice
from counterpoise.runs.recipe.data import RecipeData, as_objects
from counterpoise.runs.recipe.encoding import RecipeEncoder
from counterpoise.runs.recipe.parts import check_pair, find_student, find_treatment
from counterpoise.runs.recipe.reading import read_texts, read_training
from counterpoise.students.base import Student, Treatment
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.kept_models import KeptModels
from counterpoise.students.lazy_rows import LazyRows, LazyVectors
from counterpoise.students.rows import Rows
from counterpoise.students.treatments import BASELINE


class Recipe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A student, a treatment and rows, as a classifier of texts.

    Args:
        student: a name as a job has it, a classifier of scikit-learn, or a student.
        treatment: a name or a treatment; also one that uses added rows or looks at cells.
        data: the rows of a run, which `fit` takes where it is given none, and the lines about its labels.
        encoder: as a job names it; "" for the pinned one. It is opened where the treatment looks at vectors.
        pool: unlabelled texts, for ways that look at them; None for those of the run.
        seed: of what the treatment draws.
        cache_dir: where vectors and weights are kept; None for the user's cache folder.

    Attributes:
        classes_: (k,) the labels, sorted.
    """

    classes_: np.ndarray[Any, Any]

    def __init__(
        self,
        student: str | Student | BaseEstimator = "words",
        treatment: str | Treatment = BASELINE.name,
        *,
        data: RecipeData | None = None,
        encoder: EncoderChoice = "",
        pool: Sequence[str] | None = None,
        seed: int = 0,
        cache_dir: Path | None = None,
    ) -> None:
        self.student = student
        self.treatment = treatment
        self.data = data
        self.encoder = encoder
        self.pool = pool
        self.seed = seed
        self.cache_dir = cache_dir

    def fit(self, X: Any = None, y: Any = None) -> Self:  # noqa: N803
        """Train.

        Args:
            X: n texts; the data set of a run or a frame, whose columns for weights and provenance are used where they
                are there; None for the rows of the run.
            y: n labels; None for the label column of `X`.

        Raises:
            UserError: there is nothing to fit on, or the student cannot be trained on it in this way.
        """
        data = read_training(X, y, self.data)
        if self.pool is not None:
            data = replace(data, pool=as_objects(read_texts(self.pool, ())), pool_zero_shot=None)
        self.set_up(data)
        return self

    def predict_log_proba(self, X: Any) -> Floats:  # noqa: N803
        """(m, k) logs of `predict_proba`."""
        check_is_fitted(self)
        texts = read_texts(X, self.data_.text_columns)
        scores = self._score(self._view(texts))
        return np.asarray(log_softmax(scores, axis=1))[:, self._order]

    def predict_proba(self, X: Any) -> Floats:  # noqa: N803
        """(m, k) softmax of the scores, in the order of `classes_`: they rank; how sure they are was not measured.

        Args:
            X: m texts, or a data set or frame with the text columns.
        """
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> np.ndarray[Any, Any]:  # noqa: N803
        """(m,) the label with the largest score."""
        return np.asarray(self.classes_[self.predict_log_proba(X).argmax(axis=1)])

    def save(self, path: str | Path, *, trusted: Sequence[str] = ()) -> Path:
        """Write the fitted recipe into one file, without pickle; see `files.save_recipe`.

        Args:
            path: the file; it must not exist.
            trusted: further types that may be written and read, for a classifier of a library that skops does not know.

        Raises:
            JobError: it cannot be saved; says why.
        """
        from counterpoise.runs.recipe.files import save_recipe

        check_is_fitted(self)
        return save_recipe(self, Path(path), trusted)

    def set_up(
        self,
        data: RecipeData,
        models: dict[str, Any] | None = None,
        vectors: Any = None,
        pool_vectors: Any = None,
    ) -> None:
        """Find the parts and train; what was trained and encoded before need not be again.

        Args:
            data: the rows.
            models: see `KeptModels`.
            vectors: (n, d) of the rows.
            pool_vectors: (p, d) of the pool.

        Raises:
            UserError: see `fit`; or the encoder is another one.
        """
        self.treatment_ = find_treatment(self.treatment)
        student = find_student(self.student, self.encoder, self.cache_dir)
        n_marks = 0 if data.marks is None else len(data.marks.names)
        check_pair(self.treatment_, student, len(data.pool), n_marks)
        self.student_ = KeptModels(student, models)
        self.data_ = data
        self.encoding_ = RecipeEncoder(self.encoder, data.descriptions, data.encoder, self.cache_dir)
        self.rows_source_ = self._make_source(data.texts, vectors, data.zero_shot)
        self.pool_source_ = self._make_source(data.pool, pool_vectors, data.pool_zero_shot)
        has_lines = data.has_lines or self.treatment_.uses_lines
        self.rows_: Rows = LazyRows(
            self.rows_source_,
            data.labels,
            data.weights,
            data.original,
            self.encoding_.make_lines if has_lines else None,
            data.sources,
        )
        self.classes_ = np.unique(np.array(list(data.classes)))
        places = {spell_value(value): place for place, value in enumerate(data.classes)}
        self._order = np.array([places[spell_value(value)] for value in self.classes_.tolist()])
        self.student_.keeps = True
        self._score(self._view([str(data.texts[0])]))  # scoring one row trains everything
        self.student_.keeps = False

    def _make_source(self, texts: Any, vectors: Any = None, near: Any = None) -> LazyVectors:
        return LazyVectors(texts, self.encoding_.encode, self.encoding_.compare, vectors, near)

    def _view(self, texts: list[str]) -> Rows:
        return self._make_unlabelled(self._make_source(as_objects(texts)))

    def _make_unlabelled(self, source: LazyVectors) -> Rows:
        n = len(source.texts)
        return LazyRows(source, np.zeros(n, np.int64), np.ones(n), np.ones(n, np.bool_))

    def _score(self, test: Rows) -> Floats:
        """(m, k) log-scores, labels by their indices."""
        scores = predict_by_treatments(
            [self.treatment_],
            self.student_,
            self.rows_,
            test,
            len(self.data_.classes),
            self.seed,
            pool=self._make_unlabelled(self.pool_source_) if len(self.data_.pool) else None,
            marks=self.data_.marks,
        )[self.treatment_.name]
        if not np.isfinite(scores).all():
            found = f"the way '{self.treatment_.name}' gives a score that is no number"
            raise JobError(found, where=f"recipe of '{self.student_.name}'")
        return scores

    def __sklearn_tags__(self) -> Any:
        """Texts are what it takes."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Whether it was fitted or loaded."""
        return hasattr(self, "student_")
