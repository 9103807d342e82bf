"""What the report says of the filters: languages, false alarms, texts that were cut, and what they say themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from counterpoise.balance.intervals import wilson_interval
from counterpoise.filters.alarms import Alarm
from counterpoise.filters.base import CUT_OFF
from counterpoise.filters.chain import ReadyFilter
from counterpoise.report.schema import FilterAlarm, Filters
from counterpoise.runs.ledger import Ledger


@runtime_checkable
class TellsAudits(Protocol):
    """A filter whose judges were audited."""

    def audits(self) -> Sequence[dict[str, Any]]:
        """A line of the report each (`scorers.audits.describe_audit`)."""
        ...


@runtime_checkable
class TellsLanguages(Protocol):
    """A filter that knows the languages of the data."""

    def languages(self) -> dict[str, float]:
        """Code -> share of the rows."""
        ...


@runtime_checkable
class TellsNotes(Protocol):
    """A filter that has something to say of what it refused."""

    def notes(self, refused: Counter[str], n_proposals: int) -> Sequence[str]:
        """Sentences.

        Args:
            refused: refusals of what a model wrote, by reason.
            n_proposals: of the run, kept and refused.
        """
        ...


def describe_filters(filters: Sequence[ReadyFilter], ledger: Ledger) -> Filters:
    """What the filters of a run did; without filters nothing but the counts."""
    proposals = [
        (proposal, verdict)
        for _, judged in ledger.rounds
        for proposal, verdict in zip(judged.proposals, judged.verdicts, strict=True)
        if not proposal.nature.is_real and not proposal.failure
    ]
    fitted = [one.fitted for one in filters]
    languages = next((one.languages() for one in fitted if isinstance(one, TellsLanguages)), {})
    return Filters(
        languages=languages,
        alarms=[_describe_alarm(alarm) for one in filters for alarm in one.alarms],
        written=len(proposals),
        cut_back=sum(proposal.finish_reason == "cut_back" for proposal, _ in proposals),
        cut_off=sum(verdict.reason == CUT_OFF for _, verdict in proposals),
    )


def _describe_alarm(alarm: Alarm) -> FilterAlarm:
    low, high = (float(end) for end in wilson_interval(alarm.refused, alarm.n)) if alarm.n else (None, None)
    return FilterAlarm(alarm.name, n=alarm.n, refused=alarm.refused, low=low, high=high, note=alarm.note)


def list_filter_audits(filters: Sequence[ReadyFilter]) -> list[dict[str, Any]]:
    """The lines of the filters' judges in the report."""
    return [line for one in filters if isinstance(one.fitted, TellsAudits) for line in one.fitted.audits()]


def note_refusals(filters: Sequence[ReadyFilter], ledger: Ledger) -> list[str]:
    """What the filters say of their refusals, in sentences."""
    refused = Counter(
        verdict.reason for proposal, verdict in ledger.list_rejected() if not proposal.nature.is_real
    )
    n_proposals = sum(len(judged) for _, judged in ledger.rounds)
    return [
        note
        for one in filters
        if isinstance(one.fitted, TellsNotes)
        for note in one.fitted.notes(refused, n_proposals)
    ]
