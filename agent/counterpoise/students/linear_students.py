"""The students that ship: logistic regression on sentence vectors, and on words.

The second shares nothing with the filters of proposals, so it cannot be flattered by them.
"""

from __future__ import annotations

from counterpoise.core.errors import JobError
from counterpoise.core.records import Floats, Integers
from counterpoise.students.base import Student
from counterpoise.students.linear import (
    INVERSE_REGULARISATION,
    Features,
    Model,
    fit_log_probabilities,
    fit_model,
    score_model,
)
from counterpoise.students.recipe_lines import StudentCode
from counterpoise.students.representations import Representation, SentenceVectors, Transform, Words
from counterpoise.students.rows import Rows

_IMPORTS = "from sklearn.linear_model import LogisticRegression\n"
_MODEL = f"LogisticRegression(C={INVERSE_REGULARISATION!r}, max_iter=1000)"


class LinearStudent(Student):
    """Logistic regression on a representation."""

    representation: Representation

    def features(self, train: Rows, test: Rows) -> tuple[Features, Features]:
        """See `Representation.features`."""
        return self.representation.features(train, test)

    def learn_features(self, train: Rows) -> tuple[Features, Transform]:
        """See `Representation.learn`."""
        return self.representation.learn(train)

    def fit_log_probabilities(
        self, features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
    ) -> Floats:
        """See `linear.fit_log_probabilities`."""
        return fit_log_probabilities(features, labels, weights, test, n_labels)

    def fit_model(self, features: Features, labels: Integers, weights: Floats) -> Model:
        """See `linear.fit_model`."""
        return fit_model(features, labels, weights)

    def score_model(self, model: Model, test: Features, n_labels: int) -> Floats:
        """See `linear.score_model`."""
        return score_model(model, test, n_labels)

    def write_code(self, encoder: str) -> StudentCode:
        """Plain scikit-learn."""
        seen = self.representation
        return StudentCode(seen.join_imports(_IMPORTS), seen.write_setting(encoder), seen.make, _MODEL)


class VectorsStudent(LinearStudent):
    """Logistic regression on the vectors of an encoder.

    Args:
        encoder: its name; "" for the encoder of the job, whose name is known in a run (`bind`).
    """

    meaning = "logistic regression on sentence vectors"
    uses_vectors = True
    representation = SentenceVectors()

    def __init__(self, encoder: str = "") -> None:
        self.encoder = encoder
        self.name = f"vectors:{encoder}" if encoder else "vectors"

    def bind(self, encoder: str) -> Student:
        """The student on the vectors of the run's encoder, named after it.

        Raises:
            JobError: it is to be on the vectors of another one.
        """
        if self.encoder and self.encoder != encoder:
            raise JobError(
                f"the student '{self.name}' needs vectors of '{self.encoder}', and the job's encoder is '{encoder}'",
                where="key 'students'",
                hint="write 'vectors' for the job's encoder",
            )
        return VectorsStudent(encoder)


class WordsStudent(LinearStudent):
    """Logistic regression on words and pairs of words."""

    name = "words"
    meaning = "logistic regression on words"
    representation = Words()
