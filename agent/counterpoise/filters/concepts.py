"""The filter of concepts: a text that lacks the concept its cell is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.records import ConceptColumns, State
from counterpoise.filters.base import make_verdict
from counterpoise.filters.batch import ProposalBatch

MISSING = "concept_missing"


def check_concepts(proposals: Sequence[Proposal], concepts: ConceptColumns | None) -> list[Verdict]:
    """Refuse proposals for a cell with a concept whose text surely lacks it; edits are judged by their own filters.

    Args:
        proposals: in order.
        concepts: their concepts; None where the job has none.
    """
    verdicts = []
    for place, proposal in enumerate(proposals):
        concept = proposal.item.cell.concept
        if not concept or concepts is None or proposal.nature.is_edit:
            verdicts.append(make_verdict(proposal, ""))
            continue
        column = concepts.names.index(concept)
        fault = MISSING if concepts.states[place, column] != State.PRESENT else ""
        score = {f"concept_{concept}": float(concepts.probabilities[place, column])}
        verdicts.append(make_verdict(proposal, fault, score))
    return verdicts


class ConceptPart:
    """The registered filter; it learns nothing of the user's rows."""

    name = "concepts"
    is_tried = False  # it asks for what a plain row of a label need not have
    reasons = off_target = (MISSING,)
    remedies: ClassVar[Mapping[str, str]] = {
        MISSING: "a model that writes what it is asked for, or a clearer line for each concept"
    }
    instructions: ClassVar[Mapping[str, str]] = {
        MISSING: "It does not mention what each of these records mentions. Mention it."
    }

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order."""
        return check_concepts(batch.proposals, batch.concepts)
