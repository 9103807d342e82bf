"""Whether a judge is believed: its answers on suspects whose label is known come first, and may end it.

It is believed where, on these, the labels are right more often with its answers than without them (one-sided sign
test). Otherwise it is asked nothing else, and all is as if nobody had been asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from counterpoise.actions.relabel.label_judges import LabelJudge, RankedJudge, Ranking, Reference
from counterpoise.actions.relabel.label_queue import LabelledRows, LabelQueue
from counterpoise.actions.relabel.suspects import UNKNOWN, Suspects, rank
from counterpoise.core.records import Floats, Integers

_SIGN_LEVEL = 0.05
_FEWEST_JUDGED = 20
_DECIDED_FROM = 0.1
"""A judge that prefers no answer by as much has not answered, nor has one that contradicts itself."""


@dataclass(frozen=True, slots=True)
class JudgeTrial:
    """What a judge's answers are worth on suspects whose label is known, and what follows from them.

    Args:
        name: of the judge.
        n_gold: suspects whose label is known.
        suspects: all rows, with its answers where it is believed, else as they were.
        unanswered: (n,) rows that it was asked about and gave no clear answer on, where it is believed.
        n_asked: rows that it was asked about.
        gained: known suspects that are right with its answers, and were not without.
        lost: known suspects that were right without its answers, and are not with them.
        is_used: whether it is believed.
        note: the same as a sentence.
    """

    name: str
    n_gold: int
    suspects: Suspects
    unanswered: NDArray[np.bool_]
    n_asked: int = 0
    gained: int = 0
    lost: int = 0
    is_used: bool = False
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "name": self.name,
            "n_gold": self.n_gold,
            "is_used": self.is_used,
            "n_asked": self.n_asked,
            "gained": self.gained,
            "lost": self.lost,
            "note": self.note,
        }


async def try_judge(
    judge: LabelJudge, rows: LabelledRows, suspects: Suspects, queue: LabelQueue
) -> JudgeTrial:
    """Ask a judge about the known rows of the queue, and where its answers help there about the others."""
    known = np.flatnonzero(queue.mask & rows.is_known)
    trial = JudgeTrial(judge.name, len(known), suspects, np.zeros(len(rows.labels), dtype=np.bool_))
    if len(known) < _FEWEST_JUDGED:
        return replace(
            trial,
            note=f"{judge.name} was not asked: {len(known)} suspects have a known label, {_FEWEST_JUDGED} are needed "
            "to audit it.",
        )
    answers = np.full(suspects.probabilities.shape, np.nan)
    answers[known] = await _ask(judge, rows, suspects, queue, known)
    audited = combine(rows, suspects, answers, known)
    gained, lost = count_changes(suspects.probabilities[known], audited[known], rows.gold[known])
    trial = replace(trial, n_asked=len(known), gained=gained, lost=lost)
    p_value = compute_sign_test(gained, lost)
    if p_value > _SIGN_LEVEL:
        return replace(
            trial,
            note=f"{judge.name} is not believed: on {len(known)} suspects whose label is known its answers mended "
            f"{gained} and spoiled {lost} (sign test p = {p_value:.2f}). A larger model, or more known labels, may "
            "pass.",
        )
    others = np.flatnonzero(queue.mask & ~rows.is_known)
    answers[others] = await _ask(judge, rows, suspects, queue, others)
    asked = np.flatnonzero(queue.mask)
    return replace(
        trial,
        suspects=rank(rows.labels, combine(rows, suspects, answers, asked), suspects.views),
        unanswered=queue.mask & np.isnan(answers).any(axis=1),
        n_asked=len(asked),
        is_used=True,
        note=f"{judge.name} is believed: on {len(known)} suspects whose label is known its answers mended {gained} and "
        f"spoiled {lost}.",
    )


def count_changes(before: Floats, after: Floats, truth: Integers) -> tuple[int, int]:
    """How many of (n, k) probabilities become right, and how many were right and no longer are."""
    was_right, is_right = before.argmax(axis=1) == truth, after.argmax(axis=1) == truth
    return int((is_right & ~was_right).sum()), int((was_right & ~is_right).sum())


def compute_sign_test(gained: int, lost: int) -> float:
    """One-sided p value of as many gains or more among the changes, were gains and losses equally likely."""
    return float(binom.sf(gained - 1, gained + lost, 0.5)) if gained + lost else 1.0


def combine(rows: LabelledRows, suspects: Suspects, answers: Floats, asked: Integers) -> Floats:
    """(n, k) probabilities with a judge's answers (n, k) on the rows asked about; unanswered rows as they were.

    By Bayes' rule with one number, how often the judge is right on known rows of other folds: there are too few of
    them to learn more.
    """
    combined = suspects.probabilities.copy()
    n_labels = combined.shape[1]
    gold, folds = rows.gold, rows.folds
    answered = asked[~np.isnan(answers[asked]).any(axis=1)]
    said = answers[answered].argmax(axis=1)
    known = gold[answered] != UNKNOWN
    for fold in np.unique(folds[answered]):
        others = known & (folds[answered] != fold)
        n_right = float((said[others] == gold[answered][others]).sum())
        accuracy = (n_right + 0.5) / (float(others.sum()) + 0.5 * n_labels)
        mine = folds[answered] == fold
        likelihood = np.full((int(mine.sum()), n_labels), (1.0 - accuracy) / (n_labels - 1))
        likelihood[np.arange(len(likelihood)), said[mine]] = accuracy
        updated = combined[answered[mine]] * likelihood
        combined[answered[mine]] = updated / updated.sum(axis=1, keepdims=True)
    return combined


async def _ask(
    judge: LabelJudge, rows: LabelledRows, suspects: Suspects, queue: LabelQueue, asked: Integers
) -> Floats:
    """Probabilities; NaN where there is no answer, or one that the other order of the options contradicts."""
    texts, right = rows.records.texts, np.where(rows.is_known, rows.gold, rows.labels)
    shown = [
        [Reference(str(texts[one]), int(right[one])) for one in queue.references[int(row)]] for row in asked
    ]
    about = [str(texts[row]) for row in asked]
    if isinstance(judge, RankedJudge):
        described = None if rows.described is None else rows.described[asked]
        ranking = Ranking(suspects.probabilities[asked], described, rows.labels[asked])
        said = await judge.judge_ranked(about, shown, ranking)
    else:
        said = await judge.judge(about, shown)
    ranked = np.sort(said, axis=1)
    return np.where((ranked[:, -1:] - ranked[:, -2:-1]) >= _DECIDED_FROM, said, np.nan)
