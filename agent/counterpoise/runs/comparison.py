"""How the ways of training compare: on inner validation, which chooses, and on the sealed rows, which do not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.event_kinds import StudentsTrained
from counterpoise.core.events import tell_progress
from counterpoise.core.records import Integers, Objects, Records
from counterpoise.report.arm_words import AVERAGED, OURS, UNVERIFIED, WITH_ADDED, find_kind
from counterpoise.report.schema import HeldOutRow, ValidationRow, WorthRow
from counterpoise.report.schema_values import Interval
from counterpoise.runs.advice import make_interval
from counterpoise.runs.outcome import RunOutcome
from counterpoise.runs.simple_ways import SimpleWays, view_pool
from counterpoise.runs.worth import OriginWorth, list_helped, measure_origins
from counterpoise.students.added_ways import AddedWay, find_mixture
from counterpoise.students.base import Treatment
from counterpoise.students.held_out import Arm, HeldOutScore, score_held_out
from counterpoise.students.rows import Rows, view_rows
from counterpoise.students.samples import MOST_TRAINING_ROWS, draw_rows
from counterpoise.students.source_folds import assign_own_folds, mark_made
from counterpoise.students.training import TRAINED
from counterpoise.students.validation import (
    ArmScore,
    choose_added_ways,
    predict_out_of_fold,
    recommend,
    score_predictions,
)
from counterpoise.tasks.text.parts import RunContext


@dataclass(frozen=True, slots=True)
class Comparison:
    """What inner validation says of each student's ways.

    Args:
        added: student -> how it uses added rows.
        chosen: student -> the treatment that the run recommends.
        validation: the scores of all arms.
        n_added: accepted records.
        worth: what they are worth, of each student and origin.
    """

    added: dict[str, AddedWay]
    chosen: dict[str, Treatment]
    validation: list[ArmScore]
    n_added: int
    worth: list[OriginWorth]


def compare_ways(
    metric: str,
    context: RunContext,
    outcome: RunOutcome,
    simple: SimpleWays,
    n_added: int,
) -> Comparison:
    """Choose a way for each student on inner validation; the added rows are scored where there are any.

    Args:
        metric: what counts.
        context: the data.
        outcome: what was written.
        simple: the ways that cost no token.
        n_added: accepted records.
    """
    records = context.inputs.train.records
    counts = np.bincount(records.labels, minlength=len(records.label_names))
    ways = choose_added_ways(simple.scores, counts)
    mixed = mix(simple)
    scored, worth = _score_added(context, outcome, simple, ways) if n_added else ([], [])
    of_added = [score for score in scored if ways[score.student].added.name == score.arm]
    of_mixed = [score for score in scored if mixed[score.student].name == score.arm]
    chosen = recommend(
        simple.scores,
        of_mixed,
        metric,
        counts,
        simple.treatments,
        mixed,
        simple.evidence,
        list_helped(worth),
    )
    validation = [
        *simple.scores,
        *(replace(score, arm=WITH_ADDED) for score in of_added),
        *(replace(score, arm=AVERAGED) for score in of_mixed),
    ]
    return Comparison(ways, chosen, validation, n_added, worth)


def _score_added(
    context: RunContext, outcome: RunOutcome, simple: SimpleWays, ways: dict[str, AddedWay]
) -> tuple[list[ArmScore], list[OriginWorth]]:
    """Scores of the ways that use added rows, which never judge those they were made from, and what they are worth."""
    records = context.inputs.train.records
    drawn = np.concatenate([simple.sample.rows, np.arange(len(records), len(outcome.ours))])
    rows, n_labels = outcome.ours.take(drawn), len(records.label_names)
    folds = assign_own_folds(rows, _name_groups(records, drawn))
    made, own = mark_made(rows, folds), np.flatnonzero(rows.original)
    mixed, tell = mix(simple), tell_progress(partial(StudentsTrained, what=TRAINED))
    pool, scores, worth = view_pool(context.inputs), list[ArmScore](), list[OriginWorth]()
    for student in simple.students:
        wanted = [ways[student.name].added, mixed[student.name]]
        parts = wanted[1].list_parts(student, rows)
        tables = predict_out_of_fold(
            rows, folds, n_labels, [student], list(dict.fromkeys([*wanted, *parts])), made, tell, pool
        )
        of_own = {key: table[own] for key, table in tables.items()}
        scores += score_predictions(
            {key: of_own[key] for key in of_own if key[0] in {way.name for way in wanted}},
            rows.labels[own],
            n_labels,
        )
        if parts:
            said = {name: table for (name, _), table in of_own.items()}
            worth += measure_origins(student, wanted[1], rows, outcome.origins, folds, made, said)
    return scores, worth


def _name_groups(records: Records, drawn: Integers) -> Objects | None:
    """(n,) names of the near-duplicates that own rows belong to; None where none are known."""
    if not len(records.groups):
        return None
    names = np.full(len(drawn), "", dtype=object)
    own = drawn < len(records)
    names[own] = records.groups[drawn[own]]
    return names


def mix(simple: SimpleWays) -> dict[str, Treatment]:
    """Student -> how what is learned from added rows is mixed with the best way without any."""
    return {student.name: find_mixture(student, simple.best[student.name]) for student in simple.students}


def measure_held_out(
    context: RunContext,
    outcome: RunOutcome,
    simple: SimpleWays,
    baseline: dict[str, dict[str, str]],
    compared: Comparison,
) -> list[HeldOutScore]:
    """Score every arm on the sealed rows.

    Args:
        context: the data.
        outcome: what was written.
        simple: the ways that cost no token.
        baseline: metric -> student -> the arm that differences are taken from.
        compared: what our arms are for each student.
    """
    held = context.inputs.held_out
    return score_held_out(
        list(_list_arms(context, outcome, simple, compared)),
        simple.students,
        view_rows(held),
        len(held.records.label_names),
        baseline,
        tell=tell_progress(partial(StudentsTrained, what=TRAINED)),
        pool=view_pool(context.inputs),
    )


def list_arm_rows(records: Records, n_rows: int) -> Integers:
    """Positions of the rows that an arm with added rows trains on.

    Args:
        records: the user's rows, of which there may be more than are trained on.
        n_rows: of these and the added ones behind them.
    """
    drawn = draw_rows(records.ids, records.labels, MOST_TRAINING_ROWS)
    return np.concatenate([drawn, np.arange(len(records), n_rows)])


def _list_arms(
    context: RunContext, outcome: RunOutcome, simple: SimpleWays, compared: Comparison
) -> Iterator[Arm]:
    """The simple ways on the user's rows; where records were added ours, each kind of them alone, and all proposals."""
    records = context.inputs.train.records

    def pick(rows: Rows, group: str) -> tuple[Rows, NDArray[np.object_]]:
        picked = list_arm_rows(records, len(rows))
        return rows.take(picked), outcome.groups[group][picked]

    # Arms that train on the same rows get the same objects: what they have in common is then computed once. A simple
    # way looks at own rows alone, wherever it stands, and our mixture has one of them in it.
    ours = pick(outcome.ours, OURS)
    for treatment in simple.treatments:
        suited = [student.name for student in simple.students if treatment.suits(student)]
        yield Arm(treatment.name, *ours, dict.fromkeys(suited, treatment))
    if not compared.n_added:
        return
    added = {student: way.added for student, way in compared.added.items()}
    mixed = mix(simple)
    yield Arm(OURS, *ours, compared.chosen)
    yield Arm(WITH_ADDED, *ours, added)
    yield Arm(AVERAGED, *ours, mixed)
    # What each kind of records is worth alone decides nothing: not worth minutes.
    quick = {one.name: added[one.name] for one in simple.students if not one.slow_step}
    for name, rows in (*outcome.apart.items(), (UNVERIFIED, outcome.unverified)):
        yield Arm(name, *(ours if rows is outcome.ours else pick(rows, name)), quick)


def describe_worth(found: OriginWorth) -> WorthRow:
    """What records are worth as a row of the report."""
    worth = found.worth
    value = Interval(worth.value, worth.low, worth.high) if worth else None
    return WorthRow(found.student, found.origin, found.n_records, value)


def describe_arm(score: ArmScore) -> ValidationRow:
    """An arm on inner validation as a row of the report."""
    return ValidationRow(score.arm, score.student, score.macro_f1, score.auroc, find_kind(score.arm))


def describe_score(score: HeldOutScore) -> HeldOutRow:
    """An arm on the sealed rows as a row of the report."""
    values, differences = score.values, score.differences
    return HeldOutRow(
        arm=score.arm,
        student=score.student,
        kind=find_kind(score.arm),
        macro_f1=make_interval(values["macro_f1"]),
        auroc=make_interval(values["auroc"]),
        macro_f1_difference=make_interval(differences["macro_f1"]),
        auroc_difference=make_interval(differences["auroc"]),
    )
