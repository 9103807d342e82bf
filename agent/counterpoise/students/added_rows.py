"""The student on own and added rows alike, or as the `weight` column of the written data set says."""

from __future__ import annotations

from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Treatment
from counterpoise.students.weights import adjust

ON_RESULT = (
    "Train {student} on the result, with its `weight` column and the logits adjusted by the label shares"
)


class UnweightedRows(Treatment):
    """The student on own and added rows alike, the label shares taken out."""

    name = "unweighted_rows"
    meaning = "added rows used like own ones, threshold moved by how common each label is"
    advice = (
        "Train {student} on the result without its `weight` column, the logits adjusted by the label shares"
    )
    uses_added = True
    code = "score = fit(rows, ones(rows), 1)\n"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities less the logs of the label shares."""
        return adjust(task.plain, task.labels, task.n_labels)


class AddedRows(Treatment):
    """The written data set as it is, rows weighted as its `weight` column says, logits adjusted."""

    name = "added_rows"
    advice = ON_RESULT
    uses_added = True
    code = 'score = fit(rows, rows["weight"], 1)\n'

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities less the logs of the weighted label shares."""
        weights = task.train.weights
        return adjust(task.fit(weights), task.labels, task.n_labels, weights)


UNWEIGHTED_ROWS, ADDED_ROWS = UnweightedRows(), AddedRows()
USES = (UNWEIGHTED_ROWS, ADDED_ROWS)
"""Which of them is right depends on who wrote the rows: all alike where they are like real ones, at a fraction of a
weight where they are many and poor."""
