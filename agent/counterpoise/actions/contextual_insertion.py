"""Contextual insertion: a record of the label keeps its words and gains a clause that the model inserts.

The cheap rival of writing anew: most of each record is real, and one short reply is paid for. Inserting words by a
language model is among the established ways of augmenting texts which Cegin, Simko and Brusilovsky (2024), LLMs vs
Established Text Augmentation Techniques for Classification: When do the Benefits Outweigh the Costs?, find often as
good as texts that a large model writes. The filters of `filters.edits` decide what is kept.

A model that follows instructions is asked. Another one continues a list of pairs that no model made: a real record
without one of its clauses, and the record.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from counterpoise.actions.base import ActionData
from counterpoise.actions.demonstrations import find_rows
from counterpoise.actions.edit_sources import Pair, RecordEditor
from counterpoise.actions.edits import MOST_SOURCES, NO_ROWS, EditAction
from counterpoise.core.plans import Cell, Nature
from counterpoise.core.records import Integers, Record
from counterpoise.core.splits import keyed_rank

PLACES = ("at the beginning", "in the middle", "at the end")
_CLAUSE_END = re.compile(r"(?<=[.!?,;。！？，；،؛])\s*(?=\S)")
_FEWEST_CLAUSES, _MOST_CLAUSES = 2, 8
_N_PAIRS = 30


class InsertInContext(EditAction):
    """Inserts clauses into records of a cell; cells of concepts are left to the injection of these."""

    name: ClassVar = "contextual_insertion"

    def open_editor(self, data: ActionData) -> RecordEditor:
        """Who writes the requests."""
        return ContextualInsertion(data.headings, data.key, form=data.form)

    def find_sources(self, cell: Cell, data: ActionData) -> Integers:
        """The rows of the cell itself."""
        return NO_ROWS if cell.concept else find_rows(data.train.records, cell)

    def make_pairs(self, cell: Cell, sources: Integers, data: ActionData) -> tuple[Pair, ...]:
        """Rows of the label without and with one of their clauses."""
        records = data.train.records
        rows = find_rows(records, Cell(cell.label))
        order = keyed_rank(records.ids[rows], f"{data.key}:pairs")[:MOST_SOURCES]
        texts = [str(records.texts[row]) for row in rows[order]]
        for most in (_MOST_CLAUSES, None):  # where all texts are long, any will do
            pairs = [remove_clause(text, f"{data.key}:clauses", most) for text in texts]
            if found := tuple(pair for pair in pairs if pair is not None)[:_N_PAIRS]:
                return found
        return ()


@dataclass(frozen=True, slots=True)
class ContextualInsertion(RecordEditor):
    """Asks for a record as it is, with one more clause."""

    action: ClassVar = "contextual_insertion"
    nature: ClassVar = Nature.INSERTED
    prompt: ClassVar = "contextual_insertion"

    def _describe(self, cell: Cell, source: Record, number: int, *, instructs: bool) -> dict[str, Any]:
        heading = {"heading": self._head(cell.label)}
        return heading | {"place": PLACES[number % len(PLACES)]} if instructs else heading


def remove_clause(text: str, key: str, most: int | None = _MOST_CLAUSES) -> Pair | None:
    """A text without one of its clauses, drawn by keyed hash, and the text; None where it has but one, or over `most`.

    >>> remove_clause("Good soup, but cold.", "key")
    ('Good soup,', 'Good soup, but cold.')
    """
    whole = text.strip()
    ends = [match.end() for match in _CLAUSE_END.finditer(whole)]
    spans = list(zip([0, *ends], [*ends, len(whole)], strict=True))
    if len(spans) < _FEWEST_CLAUSES or (most and len(spans) > most):
        return None
    start, end = spans[keyed_rank([f"{start}:{whole[start:end]}" for start, end in spans], key)[0]]
    return (whole[:start] + whole[end:]).strip(), whole
