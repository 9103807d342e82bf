"""Concept injection: a record keeps its label and gains a remark on a concept.

For cells where a concept goes with one label only. After Zhou, Xu, Liu, An, Ai, Huang (2024), Explore Spurious
Correlations at the Concept Level in Language Models for Text Classification. Their rewrites name the concept in 86 to
100% of texts and nothing checks that the label survived; here the place of the remark varies, the model is asked for
its own words, and the filters of `filters.edits` decide.

A model that follows instructions is asked. Another one continues a list of pairs that no model made: a real
record without the sentence that speaks of the concept, and the record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.base import ActionData
from counterpoise.actions.edit_sources import (
    Pair,
    RecordEditor,
)
from counterpoise.actions.edits import MOST_SOURCES, NO_ROWS, EditAction
from counterpoise.core.plans import Cell, Nature
from counterpoise.core.records import Integers, Record, State
from counterpoise.core.splits import sample_by_rank
from counterpoise_retrievers.encoders import Encoder

PLACES = ("at the beginning", "in the middle", "at the end")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_FEWEST_WORDS = 3
_MOST_SENTENCES = 6
_FEW_LONG = 12


class InjectConcept(EditAction):
    """Works the concept of a cell into records of its label that lack it."""

    name: ClassVar = "concept_injection"

    def open_editor(self, data: ActionData) -> RecordEditor:
        """Who writes the requests."""
        return ConceptInjection(data.headings, data.key, data.concepts, form=data.form)

    def find_sources(self, cell: Cell, data: ActionData) -> Integers:
        """Rows of the label that lack the concept; none for a cell without one."""
        records = data.train.records
        if not cell.concept or records.concepts is None:
            return NO_ROWS
        states = records.concepts.states[:, records.concepts.names.index(cell.concept)]
        is_label = records.labels == records.label_names.index(cell.label)
        return np.flatnonzero(is_label & (states == State.ABSENT))

    def make_pairs(self, cell: Cell, sources: Integers, data: ActionData) -> tuple[Pair, ...]:
        """Records that have the concept, whatever their label, without and with their sentence on it."""
        records = data.train.records
        if records.concepts is None:
            return ()
        states = records.concepts.states[:, records.concepts.names.index(cell.concept)]
        rows = np.flatnonzero(states == State.PRESENT)
        rows = rows[sample_by_rank(records.ids[rows], MOST_SOURCES, f"{data.key}:pairs")]
        anchor = data.encoder.encode([data.concepts[cell.concept]])[0]
        return make_removal_pairs([str(records.texts[row]) for row in rows], anchor, data.encoder)


@dataclass(frozen=True, slots=True)
class ConceptInjection(RecordEditor):
    """Works a concept into records of the wanted label that lack it.

    Args:
        headings: label name -> one line that says what such records are.
        key: the run's key; another draws other sources.
        concepts: concept name -> definition.
    """

    action: ClassVar = "concept_injection"
    nature: ClassVar = Nature.INSERTED
    prompt: ClassVar = "concept_injection"

    concepts: Mapping[str, str]

    def _describe(self, cell: Cell, source: Record, number: int, *, instructs: bool) -> dict[str, Any]:
        concept = {"concept": cell.concept, "definition": self.concepts.get(cell.concept, cell.concept)}
        if not instructs:
            return concept
        return concept | {"heading": self._head(cell.label), "place": PLACES[number % len(PLACES)]}


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, as far as full stops, exclamation and question marks tell them."""
    return [sentence for sentence in _SENTENCE_END.split(text.strip()) if sentence]


def _join(parts: Sequence[str], gaps: Sequence[str]) -> str:
    """Sentences with what stands between them."""
    return "".join(part + gap for part, gap in zip_longest(parts, gaps, fillvalue=""))


def make_removal_pairs(
    texts: Sequence[str], anchor: NDArray[np.float32], encoder: Encoder, most: int = 40
) -> tuple[Pair, ...]:
    """Pairs (text without its sentence on a concept, text), from real texts that have the concept.

    Args:
        texts: records that have it.
        anchor: (d,) vector of the concept's definition.
        encoder: gives the vectors of sentences.
        most: texts looked at.

    Returns:
        A pair for every text of two to six sentences of which one is nearest to the anchor; shortest first. Where all
        texts are longer, of the first `_FEW_LONG` of these.
    """
    divided = [(text, parts) for text in texts[:most] if len(parts := split_sentences(text)) > 1]
    fitting = [one for one in divided if len(one[1]) <= _MOST_SENTENCES] or divided[:_FEW_LONG]
    pairs = []
    for text, parts in fitting:
        nearness = encoder.encode(parts) @ anchor
        place = int(np.argmax(nearness))
        gaps = [gap if "\n" in gap else " " for gap in _SENTENCE_END.findall(text.strip())]
        left = [part for at, part in enumerate(parts) if at != place]
        rest = _join(left, gaps[:-1] if place == len(parts) - 1 else gaps[:place] + gaps[place + 1 :])
        if len(rest.split()) >= _FEWEST_WORDS:
            pairs.append((rest, _join(parts, gaps)))
    return tuple(sorted(pairs, key=lambda pair: (len(pair[1]), pair)))
