"""Passing proposals through all filters."""

from __future__ import annotations

from collections.abc import Sequence

from counterpoise.core.plans import Proposal
from counterpoise.core.records import Records
from counterpoise.filters.batch import KeptTexts, ProposalBatch
from counterpoise.filters.chain import ask_filters
from counterpoise.filters.edit_filter import mark_injected
from counterpoise.runs.ledger import JudgedProposals, Ledger, leave_out_surplus
from counterpoise.tasks.text.parts import RunContext


def judge(proposals: Sequence[Proposal], context: RunContext, ledger: Ledger) -> JudgedProposals:
    """Pass proposals through all filters.

    The first filter that says no gives the reason; the scores of all that were asked stay.

    Args:
        proposals: in the order of their ids, which decides ties.
        context: the filters.
        ledger: settled rounds; what they accepted is not to be repeated.

    Raises:
        PartError: a filter of the user's own failed.
    """
    batch = make_batch(proposals, context, ledger)
    if not proposals:
        return JudgedProposals((), (), batch.vectors, None)
    verdicts = leave_out_surplus(proposals, ask_filters(context.filters, batch))
    concepts = batch.concepts
    if concepts is not None:
        concepts = mark_injected(proposals, verdicts, concepts)
    return JudgedProposals(tuple(proposals), tuple(verdicts), batch.vectors, concepts)


def make_batch(proposals: Sequence[Proposal], context: RunContext, ledger: Ledger) -> ProposalBatch:
    """Proposals with all that filters may ask about them."""
    inputs = context.inputs
    return ProposalBatch(
        proposals=proposals,
        label_names=inputs.train.records.label_names,
        parents=_find_parents(proposals, inputs.train.records),
        earlier=KeptTexts(
            [proposal.text for proposal, _ in ledger.list_accepted()],
            ledger.stack_vectors(inputs.encoder.dimension),
        ),
        encoder=inputs.encoder,
        score_labels=context.scorer.score_texts,
        label_concepts=None if inputs.labeller is None else inputs.labeller.label,
    )


def _find_parents(proposals: Sequence[Proposal], train: Records) -> dict[str, str]:
    """Id -> text of the records that proposals were made from."""
    rows = {str(identity): row for row, identity in enumerate(train.ids)}
    return {parent: str(train.texts[rows[parent]]) for proposal in proposals for parent in proposal.parents}
