"""Fitting the filters of a run, and asking one after the other.

A filter of a user's own may be wrong. Whatever it raises ends the run with one line that names it, after which the run
can be resumed: all replies are stored by then.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import cast

from counterpoise.core.guards import fault, guard
from counterpoise.core.plans import Verdict
from counterpoise.filters.alarms import Alarm
from counterpoise.filters.base import FILTERS, KEPT, Filter, FittedFilter, combine_verdicts
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.data import FilterData
from counterpoise.filters.trials import NO_TRIAL, Trial, try_filter

__all__ = ["FilterData", "ReadyFilter", "ask_filters", "fit_filters"]


@dataclass(frozen=True, slots=True)
class ReadyFilter:
    """A filter of a run: the registered part, what it became on the user's data, and how often that refuses real rows.

    Args:
        part: registered.
        fitted: asked for verdicts.
        trial: on rows of the user's own, of a filter that does not measure itself; what it has switched off is not
            refused.
    """

    part: Filter
    fitted: FittedFilter
    trial: Trial = NO_TRIAL

    @property
    def alarms(self) -> Sequence[Alarm]:
        """How often it refuses real rows, as it says itself or its trial does."""
        told = getattr(self.fitted, "alarms", None)
        return self.trial.alarms if told is None else told()


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
        judge = cast("FittedFilter", fitted)
        ready.append(ReadyFilter(part, judge, try_filter(part, judge, known)))
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
        verdicts = [_let_pass(verdict, one.trial.off) for verdict in verdicts]
        batch.add_verdicts(verdicts, getattr(one.part, "off_target", ()))
        layers.append(verdicts)
    return combine_verdicts(*layers)


def _let_pass(verdict: Verdict, off: Collection[str]) -> Verdict:
    return replace(verdict, kept=True, reason=KEPT) if not verdict.kept and verdict.reason in off else verdict


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
