"""Gather what scorers say of edits and of their sources, and judge them: see `filters.edits`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from counterpoise.core.encoded_records import EncodedRecords, Vectors
from counterpoise.core.plans import Nature, Proposal, Verdict
from counterpoise.core.records import ConceptColumns, Floats, Integers, State
from counterpoise.filters.base import KEPT
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.data import FilterData
from counterpoise.filters.edit_sizes import EditBand, find_size_fault, fit_bands, measure_edit
from counterpoise.filters.editors import FEWEST_EDITS, Help, choose_need, describe_needs, measure_help
from counterpoise.filters.edits import (
    EDIT_REASONS,
    NOT_CONFIRMED,
    EditEvidence,
    LabelNeed,
    adds_concept,
    check_edits,
    measure_literal_rates,
    measure_rises,
    pair_cosines,
)
from counterpoise.filters.own_rows import draw_own_rows
from counterpoise_retrievers.encoder_protocol import Encoder

_NO_NEEDS = dict.fromkeys(Nature, LabelNeed(0.0, NOT_CONFIRMED))
"""Where nobody can confirm an edit, all are refused anyway."""


@dataclass
class EditFilter:
    """Judges edits of the training rows.

    Args:
        train: the training rows, which edits start from.
        encoder: of the vectors.
        concepts: name -> definition.
        is_trusted: whether the label scorer passed its audit; if not there is nobody to confirm an edit.
        score: (m, k) label probabilities of m texts with vectors, by who never saw the m rows they were made from.
        folds: (n,) folds of the training rows; near-duplicates share one.
        key: the run's key.
    """

    train: EncodedRecords
    encoder: Encoder
    concepts: Mapping[str, str]
    is_trusted: bool
    score: Callable[[Sequence[str], Vectors, Integers], Floats]
    folds: Integers
    key: str
    _helps: list[Help | None] = field(default_factory=list)

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order; whatever is no edit passes, and what does not pass so far is not judged."""
        return self.check(batch.proposals, batch.vectors, batch.concepts, batch.passing)

    def notes(self, refused: Counter[str], n_proposals: int) -> list[str]:
        """A sentence on editors whose edits had to be confirmed."""
        told = describe_needs(self._helps)
        return [told] if told else []

    @cached_property
    def rows(self) -> Integers:
        """Positions of the training rows that editors are judged by."""
        return draw_own_rows(self.train.records, self.key)

    @cached_property
    def known(self) -> Floats:
        """(m, k) probabilities of these rows, by who has not seen them."""
        rows = self.rows
        return self.score(
            [str(self.train.records.texts[row]) for row in rows], self.train.vectors[rows], rows
        )

    @cached_property
    def bands(self) -> dict[Nature, EditBand]:
        """What edits look like beside their sources."""
        rows = self.rows
        return fit_bands([str(self.train.records.texts[row]) for row in rows], self.train.vectors[rows])

    def check(
        self,
        proposals: Sequence[Proposal],
        vectors: Vectors,
        concepts: ConceptColumns | None,
        passing: Sequence[bool] | None = None,
    ) -> list[Verdict]:
        """Verdicts on edits, and `kept` for proposals of other kinds.

        Args:
            proposals: in order.
            vectors: (n, d) of their texts.
            concepts: their concepts, None where the job has none.
            passing: (n,) which pass so far; None for all.
        """
        edits = [
            place
            for place, proposal in enumerate(proposals)
            # Without a text there is nothing to judge.
            if proposal.nature.is_edit and not proposal.failure and (passing is None or passing[place])
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
            mine,
            sources,
            evidence,
            train.records.label_names,
            self._choose_needs(mine, vectors[edits], source_rows) if self.is_trusted else _NO_NEEDS,
            measure_literal_rates(train.records),
            self.bands,
        )
        for place, verdict in zip(edits, found, strict=True):
            verdicts[place] = verdict
        return verdicts

    def _choose_needs(
        self, edits: Sequence[Proposal], vectors: Vectors, source_rows: Integers
    ) -> dict[Nature, LabelNeed]:
        """What the edits of each nature need of their label, by all that are of the size of one."""
        train, rows = self.train, self.rows
        names = {name: label for label, name in enumerate(train.records.label_names)}
        cosines = pair_cosines(vectors, train.vectors[source_rows])
        needs = {}
        for nature in dict.fromkeys(edit.nature for edit in edits):
            members = [
                place
                for place, edit in enumerate(edits)
                if edit.nature is nature
                and not find_size_fault(
                    nature,
                    measure_edit(str(train.records.texts[source_rows[place]]), edit.text),
                    float(cosines[place]),
                    self.bands,
                )
            ]
            helped = None
            if len(members) >= FEWEST_EDITS and len(np.unique(self.folds[rows])) > 1:
                claims = np.array([names[edits[place].label] for place in members])
                material = vectors[members], claims, self.folds[source_rows[members]]
                labels = train.records.labels[rows]
                helped = measure_help(train.vectors[rows], labels, self.folds[rows], len(names), material)
            self._helps.append(helped)
            needs[nature] = choose_need(helped, self.known, train.records.labels[rows])
        return needs

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
    is_tried = False  # rows are no edits
    reasons = EDIT_REASONS

    def fit(self, data: FilterData) -> EditFilter:
        """What edits start from, and who may confirm them."""
        return EditFilter(
            data.train,
            data.encoder,
            data.concepts,
            data.is_trusted,
            data.score_blind,
            data.folds,
            data.key,
        )
