"""The proposals of a round as filters see them: what is dear is made when somebody asks for it, once, for all.

Vectors are made of the texts that pass when they are first asked for. So whatever cheap filters refuse before costs
nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.records import ConceptColumns, Floats
from counterpoise_retrievers.encoder_protocol import Encoder


@dataclass(frozen=True, slots=True)
class KeptTexts:
    """What earlier rounds have kept: n texts and their (n, d) vectors."""

    texts: Sequence[str]
    vectors: Vectors


@dataclass
class ProposalBatch:
    """Proposals in the order of their ids, which decides ties.

    Args:
        proposals: n.
        label_names: k names of labels.
        parents: id -> text of the records that they were made from, or that were shown.
        earlier: what earlier rounds have kept.
        encoder: of the texts.
        score_labels: (n, k) probabilities of the labels for n texts and their (n, d) vectors.
        label_concepts: the concepts of n texts with their (n, d) vectors; None where the job has none.
    """

    proposals: Sequence[Proposal]
    label_names: Sequence[str]
    parents: Mapping[str, str]
    earlier: KeptTexts
    encoder: Encoder
    score_labels: Callable[[Sequence[str], Vectors], Floats]
    label_concepts: Callable[[Sequence[str], Vectors], ConceptColumns] | None = None
    _reasons: list[str] = field(default_factory=list)
    _off_target: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Whatever has no text is refused for why it has none."""
        self._reasons, self._off_target = [proposal.failure for proposal in self.proposals], set()

    def __len__(self) -> int:
        """Proposals."""
        return len(self.proposals)

    @property
    def texts(self) -> list[str]:
        """(n,) their texts; "" where there is none."""
        return [proposal.text for proposal in self.proposals]

    @property
    def reasons(self) -> tuple[str, ...]:
        """(n,) why each is refused by what has judged so far; "" where it still passes."""
        return tuple(self._reasons)

    @property
    def passing(self) -> list[bool]:
        """(n,) which still pass."""
        return [not reason for reason in self._reasons]

    @property
    def sound(self) -> list[bool]:
        """(n,) which still pass, or are refused only as something else than was asked for.

        Whoever audits a writer counts these: they are what it has written.
        """
        return [not reason or reason in self._off_target for reason in self._reasons]

    def add_verdicts(self, verdicts: Sequence[Verdict], off_target: Collection[str] = ()) -> None:
        """Take in what a filter says; the first no counts.

        Args:
            verdicts: one a proposal.
            off_target: reasons of the filter that say: a sound text, but not what was asked for.
        """
        self._off_target.update(off_target)
        for place, verdict in enumerate(verdicts):
            if not verdict.kept and not self._reasons[place]:
                self._reasons[place] = verdict.reason

    @cached_property
    def encoded(self) -> NDArray[np.bool_]:
        """(n,) which have a vector: those that passed when vectors were first asked for."""
        return np.array(self.passing, dtype=np.bool_)

    @cached_property
    def vectors(self) -> Vectors:
        """(n, d) vectors; zeros, which are like nothing, for texts that had failed before."""
        vectors = np.zeros((len(self), self.encoder.dimension), np.float32)
        if self.encoded.any():
            texts = [text for text, is_encoded in zip(self.texts, self.encoded, strict=True) if is_encoded]
            vectors[self.encoded] = self.encoder.encode(texts)
        return vectors

    @cached_property
    def probabilities(self) -> Floats:
        """(n, k) probabilities of the labels by the label scorer, which does not know what was asked for."""
        return self.score_labels(self.texts, self.vectors)

    @cached_property
    def concepts(self) -> ConceptColumns | None:
        """The concepts of the texts that have a vector; None where the job has none."""
        if self.label_concepts is None:
            return None
        vectors = self.vectors
        texts = [
            text if is_encoded else "" for text, is_encoded in zip(self.texts, self.encoded, strict=True)
        ]
        return self.label_concepts(texts, vectors)
