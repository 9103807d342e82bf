"""A judge of labels with a set accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from counterpoise.actions.relabel.label_judges import Reference
from counterpoise.core.records import Floats
from counterpoise.core.splits import keyed_hash


class ScriptedJudge:
    """A judge of known accuracy: right with that probability, else a wrong label; the same for a text every time."""

    def __init__(self, truth: Mapping[str, int], n_labels: int, accuracy: float, key: str) -> None:
        self.truth, self.n_labels, self.accuracy, self.key = truth, n_labels, accuracy, key
        self.name = f"scripted judge ({accuracy:.0%})"
        self.n_asked = 0

    async def judge(self, texts: Sequence[str], references: Sequence[Sequence[Reference]]) -> Floats:
        """(n, k) probabilities: 0.85 for the answer."""
        self.n_asked += len(texts)
        answers = np.full((len(texts), self.n_labels), 0.15 / (self.n_labels - 1))
        for row, text in enumerate(texts):
            draw = keyed_hash(f"{self.key}:right", text) / 2**64
            shift = 0
            if draw >= self.accuracy:
                shift = 1 + keyed_hash(f"{self.key}:wrong", text) % (self.n_labels - 1)
            answers[row, (self.truth[text] + shift) % self.n_labels] = 0.85
        return answers
