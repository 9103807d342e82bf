"""The filters of edited records: what was changed, and whether label and concepts are what the edit promised.

| filter | applies to | says no to |
|---|---|---|
| size | both | nothing changed; more words changed, or another length, than an edit has; similarity outside its band |
| label | both | a text that the blind label scorer holds for another label, or does not confirm (see below) |
| concept added | injection | a text that does not speak of the concept, or no more than its source did |
| concepts kept | counterfactual edit | a text that gains or loses a concept |
| literal mention | injection, a batch | texts that name the concept, once they do so more often than real ones |

The label scorer is blind: it sees the text alone, neither the wanted label nor the source. How much of the wanted label
it has to see follows from who edits (`filters.editors`): nothing where the edits help a student with rows that it has
not seen, as most good edits are such as the scorer would get wrong; confirmation where they do it harm.
Whether a concept was added is read off the change: how much nearer to the concept's definition the text has
come, and how near to it the new words are. How thresholds were chosen stands in
`evals/counterfactual_quality.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.plans import Nature, Proposal, Verdict
from counterpoise.core.records import ConceptColumns, Floats, Integers, Records, State
from counterpoise.filters.base import KEPT
from counterpoise.filters.edit_sizes import BANDS, SIZE_FAULTS, EditBand, find_size_fault, measure_edit

ADDED_FROM = 0.15
"""Rise towards a concept's definition from which an injection has it (`measure_rises`)."""

LITERAL_ALLOWANCE = 0.10

NOT_CONFIRMED, CONTRADICTED = "label_not_confirmed", "edit_contradicted"

EDIT_REASONS = (
    *SIZE_FAULTS,
    NOT_CONFIRMED,
    CONTRADICTED,
    "concept_missing",
    "concept_changed",
    "literal_mention",
)
"""All reasons that an edit is refused with."""


@dataclass(frozen=True, slots=True)
class LabelNeed:
    """What an edit needs of its label.

    Args:
        least: probability by the blind scorer, of equally likely labels.
        reason: why an edit with less is refused.
    """

    least: float
    reason: str


@dataclass(frozen=True, slots=True)
class EditEvidence:
    """What the scorers say of edits and of their sources; row `i` belongs to edit `i`.

    Args:
        label: (n, k) probabilities of the edits from the blind label scorer.
        cosines: (n,) similarity of edit and source.
        rises: (n,) see `measure_rises`; read for injections only.
        concepts: of the edits, None where the job has none.
        source_concepts: of the sources.
        is_trusted: whether the label scorer passed its audit; if not, no edit is confirmed by it.
    """

    label: Floats
    cosines: Floats
    rises: Floats
    concepts: ConceptColumns | None
    source_concepts: ConceptColumns | None
    is_trusted: bool = True


def check_edits(
    proposals: Sequence[Proposal],
    sources: Mapping[str, str],
    evidence: EditEvidence,
    label_names: Sequence[str],
    needs: Mapping[Nature, LabelNeed],
    literal_rates: Mapping[str, float] | None = None,
    bands: Mapping[Nature, EditBand] = BANDS,
) -> list[Verdict]:
    """Judge edits; proposals of other kinds pass.

    Args:
        proposals: in the order in which they are decided.
        sources: id -> text of the records they start from.
        evidence: row by row of `proposals`; rows of other kinds are not read.
        label_names: k names.
        needs: what edits of each nature need of their label.
        literal_rates: concept -> share of real records with it that name it; without, there is no cap.
        bands: what edits of each nature look like beside their source.

    Returns:
        One verdict a proposal.
    """
    places = {name: place for place, name in enumerate(label_names)}
    faults: list[str] = []
    scores: list[dict[str, float]] = []
    for row, proposal in enumerate(proposals):
        if not proposal.nature.is_edit:
            faults.append("")
            scores.append({})
            continue
        size = measure_edit(sources[proposal.parents[0]], proposal.text)
        wanted = float(evidence.label[row, places[proposal.label]])
        found = {
            "edit_share": size.edit_share,
            "length_ratio": size.length_ratio,
            "source_cosine": float(evidence.cosines[row]),
            "label_probability": wanted,
        }
        fault, need = (
            find_size_fault(proposal.nature, size, float(evidence.cosines[row]), bands),
            needs[proposal.nature],
        )
        if not fault and not evidence.is_trusted:
            fault = NOT_CONFIRMED
        if not fault and wanted < need.least:
            fault = need.reason
        if not fault:
            fault = _find_concept_fault(proposal, row, evidence)
        faults.append(fault)
        scores.append(found)
    verdicts = [
        Verdict(proposal.id, not fault, fault or KEPT, score)
        for proposal, fault, score in zip(proposals, faults, scores, strict=True)
    ]
    return cap_literal_mentions(proposals, verdicts, literal_rates or {})


def adds_concept(proposal: Proposal) -> bool:
    """Whether an edit inserts something for the sake of its cell's concept."""
    return proposal.nature is Nature.INSERTED and bool(proposal.item.cell.concept)


def _find_concept_fault(proposal: Proposal, row: int, evidence: EditEvidence) -> str:
    if proposal.nature is Nature.INSERTED:
        is_there = not adds_concept(proposal) or evidence.rises[row] >= ADDED_FROM
        return "" if is_there else "concept_missing"
    concepts, before = evidence.concepts, evidence.source_concepts
    if concepts is None or before is None:
        return ""
    came = (before.states[row] == State.ABSENT) & (concepts.states[row] == State.PRESENT)
    went = (before.states[row] == State.PRESENT) & (concepts.states[row] == State.ABSENT)
    return "concept_changed" if (came | went).any() else ""


def measure_rises(
    sources: NDArray[np.float32],
    edits: NDArray[np.float32],
    inserted: NDArray[np.float32],
    anchors: NDArray[np.float32],
) -> Floats:
    """How far edits have come towards a concept: the rise of the cosine, and the cosine of the new words.

    Args:
        sources: (n, d) vectors of the sources.
        edits: (n, d) of the edits.
        inserted: (n, d) of the words that are new in them.
        anchors: (n, d) of the definition of the concept each was made for.

    Returns:
        (n,) sums, -3 to 3.
    """
    return np.asarray(((edits - sources + inserted) * anchors).sum(axis=1), dtype=np.float64)


def cap_literal_mentions(
    proposals: Sequence[Proposal], verdicts: Sequence[Verdict], rates: Mapping[str, float]
) -> list[Verdict]:
    """Refuse the last of the injections that name their concept, until few enough do.

    A batch may name the concept as often as real records that have it, plus 0.10. Which ones stay is decided by order.

    Args:
        proposals: a batch, in order.
        verdicts: of the other filters.
        rates: concept -> share of real records with it that name it.
    """
    checked = list(verdicts)
    batches: dict[str, list[int]] = {}
    for place, (proposal, verdict) in enumerate(zip(proposals, verdicts, strict=True)):
        concept = proposal.item.cell.concept
        if verdict.kept and proposal.nature is Nature.INSERTED and concept in rates:
            batches.setdefault(concept, []).append(place)
    for concept, members in batches.items():
        naming = [place for place in members if names_concept(proposals[place].text, concept)]
        allowed = min(1.0, rates[concept] + LITERAL_ALLOWANCE)
        n_other = len(members) - len(naming)
        n_most = len(naming) if allowed >= 1 else max(1, int(allowed * n_other / (1 - allowed)))
        for place in naming[n_most:]:
            checked[place] = Verdict(
                verdicts[place].proposal_id, False, "literal_mention", verdicts[place].scores
            )
    return checked


def names_concept(text: str, concept: str) -> bool:
    """Whether a text has the concept's name in it, as a word or the beginning of one."""
    return re.search(rf"\b{re.escape(concept.casefold())}", text.casefold()) is not None


def measure_literal_rates(records: Records) -> dict[str, float]:
    """For each concept the share of the records that have it which name it."""
    if records.concepts is None:
        return {}
    rates = {}
    for column, concept in enumerate(records.concepts.names):
        rows: Integers = np.flatnonzero(records.concepts.states[:, column] == State.PRESENT)
        if len(rows):
            rates[concept] = float(np.mean([names_concept(str(records.texts[row]), concept) for row in rows]))
    return rates


def pair_cosines(first: NDArray[np.float32], second: NDArray[np.float32]) -> Floats:
    """(n,) cosines of the rows of two (n, d) arrays of unit vectors."""
    return np.asarray((first * second).sum(axis=1), dtype=np.float64)
