"""The filter of labels: a row of a pool, or an edit, that the audited label scorer holds for another label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from counterpoise.core.plans import Nature, Proposal, Verdict
from counterpoise.core.records import Floats
from counterpoise.filters.base import make_verdict
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.chain import FilterData

CONTRADICTED = "label_contradicted"
CONTRADICTED_FROM = 0.73
"""Probability of another label from which the label scorer refuses rows of a pool and edits: odds of about e to 1. A
mild filter keeps what the scorer does not know yet; a strict one selects what a student would have guessed anyway.
What new texts need is measured on the user's own rows (`filters.written`)."""


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
        is_measured: whether what new texts need was measured on the user's rows (`filters.written`): they are not
            judged here then.
    """
    verdicts = []
    places = {name: place for place, name in enumerate(label_names)}
    for proposal, row in zip(proposals, probabilities, strict=True):
        wanted = places[proposal.label]
        other = np.delete(row, wanted).max(initial=0.0)  # with one label there is no other
        against = float(other / (other + row[wanted]))
        judged = is_trusted and not (is_measured and proposal.nature is Nature.WRITTEN)
        fault = CONTRADICTED if judged and against >= CONTRADICTED_FROM else ""
        verdicts.append(make_verdict(proposal, fault, {"label_probability": float(row[wanted])}))
    return verdicts


@runtime_checkable
class SupportLimits(Protocol):
    """A filter that has measured what support of its label a new text needs."""

    @property
    def has_support(self) -> bool:
        """Whether that could be measured."""
        ...

    def list_mildest(self) -> list[float]:
        """For each label the other ones' share of the probability from which a text lacks support; empty if unknown."""
        ...


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """Judges rows of a pool and edits, and new texts where nothing else does.

    Args:
        is_trusted: whether the label scorer passed its audit.
        is_measured: whether another filter has measured what new texts need.
    """

    is_trusted: bool
    is_measured: bool

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order."""
        return check_labels(
            batch.proposals,
            batch.probabilities,
            batch.label_names,
            is_trusted=self.is_trusted,
            is_measured=self.is_measured,
        )


class LabelPart:
    """The registered filter."""

    name = "labels"
    reasons = off_target = (CONTRADICTED,)
    remedies: ClassVar[Mapping[str, str]] = {
        CONTRADICTED: "a model that writes what it is asked for, or a line for each label under `labels`"
    }

    def fit(self, data: FilterData) -> LabelFilter:
        """It leaves new texts to a filter before it that has measured what they need."""
        limits = next((one for one in data.earlier if isinstance(one, SupportLimits)), None)
        return LabelFilter(data.is_trusted, limits is not None and limits.has_support)
