"""The shape of `report.json`: what a run found, did and measured, as plain JSON values.

Wherever a figure can be missing it is None, which the page shows as a dash; an infinite or undefined figure
is written as None too. Ratios and scores are 0 to 1, tokens are prompt plus completion, intervals are 95%.
Lists keep their order on the page; of mappings only the content counts.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

ArmKind = Literal["zero_token", "ours", "reference"]
"""What an arm of the held-out table is: a way without tokens, one of ours, or a bound such as real data."""

Role = Literal["used", "refused", "reported"]
"""What became of a scorer: trusted with decisions, not trusted, or measured only for comparison."""


class Interval(TypedDict):
    """A mean over seeds and its 95% interval."""

    mean: float | None
    low: float | None
    high: float | None


class DataFacts(TypedDict):
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


class CellCount(TypedDict):
    """One cell: records it has, records it should have, whole records it lacks."""

    cell: str
    have: float | None
    want: float | None
    need: int | None


class Balance(TypedDict):
    """The cells before and after, and the hinge sum S of the residuals (0 is balanced).

    `after` names the same cells as `before`; their order is that of `before`.
    """

    before: list[CellCount]
    after: list[CellCount]
    score_before: float | None
    score_after: float | None


class RoundItem(TypedDict):
    """One item of a round's plan and what came of it."""

    action: str
    cell: str
    count: int
    requests: int
    proposed: int
    accepted: int
    tokens: float


class Round(TypedDict):
    """One turn of the loop, from 1; `reason` says why it was planned like this."""

    round: int
    reason: str
    items: list[RoundItem]


class Parent(TypedDict):
    """A record that a proposal was made from."""

    id: str
    text: str
    label: str


class Example(TypedDict):
    """A proposal with its parents; `reason` is there for rejected ones."""

    text: str
    label: str
    cell: str
    kind: str
    scores: dict[str, float]
    parents: list[Parent]
    reason: NotRequired[str]


class Verdicts(TypedDict):
    """What the filters said; `rejected` counts proposals by the reason of their verdict."""

    accepted: int
    rejected: dict[str, int]
    accepted_examples: list[Example]
    rejected_examples: list[Example]


class FilterAlarm(TypedDict):
    """How many of `n` real rows, which had no part in setting it, a filter refuses; `n` is 0 where it does nothing."""

    filter: str
    n: int
    refused: int
    low: float | None
    high: float | None
    note: str


class Filters(TypedDict):
    """The filters of written texts: the languages of the data, false alarms, and texts whose tokens ended within them.

    Of `written` texts `cut_back` were cut back to their last whole sentence, `cut_off` were refused.
    """

    languages: dict[str, float]
    alarms: list[FilterAlarm]
    written: int
    cut_back: int
    cut_off: int


class ScorerAudit(TypedDict):
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


class PurposeSpend(TypedDict):
    """Tokens of one purpose: `used` with the replies taken from the store, `paid` without them."""

    requests: int
    used: float
    paid: float


class Spend(TypedDict):
    """Tokens of the whole run; `limit` is None where the job sets none."""

    used: float
    paid: float
    limit: float | None
    by_purpose: dict[str, PurposeSpend]
    tokens_per_accepted: float | None


class ValidationRow(TypedDict):
    """An arm on the inner validation part, before any token was spent."""

    arm: str
    student: str
    macro_f1: float | None
    auroc: float | None
    kind: ArmKind


class Validation(TypedDict):
    """The arms on inner validation, and the zero-token arm it chose for each student by `metric`."""

    metric: str
    rows: list[ValidationRow]
    best_zero_token: dict[str, str]


class HeldOutRow(TypedDict):
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


class HeldOut(TypedDict):
    """The held-out table: `n` records, scored once for each of `n_seeds` repetitions."""

    n: int
    n_seeds: int
    rows: list[HeldOutRow]


class Ending(TypedDict):
    """Why a run ended and what is short then; figures of proposals and tokens are those of the cells that are short.

    `kind` is `balanced`, `budget`, `time`, `rounds` or `nothing_pays`; `balanced` exactly where `short` is empty.
    `refused` counts refusals, `chief_reason` is the most common one; `tokens_needed` is what filling the cells would
    take at the price of a record so far, None where none was kept; `sentence` says all of it.
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


class Recommendation(TypedDict):
    """What to do: a way of training one student, its figures on the held-out rows, and code that does it.

    `arm` and `student` name its row of the held-out table, `baseline` the arm that its differences are taken from.
    """

    arm: str
    student: str
    way: str
    uses_added: bool
    baseline: str
    macro_f1: Interval
    macro_f1_difference: Interval
    auroc: Interval
    auroc_difference: Interval
    code: str


class Report(TypedDict):
    """Everything the page shows."""

    title: str
    version: str
    headline: str
    advice: list[str]
    recommendation: NotRequired[Recommendation]
    data: DataFacts
    balance: Balance
    rounds: list[Round]
    verdicts: Verdicts
    filters: NotRequired[Filters]
    scorers: list[ScorerAudit]
    spend: Spend
    validation: Validation | None
    held_out: HeldOut | None
    stopped: str
    ending: NotRequired[Ending]
    settings: dict[str, Any]
