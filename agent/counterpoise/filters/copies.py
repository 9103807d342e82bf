"""The filter of copies: a text that is, or nearly is, one of the data, of the held-out rows, or an earlier proposal.

A proposal near a held-out row is refused so that no copy of a test row is trained on; the row itself is never shown.
Order decides ties: a proposal is compared with earlier ids only, so replies may arrive in any order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.plans import Proposal, Verdict
from counterpoise.filters.base import KEPT, make_verdict
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.copy_limits import CopyLimits, list_runs
from counterpoise.filters.data import FilterData
from counterpoise_retrievers.faiss_index import FaissIndex

NEAR_SOURCE = 0.995
"""Cosine from which an edit, which is meant to be near its source, is a near-copy of the data."""


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
            if proposal.nature.is_edit and reason == "copy_of_data":
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
            for parent in (proposal.parents[1:] if proposal.nature.is_edit else proposal.parents)
            if parent in runs
        ]
        if shown and not proposal.nature.is_real:
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
        make_verdict(proposal, fault, score)
        for proposal, fault, score in zip(proposals, faults, scores, strict=True)
    ]


@runtime_checkable
class CopyRule(Protocol):
    """A filter that has measured from where on a text is a copy."""

    @property
    def copies(self) -> CopyLimits:
        """The limits."""
        ...


@dataclass(frozen=True, slots=True)
class CopyFilter:
    """Looks for copies among what passes all other filters, so that a refused text cannot shadow a good one.

    Args:
        known: reason -> texts that must not be repeated.
        limits: from where on a text is a copy.
    """

    known: Mapping[str, KnownTexts]
    limits: CopyLimits

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order; what does not pass so far is not looked at."""
        places = [place for place, is_passing in enumerate(batch.passing) if is_passing]
        checked = [Verdict(proposal.id, True, KEPT) for proposal in batch.proposals]
        found = find_copies(
            [batch.proposals[place] for place in places],
            batch.vectors[places],
            self.known,
            make_known_texts(batch.earlier.texts, batch.earlier.vectors),
            batch.parents,
            self.limits,
            batch.label_names,
        )
        for place, verdict in zip(places, found, strict=True):
            checked[place] = verdict
        return checked


_VARY = "a writer that varies more, or more real rows of these cells to show it"


class CopyPart:
    """The registered filter."""

    name = "copies"
    is_tried = False  # its limits are measured by `written`; a copy of a held-out row is no matter of shares
    reasons = ("copy_of_data", "copy_of_held_out", "copy_of_proposal", "copy_of_demonstration")
    remedies: ClassVar[Mapping[str, str]] = dict.fromkeys(reasons, _VARY)
    is_last = True

    def fit(self, data: FilterData) -> CopyFilter:
        """Index the texts that must not be repeated."""
        rule = next((one for one in data.earlier if isinstance(one, CopyRule)), None)
        known = {
            reason: make_known_texts(map(str, rows.records.texts), rows.vectors)
            for reason, rows in (("copy_of_data", data.train), ("copy_of_held_out", data.held_out))
        }
        return CopyFilter(known, CopyLimits() if rule is None else rule.copies)
