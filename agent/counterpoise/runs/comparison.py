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
from counterpoise.report.schema import HeldOutRow, ValidationRow
from counterpoise.runs.advice import make_interval
from counterpoise.runs.outcome import RunOutcome
from counterpoise.runs.simple_ways import SimpleWays, view_pool
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
    recommend,
    score_arms,
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
    """

    added: dict[str, AddedWay]
    chosen: dict[str, Treatment]
    validation: list[ArmScore]
    n_added: int


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
    scored = _score_added(context, outcome, simple, ways) if n_added else []
    of_added = [score for score in scored if ways[score.student].added.name == score.arm]
    of_mixed = [score for score in scored if mixed[score.student].name == score.arm]
    chosen = recommend(simple.scores, of_mixed, metric, counts, simple.treatments, mixed, simple.evidence)
    validation = [
        *simple.scores,
        *(replace(score, arm=WITH_ADDED) for score in of_added),
        *(replace(score, arm=AVERAGED) for score in of_mixed),
    ]
    return Comparison(ways, chosen, validation, n_added)


def _score_added(
    context: RunContext, outcome: RunOutcome, simple: SimpleWays, ways: dict[str, AddedWay]
) -> list[ArmScore]:
    """Cross-validated scores of the ways that use added rows; a row never judges those it was made from."""
    records = context.inputs.train.records
    drawn = np.concatenate([simple.sample.rows, np.arange(len(records), len(outcome.ours))])
    rows = outcome.ours.take(drawn)
    folds = assign_own_folds(rows, _name_groups(records, drawn))
    mixed, tell = mix(simple), tell_progress(partial(StudentsTrained, what=TRAINED))
    scores = []
    for student in simple.students:
        scores += score_arms(
            rows,
            folds,
            len(records.label_names),
            [student],
            [ways[student.name].added, mixed[student.name]],
            mark_made(rows, folds),
            tell,
            view_pool(context.inputs),
        )
    return scores


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
    drawn = draw_rows(records.ids, records.labels, MOST_TRAINING_ROWS)
    # Arms that train on the same rows get the same objects: their features are then computed once.
    own, names = outcome.ours.take(drawn), outcome.groups["own"][drawn]
    for treatment in simple.treatments:
        suited = [student.name for student in simple.students if treatment.suits(student)]
        yield Arm(treatment.name, own, names, dict.fromkeys(suited, treatment))
    if not compared.n_added:
        return

    def pick(rows: Rows, group: str) -> tuple[Rows, NDArray[np.object_]]:
        picked = list_arm_rows(records, len(rows))
        return rows.take(picked), outcome.groups[group][picked]

    added = {student: way.added for student, way in compared.added.items()}
    mixed = mix(simple)
    ours = pick(outcome.ours, OURS)
    yield Arm(OURS, *ours, compared.chosen)
    yield Arm(WITH_ADDED, *ours, added)
    yield Arm(AVERAGED, *ours, mixed)
    # What each kind of records is worth alone decides nothing: not worth minutes.
    quick = {one.name: added[one.name] for one in simple.students if not one.slow_step}
    for name, rows in (*outcome.apart.items(), (UNVERIFIED, outcome.unverified)):
        yield Arm(name, *pick(rows, name), quick)


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
