"""What a run says at its end: the held-out table, the advice that follows from it, and the report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import numpy as np

from counterpoise.balance.association import measure_residuals
from counterpoise.balance.counts import count_cells
from counterpoise.balance.deficits import list_short_cells
from counterpoise.core.events import Listener, ignore, tell_progress
from counterpoise.core.plans import Kind, Proposal, Verdict
from counterpoise.core.records import Records, State
from counterpoise.data.sources import name_source
from counterpoise.llm import TokenBudget
from counterpoise.runs.advice import Added, choose, describe_action, describe_recommendation, write_headline
from counterpoise.runs.filter_report import describe_filters, note_languages
from counterpoise.runs.ledger import Ledger, add_accepted
from counterpoise.runs.outcome import Outcome
from counterpoise.students.held_out import N_SEEDS, HeldOutScore, score_held_out
from counterpoise.students.metrics import METRICS
from counterpoise.students.recipe_code import write_code
from counterpoise.students.rows import view_rows
from counterpoise.students.training import TRAINED
from counterpoise.students.treatments import STUDENTS, ZERO_TOKEN_ARMS, find_mixture
from counterpoise.students.validation import (
    MOST_TRAINING_ROWS,
    MOST_VALIDATION_ROWS,
    ArmScore,
    choose_best,
    choose_own_ways,
    draw_rows,
    recommend,
    score_arms,
)
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.label_trust import LabelTrust
from counterpoise.tasks.text.parts import RunContext

MOST_EXAMPLES = 12
MOST_EXAMPLES_A_REASON = 3
OUR_ARMS = ("counterpoise", "added_rows", "averaged", "adopted", "written")


def make_report(
    job: Job,
    context: RunContext,
    ledger: Ledger,
    trust: LabelTrust,
    simple: tuple[list[ArmScore], dict[str, str]],
    outcome: Outcome,
    budget: TokenBudget,
    ending: Mapping[str, Any],
    listener: Listener = ignore,
) -> dict[str, Any]:
    """The report of a run, in the shape of `report_schema.Report`.

    The sealed rows are scored here, once. The arm that differences are taken from was chosen on inner validation.

    Args:
        job: what was to be done.
        context: the data.
        ledger: the rounds.
        trust: the audits.
        simple: scores of the ways that cost no token on inner validation, and the best for each student.
        outcome: what was written.
        budget: what was spent.
        ending: why the run ended and what is short, as `endings.describe_ending` says it.
        listener: told of trainings that take long.
    """
    scores, best = simple
    n_labels = len(context.inputs.train.records.label_names)
    accepted = ledger.list_accepted()
    validation = list(scores)
    records = context.inputs.train.records
    counts = np.bincount(records.labels, minlength=n_labels)
    own = choose_own_ways(scores, counts)
    mixed = {student: find_mixture(own[student]) for student in STUDENTS}
    chosen = recommend(scores, [], job.metric, counts)
    if accepted:
        drawn = draw_rows(records.ids, records.labels, MOST_VALIDATION_ROWS)
        drawn = np.concatenate([drawn, np.arange(len(records), len(outcome.ours))])
        folds = np.concatenate([context.inputs.folds, np.full(len(accepted), -1)])[drawn]
        arms = sorted({*own.values(), *mixed.values()})
        tell = tell_progress(listener, "training", name=TRAINED)
        scored = score_arms(outcome.ours.take(drawn), folds, n_labels, arms, outcome.parents[drawn], tell)
        mine = [score for score in scored if own[score.student] == score.arm]
        mixtures = [score for score in scored if mixed[score.student] == score.arm]
        chosen = recommend(scores, mixtures, job.metric, counts)
        validation += [replace(score, arm="added_rows") for score in mine]
        validation += [replace(score, arm="averaged") for score in mixtures]
    ways = {"counterpoise": chosen, "added_rows": own, "averaged": mixed}
    ways |= dict.fromkeys(("unverified", "adopted", "written"), own)
    baseline = {metric: choose_best(scores, metric) for metric in METRICS}
    table = measure_held_out(context, outcome, baseline, ways, bool(accepted), listener)
    before = context.inputs.train.records
    after = add_accepted(before, ledger)
    added = count_added(ledger, budget)
    levels = {
        score.student: float(getattr(score, job.metric))
        for score in scores
        if score.arm == best[score.student]
    }
    choice = choose(job.metric, table, best, chosen, levels)
    code = write_code(
        choice.way if choice.arm == "counterpoise" else choice.arm,
        choice.student,
        text=job.text,
        label=job.label,
        descriptions=_describe_labels(job, context),
        encoder=re.split(r"[/\\]", job.encoder)[-1],
    )
    return {
        "title": job.name,
        "version": version("counterpoise"),
        "headline": write_headline(choice, job.metric, table, added),
        "advice": [describe_action(choice, job.metric, added)],
        "recommendation": describe_recommendation(choice, code),
        "data": {
            "source": name_source(job.data).rsplit("/", 1)[-1],
            "rows": len(before),
            "labels": {str(cell): have for cell, have in count_cells(before, ["label"]).items()},
            "held_out_rows": len(context.inputs.held_out),
            "pool_rows": len(context.inputs.pool),
            "notes": [
                *context.inputs.notes,
                *_note_measured(len(before)),
                *_note_pool(len(context.inputs.pool)),
                *note_languages(context.written, ledger),
            ],
        },
        "balance": _describe_balance(context, before, after),
        "rounds": _describe_rounds(ledger),
        "verdicts": _describe_verdicts(context, ledger),
        "filters": describe_filters(context.written, ledger),
        "scorers": list(trust.rows),
        "spend": _describe_spend(budget, ledger),
        "validation": {
            "metric": job.metric,
            "rows": [
                {
                    "arm": score.arm,
                    "student": score.student,
                    "macro_f1": score.macro_f1,
                    "auroc": score.auroc,
                    "kind": _kind(score.arm),
                }
                for score in validation
            ],
            "best_zero_token": best,
        },
        "held_out": {
            "n": len(context.inputs.held_out),
            "n_seeds": N_SEEDS,
            "rows": [_describe_score(score) for score in table],
        },
        "stopped": ending["sentence"],
        "ending": dict(ending),
        "settings": {
            **_describe_settings(job, outcome),
            **{f"chosen for {student}": chosen[student] for student in STUDENTS},
            **{f"added rows for {student}": own[student] for student in STUDENTS},
        },
    }


def _note_measured(n_rows: int) -> list[str]:
    if n_rows <= MOST_VALIDATION_ROWS:
        return []
    return [
        f"arms were compared on {MOST_VALIDATION_ROWS:,} training rows on inner validation and on at most "
        f"{MOST_TRAINING_ROWS:,} for the held-out table, drawn by hash, and fifty rows of every label besides"
    ]


def _note_pool(n_pool: int) -> list[str]:
    if n_pool:
        return []
    return [
        "no unlabelled records were given: they help more than written ones; name a file of them under `pool`, and "
        "the sure ones are adopted without a token"
    ]


def measure_held_out(
    context: RunContext,
    outcome: Outcome,
    baseline: Mapping[str, Mapping[str, str]],
    ways: Mapping[str, Mapping[str, str]],
    has_added: bool,
    listener: Listener = ignore,
) -> list[HeldOutScore]:
    """Score every arm on the sealed rows; `ways` says what our arms are for each student."""
    inputs = context.inputs
    records = inputs.train.records
    drawn = draw_rows(records.ids, records.labels, MOST_TRAINING_ROWS)
    # Arms that train on the same rows get the same objects: their features are then computed once.
    own = outcome.ours.take(drawn)
    trains = dict.fromkeys(ZERO_TOKEN_ARMS, own)
    groups = dict.fromkeys(ZERO_TOKEN_ARMS, outcome.groups["own"][drawn])
    if has_added:
        for arms, rows in (
            (("counterpoise", "added_rows", "averaged"), outcome.ours),
            *(((name,), rows) for name, rows in outcome.apart.items()),
            (("unverified",), outcome.unverified),
        ):
            picked = np.concatenate([drawn, np.arange(len(records), len(rows))])
            trains |= dict.fromkeys(arms, rows.take(picked))
            groups |= dict.fromkeys(arms, outcome.groups[arms[0]][picked])
    held = inputs.held_out
    test = view_rows(held)
    n_labels = len(held.records.label_names)
    return score_held_out(
        trains, groups, test, n_labels, baseline, ways, tell=tell_progress(listener, "training", name=TRAINED)
    )


def count_added(ledger: Ledger, budget: TokenBudget) -> Added:
    """The accepted records by kind, why others were refused, and what the run has used."""
    accepted, rejected = ledger.list_accepted(), ledger.list_rejected()
    n_adopted = sum(proposal.kind is Kind.ADOPTED for proposal, _ in accepted)
    reasons = Counter(verdict.reason for _, verdict in rejected)
    return Added(
        adopted=n_adopted,
        written=len(accepted) - n_adopted,
        proposed=len(accepted) + len(rejected),
        reason=min(reasons, key=lambda reason: (-reasons[reason], reason), default=""),
        tokens=budget.used,
    )


def _describe_labels(job: Job, context: RunContext) -> dict[Any, str]:
    """One line about each label, by its value as the data set has it."""
    train = context.inputs.train
    values = context.inputs.tables.train[job.label][:]
    labels = train.records.labels[train.user_order]
    first = {int(label): row for row, label in reversed(list(enumerate(labels)))}
    return {values[row]: context.inputs.label_texts[label] for label, row in sorted(first.items())}


def _kind(arm: str) -> str:
    if arm in ZERO_TOKEN_ARMS:
        return "zero_token"
    return "ours" if arm in OUR_ARMS else "reference"


def _describe_score(score: HeldOutScore) -> dict[str, Any]:
    row: dict[str, Any] = {"arm": score.arm, "student": score.student, "kind": _kind(score.arm)}
    for metric in METRICS:
        value, difference = score.values[metric], score.differences[metric]
        row[metric] = {"mean": value.mean, "low": value.low, "high": value.high}
        row[f"{metric}_difference"] = {
            "mean": difference.mean,
            "low": difference.low,
            "high": difference.high,
        }
    return row


def _describe_balance(context: RunContext, before: Records, after: Records) -> dict[str, Any]:
    counted = {True: count_cells(before), False: count_cells(after)}
    wanted = {
        side: {
            deficit.cell: deficit
            for deficit in list_short_cells(records, context.inputs.corrected, context.target)
        }
        for side, records in ((True, before), (False, after))
    }
    cells = list(counted[True])

    def describe(side: bool) -> list[dict[str, Any]]:
        rows = []
        for cell in cells:
            deficit = wanted[side].get(cell)
            have = counted[side].get(cell, 0)
            rows.append(
                {
                    "cell": str(cell),
                    "have": have,
                    "want": deficit.want if deficit else have,
                    "need": deficit.need if deficit else 0,
                }
            )
        return rows

    return {
        "before": describe(True),
        "after": describe(False),
        "score_before": _score_imbalance(before),
        "score_after": _score_imbalance(after),
    }


def _score_imbalance(records: Records) -> float | None:
    """Hinge sum of the label x concept and label x attribute residuals; None without either."""
    n_labels = len(records.label_names)
    present, known = [], []
    if records.concepts is not None:
        for column in range(len(records.concepts.names)):
            states = records.concepts.states[:, column]
            present.append(np.bincount(records.labels[states == State.PRESENT], minlength=n_labels))
            known.append(np.bincount(records.labels[states != State.UNKNOWN], minlength=n_labels))
    for values in records.attributes.values():
        given = values != ""
        for value in sorted(set(values[given]))[:50]:
            present.append(np.bincount(records.labels[values == value], minlength=n_labels))
            known.append(np.bincount(records.labels[given], minlength=n_labels))
    if not present:
        return None
    return measure_residuals(np.array(present), np.array(known)).hinge_sum


def _describe_rounds(ledger: Ledger) -> list[dict[str, Any]]:
    rounds = []
    for plan, judged in ledger.rounds:
        items = []
        for item in plan.items:
            mine = [place for place, proposal in enumerate(judged.proposals) if proposal.item.id == item.id]
            items.append(
                {
                    "action": str(item.action),
                    "cell": str(item.cell),
                    "count": item.count,
                    "requests": item.n_requests,
                    "proposed": len(mine),
                    "accepted": sum(judged.verdicts[place].kept for place in mine),
                    "tokens": sum(judged.proposals[place].tokens for place in mine),
                }
            )
        rounds.append({"round": plan.round, "reason": plan.reason, "items": items})
    return rounds


def _describe_verdicts(context: RunContext, ledger: Ledger) -> dict[str, Any]:
    rejected = ledger.list_rejected()
    reasons = Counter(verdict.reason for _, verdict in rejected)
    shown: Counter[str] = Counter()
    examples: list[dict[str, Any]] = []
    for proposal, verdict in rejected:
        if shown[verdict.reason] < MOST_EXAMPLES_A_REASON and len(examples) < MOST_EXAMPLES:
            shown[verdict.reason] += 1
            examples.append(_describe_example(context, proposal, verdict) | {"reason": verdict.reason})
    accepted = ledger.list_accepted()
    step = max(1, len(accepted) // MOST_EXAMPLES)
    return {
        "accepted": len(accepted),
        "rejected": dict(sorted(reasons.items())),
        "accepted_examples": [_describe_example(context, *pair) for pair in accepted[::step][:MOST_EXAMPLES]],
        "rejected_examples": examples,
    }


def _describe_example(context: RunContext, proposal: Proposal, verdict: Verdict) -> dict[str, Any]:
    train = context.inputs.train.records
    rows = {str(identity): row for row, identity in enumerate(train.ids)}
    return {
        "text": proposal.text,
        "label": proposal.label,
        "cell": str(proposal.item.cell),
        "kind": str(proposal.kind),
        "scores": dict(verdict.scores),
        "parents": [
            {
                "id": parent,
                "text": str(train.texts[rows[parent]]),
                "label": train.label_names[int(train.labels[rows[parent]])],
            }
            for parent in proposal.parents
        ],
    }


def _describe_spend(budget: TokenBudget, ledger: Ledger) -> dict[str, Any]:
    written = [proposal for proposal, _ in ledger.list_accepted() if proposal.tokens]
    generated = budget.by_purpose.get("generate")
    return {
        "used": budget.used,
        "paid": budget.paid,
        "limit": budget.limit,
        "by_purpose": {
            name: {"requests": spend.requests, "used": spend.used, "paid": spend.paid}
            for name, spend in budget.by_purpose.items()
        },
        "tokens_per_accepted": generated.used / len(written) if generated and written else None,
    }


def _describe_settings(job: Job, outcome: Outcome) -> dict[str, Any]:
    """What decided the result; no folders, so that equal runs have equal reports."""
    return {
        "label": job.label,
        "text": ", ".join(job.text),
        "attributes": ", ".join(job.attributes),
        "concepts": ", ".join(job.concepts),
        "target": job.target if isinstance(job.target, str) else str(job.target),
        "metric": job.metric,
        "engine": job.llm.engine,
        "model": job.llm.model,
        "budget": job.budget.tokens,
        "rounds": "no limit" if job.rounds is None else job.rounds,
        "seed": job.seed,
        "job": job.fingerprint(),
        "content_hash": outcome.content_hash,
    }
