"""Gather what scorers say of edits and of their sources, and judge them: see `filters.edits`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from counterpoise.core.encoded_records import EncodedRecords, Vectors
from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.records import ConceptColumns, Floats, Integers, State
from counterpoise.filters.base import KEPT
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.chain import FilterData
from counterpoise.filters.edit_sizes import measure_edit
from counterpoise.filters.edits import (
    EDIT_REASONS,
    EditEvidence,
    adds_concept,
    check_edits,
    measure_literal_rates,
    measure_rises,
    pair_cosines,
)
from counterpoise_retrievers.encoder_protocol import Encoder


@dataclass(frozen=True, slots=True)
class EditFilter:
    """Judges edits of the training rows.

    Args:
        train: the training rows, which edits start from.
        encoder: of the vectors.
        concepts: name -> definition.
        is_trusted: whether the label scorer passed its audit; if not there is nobody to confirm an edit.
        score: (m, k) label probabilities of m texts with vectors, by who never saw the m rows they were made from.
    """

    train: EncodedRecords
    encoder: Encoder
    concepts: Mapping[str, str]
    is_trusted: bool
    score: Callable[[Sequence[str], Vectors, Integers], Floats]

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order; whatever is no edit passes."""
        return self.check(batch.proposals, batch.vectors, batch.concepts)

    def check(
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
            if proposal.nature.is_edit and not proposal.failure  # without a text there is nothing to judge
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
            label=self.score([proposal.text for proposal in mine], vectors[edits], source_rows),
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
        """(n,) rises of injections towards their concept; 0 for other edits, and where the cell has no concept."""
        train, encoder = self.train, self.encoder
        rises = np.zeros(len(edits))
        places = [place for place, edit in enumerate(edits) if adds_concept(edit)]
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
        if verdict.kept and adds_concept(proposal):
            states[place, concepts.names.index(proposal.item.cell.concept)] = State.PRESENT
    return replace(concepts, states=states)


class EditPart:
    """The registered filter."""

    name = "edits"
    reasons = EDIT_REASONS

    def fit(self, data: FilterData) -> EditFilter:
        """What edits start from, and who may confirm them."""
        return EditFilter(data.train, data.encoder, data.concepts, data.is_trusted, data.score_blind)
