"""Logit adjustment corrected by what is said of rows that were left out.

Label shares say where the threshold of a perfectly calibrated student would lie. One trained on a dozen rows of a label
is not. So on five folds shares and offsets are found under which the log-loss is least, labels weighed alike.
"""

from __future__ import annotations

from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Treatment
from counterpoise.students.left_out import add_up, leave_out
from counterpoise.students.similarity import compare_descriptions
from counterpoise.students.tuned_recipe import NEAR_LINES, write_tuned_code
from counterpoise.students.weights import adjust

PRIOR_SHARE = 0.7
"""Share of the descriptions before a row is seen: of 0.3, 0.5 and 0.7 the best on draws of CEBaB and of text messages,
sets that `evals/simple_ways.py` reports on too."""


class TunedOffsets(Treatment):
    """Logit adjustment, and an offset a label that is tuned on rows left out (thresholds, for two labels)."""

    name = "tuned_offsets"
    meaning = "logit adjustment, with thresholds tuned on rows that are left out"
    code = write_tuned_code([1.0])

    def score(self, task: FitTask) -> Floats:
        """Adjusted log-probabilities plus offsets, where there are five rows a label."""
        own = adjust(task.plain, task.labels, task.n_labels)
        return add_up([own], [task.left_out], task.labels, [1.0])


class TunedPrior(Treatment):
    """The same with nearness to the descriptions of the labels, whose share is tuned too (stacking: Wolpert, 1992)."""

    name = "tuned_prior"
    meaning = (
        "logit adjustment and the nearest description, shares and thresholds tuned on rows that are left out"
    )
    needs_zero_shot = True
    code = write_tuned_code([1.0, PRIOR_SHARE], NEAR_LINES)

    def score(self, task: FitTask) -> Floats:
        """Both log-probabilities in their shares plus offsets; in the expected shares where no row can be left out."""
        both = [adjust(task.plain, task.labels, task.n_labels), compare_descriptions(task.train, task.test)]
        near = leave_out(task.train, compare_descriptions, task.n_labels)
        return add_up(both, [task.left_out, near], task.labels, [1.0, PRIOR_SHARE])
