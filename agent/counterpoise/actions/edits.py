"""What there is to edit for a cell: the sources, what is shown beside them, who edits, and at what price.

A model that cannot edit is found by trying it on this data: the first requests of each kind of edit are a probe
(`planner.PROBE_REQUESTS`), and where the filters keep too few of its texts the plan writes minority text instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from counterpoise.actions.base import EditOffer, add_margin
from counterpoise.actions.concept_injection import ConceptInjection, make_removal_pairs
from counterpoise.actions.counterfactual_edit import CounterfactualEdit
from counterpoise.actions.demonstrations import find_rows
from counterpoise.actions.edit_sources import EditMaterial, Pair, RecordEditor, can_instruct
from counterpoise.actions.lexicon_edit import Lexicon, learn_lexicon
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, PlanItem
from counterpoise.core.records import Integers, State
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm.models import Models
from counterpoise_retrievers.encoder_protocol import Encoder

MOST_SOURCES = 500
_N_PAIRS = 30
_FEWEST_TO_SHOW = 3  # a label with fewer rows has nothing to continue from, so others are edited for it


@dataclass(slots=True)
class EditActions:
    """What there is to edit for a cell, and what it costs. `_lexicon` and `_pairs` keep results of pure functions.

    Args:
        train: the training rows.
        encoder: of the vectors.
        concepts: name -> definition.
        headings: label name -> one line that says what such records are.
        key: the run's key.
        is_trusted: whether the label scorer passed its audit; if not nobody could confirm an edit, so none is offered.
    """

    train: EncodedRecords
    encoder: Encoder
    concepts: Mapping[str, str]
    headings: Mapping[str, str]
    key: str
    is_trusted: bool
    _lexicon: Lexicon | None = None
    _pairs: dict[tuple[str, Cell], tuple[Pair, ...]] = field(default_factory=dict)

    @property
    def editors(self) -> dict[str, RecordEditor]:
        """The generators, in the order in which the planner prefers them."""
        return {
            "concept_injection": ConceptInjection(self.headings, self.key, self.concepts),
            "counterfactual_edit": CounterfactualEdit(self.headings, self.key),
        }

    def make_offers(self, cell: Cell, models: Models, drawn: Mapping[str, int]) -> dict[str, EditOffer]:
        """What each kind of edit can do for a cell.

        Args:
            cell: the thin cell.
            models: the model; it is asked nothing, requests are estimated.
            drawn: sources that were drawn for the cell before.
        """
        offers: dict[str, EditOffer] = {}
        if not self.is_trusted:
            return offers
        for action, editor in self.editors.items():
            material = self.gather(action, cell, models.capabilities)
            left = material.n_edits - drawn.get(action, 0)
            if left <= 0 or (not can_instruct(models.capabilities) and not material.pairs):
                continue
            probe = PlanItem(action, cell, 1, 0, 0, n_requests=8)
            requests = editor.make_requests(probe, material, models.capabilities)
            tokens = max(models.chat.estimate(request) for request in requests)
            offers[action] = EditOffer(add_margin(tokens), left)
        return offers

    def gather(self, action: str, cell: Cell, capabilities: Capabilities) -> EditMaterial:
        """Records to edit for a cell, and what is shown beside them."""
        train = self.train
        rows = self._find_sources(action, cell)
        picked = rows[sample_by_rank(train.records.ids[rows], MOST_SOURCES, f"{self.key}:sources")]
        pairs: tuple[Pair, ...] = ()
        if len(picked) and not can_instruct(capabilities):
            known = (action, cell)
            if known not in self._pairs:
                self._pairs[known] = self._make_pairs(action, cell, picked)
            pairs = self._pairs[known]
        return EditMaterial(train.take(picked), train.take(find_rows(train.records, cell)), pairs)

    def _find_sources(self, action: str, cell: Cell) -> Integers:
        records = self.train.records
        label = records.label_names.index(cell.label)
        none: Integers = np.empty(0, dtype=np.int64)
        if action == "concept_injection":
            if not cell.concept or records.concepts is None:
                return none
            states = records.concepts.states[:, records.concepts.names.index(cell.concept)]
            return np.flatnonzero((records.labels == label) & (states == State.ABSENT))
        others = records.labels != label
        if cell.concept and records.concepts is not None:
            states = records.concepts.states[:, records.concepts.names.index(cell.concept)]
            return np.flatnonzero(others & (states == State.PRESENT))
        if cell.attribute:
            return np.flatnonzero(others & (records.attributes[cell.attribute] == cell.value))
        n_shown = int((records.labels == label).sum())
        return np.flatnonzero(others) if n_shown < _FEWEST_TO_SHOW else none

    def _make_pairs(self, action: str, cell: Cell, sources: Integers) -> tuple[Pair, ...]:
        """Texts before and after, made without a model."""
        train = self.train.records
        if action == "concept_injection":
            rows = self._find_concept(cell.concept)
            anchor = self.encoder.encode([self.concepts[cell.concept]])[0]
            return make_removal_pairs([str(train.texts[row]) for row in rows], anchor, self.encoder)
        if self._lexicon is None:
            texts = [str(text) for text in train.texts]
            self._lexicon = learn_lexicon(texts, train.labels, len(train.label_names))
        target = train.label_names.index(cell.label)
        pairs = []
        for row in sources[: 4 * _N_PAIRS]:
            before = str(train.texts[row])
            after = self._lexicon.edit(before, target)
            if after and after != before:
                pairs.append((before, after))
        return tuple(pairs[:_N_PAIRS])

    def _find_concept(self, concept: str) -> Integers:
        """Rows that have a concept, whatever their label, in keyed order."""
        records = self.train.records
        if records.concepts is None:
            return np.empty(0, dtype=np.int64)
        column = records.concepts.names.index(concept)
        rows = np.flatnonzero(records.concepts.states[:, column] == State.PRESENT)
        return rows[sample_by_rank(records.ids[rows], MOST_SOURCES, f"{self.key}:pairs")]
