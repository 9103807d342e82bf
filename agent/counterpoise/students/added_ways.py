"""The ways to use added rows: as they are, and mixed with what the user's own rows alone say.

What added rows get wrong the own rows do not repeat, so a mixture loses little where they help and hardly anything
where they harm; how much of each is right shows on own rows that were left out (`tuned_added`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.core.records import Floats
from counterpoise.students.added_rows import ADDED_ROWS, ON_RESULT, UNWEIGHTED_ROWS
from counterpoise.students.base import FitTask, Student, Treatment
from counterpoise.students.mixtures import Mixture
from counterpoise.students.recipe_lines import ADJUSTED, MORE, SCORE
from counterpoise.students.similarity import compare_descriptions
from counterpoise.students.treatments import BASELINE, TREATMENTS, ZERO_SHOT_PRIOR
from counterpoise.students.tuned_added import TunedAdded

_PRIOR = ", each with nearness to the labels' descriptions as a prior"


class AddedRowsPrior(Treatment):
    """The same with the descriptions of the labels as a prior."""

    name = "added_rows_prior"
    advice = ON_RESULT + _PRIOR
    needs_zero_shot = True
    uses_added = True
    code = f"{MORE}{SCORE}more(texts) + compare(texts) - middle\n\n"

    def score(self, task: FitTask) -> Floats:
        """Log-scores of the added rows and log-probabilities of the descriptions, added."""
        return task.score(ADDED_ROWS) + compare_descriptions(task.train, task.test)


@dataclass(frozen=True, slots=True)
class AddedWay:
    """A way to use added rows, with what it is judged by.

    Args:
        simple: the same without added rows.
        added: with them.
    """

    simple: Treatment
    added: Treatment


def _register(treatment: Treatment) -> Treatment:
    return TREATMENTS.register(treatment, default=False)


_register(ADDED_ROWS)
PLAIN_WAY = AddedWay(BASELINE, ADDED_ROWS)
PRIOR_WAY = AddedWay(ZERO_SHOT_PRIOR, _register(AddedRowsPrior()))
ADDED_WAYS = (PLAIN_WAY, PRIOR_WAY)
"""With nearness to the labels' descriptions as a prior, where that does no evident harm, else without."""

_register(UNWEIGHTED_ROWS)
TUNED_ADDED = _register(TunedAdded())
AVERAGED = _register(
    Mixture(
        "averaged",
        (BASELINE, ADDED_ROWS),
        advice="Train {student} on the result and once more on your own rows alone, and average the two",
        code=f"{ADJUSTED}{MORE}{SCORE}(plain(texts) + more(texts)) / 2\n\n",
    )
)


def find_mixture(student: Student, simple: Treatment = BASELINE) -> Treatment:
    """How a student mixes what it learns from own and added rows: in tuned shares, where that does not take hours.

    Args:
        student: who is trained.
        simple: the way without added rows that was chosen for it.
    """
    stacked = TUNED_ADDED if simple is BASELINE else TunedAdded(simple)
    return stacked if stacked.suits(student) else AVERAGED


def find_way(name: str, given: Sequence[Treatment] = ()) -> Treatment:
    """The treatment of a name, those that are made of another one by its name among them (`tuned_added:NAME`).

    Args:
        name: its name.
        given: objects of a user's own, which may have it too, or be what it is made of.

    Raises:
        JobError: there is none.
    """
    own = next((way for way in given if way.name == name), None)
    if own is not None:
        return own
    way, _, simple = name.partition(":")
    if way == TUNED_ADDED.name and simple:
        return TunedAdded(find_way(simple, given))
    return TREATMENTS.find(name)
