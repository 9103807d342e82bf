"""The filter of labels: a row of a pool, or a new text, that the audited label scorer holds for another label.

Edits are judged by `edits` alone: their scorer is one that has not seen what they were made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.records import Floats
from counterpoise.filters.alarms import MOST_REFUSED, Alarm, settle_bars
from counterpoise.filters.base import make_verdict
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.data import FilterData

CONTRADICTED = "label_contradicted"
CONTRADICTED_FROM = 0.73
"""Probability of another label from which the label scorer refuses at the earliest: odds of about e to 1, and higher
ones where it would refuse more than few of the user's own unseen rows. A mild filter keeps what the scorer does not
know yet; a strict one selects what a student would have guessed anyway. What new texts need beyond that is measured on
the user's own rows (`filters.written`)."""


def check_labels(
    proposals: Sequence[Proposal],
    probabilities: Floats,
    label_names: Sequence[str],
    *,
    is_trusted: bool,
    is_measured: bool = False,
    limits: Sequence[float] = (),
) -> list[Verdict]:
    """Refuse proposals that an audited scorer holds for another label.

    Args:
        proposals: in order.
        probabilities: (n, k) from a scorer that does not know what label was asked for.
        label_names: k names.
        is_trusted: whether the scorer passed its audit; if not, it only leaves its score.
        is_measured: whether what new texts need was measured on the user's rows (`filters.written`): they are not
            judged here then.
        limits: (k,) probability of another label from which each is refused; `CONTRADICTED_FROM` without.
    """
    verdicts = []
    places = {name: place for place, name in enumerate(label_names)}
    for proposal, row in zip(proposals, probabilities, strict=True):
        wanted = places[proposal.label]
        other = np.delete(row, wanted).max(initial=0.0)  # with one label there is no other
        against = float(other / (other + row[wanted]))
        judged = (
            is_trusted and not proposal.nature.is_edit and not (is_measured and not proposal.nature.is_real)
        )
        fault = (
            CONTRADICTED if judged and against >= (limits[wanted] if limits else CONTRADICTED_FROM) else ""
        )
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
    """Judges rows of a pool, and new texts where nothing else does.

    Args:
        is_trusted: whether the label scorer passed its audit.
        is_measured: whether another filter has measured what new texts need.
        limits: (k,) probability of another label from which each is refused.
        counted: how often it refuses real rows.
    """

    is_trusted: bool
    is_measured: bool
    limits: tuple[float, ...]
    counted: Alarm

    def alarms(self) -> tuple[Alarm, ...]:
        """How often it refuses real rows."""
        return (self.counted,)

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order."""
        return check_labels(
            batch.proposals,
            batch.probabilities,
            batch.label_names,
            is_trusted=self.is_trusted,
            is_measured=self.is_measured,
            limits=self.limits,
        )


class LabelPart:
    """The registered filter."""

    name = "labels"
    reasons = off_target = (CONTRADICTED,)
    remedies: ClassVar[Mapping[str, str]] = {
        CONTRADICTED: "a model that writes what it is asked for, or a line for each label under `labels`"
    }

    instructions: ClassVar[Mapping[str, str]] = {
        CONTRADICTED: "It reads like a record of another kind. Make plain that it is one of these."
    }

    def fit(self, data: FilterData) -> LabelFilter:
        """It leaves new texts to a filter before it that has measured what they need."""
        measured = next((one for one in data.earlier if isinstance(one, SupportLimits)), None)
        is_measured = measured is not None and measured.has_support
        limits, alarm = fit_limits(data)
        return LabelFilter(data.is_trusted, is_measured, limits, alarm)


def fit_limits(data: FilterData) -> tuple[tuple[float, ...], Alarm]:
    """(k,) limits that few of the user's own rows of each label reach, unseen, and how many do."""
    labels, n_labels = data.train.records.labels, len(data.train.records.label_names)
    if not data.is_trusted:
        return (), Alarm(CONTRADICTED, 0, 0, "The label scorer failed its audit: it refuses nothing.")
    others = data.label_scores.copy()
    own = others[np.arange(len(labels)), labels].copy()
    others[np.arange(len(labels)), labels] = 0.0
    other = others.max(axis=1, initial=0.0)
    against = other / np.maximum(other + own, 1e-12)
    settled = settle_bars(
        CONTRADICTED,
        against,
        labels,
        data.folds,
        n_labels,
        MOST_REFUSED,
        floor=CONTRADICTED_FROM,
        pooled=False,
    )
    if not settled.alarm.n:  # too few rows to move it
        return (CONTRADICTED_FROM,) * n_labels, Alarm(
            CONTRADICTED, 0, 0, "It keeps to its usual limit: too few rows."
        )
    # Whatever is refused lies above a bar; at the usual limit itself it is refused too.
    return tuple(
        float(bar) if bar == CONTRADICTED_FROM else float(np.nextafter(bar, 2)) for bar in settled.bars
    ), settled.alarm
