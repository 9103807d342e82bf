"""The label scorer of a run where a model has a say: what costs nothing, and what the model said of some texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.records import Floats
from counterpoise.scorers.base import ClassifierScorer
from counterpoise.scorers.deciding import Decider
from counterpoise.scorers.weighing import Weighing


@dataclass(frozen=True, slots=True)
class HeardScorer:
    """The scorer that costs nothing, together with a model's answers about some texts.

    Args:
        scorer: the one that costs nothing.
        weighing: how far each is believed.
        said: text -> (k,) what the model said of it (`LabelAnswers.factors`).
        read: text -> (k,) probabilities of the labels by a second reading of the pool, which stand for the text.
    """

    scorer: ClassifierScorer | Decider
    weighing: Weighing
    said: Mapping[str, Floats] = field(default_factory=dict)
    read: Mapping[str, Floats] = field(default_factory=dict)

    def score_texts(self, texts: Sequence[str], vectors: Vectors) -> Floats:
        """(m, k) probabilities of m texts with their (m, d) vectors; as without the model where it was not asked."""
        scores = self.scorer.score_texts(texts, vectors)
        heard = np.array([row for row, text in enumerate(texts) if str(text) in self.said], dtype=np.int64)
        if len(heard):
            factors = np.array([self.said[str(texts[row])] for row in heard])
            scores[heard] = self.weighing.unite(scores[heard], factors)
        for row, text in enumerate(texts):
            if str(text) in self.read:
                scores[row] = self.read[str(text)]
        return scores
