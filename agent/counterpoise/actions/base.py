"""The contract of an action: what may be done about a cell that lacks records, what it would cost, and doing it.

An action is registered by its name (`counterpoise.actions.ACTIONS`); a job lists those it wants. The planner, the loop
and the reports know offers only, so a new one is one file and one registration.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import numpy as np

from counterpoise.actions.demonstrations import choose_demonstrations, divide_to_show
from counterpoise.actions.record_forms import RecordForm, find_form
from counterpoise.actions.writers import Writer
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, PlanItem, Proposal, Refusal
from counterpoise.core.records import Floats, Integers
from counterpoise.data.patches.values import LabelChange
from counterpoise.llm import ChatClient, ChatRequest
from counterpoise.llm.models import Models
from counterpoise_retrievers.encoder_protocol import Encoder

FIRST_ACCEPTANCE_RATIO = 0.95
"""Share of its proposals that is expected to be kept before an action was tried."""

Outcome: TypeAlias = Proposal | LabelChange
"""What comes of an action: a record to be judged, or a label that changes."""

_N_PRICED = 8
ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Costs:
    """What an action has cost in a cell so far.

    Args:
        tried: proposals made.
        accepted: of them kept.
        tokens: spent on them.
        requests: sent.
    """

    tried: int = 0
    accepted: int = 0
    tokens: float = 0.0
    requests: int = 0

    def add(self, tried: int, accepted: int, tokens: float, requests: int) -> Costs:
        """The same with one more settled item."""
        return Costs(
            self.tried + tried, self.accepted + accepted, self.tokens + tokens, self.requests + requests
        )

    @property
    def acceptance_ratio(self) -> float:
        """Smoothed share of proposals that are kept: (accepted + 1) / (tried + 2)."""
        return (self.accepted + 1) / (self.tried + 2)


@dataclass(frozen=True, slots=True)
class Offer:
    """What an action can do for a cell and at what price: all that a planner may know of it.

    Args:
        request_tokens: upper estimate of one request, in tokens; 0 where it asks no model.
        per_request: proposals that come of one request.
        most: proposals that it can make at most, None without a limit; 0 where there may be some in a later round.
        is_probed: whether it does its work in some data only, so that a first few requests have to show it.
        is_marked: whether its records share a mark that a student could take for a sign of their label; then others
            are written for another label beside them.
        contrast: the cell of the largest label beside this one, which those others are for; set by who plans.
        worth: real rows that one of its records is expected to be worth, before anything was measured.
    """

    request_tokens: int = 0
    per_request: int = 1
    most: int | None = None
    is_probed: bool = False
    is_marked: bool = False
    contrast: Cell | None = None
    worth: float = 0.0

    @property
    def is_free(self) -> bool:
        """Whether it costs no token."""
        return not self.request_tokens

    @property
    def requests_left(self) -> float:
        """Requests that can still be of use."""
        return float("inf") if self.most is None else -(-self.most // self.per_request)


@dataclass(frozen=True, slots=True)
class PoolScores:
    """What the label scorer says, its prior taken out.

    Args:
        own: (n, k) probabilities of training rows, cross-fitted.
        labels: (n,) their label indices.
        pool: (m, k) of the pool's.
        united: (m, k) calibrated probabilities of the pool's where every label is as likely, by the scorer and a model
            that has earned a say; None where there is none.
    """

    own: Floats
    labels: Integers
    pool: Floats
    united: Floats | None = None


@dataclass(frozen=True, slots=True)
class ActionData:
    """What an action may know of a run. Held-out rows are not among it.

    Args:
        train: the training rows, with vectors.
        encoder: of the vectors.
        headings: label name -> one line that says what such records are.
        key: of the run; another draws other rows.
        concepts: name -> definition.
        pool: unlabelled rows, None where there are none.
        pool_scores: what the label scorer says of them, None where there are none.
        is_trusted: whether the label scorer passed its audit; if not nobody can say whether a label was met.
        taken: ids of pool rows that were proposed before.
        costs: what each action has cost in each cell, settled rounds only.
        writers: who write new texts, in turn.
        refused: proposals of settled rounds that may be rewritten, by id.
        changes: of labels that were decided on and not made yet, the surest first.
        in_parts: whether only rows of one part are shown together; runs that were begun before that was so go on as
            they were.
    """

    train: EncodedRecords
    encoder: Encoder
    headings: Mapping[str, str]
    key: str
    concepts: Mapping[str, str] = field(default_factory=dict)
    pool: EncodedRecords | None = None
    pool_scores: PoolScores | None = None
    is_trusted: bool = False
    taken: frozenset[str] = frozenset()
    costs: Mapping[tuple[str, Cell], Costs] = field(default_factory=dict)
    writers: Sequence[Writer] = (Writer(),)
    refused: Sequence[Refusal] = ()
    in_parts: bool = True
    changes: Sequence[LabelChange] = ()
    _known: dict[Hashable, Any] = field(default_factory=dict, compare=False)

    @property
    def form(self) -> RecordForm:
        """How records stand in a prompt."""
        return self.recall("form", lambda: find_form(self.train.records.texts))

    def choose_demonstrations(self, cell: Cell) -> EncodedRecords:
        """Real rows to show for a cell."""
        return choose_demonstrations(self.train, cell, self.key, self.encoder, self.concepts)

    @property
    def parts(self) -> Mapping[str, int]:
        """Id of a training row -> its part; rows of one part of a label are shown together, see `divide_to_show`."""
        return self.recall("parts", lambda: divide_to_show(self.train.records) if self.in_parts else {})

    def count_requests(self, action: str, cell: Cell) -> int:
        """Requests that an action has sent for a cell."""
        known = self.costs.get((action, cell))
        return known.requests if known else 0

    def recall(self, key: Hashable, make: Callable[[], ResultT]) -> ResultT:
        """What `make` gives, computed once a run; it must follow from the rows and `key` alone."""
        if key not in self._known:
            self._known[key] = make()
        return cast("ResultT", self._known[key])


class Action(Protocol):
    """What may be done about a cell that lacks records.

    An action may also have `list_requests(item, data, models)`, which gives the requests of an item as they would be
    sent: a preview shows the first of them. `has_writers` says that it has the job's writers write: where there are
    several it makes an offer for each, and an item names one (in runs that plan by need they take turns, as
    `take_turns` has them). `changes_labels` says that it gives the user's own records other labels: a run does that
    before anything else.

    Attributes:
        name: what a job calls it.
        effect: what becomes of records by it, as in "12 records would be *adopted from the pool*".
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def effect(self) -> str: ...  # noqa: D102

    def offer(self, cell: Cell, data: ActionData, models: Models) -> Offer | None:
        """What it can do for a cell; None where that is nothing. Asks no model."""
        ...

    def act(self, item: PlanItem, data: ActionData, models: Models) -> AsyncIterator[Outcome]:
        """Proposals for an item of a plan, or changes of labels, each as soon as there is one.

        Filters judge proposals; a change of a label was decided on before it is offered. Ids of proposals are made of
        the item's and a number, never of the order in which replies arrive. No more is spent than the item has
        reserved. A request that failed gives a proposal whose `failure` says why.
        """
        ...


def list_requests(action: Action, item: PlanItem, data: ActionData, models: Models) -> Sequence[ChatRequest]:
    """The requests of an item as an action would send them; none where it cannot show them."""
    shown = getattr(action, "list_requests", None)
    return shown(item, data, models) if shown else ()


def price_requests(requests: Sequence[ChatRequest], models: Models) -> int:
    """Tokens that a request like these may take.

    Demonstrations differ in length from request to request; a margin keeps the plan inside the budget.
    """
    largest = max(models.chat.estimate(request) for request in requests)
    return largest + largest // 4


DraftT = TypeVar("DraftT", bound="HasRequest")


class HasRequest(Protocol):
    """What is sent as one request."""

    @property
    def request(self) -> ChatRequest: ...  # noqa: D102


def take_paid(drafts: Sequence[DraftT], chat: ChatClient, reserved_tokens: int) -> Sequence[DraftT]:
    """The first requests whose estimates fit into what the plan reserved.

    The plan reckons with a typical request. Cutting here, in order, keeps which requests are sent independent of
    which replies come first.
    """
    sums = np.cumsum([chat.estimate(draft.request) for draft in drafts])
    return drafts[: int(np.searchsorted(sums, reserved_tokens, side="right"))]


def make_probe(action: str, cell: Cell) -> PlanItem:
    """An item that is never carried out: its requests are priced."""
    return PlanItem(action, cell, 1, 0, 0, n_requests=_N_PRICED)
