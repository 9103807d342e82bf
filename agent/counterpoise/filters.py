"""The filters of proposals, cheap ones first; each gives a verdict with a reason, none drops anything silently.

| filter | says no to |
|---|---|
| text | nothing, too short or too long a text, a refusal, an echo of the prompt, another script than the data's |
| copies | a text that is, or nearly is, one of the data, of the held-out rows, or an earlier proposal |
| label | a text that the audited label scorer holds for another label |
| concept | a text that lacks the concept its cell is for |

A proposal near a held-out row is refused so that no copy of a test row is trained on; the row itself is never shown.
Order decides ties: a proposal is compared with earlier ids only, so replies may arrive in any order.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.records import ConceptColumns, Floats, Kind, Objects, Proposal, State, Verdict
from counterpoise_retrievers.faiss_index import FaissIndex

KEPT = "kept"
EDITS = frozenset({Kind.CONCEPT_INJECTION, Kind.COUNTERFACTUAL_EDIT})
"""Kinds whose first parent is the record they were made from; what they must be is said in `edit_filters`."""

NEAR_DATA = 0.95
NEAR_PROPOSAL = 0.90
NEAR_SOURCE = 0.995
"""Cosines from which a text is a near-copy: of the data, of another proposal, and for an edit, which is
meant to be near its source, of the data."""

CONTRADICTED_FROM = 0.73
"""Probability of another label from which the label scorer refuses: odds of about e to 1. A mild filter keeps what
the scorer does not know yet; a strict one selects what a student would have guessed anyway."""

_REFUSAL = re.compile(
    r"^\W*(?:i(?:'m| am) (?:sorry|unable|not able),? (?:but )?(?:i |to (?:help|write|assist))"
    r"|i can(?:not|'t|’t) (?:help|write|assist|provide|generate|comply)|as an? (?:ai|language model)"
    r"|(?:sure|of course|certainly)[,!] here|here (?:is|are) (?:a|an|one|some|the|your|another)\b[^.]*:)",
    re.IGNORECASE,
)
_SPAN_WORDS = 8


@dataclass(frozen=True, slots=True)
class TextFilter:
    """Checks that look at the text alone.

    Args:
        shortest, longest: characters, from the lengths of real rows.
        script: the Unicode script most letters of the data are of, "" for none.
        headings: lines of the prompts, which must not come back.
    """

    shortest: int
    longest: int
    script: str
    headings: tuple[str, ...] = ()

    def verdicts(self, proposals: Sequence[Proposal]) -> list[Verdict]:
        """One verdict a proposal, in order."""
        return [_judge(proposal, self._find_fault(proposal.text)) for proposal in proposals]

    def _find_fault(self, text: str) -> str:
        stripped = text.strip()
        if not stripped or not any(letter.isalnum() for letter in stripped):
            return "empty"
        if _REFUSAL.search(stripped):
            return "refusal"
        if any(heading and heading.casefold() in stripped.casefold() for heading in self.headings):
            return "prompt_echo"
        if len(stripped) < self.shortest:
            return "too_short"
        if len(stripped) > self.longest:
            return "too_long"
        if self.script and find_script([stripped]) not in ("", self.script):
            return "other_script"
        return ""


def make_text_filter(texts: Objects, headings: Iterable[str] = ()) -> TextFilter:
    """A text filter with bounds from real rows: half the 2nd percentile of lengths to twice the 98th."""
    lengths = np.array([len(str(text)) for text in texts])
    low, high = np.quantile(lengths, [0.02, 0.98]) if len(lengths) else (1.0, 10_000.0)
    return TextFilter(
        shortest=max(2, int(low / 2)),
        longest=int(high * 2) + 1,
        script=find_script([str(text) for text in texts[:500]]),
        headings=tuple(heading for heading in headings if len(heading) > 12),
    )


def find_script(texts: Sequence[str]) -> str:
    """Name of the script that most letters are of (LATIN, CYRILLIC, ...); "" where there are no letters."""
    counts: Counter[str] = Counter()
    for text in texts:
        for letter in text[:400]:
            if letter.isalpha():
                counts["LATIN" if letter.isascii() else unicodedata.name(letter, "?").split()[0]] += 1
    # Equal counts are settled by name, so that the answer does not depend on what came first.
    return min(counts, key=lambda script: (-counts[script], script)) if counts else ""


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
    """Lower case, letters and digits only, single spaces: what an exact copy is compared by."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def find_copies(
    proposals: Sequence[Proposal],
    vectors: NDArray[np.float32],
    known: Mapping[str, KnownTexts],
    earlier: KnownTexts,
    parents: Mapping[str, str],
) -> list[Verdict]:
    """Refuse copies and near-copies.

    Args:
        proposals: in the order in which they are decided.
        vectors: (n, d) of their texts.
        known: reason -> texts that must not be repeated (`copy_of_data`, `copy_of_held_out`).
        earlier: accepted texts of earlier rounds.
        parents: id -> text of the demonstrations; a span of eight words out of one is a copy. Of its source an
            edit may repeat whatever it likes.

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
            limit = NEAR_PROPOSAL if reason == "copy_of_proposal" else NEAR_DATA
            if proposal.kind in EDITS and reason == "copy_of_data":
                limit = NEAR_SOURCE
            if not faults[place] and (nearest[place] >= limit or fold(proposal.text) in texts.folded):
                faults[place] = reason
    own = FaissIndex(vectors.shape[1]) if len(proposals) else None
    seen: set[str] = set()
    spans = {identity: _list_spans(text) for identity, text in parents.items()}
    for place, proposal in enumerate(proposals):
        folded = fold(proposal.text)
        if not faults[place] and any(
            _list_spans(proposal.text) & spans.get(parent, frozenset())
            for parent in (proposal.parents[1:] if proposal.kind in EDITS else proposal.parents)
        ):
            faults[place] = "copy_of_demonstration"
        if faults[place] or own is None:
            continue
        limit = NEAR_DATA if proposal.kind is Kind.ADOPTED else NEAR_PROPOSAL
        if folded in seen or (
            len(own) and float(own.search(vectors[place : place + 1], 1)[0][0, 0]) >= limit
        ):
            faults[place] = "copy_of_proposal"
            continue
        seen.add(folded)
        own.add(vectors[place : place + 1])
    return [
        _judge(proposal, fault, score)
        for proposal, fault, score in zip(proposals, faults, scores, strict=True)
    ]


def _list_spans(text: str) -> frozenset[tuple[str, ...]]:
    words = fold(text).split()
    return frozenset(
        tuple(words[start : start + _SPAN_WORDS]) for start in range(len(words) - _SPAN_WORDS + 1)
    )


def check_labels(
    proposals: Sequence[Proposal], probabilities: Floats, label_names: Sequence[str], *, is_trusted: bool
) -> list[Verdict]:
    """Refuse proposals that an audited scorer holds for another label.

    Args:
        proposals: in order.
        probabilities: (n, k) from a scorer that does not know what label was asked for.
        label_names: k names.
        is_trusted: whether the scorer passed its audit; if not, it only leaves its score.
    """
    verdicts = []
    places = {name: place for place, name in enumerate(label_names)}
    for proposal, row in zip(proposals, probabilities, strict=True):
        wanted = places[proposal.label]
        against = float(np.delete(row, wanted).max() / (np.delete(row, wanted).max() + row[wanted]))
        fault = "label_contradicted" if is_trusted and against >= CONTRADICTED_FROM else ""
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
