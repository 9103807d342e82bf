"""What a run found, did and measured: the values that `report.json` is written from (`core.plain.to_plain`).

Pages are rendered from that file's plain values, so that a report of an older version is still shown.

Wherever a figure can be missing it is None, which the page shows as a dash; an infinite or undefined figure
is written as None too. Ratios and scores are 0 to 1, tokens are prompt plus completion, intervals are 95%.
Lists keep their order on the page; of mappings only the content counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from counterpoise.core.plans import Cell, Deficit, PlanItem
from counterpoise.report.cell_schema import HeldOutCells
from counterpoise.report.schema_values import ArmKind, Interval

Role = Literal["used", "refused", "reported"]
"""What became of a scorer: trusted with decisions, not trusted, or measured only for comparison."""


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What was read.

    `labels` counts the training rows of each label; `notes` are sentences about what was found in the data,
    such as texts that were longer than the encoder's window.
    """

    source: str
    rows: int
    labels: dict[str, int]
    held_out_rows: int
    pool_rows: int
    notes: list[str]


@dataclass(frozen=True, slots=True)
class CellCount:
    """One cell: records it has, records it should have, whole records it lacks."""

    cell: str
    have: float
    want: float
    need: int


def count_cell(deficit: Deficit) -> CellCount:
    """A deficit as files, events and pages name it."""
    return CellCount(str(deficit.cell), deficit.have, deficit.want, deficit.need)


def count_within(cell: Cell, have: float, short: Mapping[Cell, Deficit]) -> CellCount:
    """A cell of which `have` records were counted; what is not short wants what it has."""
    deficit = short.get(cell)
    return CellCount(str(cell), have, deficit.want if deficit else have, deficit.need if deficit else 0)


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One item of a plan.

    `value` is what it was expected to help, in the unit that the round's reason names; `basis` what that stood on.
    """

    action: str
    cell: str
    count: int
    requests: int
    writer: str = field(default="", kw_only=True)
    value: float = field(default=0.0, kw_only=True)
    basis: str = field(default="", kw_only=True)


def describe_item(item: PlanItem) -> PlanLine:
    """An item of a plan as files and events name it."""
    return PlanLine(
        item.action,
        str(item.cell),
        item.count,
        item.n_requests,
        writer=item.writer,
        value=item.value,
        basis=item.basis,
    )


@dataclass(frozen=True, slots=True)
class Balance:
    """The cells before and after, and the hinge sum S of the residuals (0 is balanced).

    `after` names the same cells as `before`; their order is that of `before`.
    """

    before: list[CellCount]
    after: list[CellCount]
    score_before: float | None
    score_after: float | None


@dataclass(frozen=True, slots=True)
class RoundItem(PlanLine):
    """One item of a round's plan and what came of it."""

    proposed: int
    accepted: int
    tokens: float


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of the loop, from 1; `reason` says why it was planned like this."""

    round: int
    reason: str
    items: list[RoundItem]


@dataclass(frozen=True, slots=True)
class Parent:
    """A record that a proposal was made from."""

    id: str
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Example:
    """A proposal with its parents."""

    text: str
    label: str
    cell: str
    kind: str
    scores: dict[str, float]
    parents: list[Parent]


@dataclass(frozen=True, slots=True)
class RejectedExample(Example):
    """A proposal that was refused, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the filters said; `rejected` counts proposals by the reason of their verdict."""

    accepted: int
    rejected: dict[str, int]
    accepted_examples: list[Example]
    rejected_examples: list[RejectedExample]


@dataclass(frozen=True, slots=True)
class WriterShare:
    """A writer that the job names: its share of the planned `requests`, and the texts that came of them."""

    name: str
    instructions: str
    temperature: float | None
    requests: int
    share: float | None
    proposed: int
    accepted: int
    tokens: float


@dataclass(frozen=True, slots=True)
class MaskedKind:
    """How many different values of a kind of personal data were masked in prompts, and in what the model said."""

    kind: str
    shown: int
    said: int


@dataclass(frozen=True, slots=True)
class FilterAlarm:
    """How many of `n` real rows, which had no part in setting it, a filter refuses; `n` is 0 where it does nothing."""

    filter: str
    n: int
    refused: int
    low: float | None
    high: float | None
    note: str


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of written texts: the languages of the data, false alarms, and texts whose tokens ended within them.

    Of `written` texts `cut_back` were cut back to their last whole sentence, `cut_off` were refused.
    """

    languages: dict[str, float]
    alarms: list[FilterAlarm]
    written: int
    cut_back: int
    cut_off: int


@dataclass(frozen=True, slots=True)
class ScorerAudit:
    """A scorer's measured reliability on `n` records whose answer is known.

    `low` and `high` belong to `accuracy`; `price_per_1000` is tokens for 1,000 answers.
    """

    name: str
    question: str
    n: int
    accuracy: float | None
    low: float | None
    high: float | None
    kappa: float | None
    auc: float | None
    auc_low: float | None
    auc_high: float | None
    role: Role
    price_per_1000: float | None
    note: str


@dataclass(frozen=True, slots=True)
class PurposeSpend:
    """Tokens of one purpose: `used` with the replies taken from the store, `paid` without them."""

    requests: int
    used: float
    paid: float


@dataclass(frozen=True, slots=True)
class SpendSection:
    """Tokens of the whole run; `limit` is None where the job sets none."""

    used: float
    paid: float
    limit: float | None
    by_purpose: dict[str, PurposeSpend]
    tokens_per_accepted: float | None


@dataclass(frozen=True, slots=True)
class ValidationRow:
    """An arm on the inner validation part, before any token was spent."""

    arm: str
    student: str
    macro_f1: float | None
    auroc: float | None
    kind: ArmKind


@dataclass(frozen=True, slots=True)
class Validation:
    """The arms on inner validation, and the zero-token arm it chose for each student by `metric`."""

    metric: str
    rows: list[ValidationRow]
    best_zero_token: dict[str, str]


@dataclass(frozen=True, slots=True)
class WorthRow:
    """How many real rows of its label one added record stands for, 0 to 1, for one student.

    `origin` is `adopted`, a kind of records, a kind with the writer that brought them (`KIND:angry`), or `all`;
    `value` is None where every record was made from rows of all folds, so that nothing can be told.
    """

    student: str
    origin: str
    n_records: int
    value: Interval | None


@dataclass(frozen=True, slots=True)
class HeldOutRow:
    """An arm on the held-out rows; differences are paired, against the best zero-token arm of validation.

    `adopted` and `written` are arms of their own where records of both kinds were added.
    """

    arm: str
    student: str
    kind: ArmKind
    macro_f1: Interval
    auroc: Interval
    macro_f1_difference: Interval | None
    auroc_difference: Interval | None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out table: `n` records, scored once for each of `n_seeds` repetitions."""

    n: int
    n_seeds: int
    rows: list[HeldOutRow]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run ended and what is short then; figures of proposals and tokens are those of the cells that are short.

    `kind` is `balanced`, `budget`, `time`, `rounds`, `share`, `nothing_pays` or `weights`; `balanced` exactly where
    `short` is empty. `refused` counts refusals, `chief_reason` is the most common one; `tokens_needed` is what filling
    the cells would take at the price of a record so far, None where none was kept; `sentence` says all of it. `retired`
    names the cells that were given up; reports of older versions do not.
    """

    kind: str
    why: str
    short: list[CellCount]
    proposed: int
    refused: int
    chief_reason: str
    chief_reason_count: int
    tokens: float
    tokens_needed: float | None
    advice: str
    sentence: str
    retired: list[RetiredCell] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RetiredCell:
    """A cell that no way fills any more, and why."""

    cell: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What to do: a way of training one student, its figures on the held-out rows, and code that does it.

    `arm` and `student` name its row of the held-out table, `baseline` the arm that its differences are taken from.
    """

    arm: str
    student: str
    way: str
    uses_added: bool
    baseline: str
    macro_f1: Interval | None
    macro_f1_difference: Interval | None
    auroc: Interval | None
    auroc_difference: Interval | None
    code: str


@dataclass(frozen=True, slots=True)
class StudentWays:
    """How a student is trained: the way that inner validation chose, and its best way with the added rows."""

    chosen: str
    added_rows: str


@dataclass(frozen=True, slots=True)
class Meanings:
    """What students and simple treatments are, by name, in a few words; "" where one says nothing."""

    students: dict[str, str]
    treatments: dict[str, str]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything the page shows; `ways` has an entry for each student, `writers` for each that the job names."""

    title: str
    version: str
    headline: str
    advice: list[str]
    recommendation: Recommendation
    data: DataFacts
    balance: Balance
    rounds: list[Round]
    verdicts: Verdicts
    writers: list[WriterShare]
    filters: Filters
    scorers: list[ScorerAudit]
    spend: SpendSection
    validation: Validation
    worth: list[WorthRow]
    ways: dict[str, StudentWays]
    meanings: Meanings
    held_out: HeldOut
    held_out_cells: HeldOutCells
    stopped: str
    ending: Ending
    settings: dict[str, Any]
    masked: list[MaskedKind] = field(default_factory=list)
