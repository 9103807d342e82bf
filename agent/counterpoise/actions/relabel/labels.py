"""Wrong labels: a cheap scorer over all rows, a strong one over the suspects, and a promise before a label changes.

Outcomes: `relabel` where known rows show that the new labels are right as often as promised; `drop` where they show as
much of the old labels being wrong, but not of the new ones being right; `keep` where the judge confirmed the label;
`abstain` where it gave no answer; `review` for all other suspects. Without known rows nothing is promised and nothing
changes: all suspects are for review, the likeliest wrong first.

A judge is believed only where, on known suspects, the answers with it are right more often than those without it
(one-sided sign test); otherwise the outcome is the same as if nobody had been asked. And it is never enough that a
judge says so: the cheap scorer must hold the new label for possible, so that a text which talks a judge into an answer
changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.relabel.label_judges import LabelJudge
from counterpoise.actions.relabel.label_promises import (
    LabelPromises,
    LabelSettings,
    Sureness,
    make_promises,
    measure_sureness,
)
from counterpoise.actions.relabel.label_queue import LabelledRows, choose_queue
from counterpoise.actions.relabel.label_trials import JudgeTrial, try_judge
from counterpoise.actions.relabel.promises import Promise
from counterpoise.actions.relabel.suspects import UNKNOWN, Suspects, find_suspects
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.data.patches.values import LabelOutcome


@dataclass(frozen=True, slots=True)
class Decisions:
    """What becomes of every row.

    Args:
        outcomes: (n,) a `LabelOutcome` each, None where the row is no suspect.
        after: (n,) the label index proposed.
        scores: (n,) certainty of the proposal, 0..1.
        reasons: (n,) who decided.
        order: rows with an outcome, known ones first, then the most certain.
        suspects: the cheap scorer's view.
        promise: of the labels that change; None where nothing was promised.
        drop_promise: that rows which are dropped, or would be if they were not relabelled, had a wrong label.
        trial: of the judge; None without one.
        references: row -> rows shown beside it.
        notes: sentences for a person.
    """

    outcomes: Objects
    after: Integers
    scores: Floats
    reasons: Objects
    order: Integers
    suspects: Suspects
    promise: Promise | None
    drop_promise: Promise | None = None
    trial: JudgeTrial | None = None
    references: dict[int, Integers] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


async def decide_labels(
    rows: LabelledRows,
    *,
    settings: LabelSettings | None = None,
    judge: LabelJudge | None = None,
    suspects: Suspects | None = None,
) -> Decisions:
    """Find wrong labels and decide what becomes of them.

    Args:
        rows: the rows, and what is known of them.
        settings: how to go about it.
        judge: the strong scorer, asked about suspects only.
        suspects: what `find_suspects` gave, if it was computed before.
    """
    settings = settings or LabelSettings()
    records = rows.records
    suspects = suspects or find_suspects(
        rows.vectors,
        rows.labels,
        records.groups,
        rows.folds,
        len(records.label_names),
        rows.gold,
        texts=records.texts,
    )
    if judge is None:
        return conclude(rows, settings, suspects)
    queue = choose_queue(rows, suspects, settings.queue_ratio)
    return conclude(rows, settings, suspects, await try_judge(judge, rows, suspects, queue))


def conclude(
    rows: LabelledRows, settings: LabelSettings, suspects: Suspects, trial: JudgeTrial | None = None
) -> Decisions:
    """What becomes of suspects, once a judge was tried or where there is none."""
    records, queue = rows.records, choose_queue(rows, suspects, settings.queue_ratio)
    sureness = measure_sureness(rows.labels, suspects, queue.mask, trial)
    promises = make_promises(rows, suspects if trial is None else trial.suspects, sureness, settings)
    outcomes = settle(rows, suspects, queue.mask, trial, sureness, promises)
    listed = np.flatnonzero(outcomes.outcomes != None)  # noqa: E711  (an array of objects)
    return Decisions(
        outcomes.outcomes,
        outcomes.after,
        outcomes.scores,
        outcomes.reasons,
        listed[np.lexsort((records.ids[listed].astype(str), -outcomes.scores[listed]))],
        suspects,
        promises.changes,
        promises.drops,
        trial,
        queue.references,
        (*([] if trial is None else [trial.note]), *promises.notes),
    )


@dataclass(frozen=True, slots=True)
class Outcomes:
    """(n,) what becomes of every row, its label afterwards, how certain that is, and who decided."""

    outcomes: Objects
    after: Integers
    scores: Floats
    reasons: Objects


def settle(
    rows: LabelledRows,
    suspects: Suspects,
    in_queue: NDArray[np.bool_],
    trial: JudgeTrial | None,
    sureness: Sureness,
    promises: LabelPromises,
) -> Outcomes:
    """What becomes of every row: the later line wins over the earlier one, and what is known over all."""
    labels, margins = rows.labels, sureness.margins
    final = suspects if trial is None else trial.suspects
    outcomes: Objects = np.full(len(labels), None, dtype=object)
    reasons: Objects = np.full(len(labels), "", dtype=object)
    after = final.proposed.copy()
    scores = np.clip((1.0 + margins) / 2.0, 0.0, 1.0)
    unanswered = np.zeros(len(labels), dtype=np.bool_) if trial is None else trial.unanswered
    who = "classifier and neighbours"
    if trial is not None and trial.is_used:
        who = f"classifier, neighbours and {trial.name}"
    outcomes[in_queue], reasons[in_queue] = LabelOutcome.REVIEW, who
    if trial is not None and trial.is_used:
        outcomes[in_queue & (final.probabilities.argmax(axis=1) == labels)] = LabelOutcome.KEEP
        outcomes[unanswered] = LabelOutcome.ABSTAIN
        reasons[unanswered] = f"{trial.name} gave no clear answer"
    if promises.drops is not None:
        dropped = (sureness.wrongness >= promises.drops.threshold) & (margins > 0) & ~unanswered
        outcomes[dropped], reasons[dropped] = LabelOutcome.DROP, who
    if promises.changes is not None and promises.changes.is_kept:
        changed = (margins >= promises.changes.threshold) & ~unanswered
        outcomes[changed], reasons[changed] = LabelOutcome.RELABEL, who
    told = rows.told
    known = told != UNKNOWN
    outcomes[known], reasons[known] = None, ""
    wrong = known & (told != labels)
    outcomes[wrong], reasons[wrong], scores[wrong] = LabelOutcome.RELABEL, "the label is known", 1.0
    after[wrong] = told[wrong]
    return Outcomes(outcomes, after, scores, reasons)
