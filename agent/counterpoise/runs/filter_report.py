"""What the report says of the filters of written texts: languages, false alarms, and texts that were cut."""

from __future__ import annotations

from counterpoise.balance.intervals import wilson_interval
from counterpoise.filters.written import WrittenFilters
from counterpoise.report.schema import FilterAlarm, Filters
from counterpoise.runs.ledger import Ledger

_FOREIGN = ("other_language", "other_script")
_NAMES_SHOWN = 4


def describe_filters(written: WrittenFilters | None, ledger: Ledger) -> Filters:
    """What the filters of a run did; without filters nothing but the counts."""
    proposals = [
        (proposal, verdict)
        for _, judged in ledger.rounds
        for proposal, verdict in zip(judged.proposals, judged.verdicts, strict=True)
        if not proposal.nature.is_real and not proposal.failure
    ]
    alarms = []
    for alarm in written.alarms if written is not None else ():
        low, high = (
            (float(end) for end in wilson_interval(alarm.refused, alarm.n)) if alarm.n else (None, None)
        )
        alarms.append(
            FilterAlarm(alarm.name, n=alarm.n, refused=alarm.refused, low=low, high=high, note=alarm.note)
        )
    return Filters(
        languages=written.readers.languages.describe() if written is not None else {},
        alarms=alarms,
        written=len(proposals),
        cut_back=sum(proposal.finish_reason == "cut_back" for proposal, _ in proposals),
        cut_off=sum(verdict.reason == "cut_off" for _, verdict in proposals),
    )


def note_languages(written: WrittenFilters | None, ledger: Ledger) -> list[str]:
    """Sentences on the language of the data and of what was written, where there is something to say."""
    if written is None:
        return []
    shares = written.readers.languages.describe()
    notes = []
    if shares and list(shares) != ["en"]:
        told = ", ".join(f"{code} {share:.0%}" for code, share in list(shares.items())[:_NAMES_SHOWN])
        notes.append(
            f"Languages of the rows, as py3langid names them: {told}. Written texts may use each at its "
            "share; others are refused."
        )
    reasons = [verdict.reason for proposal, verdict in ledger.list_rejected() if not proposal.nature.is_real]
    n_foreign = sum(reason in _FOREIGN for reason in reasons)
    n_written = sum(len(judged) for _, judged in ledger.rounds)
    if n_foreign:
        notes.append(
            f"{n_foreign} of {n_written} proposals were refused because they are in another language or script "
            "than the rows: where they are many, the model does not write the language of the data."
        )
    return notes
