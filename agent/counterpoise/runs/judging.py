"""Passing proposals through all filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.records import ConceptColumns, Floats, Records
from counterpoise.filters.base import combine_verdicts
from counterpoise.filters.concepts import check_concepts
from counterpoise.filters.copies import find_copies, make_known_texts
from counterpoise.filters.copy_limits import CopyLimits
from counterpoise.filters.edit_filter import mark_injected
from counterpoise.filters.labels import check_labels
from counterpoise.filters.writers import check_writers
from counterpoise.filters.written import SUPPORT
from counterpoise.runs.ledger import JudgedProposals, Ledger, leave_out_surplus
from counterpoise.tasks.text.parts import RunContext
from counterpoise_retrievers.encoder_protocol import Encoder


def judge(proposals: Sequence[Proposal], context: RunContext, ledger: Ledger) -> JudgedProposals:
    """Pass proposals through all filters.

    The first filter that says no gives the reason; the scores of all that were asked stay. Copies are looked for
    among what passed the other filters, so that a refused text cannot shadow a good one.

    Args:
        proposals: in the order of their ids, which decides ties.
        context: the filters.
        ledger: settled rounds; what they accepted is not to be repeated.
    """
    encoder = context.inputs.encoder
    if not proposals:
        return JudgedProposals((), (), np.empty((0, encoder.dimension), np.float32), None)
    on_text = [
        Verdict(proposal.id, False, proposal.failure) if proposal.failure else verdict
        for proposal, verdict in zip(proposals, context.text_filter.verdicts(proposals), strict=True)
    ]
    vectors = _encode(proposals, on_text, encoder)
    concepts = _label_concepts(proposals, on_text, vectors, context)
    parents = _find_parents(proposals, context.inputs.train.records)
    verdicts = _ask_filters(proposals, on_text, vectors, concepts, parents, context)
    verdicts = _refuse_copies(proposals, verdicts, vectors, parents, context, ledger)
    verdicts = leave_out_surplus(proposals, verdicts)
    if concepts is not None:
        concepts = mark_injected(proposals, verdicts, concepts)
    return JudgedProposals(tuple(proposals), tuple(verdicts), vectors, concepts)


def _encode(proposals: Sequence[Proposal], verdicts: Sequence[Verdict], encoder: Encoder) -> Vectors:
    """(n, d) vectors of the texts that pass; zeros, which are like nothing, for the others."""
    passing = [place for place, verdict in enumerate(verdicts) if verdict.kept]
    vectors = np.zeros((len(proposals), encoder.dimension), np.float32)
    if passing:
        vectors[passing] = encoder.encode([proposals[place].text for place in passing])
    return vectors


def _label_concepts(
    proposals: Sequence[Proposal], verdicts: Sequence[Verdict], vectors: Vectors, context: RunContext
) -> ConceptColumns | None:
    """The concepts of the texts; None where the job has none."""
    if context.inputs.labeller is None:
        return None
    texts = [
        proposal.text if verdict.kept else "" for proposal, verdict in zip(proposals, verdicts, strict=True)
    ]
    return context.inputs.labeller.label(texts, vectors)


def _find_parents(proposals: Sequence[Proposal], train: Records) -> dict[str, str]:
    """Id -> text of the records that proposals were made from."""
    rows = {str(identity): row for row, identity in enumerate(train.ids)}
    return {parent: str(train.texts[rows[parent]]) for proposal in proposals for parent in proposal.parents}


def _ask_filters(
    proposals: Sequence[Proposal],
    on_text: list[Verdict],
    vectors: Vectors,
    concepts: ConceptColumns | None,
    parents: Mapping[str, str],
    context: RunContext,
) -> list[Verdict]:
    """The verdicts of all filters but that of copies, one a proposal."""
    probabilities = context.scorer.score_vectors(vectors)
    names = context.inputs.train.records.label_names
    written = context.written
    if written is not None:
        passing = [verdict.kept for verdict in on_text]
        on_text = combine_verdicts(
            on_text, written.verdicts(proposals, vectors, probabilities, names, passing, parents)
        )
    layers = [
        on_text,
        check_labels(
            proposals,
            probabilities,
            names,
            is_trusted=context.is_trusted,
            is_measured=written is not None and written.has_support,
        ),
    ]
    if context.is_trusted:
        layers.append(_audit_writers(proposals, on_text, probabilities, context))
    layers.append(check_concepts(proposals, concepts))
    if context.attribute_filter is not None:
        passing = [verdict.kept for verdict in on_text]
        layers.append(context.attribute_filter.verdicts(proposals, passing, vectors))
    if context.edit_filter is not None:
        layers.append(context.edit_filter.verdicts(proposals, vectors, concepts))
    return combine_verdicts(*layers)


def _refuse_copies(
    proposals: Sequence[Proposal],
    verdicts: Sequence[Verdict],
    vectors: Vectors,
    parents: Mapping[str, str],
    context: RunContext,
    ledger: Ledger,
) -> list[Verdict]:
    """The verdicts with those of copies behind them."""
    earlier = make_known_texts(
        (proposal.text for proposal, _ in ledger.list_accepted()), ledger.stack_vectors(vectors.shape[1])
    )
    places = [place for place, verdict in enumerate(verdicts) if verdict.kept]
    copies = find_copies(
        [proposals[place] for place in places],
        vectors[places],
        context.known,
        earlier,
        parents,
        context.written.copies if context.written is not None else CopyLimits(),
        context.inputs.train.records.label_names,
    )
    checked = list(verdicts)
    for place, copy in zip(places, copies, strict=True):
        checked[place] = combine_verdicts([verdicts[place]], [copy])[0]
    return checked


def _audit_writers(
    proposals: Sequence[Proposal], verdicts: Sequence[Verdict], probabilities: Floats, context: RunContext
) -> list[Verdict]:
    """A writer is judged by all that it wrote for the label, what lacks support included."""
    passing = [verdict.kept or verdict.reason == SUPPORT for verdict in verdicts]
    records = context.inputs.train.records
    mildest = context.written.list_mildest() if context.written is not None else ()
    return check_writers(
        proposals, passing, probabilities, context.out_of_fold, records.labels, records.label_names, mildest
    )
