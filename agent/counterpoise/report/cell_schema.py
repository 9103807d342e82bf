"""The held-out table by cell as `report.json` has it (see `report.schema`): cells, concepts and groups of each arm."""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.report.schema_values import ArmKind, Interval


@dataclass(frozen=True, slots=True)
class CellAccuracy:
    """Accuracy on the held-out rows of a label, alone or with a concept or an attribute value.

    `kind` is `label`, `concept` (`column` is its name, `value` is `present` or `absent`) or `attribute` (`column` and
    `value`). The interval is Wilson's; `difference` is paired, from the arm `before`.
    """

    cell: str
    kind: str
    label: str
    column: str
    value: str
    rows: int
    accuracy: Interval
    difference: Interval


@dataclass(frozen=True, slots=True)
class ConceptFigures:
    """How far an arm takes a concept for a sign of the label; figures are None where too few rows tell.

    Over `labels` labels of which enough rows have the concept and enough lack it; `left_out` others were not counted,
    nor were `unknown` rows of which nobody knows whether they have the concept. `bias_at_c` is 0 where the concept does
    not matter, above 0 where it leans the student to the label `towards`, and None where labels have no order: then
    `spread`, the largest effect of the concept on a label's accuracy minus the smallest, says how far it matters.
    `difference` is that of the bias's absolute value (else of the spread) from the arm `before`: below 0 is better.
    """

    concept: str
    labels: int
    left_out: int
    unknown: int
    towards: str
    bias_at_c: Interval | None
    spread: Interval | None
    mean_difference: Interval | None
    acc_at_c: Interval | None
    acc_at_noc: Interval | None
    worst_group_accuracy: Interval | None
    difference: Interval | None


@dataclass(frozen=True, slots=True)
class GroupGap:
    """The largest minus the smallest accuracy among the values of an attribute, over rows of all labels or of `label`.

    Within one label accuracy is the true-positive rate of that label. `difference` is that of the gap from that of the
    arm `before`, whose two values may be others: below 0 is better. `values` have enough rows.
    """

    attribute: str
    label: str
    highest: str
    highest_accuracy: float
    lowest: str
    lowest_accuracy: float
    gap: Interval
    difference: Interval
    values: int


@dataclass(frozen=True, slots=True)
class ChangedRows:
    """Held-out rows that one arm answers rightly and another does not, by id; `ratio` is their share."""

    count: int
    ratio: Interval
    ids: list[str]


@dataclass(frozen=True, slots=True)
class ArmCells:
    """An arm with one student on the held-out rows, cell by cell, those of least accuracy first.

    `before` is the arm that differences are taken from, the best way without tokens of this student on validation.
    `worst` names the first cell; `worst_difference` is its accuracy minus that of the worst cell of `before`, which may
    be another one. A row is right where more than half of the repetitions are.
    """

    arm: str
    student: str
    kind: ArmKind
    before: str
    accuracy: Interval | None
    difference: Interval | None
    worst: str
    worst_difference: Interval | None
    cells: list[CellAccuracy]
    concepts: list[ConceptFigures]
    gaps: list[GroupGap]
    right_to_wrong: ChangedRows
    wrong_to_right: ChangedRows


@dataclass(frozen=True, slots=True)
class FewRows:
    """A cell of which too few held-out rows tell its accuracy."""

    cell: str
    rows: int


@dataclass(frozen=True, slots=True)
class HeldOutCells:
    """The held-out table by cell: `n` rows in `n_groups` groups of near-duplicates, every arm of `HeldOut`.

    Cells with fewer than `fewest` rows that are no copies of one another are in `too_few`, without a figure. `states`
    says how it is known which rows have a concept, `notes` what else was left out.
    """

    n: int
    n_groups: int
    fewest: int
    states: str
    notes: list[str]
    too_few: list[FewRows]
    arms: list[ArmCells]
