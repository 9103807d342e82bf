"""Counterfactual edits: the smallest change that gives a record another label and keeps its concepts.

For words that stand for a label when they should not, and for cells of which no record exists. After Kaushik, Hovy,
Lipton (2020), Learning the Difference that Makes a Difference with Counterfactually-Augmented Data, where people edit.

A model that follows instructions is asked. Another one continues a list of pairs that no model made: records and
what the lexicon (`lexicon_edit`) makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from counterpoise.actions.base import ActionData
from counterpoise.actions.edit_sources import (
    Pair,
    RecordEditor,
)
from counterpoise.actions.edits import NO_ROWS, EditAction
from counterpoise.actions.lexicon_edit import Lexicon, learn_lexicon
from counterpoise.core.plans import Cell, Nature
from counterpoise.core.records import Integers, Record, Records, State
from counterpoise.students.samples import draw_sample

_N_PAIRS = 30
_FEWEST_TO_SHOW = 3  # a label with fewer rows has nothing to continue from, so others are edited for it


class EditCounterfactually(EditAction):
    """Gives records of other labels, with the concept or the attribute value of a cell, its label."""

    name: ClassVar = "counterfactual_edit"

    def open_editor(self, data: ActionData) -> RecordEditor:
        """Who writes the requests."""
        return CounterfactualEdit(data.headings, data.key, form=data.form)

    def find_sources(self, cell: Cell, data: ActionData) -> Integers:
        """Rows of other labels that have what the cell names; for a label alone only where it has next to no rows."""
        records = data.train.records
        is_label = records.labels == records.label_names.index(cell.label)
        if cell.concept and records.concepts is not None:
            states = records.concepts.states[:, records.concepts.names.index(cell.concept)]
            return np.flatnonzero(~is_label & (states == State.PRESENT))
        if cell.attribute:
            return np.flatnonzero(~is_label & (records.attributes[cell.attribute] == cell.value))
        return np.flatnonzero(~is_label) if is_label.sum() < _FEWEST_TO_SHOW else NO_ROWS

    def make_pairs(self, cell: Cell, sources: Integers, data: ActionData) -> tuple[Pair, ...]:
        """Sources and what the lexicon makes of them."""
        train = data.train.records
        lexicon = data.recall((self.name, "lexicon"), lambda: _learn(train))
        target = train.label_names.index(cell.label)
        pairs = []
        for row in sources[: 4 * _N_PAIRS]:
            before = str(train.texts[row])
            after = lexicon.edit(before, target)
            if after and after != before:
                pairs.append((before, after))
        return tuple(pairs[:_N_PAIRS])


def _learn(train: Records) -> Lexicon:
    """A lexicon of the rows of `draw_sample`."""
    learned = train.take(draw_sample(train).rows)
    return learn_lexicon([str(text) for text in learned.texts], learned.labels, len(train.label_names))


@dataclass(frozen=True, slots=True)
class CounterfactualEdit(RecordEditor):
    """Gives records of other labels the wanted one.

    Args:
        headings: label name -> one line that says what such records are.
        key: the run's key; another draws other sources.
    """

    action: ClassVar = "counterfactual_edit"
    nature: ClassVar = Nature.REWRITTEN
    prompt: ClassVar = "counterfactual_edit"

    def _describe(self, cell: Cell, source: Record, number: int, *, instructs: bool) -> dict[str, Any]:
        return {"source_heading": self._head(source.label or ""), "heading": self._head(cell.label)}
