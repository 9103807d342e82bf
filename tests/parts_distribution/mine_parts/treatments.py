"""A treatment: half of the label shares is taken out of the scores."""

from __future__ import annotations

import numpy as np

from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Treatment
from counterpoise.students.treatments import LOGIT_ADJUSTMENT


class HalfAdjusted(Treatment):
    """Half way to the adjusted threshold."""

    name = "mine.half_adjusted"
    meaning = "half way to the adjusted threshold"
    advice = "Train {student} on your rows and take half of the label shares out of its scores"

    def score(self, task: FitTask) -> Floats:
        """The mean of the plain and the adjusted log-scores."""
        return np.asarray((task.plain + task.score(LOGIT_ADJUSTMENT)) / 2)
