"""What a run counts, plans and decides: cells and what they lack, plans, proposals and the verdicts on them."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from counterpoise.core.schema import Content


class Kind(enum.StrEnum):
    """Where a record of the result comes from (`provenance.kind`), if no model has made it.

    What a model has made has the kind that its action gives it.
    """

    ORIGINAL = "original"
    ADOPTED = "adopted"
    RELABELLED = "relabelled"
    ANSWERED = "answered"
    """A row of the pool whose label a person gave: a training row like the user's own."""


class Nature(enum.Enum):
    """What a proposal is, whichever action it comes from: all that filters and reports ask."""

    REAL = "real"
    """A row of the user's pool."""
    WRITTEN = "written"
    """A text of its own; its parents were shown."""
    INSERTED = "inserted"
    """An edit of its first parent that keeps the label and adds something."""
    REWRITTEN = "rewritten"
    """An edit of its first parent that changes the label and keeps the rest."""

    @property
    def is_edit(self) -> bool:
        """Whether it was made from one record, the first of its parents."""
        return self in (Nature.INSERTED, Nature.REWRITTEN)

    @property
    def is_real(self) -> bool:
        """Whether nobody has made it for this run."""
        return self is Nature.REAL


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A subpopulation that is counted: a label alone, with a concept, or with an attribute value.

    Args:
        label: name of the label.
        concept: name of a concept, or "" where the cell has none.
        attribute: name of an attribute column, or "".
        value: the attribute's value; only with `attribute`.
    """

    label: str
    concept: str = ""
    attribute: str = ""
    value: str = ""

    def __str__(self) -> str:
        """For people: `negative`, `negative with food`, `negative with source=imdb`."""
        if self.concept:
            return f"{self.label} with {self.concept}"
        if self.attribute:
            return f"{self.label} with {self.attribute}={self.value}"
        return self.label

    @property
    def is_named(self) -> bool:
        """Whether a concept or an attribute of the user's names it, beside the label."""
        return bool(self.concept or self.attribute)

    @property
    def key(self) -> str:
        """Canonical JSON of the cell, for hashes and journals."""
        return json.dumps([self.label, self.concept, self.attribute, self.value], ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Deficit:
    """How many records a cell lacks. `have` may be fractional where counts were corrected."""

    cell: Cell
    have: float
    want: float

    @property
    def need(self) -> int:
        """Whole records that are missing, never negative."""
        return max(0, round(self.want - self.have))


@dataclass(frozen=True, slots=True)
class PlanItem:
    """One decision of a plan: do `action` until `count` more records stand in `cell`.

    Args:
        action: registered name of what to do.
        cell: for which cell.
        count: records wanted.
        round: the round it belongs to, from 1.
        index: its place in the round's plan, from 0.
        n_requests: model requests to send at most (0 for actions that cost no token).
        reserved_tokens: what these requests may cost at most.
        first_source: for an edit, how many sources earlier items of the same action and cell have drawn.
        most: records of it that are kept at most, so that no cell outgrows its target; 0 without a limit.
        writer: who of the job's writers writes; "" where they take turns, or where there is one.
        value: what it is expected to help, in the unit of the round (`runs.gains`); 0 where nothing was reckoned.
        basis: what that stands on, in a few words.
    """

    action: str
    cell: Cell
    count: int
    round: int
    index: int
    n_requests: int = 0
    reserved_tokens: int = 0
    first_source: int = 0
    most: int = 0
    writer: str = ""
    value: float = 0.0
    basis: str = ""

    @property
    def id(self) -> str:
        """`r03-p01`: sorts as the plan does."""
        return f"r{self.round:03d}-p{self.index:02d}"

    @property
    def way(self) -> str:
        """The action and, where it stands alone, its writer: what is priced and tried apart from others."""
        return name_way(self.action, self.writer)


def name_way(action: str, writer: str = "") -> str:
    """What an action in a writer's hands is called.

    >>> name_way("minority_text"), name_way("minority_text", "angry")
    ('minority_text', 'minority_text/angry')
    """
    return f"{action}/{writer}" if writer else action


def split_way(way: str) -> tuple[str, str]:
    """The action and the writer of a way.

    >>> split_way("minority_text/angry"), split_way("adopt")
    (('minority_text', 'angry'), ('adopt', ''))
    """
    action, _, writer = way.partition("/")
    return action, writer


@dataclass(frozen=True, slots=True)
class Plan:
    """What one round will do, in the order in which the budget is reserved.

    Args:
        round: its number, from 1.
        items: what is done.
        reason: why it is planned like this, or why nothing is.
        fillers: for each cell that was looked at the actions that could fill it at a price.
    """

    round: int
    items: tuple[PlanItem, ...]
    reason: str = ""
    fillers: Mapping[Cell, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A generated or retrieved record that no filter has seen yet.

    Args:
        id: made of round, plan item and index; decisions are taken in its order.
        item: the plan item it belongs to.
        text: its text, as prompts and vectors have it; "" where an action gives content, which the schema then renders.
        label: the label it was made for.
        parents: ids of the records it was made from.
        kind: what it will be called in the provenance if it is kept.
        nature: what it is, for whoever judges it.
        model: name of the model that wrote it, "" where none did.
        prompt: name and content hash of the prompt, "" where there was none.
        tokens: tokens spent on it (its share of the request).
        attributes: values of the user's attribute columns, where the cell fixes them.
        source_id: id of the pool record it was adopted from, "" where it was written.
        failure: why there is no text, in one word (`quarantined`, `no_reply`, ...); "" where there is one. It is
            rejected for that reason.
        content: its columns by name. Where an action gives a text alone, that is divided among the text columns.
        finish_reason: why the writer stopped: `length` where the tokens ended within it, `cut_back` where it was then
            cut back to its last whole sentence.
        writer: name of the job's writer that it is of, "" where the job names none.
        rewritten_from: id of the refused proposal that it is a second attempt of, "" where it is a first one.
    """

    id: str
    item: PlanItem
    text: str
    label: str
    parents: tuple[str, ...] = ()
    kind: str = "minority"
    nature: Nature = Nature.WRITTEN
    model: str = ""
    prompt: str = ""
    tokens: float = 0.0
    attributes: Mapping[str, str] = field(default_factory=dict)
    source_id: str = ""
    failure: str = ""
    finish_reason: str = "stop"
    content: Content = field(default_factory=dict)
    writer: str = ""
    rewritten_from: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a filter, or all of them together, say of a proposal; always with a reason."""

    proposal_id: str
    kept: bool
    reason: str
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused proposal whose fault a writer can mend.

    Args:
        proposal: what was refused.
        instruction: what is wrong with it, and what to do instead: whole sentences for a model.
    """

    proposal: Proposal
    instruction: str
