"""The ways to use added rows: as they are, and averaged with a simple way on the user's own rows alone.

What added rows get wrong the own rows do not repeat, so the mean loses little where they help and hardly anything where
they harm (a mixture of experts with equal shares: Genest and Zidek, 1986, call it a logarithmic opinion pool).
"""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Treatment
from counterpoise.students.mixtures import Mixture
from counterpoise.students.recipe_lines import ADJUSTED, MORE, SCORE
from counterpoise.students.similarity import compare_descriptions
from counterpoise.students.treatments import BASELINE, TREATMENTS, ZERO_SHOT_PRIOR
from counterpoise.students.weights import log_prior

_ON_RESULT = (
    "Train {student} on the result, with its `weight` column and the logits adjusted by the label shares"
)
_ON_BOTH = "Train {student} on the result and once more on your own rows alone, and average the two"
_PRIOR = ", each with nearness to the labels' descriptions as a prior"


class AddedRows(Treatment):
    """The written data set as it is, rows weighted as its `weight` column says, logits adjusted."""

    name = "added_rows"
    advice = _ON_RESULT
    uses_added = True
    code = 'score = fit(rows, rows["weight"], 1)\n'

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities less the logs of the weighted label shares."""
        weights = task.train.weights
        return task.fit(weights) - log_prior(task.labels, weights, task.n_labels)


class AddedRowsPrior(Treatment):
    """The same with the descriptions of the labels as a prior."""

    name = "added_rows_prior"
    advice = _ON_RESULT + _PRIOR
    needs_zero_shot = True
    uses_added = True
    code = f"{MORE}{SCORE}more(texts) + compare(texts) - middle\n\n"

    def score(self, task: FitTask) -> Floats:
        """Log-scores of the added rows and log-probabilities of the descriptions, added."""
        return task.score(ADDED_ROWS) + compare_descriptions(task.train, task.test)


@dataclass(frozen=True, slots=True)
class AddedWay:
    """A way to use added rows, with what it is judged by and mixed with.

    Args:
        simple: the same without added rows.
        added: with them.
        mixed: the mean of both.
    """

    simple: Treatment
    added: Treatment
    mixed: Treatment


def _register(treatment: Treatment) -> Treatment:
    return TREATMENTS.register(treatment, default=False)


ADDED_ROWS = _register(AddedRows())
_ADDED_ROWS_PRIOR = _register(AddedRowsPrior())

PLAIN_WAY = AddedWay(
    BASELINE,
    ADDED_ROWS,
    _register(
        Mixture(
            "averaged",
            (BASELINE, ADDED_ROWS),
            advice=_ON_BOTH,
            code=f"{ADJUSTED}{MORE}{SCORE}(plain(texts) + more(texts)) / 2\n\n",
        )
    ),
)
PRIOR_WAY = AddedWay(
    ZERO_SHOT_PRIOR,
    _ADDED_ROWS_PRIOR,
    _register(
        Mixture(
            "averaged_prior",
            (ZERO_SHOT_PRIOR, _ADDED_ROWS_PRIOR),
            advice=_ON_BOTH + _PRIOR,
            code=f"{ADJUSTED}{MORE}{SCORE}sum(\n"
            "        log_softmax(part(texts) + compare(texts) - middle, axis=1) for part in (plain, more)\n    )\n\n",
        )
    ),
)
ADDED_WAYS = (PLAIN_WAY, PRIOR_WAY)
"""With nearness to the labels' descriptions as a prior, where that does no evident harm, else without."""
