"""The filters of proposals, cheap ones first; each gives a verdict with a reason, none drops anything silently.

| filter | says no to |
|---|---|
| text | nothing, too short or too long a text, a refusal, an echo of the prompt |
| copies | a text that is, or nearly is, one of the data, of the held-out rows, or an earlier proposal |
| label | a row of a pool, or an edit, that the audited label scorer holds for another label |
| concept | a text that lacks the concept its cell is for |

What else is asked of a text that a model wrote is set by the user's own rows: see `written_filters`.
A proposal near a held-out row is refused so that no copy of a test row is trained on; the row itself is never shown.
Order decides ties: a proposal is compared with earlier ids only, so replies may arrive in any order.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.plans import Kind, Proposal, Verdict
from counterpoise.core.records import ConceptColumns, Floats, Objects, State
from counterpoise.filters.copy_limits import CopyLimits, list_runs
from counterpoise_retrievers.faiss_index import FaissIndex

KEPT = "kept"
EDITS = frozenset({Kind.CONCEPT_INJECTION, Kind.COUNTERFACTUAL_EDIT})
"""Kinds whose first parent is the record they were made from; what they must be is said in `edit_filters`."""

NEAR_SOURCE = 0.995
"""Cosine from which an edit, which is meant to be near its source, is a near-copy of the data."""

CONTRADICTED_FROM = 0.73
"""Probability of another label from which the label scorer refuses rows of a pool and edits: odds of about e to 1. A
mild filter keeps what the scorer does not know yet; a strict one selects what a student would have guessed anyway.
What new texts need is measured on the user's own rows (`written_filters`)."""

_REFUSAL = re.compile(
    r"^\W*(?:i(?:'m| am) (?:sorry|unable|not able),? (?:but )?(?:i |to (?:help|write|assist))"
    r"|i can(?:not|'t|’t) (?:help(?! but)|write|assist|provide|generate|comply)|as an? (?:ai|language model)"
    r"|(?:sure|of course|certainly)[,!] here|here (?:is|are) (?:a|an|one|some|the|your|another)\b[^.]*:)",
    re.IGNORECASE,
)
_SEEN_IN_DATA = 0.01
"""Share of the user's rows from which something is no fault: there, rows are like that."""


@dataclass(frozen=True, slots=True)
class TextFilter:
    """Checks that look at the text alone.

    Args:
        shortest, longest: characters, from the lengths of real rows.
        headings: lines of the prompts, which must not come back.
        usual: faults that the user's own rows have, and that are none therefore.
    """

    shortest: int
    longest: int
    headings: tuple[str, ...] = ()
    usual: frozenset[str] = frozenset()

    def verdicts(self, proposals: Sequence[Proposal]) -> list[Verdict]:
        """One verdict a proposal, in order."""
        return [_judge(proposal, self._find_fault(proposal.text)) for proposal in proposals]

    def _find_fault(self, text: str) -> str:
        stripped = text.strip()
        if not stripped:
            return "empty"
        for fault in _list_word_faults(stripped, self.headings):
            if fault not in self.usual:
                return fault
        if len(stripped) < self.shortest:
            return "too_short"
        if len(stripped) > self.longest:
            return "too_long"
        return ""


def _list_word_faults(stripped: str, headings: Sequence[str]) -> list[str]:
    faults = []
    if not any(letter.isalnum() for letter in stripped):
        faults.append("empty")
    if _REFUSAL.search(stripped):
        faults.append("refusal")
    folded = stripped.casefold()
    if any(heading and heading.casefold() in folded for heading in headings):
        faults.append("prompt_echo")
    return faults


def make_text_filter(texts: Objects, headings: Iterable[str] = ()) -> TextFilter:
    """A text filter from real rows: half the shortest length to twice the 98th percentile, and faults they lack."""
    lengths = np.array([len(str(text)) for text in texts])
    low, high = np.quantile(lengths, [0.002, 0.98]) if len(lengths) else (1.0, 10_000.0)
    told = tuple(heading for heading in headings if len(heading) > 12)
    counts = Counter(fault for text in texts for fault in _list_word_faults(str(text).strip(), told))
    return TextFilter(
        shortest=max(1, int(low / 2)),
        longest=int(high * 2) + 1,
        headings=told,
        usual=frozenset(fault for fault, count in counts.items() if count > _SEEN_IN_DATA * len(texts)),
    )


@dataclass(frozen=True, slots=True)
class KnownTexts:
    """Texts that a proposal must not repeat: vectors in an index, and their folded words.

    Args:
        index: of the vectors.
        folded: folded texts of the rows.
    """

    index: FaissIndex
    folded: frozenset[str]


def make_known_texts(texts: Iterable[str], vectors: NDArray[np.float32]) -> KnownTexts:
    """Index (n, d) vectors and the folded forms of n texts."""
    index = FaissIndex(vectors.shape[1])
    if len(vectors):
        index.add(vectors)
    return KnownTexts(index, frozenset(fold(text) for text in texts))


def fold(text: str) -> str:
    """Lower case, letters and digits only (all signs where there are none), single spaces: exact copies are equal."""
    return " ".join(re.findall(r"\w+", text.casefold())) or " ".join(text.split())


def find_copies(
    proposals: Sequence[Proposal],
    vectors: NDArray[np.float32],
    known: Mapping[str, KnownTexts],
    earlier: KnownTexts,
    parents: Mapping[str, str],
    limits: CopyLimits = CopyLimits(),  # noqa: B008  (it is frozen)
    label_names: Sequence[str] = (),
) -> list[Verdict]:
    """Refuse copies and near-copies.

    Args:
        proposals: in the order in which they are decided.
        vectors: (n, d) of their texts.
        known: reason -> texts that must not be repeated (`copy_of_data`, `copy_of_held_out`).
        earlier: accepted texts of earlier rounds.
        parents: id -> text of the demonstrations. Of its source an edit may repeat whatever it likes.
        limits: from where on a text is a copy.
        label_names: whose places are those of `limits.overlap`.

    Returns:
        One verdict a proposal. A proposal is also compared with the kept ones before it.
    """
    faults = [""] * len(proposals)
    scores: list[dict[str, float]] = [{} for _ in proposals]
    for reason, texts in {**known, "copy_of_proposal": earlier}.items():
        nearest = np.zeros(len(proposals))
        if len(texts.index) and len(proposals):
            nearest = texts.index.search(vectors, 1)[0][:, 0].astype(np.float64)
        for place, proposal in enumerate(proposals):
            # The source of an adopted row lies in the pool, not in the data; a copy of data teaches nothing.
            scores[place][f"nearest_{reason.removeprefix('copy_of_')}"] = float(nearest[place])
            limit = limits.proposal if reason == "copy_of_proposal" else limits.data
            if proposal.kind in EDITS and reason == "copy_of_data":
                limit = NEAR_SOURCE
            if not faults[place] and (nearest[place] >= limit or fold(proposal.text) in texts.folded):
                faults[place] = reason
    index = FaissIndex(vectors.shape[1]) if len(proposals) else None
    seen: set[str] = set()
    runs = {identity: list_runs(text) for identity, text in parents.items()}
    labels = {name: label for label, name in enumerate(label_names)}
    for place, proposal in enumerate(proposals):
        folded = fold(proposal.text)
        shown = [
            runs[parent]
            for parent in (proposal.parents[1:] if proposal.kind in EDITS else proposal.parents)
            if parent in runs
        ]
        if shown and proposal.kind is not Kind.ADOPTED:
            own = list_runs(proposal.text)
            share = len(own & frozenset().union(*shown)) / len(own)
            scores[place]["overlap_with_shown"] = share
            if not faults[place] and share > limits.allow_overlap(labels.get(proposal.label, 0)):
                faults[place] = "copy_of_demonstration"
        if faults[place] or index is None:
            continue
        if folded in seen or (
            len(index) and float(index.search(vectors[place : place + 1], 1)[0][0, 0]) >= limits.proposal
        ):
            faults[place] = "copy_of_proposal"
            continue
        seen.add(folded)
        index.add(vectors[place : place + 1])
    return [
        _judge(proposal, fault, score)
        for proposal, fault, score in zip(proposals, faults, scores, strict=True)
    ]


def check_labels(
    proposals: Sequence[Proposal],
    probabilities: Floats,
    label_names: Sequence[str],
    *,
    is_trusted: bool,
    is_measured: bool = False,
) -> list[Verdict]:
    """Refuse proposals that an audited scorer holds for another label.

    Args:
        proposals: in order.
        probabilities: (n, k) from a scorer that does not know what label was asked for.
        label_names: k names.
        is_trusted: whether the scorer passed its audit; if not, it only leaves its score.
        is_measured: whether what new texts need was measured on the user's rows (`written_filters`): they are not
            judged here then.
    """
    verdicts = []
    places = {name: place for place, name in enumerate(label_names)}
    for proposal, row in zip(proposals, probabilities, strict=True):
        wanted = places[proposal.label]
        against = float(np.delete(row, wanted).max() / (np.delete(row, wanted).max() + row[wanted]))
        judged = is_trusted and not (is_measured and proposal.kind is Kind.MINORITY)
        fault = "label_contradicted" if judged and against >= CONTRADICTED_FROM else ""
        verdicts.append(_judge(proposal, fault, {"label_probability": float(row[wanted])}))
    return verdicts


def check_concepts(proposals: Sequence[Proposal], concepts: ConceptColumns | None) -> list[Verdict]:
    """Refuse proposals for a cell with a concept whose text surely lacks it; edits are judged by their own filters.

    Args:
        proposals: in order.
        concepts: their concepts; None where the job has none.
    """
    verdicts = []
    for place, proposal in enumerate(proposals):
        concept = proposal.item.cell.concept
        if not concept or concepts is None or proposal.kind in EDITS:
            verdicts.append(_judge(proposal, ""))
            continue
        column = concepts.names.index(concept)
        fault = "concept_missing" if concepts.states[place, column] != State.PRESENT else ""
        score = {f"concept_{concept}": float(concepts.probabilities[place, column])}
        verdicts.append(_judge(proposal, fault, score))
    return verdicts


def combine_verdicts(*layers: Sequence[Verdict]) -> list[Verdict]:
    """The first no of each proposal, else yes; scores of all layers together."""
    combined = []
    for verdicts in zip(*layers, strict=True):
        scores = {name: value for verdict in verdicts for name, value in verdict.scores.items()}
        first = next((verdict for verdict in verdicts if not verdict.kept), verdicts[0])
        combined.append(Verdict(first.proposal_id, first.kept, first.reason, scores))
    return combined


def _judge(proposal: Proposal, fault: str, scores: Mapping[str, float] | None = None) -> Verdict:
    return Verdict(proposal.id, not fault, fault or KEPT, dict(scores or {}))
