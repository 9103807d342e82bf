"""The family of label scorers: what gives probabilities of the labels, and is audited before it decides anything.

| scorer | what it goes by | decides |
|---|---|---|
| `classifier` | logistic regression on sentence vectors, cross-fitted | where its audit passes |
| `similarity` | the nearest description of a label | nothing |
| `llm` | a language model picks a letter | with the classifier or alone, where known labels bear it out |
| one of a user's own | whatever it likes | where its audit passes and is surely better than the classifier's |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.core.registry import NamedPart, Registry
from counterpoise.scorers.base import ClassifierScorer, SimilarityScorer
from counterpoise_retrievers.encoder_protocol import Encoder


@dataclass(frozen=True, slots=True)
class ScorerRows:
    """What a scorer sees of rows.

    Args:
        texts: (n,) texts.
        vectors: (n, d) of them.
        label_names: k names.
        descriptions: (k,) one line a label.
        encoder: of the vectors.
        labels: (n,) label indices of rows that are learned from; -1 of rows that are to be scored.
    """

    texts: Objects
    vectors: Vectors
    label_names: tuple[str, ...]
    descriptions: tuple[str, ...]
    encoder: Encoder
    labels: Integers

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.texts)

    def take(self, positions: Sequence[int] | Integers) -> ScorerRows:
        """The rows at `positions`, in that order."""
        picked = np.asarray(positions, dtype=np.int64)
        return replace(
            self, texts=self.texts[picked], vectors=self.vectors[picked], labels=self.labels[picked]
        )

    def hide_labels(self) -> ScorerRows:
        """The same rows, as they are shown to who scores them."""
        return replace(self, labels=np.full(len(self), -1))


class FittedScorer(Protocol):
    """What scores."""

    def score(self, rows: ScorerRows) -> Floats:
        """(n, k) probabilities of the labels, rows summing to 1."""
        ...


class Scorer(NamedPart, Protocol):
    """A registered scorer.

    It has `score(rows)`, as a `FittedScorer` has, or, where it learns from labels, `fit(rows)`, which gives one: it is
    then cross-fitted, so that nobody scores a row that it has seen. It may have `question`, a sentence for the report,
    and `may_decide`, False for one that is reported only, with `note`, a sentence on why.
    """

    @property
    def price(self) -> float:
        """Tokens for 1,000 records."""
        ...


SCORERS: Registry[Scorer] = Registry("scorers", needs=("price",), either=("score", "fit"))
"""All that a job may name under `scorers`."""


class ClassifierPart:
    """The one that the others are measured against; it is always audited."""

    name = "classifier"
    price = 0.0
    question = "Which label has the text? Logistic regression on sentence vectors, cross-fitted"

    def fit(self, rows: ScorerRows) -> VectorScorer:
        """Learn the labels."""
        return VectorScorer(ClassifierScorer(rows.encoder, rows.vectors, rows.labels, len(rows.label_names)))


class SimilarityPart:
    """Knows nothing of the data."""

    name = "similarity"
    price = 0.0
    question = "Which label's description is the text nearest to?"
    note = "It knows nothing of the data; a line for each label under `labels` in the job helps it."
    may_decide = False

    def score(self, rows: ScorerRows) -> Floats:
        """(n, k) probabilities."""
        return SimilarityScorer(rows.encoder, rows.descriptions).score_vectors(rows.vectors)


class ModelPart:
    """The model of the job; it is asked about a pilot, once it is there (`tasks.text.model_trust.audit_model`)."""

    name = "llm"
    price = float("nan")
    may_decide = False
    needs_model = True


@dataclass(frozen=True, slots=True)
class VectorScorer:
    """A scorer that goes by the vectors alone."""

    scorer: ClassifierScorer

    def score(self, rows: ScorerRows) -> Floats:
        """(n, k) probabilities."""
        return self.scorer.score_vectors(rows.vectors)


BASELINE = ClassifierPart()
SCORERS.register(BASELINE)
SCORERS.register(SimilarityPart())
SCORERS.register(ModelPart())
