"""The held-out table by cell: where an arm is right, what a concept does to it, and which rows it answers otherwise.

It is made of the answers that the held-out table rests on: nothing is trained for it. Accuracies have Wilson intervals;
differences, gaps and figures of concepts have those of a bootstrap over repetitions and groups of near-duplicates, with
the same draws for all arms of a student.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from counterpoise.balance.counts import MOST_VALUES, encode_values
from counterpoise.core.records import Records, State
from counterpoise.report.arm_words import find_kind
from counterpoise.report.cell_schema import ArmCells, FewRows, HeldOutCells
from counterpoise.runs.cell_draws import draw_accuracies, find_sides
from counterpoise.runs.cell_figures import (
    compare_worst,
    describe_all,
    describe_cells_of,
    describe_changes,
    describe_concepts,
    describe_gaps,
    order_labels,
)
from counterpoise.runs.sealed_cells import list_sealed_cells, list_values
from counterpoise.students.held_out import HeldOutScore
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.reading import group_records

FEWEST_ROWS = 30
"""Rows from which a cell has figures. A prior: of 30 rows an accuracy of a half is known to 17 points either way."""


def describe_held_out(
    inputs: Inputs, scores: Sequence[HeldOutScore], baseline: Mapping[str, str]
) -> HeldOutCells:
    """The table of a run.

    Args:
        inputs: the data; what people said of concepts of sealed rows counts before what scorers say.
        scores: every arm with its answers.
        baseline: student -> the arm that differences are taken from.
    """
    records, n_known = _take_answers(inputs)
    table = describe_cells(records, inputs.train.records, scores, baseline)
    return replace(table, states=_describe_states(inputs, n_known))


def describe_cells(
    records: Records, train: Records, scores: Sequence[HeldOutScore], baseline: Mapping[str, str]
) -> HeldOutCells:
    """The table of some answers.

    Args:
        records: the sealed rows. Where they have no groups, near-duplicates among them are looked for.
        train: the training rows, whose values of attributes make cells, too.
        scores: every arm with its answers.
        baseline: student -> the arm that differences are taken from.
    """
    names = records.label_names
    if len(records) and not len(records.groups):
        records = group_records(records)
    groups = encode_values(records.groups)[0] if len(records) else np.empty(0, np.int64)
    cells = list_sealed_cells(records, groups, train)
    enough = [cell for cell in cells if cell.n_apart >= FEWEST_ROWS]
    concepts = records.concepts.names if records.concepts is not None else ()
    sides = find_sides(enough, concepts, order_labels(names)[0])
    arms: list[ArmCells] = []
    for student in dict.fromkeys(score.student for score in scores):
        mine = [score for score in scores if score.student == student]
        rights = np.stack([score.answers == records.labels for score in mine])
        draws = draw_accuracies(rights, enough, groups, sides)
        before = [score.arm for score in mine].index(baseline[student])
        for arm, score in enumerate(mine):
            accuracy, difference = describe_all(draws, arm, before)
            table = describe_cells_of(draws, arm, before, names)
            broken, mended = describe_changes(draws, arm, before, records.ids)
            arms.append(
                ArmCells(
                    arm=score.arm,
                    student=student,
                    kind=find_kind(score.arm),
                    before=baseline[student],
                    accuracy=accuracy,
                    difference=difference,
                    worst=table[0].cell if table else "",
                    worst_difference=compare_worst(draws, arm, before),
                    cells=table,
                    concepts=describe_concepts(draws, arm, before, records, sides),
                    gaps=describe_gaps(draws, arm, before, records),
                    right_to_wrong=broken,
                    wrong_to_right=mended,
                )
            )
    return HeldOutCells(
        n=len(records),
        n_groups=len(np.unique(groups)),
        fewest=FEWEST_ROWS,
        states="",
        notes=[
            f"attribute '{name}' has more than {MOST_VALUES} values, so it makes no cells"
            for name, values in list_values(records, train).items()
            if not values and (records.attributes[name] != "").any()
        ],
        too_few=[
            FewRows(cell.describe(names), len(cell.rows)) for cell in cells if cell.n_apart < FEWEST_ROWS
        ],
        arms=arms,
    )


def _take_answers(inputs: Inputs) -> tuple[Records, int]:
    """The sealed rows with what people said of their concepts, and how many answers that were."""
    records, n_known = inputs.held_out.records, 0
    if records.concepts is None:
        return records, n_known
    states = records.concepts.states.copy()
    for name, known in inputs.sealed_gold.items():
        column = records.concepts.names.index(name)
        for rows, truth in (
            (known.audit_rows, known.audit_truth),
            (known.training_rows, known.training_truth),
        ):
            states[rows, column] = np.where(truth == 1, State.PRESENT, State.ABSENT)
            n_known += len(rows)
    return replace(records, concepts=replace(records.concepts, states=states)), n_known


def _describe_states(inputs: Inputs, n_known: int) -> str:
    """How it is known which sealed rows have a concept; "" without concepts."""
    if inputs.labeller is None:
        return ""
    who = ", ".join(f"{one.name}: {one.scorer}" for one in inputs.labeller.scorers)
    gold = f" {n_known:,} answers of the gold file come before it." if n_known else ""
    return (
        f"Whether a held-out row has a concept is what the scorer says that decides about it ({who}); rows of which it "
        f"is not sure are in no cell of that concept.{gold}"
    )
