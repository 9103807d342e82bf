"""How sure each change of a label is, and what is promised of those that are made, before one is made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.relabel.asked_suspects import find_part
from counterpoise.actions.relabel.label_queue import QUEUE_RATIO, LabelledRows
from counterpoise.actions.relabel.label_trials import JudgeTrial
from counterpoise.actions.relabel.promises import DEFAULT_CONFIDENCE, Promise, Reach, certify
from counterpoise.actions.relabel.suspects import FEWEST_GOLD, Suspects, doubt_labels
from counterpoise.core.records import Floats, Integers

POSSIBLE_FROM = 0.03
"""Probability from which the cheap scorer holds a label for possible."""


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """How wrong labels are decided on.

    Args:
        min_precision: share of right changes to promise, and of wrong labels among dropped rows; None promises and
            changes nothing.
        confidence: of the promise.
        may_drop: whether rows may be dropped.
        queue_ratio: suspects to look at, in multiples of the number of labels thought wrong.
    """

    min_precision: float | None = None
    confidence: float = DEFAULT_CONFIDENCE
    may_drop: bool = True
    queue_ratio: float = QUEUE_RATIO


@dataclass(frozen=True, slots=True)
class LabelPromises:
    """What is promised of changes and of drops; None where nothing was tested.

    Args:
        changes: that labels which change become right.
        drops: that rows which are dropped had a wrong label.
        notes: the same as sentences.
    """

    changes: Promise | None = None
    drops: Promise | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sureness:
    """How sure each row's change is.

    Args:
        may_change: (n,) rows that a judge which is believed was asked about and answered on, and whose new label the
            cheap scorer holds for possible; without such a judge all rows.
        margins: (n,) how much likelier the proposed label is than the given one, -1..1; -1 where it may not change.
        wrongness: (n,) how likely the given label is wrong, 0..1; -1 where no other label is likelier.
    """

    may_change: NDArray[np.bool_]
    margins: Floats
    wrongness: Floats


def measure_sureness(
    labels: Integers, suspects: Suspects, in_queue: NDArray[np.bool_], trial: JudgeTrial | None
) -> Sureness:
    """How sure the changes are, by the judge where it is believed.

    Args:
        labels: (n,) given label indices.
        suspects: the cheap scorer's view.
        in_queue: (n,) rows that are looked at.
        trial: of the judge.
    """
    final = suspects if trial is None else trial.suspects
    rows = np.arange(len(labels))
    may_change = np.ones(len(labels), dtype=np.bool_)
    if trial is not None and trial.is_used:
        # What stays as it is is no part of what is promised.
        is_possible = suspects.probabilities[rows, final.proposed] >= POSSIBLE_FROM
        may_change = in_queue & is_possible & ~trial.unanswered
    margins = np.asarray(final.probabilities[rows, final.proposed] - final.probabilities[rows, labels])
    margins[~may_change] = -1.0
    # That the given label is wrong may be sure where no other label is.
    return Sureness(may_change, margins, np.where(margins > 0, final.scores, -1.0))


def make_promises(
    rows: LabelledRows, final: Suspects, sureness: Sureness, settings: LabelSettings
) -> LabelPromises:
    """What known rows that may change let us promise of the others.

    Args:
        rows: the rows, and what is known of them.
        final: the suspects, with the judge's answers where it is believed.
        sureness: of their changes.
        settings: what is to be promised.
    """
    n_known = int(rows.is_known.sum())
    if settings.min_precision is None:
        return LabelPromises()
    if not rows.is_known_enough:
        return LabelPromises(
            notes=(
                f"Nothing was changed, and no precision is promised: {n_known} labels are known to be right "
                f"or wrong, and {FEWEST_GOLD} drawn at random are needed (200 are good).",
            )
        )
    part = None if rows.chances is None else find_part(doubt_labels(rows.labels, final.views), rows)
    tested = rows.is_known & sureness.may_change
    if part is not None:
        tested &= part
    least, confidence, truth = settings.min_precision, settings.confidence, rows.gold[tested]

    def test(is_right: NDArray[np.bool_], scores: Floats) -> Promise:
        reach = None if part is None else Reach(scores[part], scores[~part])
        return certify(is_right, scores[tested], least, confidence, reach)

    changes = test(final.proposed[tested] == truth, sureness.margins)
    if not settings.may_drop:
        return LabelPromises(changes, notes=(_describe_promise(changes, n_known),))
    drops = test(rows.labels[tested] != truth, sureness.wrongness)
    return LabelPromises(changes, drops, (_describe_promise(changes, n_known), _describe_drops(drops)))


def _describe_promise(promise: Promise, n_known: int) -> str:
    if promise.is_kept:
        return (
            f"Promised: at least {promise.min_precision:.0%} of the changes are right, with {promise.confidence:.0%} "
            f"confidence over draws of the {n_known} known labels ({promise.n_gold_right} of {promise.n_gold_changed} "
            "known rows among the changes were changed rightly). It holds where the known rows are a random draw."
        )
    return (
        f"No set of changes could be shown to be right in at least {promise.min_precision:.0%} with "
        f"{promise.confidence:.0%} confidence on {n_known} known labels, so only known labels change. More known "
        "labels or a stronger judge would help; a lower min_precision asks for less."
    )


def _describe_drops(promise: Promise) -> str:
    if not promise.is_kept:
        return f"Nor could any rows be shown to have a wrong label in {promise.min_precision:.0%}: none is dropped."
    return (
        f"Promised: of the rows that are dropped, or would be if they were not relabelled, at least "
        f"{promise.min_precision:.0%} had a wrong label ({promise.n_gold_right} of {promise.n_gold_changed} known rows "
        "among them), with the same confidence."
    )
