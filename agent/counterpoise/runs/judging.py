"""Passing proposals through all filters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.records import Floats
from counterpoise.filters.base import (
    check_concepts,
    check_labels,
    combine_verdicts,
    find_copies,
    make_known_texts,
)
from counterpoise.filters.copy_limits import CopyLimits
from counterpoise.filters.edit_filter import mark_injected
from counterpoise.filters.writers import check_writers
from counterpoise.filters.written import SUPPORT
from counterpoise.runs.ledger import Judged, Ledger, leave_out_surplus
from counterpoise.tasks.text.parts import RunContext


def judge(proposals: Sequence[Proposal], context: RunContext, ledger: Ledger) -> Judged:
    """Pass proposals through all filters."""
    encoder = context.inputs.encoder
    if not proposals:
        return Judged((), (), np.empty((0, encoder.dimension), np.float32), None)
    text_verdicts = [
        Verdict(proposal.id, False, proposal.failure) if proposal.failure else verdict
        for proposal, verdict in zip(proposals, context.text_filter.verdicts(proposals), strict=True)
    ]
    # What fails on its face is not worth a vector; a zero vector is like nothing.
    passing = [place for place, verdict in enumerate(text_verdicts) if verdict.kept]
    vectors = np.zeros((len(proposals), encoder.dimension), np.float32)
    if passing:
        vectors[passing] = encoder.encode([proposals[place].text for place in passing])
    train = context.inputs.train
    rows = {str(identity): row for row, identity in enumerate(train.records.ids)}
    parents = {
        parent: str(train.records.texts[rows[parent]])
        for proposal in proposals
        for parent in proposal.parents
    }
    earlier = make_known_texts(
        (proposal.text for proposal, _ in ledger.list_accepted()), ledger.stack_vectors(encoder.dimension)
    )
    concepts = None
    if context.inputs.labeller is not None:
        told = [
            proposal.text if verdict.kept else ""
            for proposal, verdict in zip(proposals, text_verdicts, strict=True)
        ]
        concepts = context.inputs.labeller.label(told, vectors)
    # Copies are looked for among what passed the other filters, so that a refused text cannot shadow a good one.
    probabilities, names = context.scorer.score_vectors(vectors), train.records.label_names
    if context.written is not None:
        passing_now = [verdict.kept for verdict in text_verdicts]
        written = context.written.verdicts(proposals, vectors, probabilities, names, passing_now, parents)
        text_verdicts = combine_verdicts(text_verdicts, written)
    first = combine_verdicts(
        text_verdicts,
        check_labels(
            proposals,
            probabilities,
            names,
            is_trusted=context.is_trusted,
            is_measured=context.written is not None and context.written.has_support,
        ),
        *([_audit_writers(proposals, text_verdicts, probabilities, context)] if context.is_trusted else []),
        check_concepts(proposals, concepts),
        *_check_attributes(proposals, text_verdicts, vectors, context),
        *(
            [context.edit_filter.verdicts(proposals, vectors, concepts)]
            if context.edit_filter is not None
            else []
        ),
    )
    places = [place for place, verdict in enumerate(first) if verdict.kept]
    copies = find_copies(
        [proposals[place] for place in places],
        vectors[places],
        context.known,
        earlier,
        parents,
        context.written.copies if context.written is not None else CopyLimits(),
        names,
    )
    verdicts = list(first)
    for place, copy in zip(places, copies, strict=True):
        verdicts[place] = combine_verdicts([first[place]], [copy])[0]
    verdicts = leave_out_surplus(proposals, verdicts)
    if concepts is not None:
        concepts = mark_injected(proposals, verdicts, concepts)
    return Judged(tuple(proposals), tuple(verdicts), vectors, concepts)


def _check_attributes(
    proposals: Sequence[Proposal], verdicts: Sequence[Verdict], vectors: Vectors, context: RunContext
) -> list[list[Verdict]]:
    """The layer of verdicts on attribute values; none without a filter."""
    if context.attribute_filter is None:
        return []
    return [context.attribute_filter.verdicts(proposals, [verdict.kept for verdict in verdicts], vectors)]


def _audit_writers(
    proposals: Sequence[Proposal], verdicts: Sequence[Verdict], probabilities: Floats, context: RunContext
) -> list[Verdict]:
    # What lacks support counts: a writer is judged by all that it wrote for the label.
    passing = [verdict.kept or verdict.reason == SUPPORT for verdict in verdicts]
    records = context.inputs.train.records
    mildest = context.written.list_mildest() if context.written is not None else ()
    return check_writers(
        proposals, passing, probabilities, context.out_of_fold, records.labels, records.label_names, mildest
    )
