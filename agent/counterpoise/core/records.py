"""Rows as columns, with where they come from and which concepts they have.

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

from counterpoise.core.plans import Kind
from counterpoise.core.schema import Content

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Objects = NDArray[np.object_]

UNLABELLED = -1
"""The label index of a record without a label (a row of a pool)."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a record of the result comes from; a struct column of the written data set."""

    id: str
    kind: str = Kind.ORIGINAL
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
    content: Content = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Records:
    """Rows as columns.

    Args:
        ids: (n,) strings, unique; a hash of the content columns and an occurrence number.
        texts: (n,) strings: what the schema renders of each row's content.
        labels: (n,) indices into `label_names`; `UNLABELLED` where there is none.
        label_names: names of the labels, sorted as the user's ClassLabel has them, else by name.
        attributes: for each attribute column (n,) strings; "" where the value is missing.
        groups: (n,) strings: near-duplicates share one; used for splits and folds. Empty array: each its own.
        concepts: concept columns, where they have been labelled.
        columns: the content by column name, in the order of the schema: (n,) values each, as the user's table has them,
            None where one is missing.
    """

    ids: Objects
    texts: Objects
    labels: Integers
    label_names: tuple[str, ...]
    attributes: Mapping[str, Objects] = field(default_factory=dict)
    groups: Objects = field(default_factory=lambda: np.empty(0, dtype=object))
    concepts: ConceptColumns | None = None
    columns: Mapping[str, Objects] = field(default_factory=dict)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.ids)

    def content(self, index: int) -> Content:
        """The content of one row: its columns by name."""
        return {name: column[index] for name, column in self.columns.items()}

    def row(self, index: int) -> Record:
        """One row as a `Record`."""
        label = int(self.labels[index])
        return Record(
            id=str(self.ids[index]),
            text=str(self.texts[index]),
            label=None if label == UNLABELLED else self.label_names[label],
            attributes={name: str(column[index]) for name, column in self.attributes.items()},
            content=self.content(index),
        )

    def take(self, indices: Sequence[int] | Integers | NDArray[np.bool_]) -> Records:
        """The rows at `indices` (or where a boolean mask holds), in that order."""
        picked = np.asarray(indices)
        if picked.dtype == np.bool_:
            picked = np.flatnonzero(picked)
        picked = picked.astype(np.int64)
        texts = self.texts[picked]
        return replace(
            self,
            ids=self.ids[picked],
            texts=texts,
            labels=self.labels[picked],
            attributes={name: column[picked] for name, column in self.attributes.items()},
            groups=self.groups[picked] if len(self.groups) else self.groups,
            concepts=self.concepts.take(picked) if self.concepts is not None else None,
            # The one column of texts is the texts themselves: a data set holds them once.
            columns={
                name: texts if column is self.texts else column[picked]
                for name, column in self.columns.items()
            },
        )
