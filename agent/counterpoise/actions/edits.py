"""Where the loop turns for edits of records: what there is to edit for a cell, by whom, and what became of it.

A model that cannot edit is found by trying it on this data: the first requests of each kind of edit are a probe
(`planner.PROBE_REQUESTS`), and where the filters keep too few of its texts the plan writes minority text instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from counterpoise.actions.adopt import calibrate
from counterpoise.actions.base import EditOffer
from counterpoise.actions.concept_injection import ConceptInjection, make_removal_pairs
from counterpoise.actions.counterfactual_edit import CounterfactualEdit
from counterpoise.actions.edit_sources import EditMaterial, Pair, RecordEditor, can_instruct
from counterpoise.actions.lexicon_edit import Lexicon, learn_lexicon
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.encoded_records import EncodedRecords, Vectors
from counterpoise.core.plans import Action, Cell, Kind, PlanItem, Proposal, Verdict
from counterpoise.core.records import ConceptColumns, Floats, Integers, State
from counterpoise.core.splits import sample_by_rank
from counterpoise.filters.base import EDITS, KEPT
from counterpoise.filters.edits import (
    EditEvidence,
    check_edits,
    measure_edit,
    measure_literal_rates,
    measure_rises,
    pair_cosines,
)
from counterpoise.llm.models import Models
from counterpoise.scorers.base import ClassifierScorer
from counterpoise.students.cell_treatments import weigh_records
from counterpoise_retrievers.encoder_protocol import Encoder

MOST_SOURCES = 500
_N_PAIRS = 30
_FEWEST_TO_SHOW = 3  # a label with fewer rows has nothing to continue from, so others are edited for it


@dataclass(slots=True)
class EditDesk:
    """Everything edits need. What it keeps in `_lexicon` and `_pairs` are results of pure functions.

    Args:
        train: the training rows.
        folds: (n,) their fold numbers.
        encoder: of the vectors.
        concepts: name -> definition.
        headings: label name -> one line that says what such records are.
        key: the run's key.
        is_trusted: whether the label scorer passed its audit; if not there is nobody to confirm an edit.
    """

    train: EncodedRecords
    folds: Integers
    encoder: Encoder
    concepts: Mapping[str, str]
    headings: Mapping[str, str]
    key: str
    is_trusted: bool
    _lexicon: Lexicon | None = None
    _pairs: dict[tuple[Action, Cell], tuple[Pair, ...]] = field(default_factory=dict)

    @property
    def editors(self) -> dict[Action, RecordEditor]:
        """The generators, in the order in which the planner prefers them."""
        return {
            Action.CONCEPT_INJECTION: ConceptInjection(self.headings, self.key, self.concepts),
            Action.COUNTERFACTUAL_EDIT: CounterfactualEdit(self.headings, self.key),
        }

    def make_offers(self, cell: Cell, models: Models, drawn: Mapping[Action, int]) -> dict[Action, EditOffer]:
        """What each kind of edit can do for a cell.

        Args:
            cell: the thin cell.
            models: the model; it is asked nothing, requests are estimated.
            drawn: sources that were drawn for the cell before.
        """
        offers: dict[Action, EditOffer] = {}
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
            offers[action] = EditOffer(tokens + tokens // 4, left)
        return offers

    def gather(self, action: Action, cell: Cell, capabilities: Capabilities) -> EditMaterial:
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
        return EditMaterial(self._show(picked), self._show(self._find_examples(cell)), pairs)

    def _find_sources(self, action: Action, cell: Cell) -> Integers:
        records = self.train.records
        label = records.label_names.index(cell.label)
        none: Integers = np.empty(0, dtype=np.int64)
        if action is Action.CONCEPT_INJECTION:
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

    def _find_examples(self, cell: Cell) -> Integers:
        records = self.train.records
        mask = records.labels == records.label_names.index(cell.label)
        if cell.attribute:
            mask &= records.attributes[cell.attribute] == cell.value
        if cell.concept and records.concepts is not None:
            mask &= records.concepts.states[:, records.concepts.names.index(cell.concept)] == State.PRESENT
        return np.flatnonzero(mask)

    def _show(self, rows: Integers) -> EncodedRecords:
        train = self.train
        return EncodedRecords(train.records.take(rows), train.vectors[rows])

    def _make_pairs(self, action: Action, cell: Cell, sources: Integers) -> tuple[Pair, ...]:
        """Texts before and after, made without a model."""
        train = self.train.records
        if action is Action.CONCEPT_INJECTION:
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

    def judge(
        self, proposals: Sequence[Proposal], vectors: Vectors, concepts: ConceptColumns | None
    ) -> list[Verdict]:
        """Verdicts on edits, and `kept` for proposals of other kinds.

        Args:
            proposals: in order.
            vectors: (n, d) of their texts.
            concepts: their concepts, None where the job has none.
        """
        edits = [
            place
            for place, proposal in enumerate(proposals)
            if proposal.kind in EDITS and not proposal.failure  # without a text there is nothing to judge
        ]
        verdicts = [Verdict(proposal.id, True, KEPT) for proposal in proposals]
        if not edits:
            return verdicts
        train = self.train
        row_of = {str(identity): row for row, identity in enumerate(train.records.ids)}
        mine = [proposals[place] for place in edits]
        source_rows = np.array([row_of[proposal.parents[0]] for proposal in mine])
        sources = {str(train.records.ids[row]): str(train.records.texts[row]) for row in source_rows}
        before = train.records.concepts
        evidence = EditEvidence(
            label=score_without_sources(self.train, self.folds, self.encoder, vectors[edits], source_rows),
            cosines=pair_cosines(vectors[edits], train.vectors[source_rows]),
            rises=self._measure_rises(mine, vectors[edits], source_rows),
            concepts=concepts.take(np.array(edits)) if concepts else None,
            source_concepts=before.take(source_rows) if before else None,
            is_trusted=self.is_trusted,
        )
        found = check_edits(
            mine, sources, evidence, train.records.label_names, measure_literal_rates(train.records)
        )
        for place, verdict in zip(edits, found, strict=True):
            verdicts[place] = verdict
        return verdicts

    def _measure_rises(self, edits: Sequence[Proposal], vectors: Vectors, source_rows: Integers) -> Floats:
        """(n,) rises of injections towards their concept; 0 for other edits."""
        train, encoder = self.train, self.encoder
        rises = np.zeros(len(edits))
        places = [place for place, edit in enumerate(edits) if edit.kind is Kind.CONCEPT_INJECTION]
        if places:
            inserted = [
                measure_edit(str(train.records.texts[source_rows[place]]), edits[place].text).inserted or "-"
                for place in places
            ]
            definitions = [self.concepts[edits[place].item.cell.concept] for place in places]
            rises[places] = measure_rises(
                train.vectors[source_rows[places]],
                vectors[places],
                encoder.encode(inserted),
                encoder.encode(definitions),
            )
        return rises


def mark_injected(
    proposals: Sequence[Proposal], verdicts: Sequence[Verdict], concepts: ConceptColumns
) -> ConceptColumns:
    """The concepts with those of accepted injections present: their filter saw the change, the labeller the text."""
    states = concepts.states.copy()
    for place, (proposal, verdict) in enumerate(zip(proposals, verdicts, strict=True)):
        if verdict.kept and proposal.kind is Kind.CONCEPT_INJECTION:
            states[place, concepts.names.index(proposal.item.cell.concept)] = State.PRESENT
    return replace(concepts, states=states)


def score_without_sources(
    train: EncodedRecords, folds: Integers, encoder: Encoder, vectors: Vectors, source_rows: Integers
) -> Floats:
    """(n, k) label probabilities of edits, each from a classifier that never saw the fold of its source.

    A classifier that was trained on the source holds its edit for the source's label, which would confirm
    every injection and refuse good counterfactual edits. Cells weigh alike, else it would take a concept that goes
    with a label for the label and refuse what the thin cells need. Probabilities are calibrated on what the
    classifiers say of the training rows they did not see: on a hundred rows they are far too timid.
    """
    n_labels = len(train.records.label_names)
    weights = weigh_records(train.records)
    probabilities = np.zeros((len(vectors), n_labels))
    out_of_fold = np.zeros((len(train), n_labels))
    for fold in np.unique(folds):
        inside, mine = folds != fold, folds[source_rows] == fold
        scorer = ClassifierScorer(
            encoder,
            train.vectors[inside],
            train.records.labels[inside],
            n_labels,
            weights=None if weights is None else weights[inside],
        )
        out_of_fold[~inside] = scorer.score_vectors(train.vectors[~inside])
        if mine.any():
            probabilities[mine] = scorer.score_vectors(vectors[mine])
    return calibrate(out_of_fold, train.records.labels, probabilities)
