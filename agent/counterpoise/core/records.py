"""The values that several floors share: records as columns, cells, plans, proposals, verdicts.

Records are held as columns (numpy object and integer arrays), because a data set has millions of rows and a
Python object a row does not fit. `Records.row(i)` gives one as a `Record`.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Objects = NDArray[np.object_]

UNLABELLED = -1
"""The label index of a record without a label (a row of a pool)."""


class Action(enum.StrEnum):
    """A way to improve a cell."""

    ADOPT = "adopt"
    RELABEL = "relabel"
    MINORITY = "minority"
    CONCEPT_INJECTION = "concept_injection"
    COUNTERFACTUAL_EDIT = "counterfactual_edit"


class Kind(enum.StrEnum):
    """Where a record of the result comes from (`provenance.kind`)."""

    ORIGINAL = "original"
    ADOPTED = "adopted"
    RELABELLED = "relabelled"
    MINORITY = "minority"
    CONCEPT_INJECTION = "concept_injection"
    COUNTERFACTUAL_EDIT = "counterfactual_edit"


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
        action: what to do.
        cell: for which cell.
        count: records wanted.
        round: the round it belongs to, from 1.
        index: its place in the round's plan, from 0.
        n_requests: model requests to send at most (0 for actions that cost no token).
        reserved_tokens: what these requests may cost at most.
        first_source: for an edit, how many sources earlier items of the same action and cell have drawn.
        most: records of it that are kept at most, so that no cell outgrows its target; 0 without a limit.
    """

    action: Action
    cell: Cell
    count: int
    round: int
    index: int
    n_requests: int = 0
    reserved_tokens: int = 0
    first_source: int = 0
    most: int = 0

    @property
    def id(self) -> str:
        """`r03-p01`: sorts as the plan does."""
        return f"r{self.round:03d}-p{self.index:02d}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one round will do, in the order in which the budget is reserved."""

    round: int
    items: tuple[PlanItem, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A generated or retrieved record that no filter has seen yet.

    Args:
        id: made of round, plan item and index; decisions are taken in its order.
        item: the plan item it belongs to.
        text: its text.
        label: the label it was made for.
        parents: ids of the records it was made from.
        kind: what it will be called in the provenance if it is kept.
        model: name of the model that wrote it, "" where none did.
        prompt: name and content hash of the prompt, "" where there was none.
        tokens: tokens spent on it (its share of the request).
        attributes: values of the user's attribute columns, where the cell fixes them.
        source_id: id of the pool record it was adopted from, "" where it was written.
        failure: why there is no text, in one word (`quarantined`, `no_reply`, ...); "" where there is one. It is
            rejected for that reason.
        finish_reason: why the writer stopped: `length` where the tokens ended within it, `cut_back` where it was then
            cut back to its last whole sentence.
    """

    id: str
    item: PlanItem
    text: str
    label: str
    parents: tuple[str, ...] = ()
    kind: Kind = Kind.MINORITY
    model: str = ""
    prompt: str = ""
    tokens: float = 0.0
    attributes: Mapping[str, str] = field(default_factory=dict)
    source_id: str = ""
    failure: str = ""
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a filter, or all of them together, say of a proposal; always with a reason."""

    proposal_id: str
    kept: bool
    reason: str
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a record of the result comes from; a struct column of the written data set."""

    id: str
    kind: Kind = Kind.ORIGINAL
    parents: tuple[str, ...] = ()
    round: int = 0
    cell: str = ""
    model: str = ""
    prompt: str = ""
    label_before: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)

    def as_struct(self) -> dict[str, Any]:
        """The struct as it is written; `scores` is JSON text so that its keys never widen a schema."""
        return {
            "id": self.id,
            "kind": str(self.kind),
            "parents": list(self.parents),
            "round": self.round,
            "cell": self.cell,
            "model": self.model,
            "prompt": self.prompt,
            "label_before": self.label_before,
            "scores": json.dumps(
                {name: round(value, 6) for name, value in sorted(self.scores.items())}, ensure_ascii=False
            ),
        }


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model behind a server was found to do, by asking, never by its name.

    Args:
        model: its name, as the server reports it.
        chat: it has a chat template (`/v1/chat/completions` answers).
        continuation: it continues plain text (`/v1/completions` answers).
        follows_instructions: it does what a short instruction says (measured on a few probes).
        structured: JSON schemas are really enforced.
        logprobs: it returns token log-probabilities.
        multiple: one request may ask for several completions.
        context_tokens: prompt and completion together, 0 where unknown.
        thinks: it thinks before it answers.
        thinking_switch: the way that switches its thinking off, "" where there is none.
        thought_tokens: tokens that thoughts take before an answer, where they cannot be switched off.
        looked_tokens: it was still thinking when so many tokens were used up, 0 where it ended.
        room_tokens: room that its thoughts are given in every request.
    """

    model: str
    chat: bool = True
    continuation: bool = True
    follows_instructions: bool = False
    structured: bool = False
    logprobs: bool = False
    multiple: bool = True
    context_tokens: int = 0
    thinks: bool = False
    thinking_switch: str = ""
    thought_tokens: int = 0
    looked_tokens: int = 0
    room_tokens: int = 0


class State(enum.IntEnum):
    """What is known of a concept in a record."""

    ABSENT = 0
    PRESENT = 1
    UNKNOWN = 2


@dataclass(frozen=True, slots=True)
class ConceptColumns:
    """The concepts of n records as columns.

    Args:
        names: the closed list, m names.
        states: (n, m) integers of `State`.
        probabilities: (n, m) in 0..1.
        scorer: name of the scorer that gave them.
    """

    names: tuple[str, ...]
    states: NDArray[np.int8]
    probabilities: Floats
    scorer: str = ""

    def take(self, indices: Integers) -> ConceptColumns:
        """The rows at `indices`, in that order."""
        return replace(self, states=self.states[indices], probabilities=self.probabilities[indices])


@dataclass(frozen=True, slots=True)
class Record:
    """One row, for code that handles single records (prompts, reports)."""

    id: str
    text: str
    label: str | None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Records:
    """Rows as columns.

    Args:
        ids: (n,) strings, unique; a hash of the content columns and an occurrence number.
        texts: (n,) strings.
        labels: (n,) indices into `label_names`; `UNLABELLED` where there is none.
        label_names: names of the labels, sorted as the user's ClassLabel has them, else by name.
        attributes: for each attribute column (n,) strings; "" where the value is missing.
        groups: (n,) strings: near-duplicates share one; used for splits and folds. Empty array: each its own.
        concepts: concept columns, where they have been labelled.
    """

    ids: Objects
    texts: Objects
    labels: Integers
    label_names: tuple[str, ...]
    attributes: Mapping[str, Objects] = field(default_factory=dict)
    groups: Objects = field(default_factory=lambda: np.empty(0, dtype=object))
    concepts: ConceptColumns | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.ids)

    def row(self, index: int) -> Record:
        """One row as a `Record`."""
        label = int(self.labels[index])
        return Record(
            id=str(self.ids[index]),
            text=str(self.texts[index]),
            label=None if label == UNLABELLED else self.label_names[label],
            attributes={name: str(column[index]) for name, column in self.attributes.items()},
        )

    def take(self, indices: Sequence[int] | Integers | NDArray[np.bool_]) -> Records:
        """The rows at `indices` (or where a boolean mask holds), in that order."""
        picked = np.asarray(indices)
        if picked.dtype == np.bool_:
            picked = np.flatnonzero(picked)
        picked = picked.astype(np.int64)
        return replace(
            self,
            ids=self.ids[picked],
            texts=self.texts[picked],
            labels=self.labels[picked],
            attributes={name: column[picked] for name, column in self.attributes.items()},
            groups=self.groups[picked] if len(self.groups) else self.groups,
            concepts=self.concepts.take(picked) if self.concepts is not None else None,
        )
