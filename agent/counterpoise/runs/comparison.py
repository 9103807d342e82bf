"""How the ways of training compare: on inner validation, which chooses, and on the sealed rows, which do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from counterpoise.core.event_kinds import StudentsTrained
from counterpoise.core.events import tell_progress
from counterpoise.report.schema import ArmKind, HeldOutRow, ValidationRow
from counterpoise.runs.advice import make_interval
from counterpoise.runs.outcome import RunOutcome
from counterpoise.students.held_out import HeldOutScore, score_held_out
from counterpoise.students.rows import view_rows
from counterpoise.students.training import TRAINED
from counterpoise.students.treatments import STUDENTS, ZERO_TOKEN_ARMS, find_mixture
from counterpoise.students.validation import (
    MOST_TRAINING_ROWS,
    MOST_VALIDATION_ROWS,
    ArmScore,
    choose_own_ways,
    draw_rows,
    recommend,
    score_arms,
)
from counterpoise.tasks.text.parts import RunContext

OUR_ARMS = ("counterpoise", "added_rows", "averaged", "adopted", "written")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What inner validation says of each student's ways.

    Args:
        own: student -> its best way of training on the rows and the added ones.
        mixed: student -> that way averaged with one on the user's own rows alone.
        chosen: student -> the way that the run recommends.
        validation: the scores of all arms.
        n_added: accepted records.
    """

    own: dict[str, str]
    mixed: dict[str, str]
    chosen: dict[str, str]
    validation: list[ArmScore]
    n_added: int


def compare_ways(
    metric: str,
    context: RunContext,
    outcome: RunOutcome,
    scores: Sequence[ArmScore],
    n_added: int,
) -> Comparison:
    """Choose a way for each student on inner validation; the added rows are scored where there are any.

    Args:
        metric: what counts.
        context: the data.
        outcome: what was written.
        scores: of the ways that cost no token.
        n_added: accepted records.
    """
    records = context.inputs.train.records
    n_labels = len(records.label_names)
    counts = np.bincount(records.labels, minlength=n_labels)
    own = choose_own_ways(scores, counts)
    mixed = {student: find_mixture(own[student]) for student in STUDENTS}
    if not n_added:
        return Comparison(own, mixed, recommend(scores, [], metric, counts), list(scores), n_added)
    drawn = draw_rows(records.ids, records.labels, MOST_VALIDATION_ROWS)
    drawn = np.concatenate([drawn, np.arange(len(records), len(outcome.ours))])
    folds = np.concatenate([context.inputs.folds, np.full(n_added, -1)])[drawn]
    arms = sorted({*own.values(), *mixed.values()})
    tell = tell_progress(partial(StudentsTrained, what=TRAINED))
    scored = score_arms(outcome.ours.take(drawn), folds, n_labels, arms, outcome.parents[drawn], tell)
    of_own = [score for score in scored if own[score.student] == score.arm]
    mixtures = [score for score in scored if mixed[score.student] == score.arm]
    validation = [
        *scores,
        *(replace(score, arm="added_rows") for score in of_own),
        *(replace(score, arm="averaged") for score in mixtures),
    ]
    return Comparison(own, mixed, recommend(scores, mixtures, metric, counts), validation, n_added)


def measure_held_out(
    context: RunContext,
    outcome: RunOutcome,
    baseline: Mapping[str, Mapping[str, str]],
    compared: Comparison,
) -> list[HeldOutScore]:
    """Score every arm on the sealed rows.

    Args:
        context: the data.
        outcome: what was written.
        baseline: metric -> student -> the arm that differences are taken from.
        compared: what our arms are for each student.
    """
    inputs = context.inputs
    ways = {"counterpoise": compared.chosen, "added_rows": compared.own, "averaged": compared.mixed}
    ways |= dict.fromkeys(("unverified", "adopted", "written"), compared.own)
    records = inputs.train.records
    drawn = draw_rows(records.ids, records.labels, MOST_TRAINING_ROWS)
    # Arms that train on the same rows get the same objects: their features are then computed once.
    own = outcome.ours.take(drawn)
    trains = dict.fromkeys(ZERO_TOKEN_ARMS, own)
    groups = dict.fromkeys(ZERO_TOKEN_ARMS, outcome.groups["own"][drawn])
    if compared.n_added:
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
        trains,
        groups,
        test,
        n_labels,
        baseline,
        ways,
        tell=tell_progress(partial(StudentsTrained, what=TRAINED)),
    )


def describe_arm(score: ArmScore) -> ValidationRow:
    """An arm on inner validation as a row of the report."""
    return ValidationRow(score.arm, score.student, score.macro_f1, score.auroc, _kind(score.arm))


def describe_score(score: HeldOutScore) -> HeldOutRow:
    """An arm on the sealed rows as a row of the report."""
    values, differences = score.values, score.differences
    return HeldOutRow(
        arm=score.arm,
        student=score.student,
        kind=_kind(score.arm),
        macro_f1=make_interval(values["macro_f1"]),
        auroc=make_interval(values["auroc"]),
        macro_f1_difference=make_interval(differences["macro_f1"]),
        auroc_difference=make_interval(differences["auroc"]),
    )


def _kind(arm: str) -> ArmKind:
    if arm in ZERO_TOKEN_ARMS:
        return "zero_token"
    return "ours" if arm in OUR_ARMS else "reference"
