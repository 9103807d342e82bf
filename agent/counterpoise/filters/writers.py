"""An audit of whoever writes: how often do its texts miss the label they were asked for?

A mild filter lets a part of everything through. Of a writer that mostly does as it is told, that part is small beside
what is right; of one that writes at random, or the opposite, it is most of what is kept. How many of its texts miss
is estimated from how many the label scorer contradicts, with the scorer's known rates on the user's own rows
(Rogan and Gladen 1978, as in `corrected_counts`). Then the filter becomes as strict for all texts of that writer and
label as leaves most of the right ones beyond the wrong ones. A stricter one that would cost more right texts than it
keeps wrong ones out is not taken; where the wrong ones outweigh the right ones at all, none is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from counterpoise.balance.intervals import wilson_interval
from counterpoise.core.plans import Nature, Proposal, Verdict
from counterpoise.core.records import Floats, Integers
from counterpoise.filters.base import KEPT
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.data import FilterData
from counterpoise.filters.labels import CONTRADICTED_FROM, SupportLimits
from counterpoise.filters.written import SUPPORT

LIMITS = (CONTRADICTED_FROM, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05, 0.02)
"""Thresholds to choose from, the mildest first (see `measure_against`)."""

MISSED = "writer_misses_label"
_FEWEST_TEXTS = 20
_LEAST_YOUDEN, _LEAST_SURE_YOUDEN = 0.3, 0.2
"""Pass rates of right and wrong rows that differ by less say nothing about a writer; the second with the lower end of
the right rows' interval."""

_MOSTLY = 0.5


def check_writers(
    proposals: Sequence[Proposal],
    passing: Sequence[bool],
    probabilities: Floats,
    out_of_fold: Floats,
    labels: Integers,
    label_names: Sequence[str],
    mildest: Sequence[float] = (),
) -> list[Verdict]:
    """Refuse more of the new texts of a label whose writer misses it too often.

    Args:
        proposals: n, in order; only written ones are judged.
        passing: (n,) whether the checks of the text alone let it through.
        probabilities: (n, k) of the label scorer.
        out_of_fold: (m, k) of the same kind of scorer for the user's rows, cross-fitted.
        labels: (m,) their label indices.
        label_names: k names.
        mildest: for each label the threshold that is in force anyway; without, `CONTRADICTED_FROM`.
    """
    against = np.zeros(len(proposals))
    groups: dict[int, list[int]] = {}
    for place, proposal in enumerate(proposals):
        if proposal.nature is Nature.WRITTEN and passing[place]:
            label = list(label_names).index(proposal.label)
            groups.setdefault(label, []).append(place)
            against[place] = measure_against(probabilities[place : place + 1], label)[0]
    refused = np.zeros(len(proposals), dtype=np.bool_)
    for label, places in groups.items():
        start = mildest[label] if len(mildest) else CONTRADICTED_FROM
        limit = choose_limit(against[places], measure_against(out_of_fold, label), labels, label, start)
        refused[places] = against[places] >= limit
    return [
        Verdict(proposal.id, not no, MISSED if no else KEPT)
        for proposal, no in zip(proposals, refused, strict=True)
    ]


def measure_against(probabilities: Floats, label: int) -> Floats:
    """(n,) the likeliest other label's share of the probability that it and the wanted one have, 0..1."""
    others = np.delete(probabilities, label, axis=1).max(
        axis=1, initial=0.0
    )  # with one label there is no other
    return np.asarray(others / np.maximum(others + probabilities[:, label], 1e-12))


def choose_limit(
    against: Floats, known: Floats, labels: Integers, label: int, mildest: float = CONTRADICTED_FROM
) -> float:
    """The threshold at which the right ones of the kept texts outnumber the wrong ones by most; 0 where they never do.

    Args:
        against: (n,) of the writer's texts (`measure_against`).
        known: (m,) of the user's rows, as if each had been written for the label.
        labels: (m,) their label indices; all labels but `label` weigh alike.
        label: what the texts were written for.
        mildest: the threshold that is in force anyway.

    Returns:
        Texts that reach it are refused.
    """
    own = known[labels == label]
    others = [known[labels == other] for other in np.unique(labels) if other != label]
    if len(against) < _FEWEST_TEXTS or not others or not len(own):
        return mildest
    n_missed = estimate_missed(against, own, others)
    # One row more than was seen, so that a handful of rows is no proof that nothing slips through.
    unseen = 1.0 / (sum(map(len, others)) + 1)

    def count_gain(limit: float) -> float:
        n_right = (len(against) - n_missed) * float((own < limit).mean())
        return n_right - n_missed * min(1.0, _measure_slips(others, limit) + unseen)

    if not n_missed:
        return mildest
    best = max((mildest, *(limit for limit in LIMITS if limit < mildest)), key=count_gain)
    return best if count_gain(best) > 0 else 0.0


def estimate_missed(against: Floats, own: Floats, others: Sequence[Floats]) -> float:
    """How many of a writer's texts have another label than was asked for; 0 where the scorer cannot tell.

    It is counted at the threshold that tells the user's own rows apart best. Where chance alone could make the writer's
    texts pass less often than the label's own rows (Newcombe 1998, the interval of the difference holds 0), nothing is
    held against it: real rows of a hard label would else be refused by the dozen. Nor is it where the best threshold
    for a handful of rows may be the luckiest (the lower end of their pass rate is hardly above that of others), unless
    even so most of its texts must have missed. Otherwise rows of the label are reckoned to pass as often as the upper
    end of their interval says.
    """

    def tell_apart(limit: float) -> float:
        return float((own < limit).mean()) - _measure_slips(others, limit)

    limit = max(LIMITS, key=tell_apart)
    if tell_apart(limit) < _LEAST_YOUDEN:
        return 0.0
    n_own, n_passing = int((own < limit).sum()), int((against < limit).sum())
    low, high = (float(end) for end in wilson_interval(n_own, len(own)))
    most = float(wilson_interval(n_passing, len(against))[1])
    share, passing, slips = n_own / len(own), n_passing / len(against), _measure_slips(others, limit)
    if share - passing <= np.hypot(share - low, most - passing):
        return 0.0
    surely = (low - most) / (low - slips) if low > slips else 0.0
    if low - slips < _LEAST_SURE_YOUDEN and surely < _MOSTLY:
        return 0.0
    missed = (high - passing) / (high - slips)
    return len(against) * float(np.clip(missed, 0.0, 1.0))


def _measure_slips(others: Sequence[Floats], limit: float) -> float:
    return float(np.mean([(rows < limit).mean() for rows in others]))


@dataclass(frozen=True, slots=True)
class WriterFilter:
    """Audits a writer by all that it wrote for a label, what lacks support included.

    Args:
        out_of_fold: (m, k) of the label scorer for the user's rows, cross-fitted.
        labels: (m,) their label indices.
        is_trusted: whether the label scorer passed its audit; if not nobody is audited.
        mildest: for each label the threshold that is in force anyway; without, `CONTRADICTED_FROM`.
    """

    out_of_fold: Floats
    labels: Integers
    is_trusted: bool
    mildest: tuple[float, ...]

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order."""
        if not self.is_trusted:
            return [Verdict(proposal.id, True, KEPT) for proposal in batch.proposals]
        counted = [
            is_sound or reason == SUPPORT for is_sound, reason in zip(batch.sound, batch.reasons, strict=True)
        ]
        return check_writers(
            batch.proposals,
            counted,
            batch.probabilities,
            self.out_of_fold,
            self.labels,
            batch.label_names,
            self.mildest,
        )


class WriterPart:
    """The registered filter."""

    name = "writers"
    is_tried = False  # it judges writers, not texts, and holds nothing against one that chance explains
    reasons = off_target = (MISSED,)
    remedies: ClassVar[Mapping[str, str]] = {
        MISSED: "a model that writes what it is asked for, or a line for each label under `labels`"
    }

    def fit(self, data: FilterData) -> WriterFilter:
        """What the label scorer says of the user's rows, and how strict a filter before it is anyway."""
        limits = next((one for one in data.earlier if isinstance(one, SupportLimits)), None)
        mildest = () if limits is None else tuple(limits.list_mildest())
        return WriterFilter(data.label_scores, data.train.records.labels, data.is_trusted, mildest)
