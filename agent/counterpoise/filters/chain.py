"""Fitting the filters of a run, and asking one after the other.

A filter of a user's own may be wrong. Whatever it raises ends the run with one line that names it, after which the run
can be resumed: all replies are stored by then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from counterpoise.core.encoded_records import EncodedRecords, Vectors
from counterpoise.core.guards import fault, guard
from counterpoise.core.plans import Verdict
from counterpoise.core.records import Floats, Integers
from counterpoise.filters.base import FILTERS, KEPT, Filter, FittedFilter, combine_verdicts
from counterpoise.filters.batch import ProposalBatch
from counterpoise_retrievers.encoder_protocol import Encoder


@dataclass(frozen=True, slots=True)
class FilterData:
    """All that a filter may know of the user's data when it is fitted.

    Args:
        train: n training rows.
        held_out: the sealed rows, which are looked at for copies alone.
        folds: (n,) folds of the training rows; near-duplicates share one.
        encoder: of all vectors.
        headings: what the records of each label are called.
        concepts: name -> definition.
        key: the run's key.
        label_scores: (n, k) of the label scorer for the training rows, cross-fitted.
        is_trusted: whether the label scorer passed its audit.
        score_blind: (m, k) label probabilities of m texts with their vectors, by who never saw the m rows that they
            were made from.
        earlier: the filters that were fitted before, in order.
    """

    train: EncodedRecords
    held_out: EncodedRecords
    folds: Integers
    encoder: Encoder
    headings: tuple[str, ...]
    concepts: Mapping[str, str]
    key: str
    label_scores: Floats
    is_trusted: bool
    score_blind: Callable[[Sequence[str], Vectors, Integers], Floats]
    earlier: tuple[FittedFilter, ...] = ()


@dataclass(frozen=True, slots=True)
class ReadyFilter:
    """A filter of a run: the registered part, and what it became on the user's data."""

    part: Filter
    fitted: FittedFilter


def fit_filters(parts: Sequence[Filter], data: FilterData) -> tuple[ReadyFilter, ...]:
    """Fit filters in their order, those that look at what all others keep behind the others.

    Raises:
        PartError: a filter raised, or has neither `fit` nor `verdicts`.
    """
    ready: list[ReadyFilter] = []
    for part in sorted(parts, key=lambda part: bool(getattr(part, "is_last", False))):
        fit = getattr(part, "fit", None)
        known = replace(data, earlier=tuple(one.fitted for one in ready))
        fitted = part if fit is None else guard(FILTERS, part, fit, known)
        if not hasattr(fitted, "verdicts"):
            raise fault(FILTERS, part, "it has no `verdicts`")
        ready.append(ReadyFilter(part, cast("FittedFilter", fitted)))
    return tuple(ready)


def ask_filters(filters: Sequence[ReadyFilter], batch: ProposalBatch) -> list[Verdict]:
    """What all filters together say of each proposal: the first no gives the reason, the scores of all stay.

    Raises:
        PartError: a filter raised, left a proposal out, or refused for a reason that it does not declare.
    """
    layers = [
        [Verdict(proposal.id, not proposal.failure, proposal.failure or KEPT) for proposal in batch.proposals]
    ]
    for one in filters:
        verdicts = guard(FILTERS, one.part, _list_verdicts, one.fitted, batch)
        _check_verdicts(one.part, verdicts, batch)
        batch.add_verdicts(verdicts, getattr(one.part, "off_target", ()))
        layers.append(verdicts)
    return combine_verdicts(*layers)


def _list_verdicts(fitted: FittedFilter, batch: ProposalBatch) -> list[Verdict]:
    return list(fitted.verdicts(batch))


def _check_verdicts(part: Filter, verdicts: Sequence[object], batch: ProposalBatch) -> None:
    given = [getattr(verdict, "proposal_id", None) for verdict in verdicts]
    if given != [proposal.id for proposal in batch.proposals]:
        message = f"it gave {len(given)} verdicts for {len(batch)} proposals, or in another order"
        raise fault(FILTERS, part, message)
    reasons = {verdict.reason for verdict in cast("Sequence[Verdict]", verdicts) if not verdict.kept}
    if unknown := sorted(reasons - set(part.reasons)):
        message = f"it refused for '{unknown[0]}', which is none of its `reasons`"
        raise fault(FILTERS, part, message)
