"""The mean of what several treatments say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_softmax

from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Treatment


class Mixture(Treatment):
    """The mean log-probabilities of treatments (Genest and Zidek, 1986, call it a logarithmic opinion pool).

    Args:
        name: its name.
        parts: the treatments.
        meaning: see `Treatment`.
        advice: see `Treatment`.
        code: see `Treatment`.
    """

    def __init__(
        self, name: str, parts: Sequence[Treatment], *, meaning: str = "", advice: str = "", code: str = ""
    ) -> None:
        self.name = name
        self.parts = tuple(parts)
        self.meaning = meaning
        self.advice = advice
        self.code = code
        self.needs_zero_shot = any(part.needs_zero_shot for part in parts)
        self.uses_added = any(part.uses_added for part in parts)

    def score(self, task: FitTask) -> Floats:
        """(m, k) means of the log-probabilities."""
        return np.asarray(np.mean([log_softmax(task.score(part), axis=1) for part in self.parts], axis=0))
