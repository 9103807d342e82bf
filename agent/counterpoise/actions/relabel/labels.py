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

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from counterpoise.actions.relabel.label_judges import Judge, Reference
from counterpoise.actions.relabel.promises import DEFAULT_CONFIDENCE, Promise, certify
from counterpoise.actions.relabel.suspects import (
    FEWEST_GOLD,
    UNKNOWN,
    Suspects,
    find_suspects,
    is_enough,
    rank,
)
from counterpoise.core.records import Floats, Integers, Objects, Records
from counterpoise.data.patches.values import LabelOutcome

QUEUE_RATIO = 2.0
N_REFERENCES = 3
POSSIBLE_FROM = 0.03
_SIGN_LEVEL = 0.05
_FEWEST_JUDGED = 20
_DECIDED_FROM = 0.1
"""A judge that prefers no answer by as much has not answered, nor has one that contradicts itself."""


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
        judge: what is known of the judge: name, n_asked, n_gold, gained, lost, is_used; empty without one.
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
    judge: dict[str, Any] = field(default_factory=dict)
    references: dict[int, Integers] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def list_relabelled(self) -> Integers:
        """Rows whose label changes."""
        return np.flatnonzero(self.outcomes == LabelOutcome.RELABEL)


async def decide_labels(
    records: Records,
    vectors: NDArray[np.float32],
    folds: Integers,
    gold: Integers | None = None,
    *,
    repeats: Integers | None = None,
    min_precision: float | None = None,
    confidence: float = DEFAULT_CONFIDENCE,
    judge: Judge | None = None,
    may_drop: bool = True,
    queue_ratio: float = QUEUE_RATIO,
    suspects: Suspects | None = None,
) -> Decisions:
    """Find wrong labels and decide what becomes of them.

    Args:
        records: n rows with labels.
        vectors: (n, d) of unit length.
        folds: (n,) folds; near-duplicates share one.
        gold: (n,) right label indices, `UNKNOWN` where nobody knows. They must be a random draw of the rows for the
            promise to hold.
        repeats: (n,) right label indices of rows that are known only because they say what a drawn one says, else
            `UNKNOWN`. They change where they are wrong; nothing is learned from them, and no draw is counted twice.
        min_precision: share of right changes to promise, and of wrong labels among dropped rows; None promises and
            changes nothing.
        confidence: of the promise.
        judge: the strong scorer, asked about suspects only.
        may_drop: whether rows may be dropped.
        queue_ratio: suspects to look at, in multiples of the number of labels thought wrong.
        suspects: what `find_suspects` gave, if it was computed before.
    """
    labels, n_labels = records.labels, len(records.label_names)
    gold = np.full(len(labels), UNKNOWN) if gold is None else gold
    known = gold != UNKNOWN
    suspects = suspects or find_suspects(
        vectors, labels, records.groups, folds, n_labels, gold, texts=records.texts
    )
    is_known_enough = is_enough(gold, folds)
    n_wrong = float(suspects.scores.sum()) if is_known_enough else _guess_wrong(suspects, labels)
    size = min(len(labels), max(1, round(queue_ratio * n_wrong)))
    in_queue = np.zeros(len(labels), dtype=np.bool_)
    in_queue[suspects.queue[:size]] = True
    references = {
        int(row): found for row, found in _find_references(vectors, labels, gold, suspects, in_queue)
    }
    final = suspects
    told: dict[str, Any] = {}
    unanswered = np.zeros(len(labels), dtype=np.bool_)
    may_change = np.ones(len(labels), dtype=np.bool_)
    notes: list[str] = []
    if judge is not None:
        final, told, unanswered = await _ask(judge, records, gold, folds, suspects, in_queue, references)
        notes.append(told["note"])
        if told["is_used"]:
            rows = np.arange(len(labels))
            may_change = in_queue & (suspects.probabilities[rows, final.proposed] >= POSSIBLE_FROM)
            # What stays as it is is no part of what is promised.
            may_change &= ~unanswered
    margins = _measure_margins(final, labels)
    margins[~may_change] = -1.0
    # That the given label is wrong may be sure where no other label is.
    sureness = np.where(margins > 0, final.scores, -1.0)
    promise = drop_promise = None
    if min_precision is not None and is_known_enough:
        tested = known & may_change
        promise = certify(final.proposed[tested] == gold[tested], margins[tested], min_precision, confidence)
        notes.append(_describe_promise(promise, int(known.sum())))
        if may_drop:
            was_wrong = labels[tested] != gold[tested]
            drop_promise = certify(was_wrong, sureness[tested], min_precision, confidence)
            notes.append(_describe_drops(drop_promise))
    elif min_precision is not None:
        notes.append(
            f"Nothing was changed, and no precision is promised: {int(known.sum())} labels are known to be right "
            f"or wrong, and {FEWEST_GOLD} drawn at random are needed (200 are good)."
        )
    drops = sureness >= (drop_promise.threshold if drop_promise else np.inf)
    told_right = gold if repeats is None else np.where(known, gold, repeats)
    decisions = _settle(records, told_right, final, margins, promise, drops, in_queue, unanswered, told)
    return replace(
        decisions,
        drop_promise=drop_promise,
        judge=told,
        references=references,
        notes=tuple(notes),
        suspects=suspects,
    )


def _guess_wrong(suspects: Suspects, labels: Integers) -> float:
    """How many labels are wrong, without a known one: rows where all views agree on another label."""
    answers = np.stack([view.argmax(axis=1) for view in suspects.views.values()])
    return float(((answers == answers[0]).all(axis=0) & (answers[0] != labels)).sum())


def _measure_margins(suspects: Suspects, labels: Integers) -> Floats:
    """How much likelier the proposed label is than the given one, -1..1."""
    rows = np.arange(len(labels))
    margins = suspects.probabilities[rows, suspects.proposed] - suspects.probabilities[rows, labels]
    return np.asarray(margins)


def _find_references(
    vectors: NDArray[np.float32],
    labels: Integers,
    gold: Integers,
    suspects: Suspects,
    wanted: NDArray[np.bool_],
) -> list[tuple[int, Integers]]:
    """The nearest confirmed rows of each wanted row: known ones, or without these the least suspicious tenth."""
    known = np.flatnonzero(gold != UNKNOWN)
    confirmed = known if len(known) >= FEWEST_GOLD else np.sort(suspects.queue[-max(1, len(labels) // 10) :])
    found = []
    rows = np.flatnonzero(wanted)
    for start in range(0, len(rows), 1024):
        block = rows[start : start + 1024]
        cosines = vectors[block] @ vectors[confirmed].T
        cosines[block[:, None] == confirmed[None, :]] = -2.0
        places = np.argsort(-cosines, axis=1, kind="stable")[:, :N_REFERENCES]
        for row, mine in zip(block, places, strict=True):
            nearest = confirmed[mine]
            found.append((int(row), nearest[nearest != row]))
    return found


async def _ask(
    judge: Judge,
    records: Records,
    gold: Integers,
    folds: Integers,
    suspects: Suspects,
    in_queue: NDArray[np.bool_],
    references: dict[int, Integers],
) -> tuple[Suspects, dict[str, Any], NDArray[np.bool_]]:
    """Ask the judge about the queue, and use its answers where the known rows there show that they help."""
    labels = records.labels
    right = np.where(gold != UNKNOWN, gold, labels)
    known = np.flatnonzero(in_queue & (gold != UNKNOWN))
    told: dict[str, Any] = {"name": judge.name, "n_gold": len(known), "is_used": False}
    nobody = np.zeros(len(labels), dtype=np.bool_)

    async def answer(rows: Integers) -> Floats:
        """Probabilities; NaN where there is no answer, or one that the other order of the options contradicts."""
        shown = [
            [Reference(str(records.texts[one]), int(right[one])) for one in references[int(row)]]
            for row in rows
        ]
        given = await judge.judge([str(records.texts[row]) for row in rows], shown)
        ranked = np.sort(given, axis=1)
        return np.where((ranked[:, -1:] - ranked[:, -2:-1]) >= _DECIDED_FROM, given, np.nan)

    if len(known) < _FEWEST_JUDGED:
        told |= {"n_asked": 0, "gained": 0, "lost": 0}
        told["note"] = (
            f"{judge.name} was not asked: {len(known)} suspects have a known label, {_FEWEST_JUDGED} are needed to "
            "audit it."
        )
        return suspects, told, nobody
    # The audit comes first: a judge that fails it is asked nothing else.
    answers = np.full(suspects.probabilities.shape, np.nan)
    answers[known] = await answer(known)
    audited = _combine(suspects, answers, gold, folds, known)
    gained = int(
        (
            (audited[known].argmax(axis=1) == gold[known])
            & (suspects.probabilities[known].argmax(axis=1) != gold[known])
        ).sum()
    )
    lost = int(
        (
            (audited[known].argmax(axis=1) != gold[known])
            & (suspects.probabilities[known].argmax(axis=1) == gold[known])
        ).sum()
    )
    p_value = float(binom.sf(gained - 1, gained + lost, 0.5)) if gained + lost else 1.0
    told |= {"n_asked": len(known), "gained": gained, "lost": lost}
    if p_value > _SIGN_LEVEL:
        told["note"] = (
            f"{judge.name} is not believed: on {len(known)} suspects whose label is known its answers mended {gained} "
            f"and spoiled {lost} (sign test p = {p_value:.2f}). A larger model, or more known labels, may pass."
        )
        return suspects, told, nobody
    others = np.flatnonzero(in_queue & (gold == UNKNOWN))
    answers[others] = await answer(others)
    asked = np.flatnonzero(in_queue)
    combined = _combine(suspects, answers, gold, folds, asked)
    told |= {"n_asked": len(asked), "is_used": True}
    told["note"] = (
        f"{judge.name} is believed: on {len(known)} suspects whose label is known its answers mended {gained} and "
        f"spoiled {lost}."
    )
    unanswered = in_queue & np.isnan(answers).any(axis=1)
    return rank(labels, combined, suspects.views), told, unanswered


def _combine(suspects: Suspects, answers: Floats, gold: Integers, folds: Integers, rows: Integers) -> Floats:
    """Probabilities with the judge's answers; unanswered rows as they were.

    By Bayes' rule with one number, how often the judge is right on known rows of other folds: there are too few of
    them to learn more.
    """
    combined = suspects.probabilities.copy()
    n_labels = combined.shape[1]
    answered = rows[~np.isnan(answers[rows]).any(axis=1)]
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


def _settle(
    records: Records,
    gold: Integers,
    final: Suspects,
    margins: Floats,
    promise: Promise | None,
    drops: NDArray[np.bool_],
    in_queue: NDArray[np.bool_],
    unanswered: NDArray[np.bool_],
    told: dict[str, Any],
) -> Decisions:
    labels = records.labels
    n = len(labels)
    outcomes: Objects = np.full(n, None, dtype=object)
    reasons: Objects = np.full(n, "", dtype=object)
    after = final.proposed.copy()
    scores = np.clip((1.0 + margins) / 2.0, 0.0, 1.0)
    who = f"classifier, neighbours and {told['name']}" if told.get("is_used") else "classifier and neighbours"
    outcomes[in_queue], reasons[in_queue] = LabelOutcome.REVIEW, who
    if told.get("is_used"):
        kept = in_queue & (final.probabilities.argmax(axis=1) == labels)
        outcomes[kept] = LabelOutcome.KEEP
        outcomes[unanswered], reasons[unanswered] = (
            LabelOutcome.ABSTAIN,
            f"{told['name']} gave no clear answer",
        )
    dropped = drops & (margins > 0) & ~unanswered
    outcomes[dropped], reasons[dropped] = LabelOutcome.DROP, who
    if promise is not None and promise.is_kept:
        changed = (margins >= promise.threshold) & ~unanswered
        outcomes[changed], reasons[changed] = LabelOutcome.RELABEL, who
    known = gold != UNKNOWN
    outcomes[known], reasons[known] = None, ""
    wrong = known & (gold != labels)
    outcomes[wrong], reasons[wrong], scores[wrong] = LabelOutcome.RELABEL, "the label is known", 1.0
    after[wrong] = gold[wrong]
    listed = np.flatnonzero(outcomes != None)  # noqa: E711  (an array of objects)
    order = listed[np.lexsort((records.ids[listed].astype(str), -scores[listed]))]
    return Decisions(outcomes, after, scores, reasons, order, final, promise)


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


def list_neighbours(decisions: Decisions, row: int) -> Sequence[int]:
    """Rows to show beside a suspect."""
    return [int(one) for one in decisions.references.get(row, ())]
