"""Why a run ended, what is still short then, and what would fill it: the last line of a run, for screen, page and JSON.

`balanced` is said only where no cell is short. That nothing is left to try is another thing than that nothing lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from counterpoise.actions.base import Costs
from counterpoise.core.plans import Cell, Deficit
from counterpoise.report.schema import CellCount, Ending, RetiredCell, count_cell
from counterpoise.runs.ledger import NOT_NEEDED, Ledger

StopKind = Literal["balanced", "budget", "time", "rounds", "share", "nothing_pays", "weights"]

MOST_NAMED = 3
"""Cells that the last line names; the others are counted."""

STALLED_ROUNDS = 5
"""After so many rounds in which the shortage never fell to a new low, nothing pays any more."""

_ANOTHER_MODEL = (
    "another model (`counterpoise doctor --model URL` says what this one can do), or real rows under `pool`"
)
_NO_REPLY = "`counterpoise doctor --model URL`: it says what the server does with such requests"
_FAILURES = frozenset({"quarantined", "no_reply", "refused", "unusable_reply"})


@dataclass(frozen=True, slots=True)
class Stop:
    """What ended the rounds.

    Args:
        kind: which of the ends it is.
        why: half a sentence, without a full stop.
    """

    kind: StopKind
    why: str


BALANCED = Stop("balanced", "the data is balanced")
NOTHING_PAYS = Stop("nothing_pays", "no action pays any more")


@dataclass(slots=True)
class Progress:
    """Whether the rounds still get anywhere: their shortage, its lowest value, and how many rounds ago that was.

    Every run ends by it, whatever cells do to each other: a new low is a smaller whole number.
    """

    lowest: int | None = None
    n_rounds: int = field(default=0)

    def is_stalled(self, short: Sequence[Deficit]) -> bool:
        """Take in what a settled round left short; whether the last rounds brought nothing."""
        total = sum(deficit.need for deficit in short)
        if self.lowest is None or total < self.lowest:
            self.lowest, self.n_rounds = total, 0
        else:
            self.n_rounds += 1
        return self.n_rounds >= STALLED_ROUNDS


def describe_ending(
    stop: Stop,
    short: Sequence[Deficit],
    ledger: Ledger,
    budget: int | None,
    remedies: Mapping[str, str] = MappingProxyType({}),
) -> Ending:
    """The end of a run: why, what is short, and what would fill it.

    Args:
        stop: what ended the rounds.
        short: all cells that are short now.
        ledger: the rounds.
        budget: tokens that the job allowed, None without a limit.
        remedies: reason of a refusal -> what helps where it is the most common one, as the filters say.
    """
    if not short:
        stop = BALANCED
    refused, n_proposed, tokens = _count_refused(short, ledger)
    reason, n_of_reason = refused.most_common(1)[0] if refused else ("", 0)
    needed = estimate_tokens(short, ledger)
    ending = Ending(
        kind=stop.kind,
        why=stop.why,
        short=[count_cell(one) for one in short],
        proposed=n_proposed,
        refused=sum(refused.values()),
        chief_reason=reason,
        chief_reason_count=n_of_reason,
        tokens=round(tokens),
        tokens_needed=None if needed is None else round(needed),
        advice=_advise(stop, short, _find_remedy(reason, remedies), needed, budget),
        sentence="",
        retired=list_retired(short, ledger),
    )
    return replace(ending, sentence=_say(ending))


def list_retired(short: Sequence[Deficit], ledger: Ledger) -> list[RetiredCell]:
    """The short cells that were given up, with what became of their proposals."""
    vain = ledger.find_vain()
    found = []
    for one in short:
        if one.cell not in vain:
            continue
        refused, n_proposed, tokens = _count_refused([one], ledger)
        if not n_proposed:
            reason = "nothing was proposed for it"
        elif not refused:
            reason = f"{n_proposed:,} proposals for {tokens:,.0f} tokens, and then none any more"
        else:
            name, _ = refused.most_common(1)[0]
            n_kept = n_proposed - sum(refused.values())
            reason = (
                f"{n_kept:,} of {n_proposed:,} proposals were good enough, for {tokens:,.0f} tokens; most were refused "
                f"as {name.replace('_', ' ')}"
            )
        found.append(RetiredCell(str(one.cell), reason))
    return found


def name_short(short: Sequence[CellCount]) -> str:
    """`bad lacks 46, bad with topic=food lacks 12 and 3 more cells are short`; "" where none is."""
    ordered = sorted(short, key=lambda cell: (-cell.need, cell.cell))
    named = ", ".join(f"{cell.cell} lacks {cell.need:,}" for cell in ordered[:MOST_NAMED])
    n_more = len(ordered) - MOST_NAMED
    if n_more <= 0:
        return named
    return f"{named} and {n_more:,} more cell{'s are' if n_more > 1 else ' is'} short"


def count_missing(short: Sequence[Deficit]) -> int:
    """Records that would fill all cells, each counted once for its label and once for a column of the user's."""
    labels: Counter[str] = Counter()
    columns: Counter[tuple[str, str, str]] = Counter()
    for one in short:
        cell = one.cell
        if cell.is_named:
            columns[cell.label, cell.concept, cell.attribute] += one.need
        else:
            labels[cell.label] = one.need
    for (label, _, _), need in columns.items():
        labels[label] = max(labels[label], need)
    return labels.total()


def estimate_tokens(short: Sequence[Deficit], ledger: Ledger) -> float | None:
    """Tokens that filling all cells would take at what a record has cost so far; None where none was kept."""
    written = [known for known in ledger.costs.values() if known.requests]
    total = Costs(
        sum(known.tried for known in written),
        sum(known.accepted for known in written),
        sum(known.tokens for known in written),
    )
    if not total.accepted or not short:
        return None
    return total.tokens / total.accepted * count_missing(short)


def _count_refused(short: Sequence[Deficit], ledger: Ledger) -> tuple[Counter[str], int, float]:
    """Of what was proposed for the short cells: refusals by reason, the most common first; how many; their tokens."""
    cells: set[Cell] = {deficit.cell for deficit in short}
    refused: Counter[str] = Counter()
    n_proposed, tokens = 0, 0.0
    for _, judged in ledger.rounds:
        for proposal, verdict in zip(judged.proposals, judged.verdicts, strict=True):
            if proposal.item.cell in cells:
                n_proposed, tokens = n_proposed + 1, tokens + proposal.tokens
                if not verdict.kept and verdict.reason != NOT_NEEDED:
                    refused[verdict.reason] += 1
    ordered = sorted(refused.items(), key=lambda pair: (-pair[1], pair[0]))
    return Counter(dict(ordered)), n_proposed, tokens


def _find_remedy(reason: str, remedies: Mapping[str, str]) -> str:
    """What helps where most were refused for a reason; "" where nothing was refused."""
    if reason in _FAILURES:
        return _NO_REPLY
    return remedies.get(reason, _ANOTHER_MODEL) if reason else ""


def _advise(
    stop: Stop, short: Sequence[Deficit], remedy: str, needed: float | None, budget: int | None
) -> str:
    """What would fill the cells, as one sentence."""
    if not short:
        return ""
    about = "" if needed is None else f" (about {_round_tokens(needed):,} tokens at what a record has cost)"
    if stop.kind == "time":
        return f"run the job again with more `minutes`: what was paid for is not asked again{about}"
    if stop.kind == "share":
        return "real rows of these labels, or a higher `max_synthetic_share`"
    if stop.kind == "rounds":
        return f"raise `rounds` or leave it out, in a new `output`: stored replies are used again{about}"
    if stop.kind == "budget" and needed is not None:
        wanted = _round_tokens((budget or 0) + needed)
        return (
            f"raise `budget` by about {_round_tokens(needed):,} tokens, to {wanted:,}, in a new `output`; "
            "stored replies are used again"
        )
    if remedy:
        return remedy
    if stop.kind == "budget":
        return "raise `budget`; unlabelled rows under `pool` are adopted for no token"
    return "more real rows of these cells, or a file of unlabelled ones under `pool`"


def _round_tokens(tokens: float) -> int:
    """Rounded up to two digits: an estimate has no more."""
    step = 10 ** max(0, len(str(int(tokens))) - 2)
    return int(-(-tokens // step) * step)


def _say(ending: Ending) -> str:
    """The whole of it as the last line of a run."""
    if not ending.short:
        return f"{ending.why}."
    parts = [f"{ending.why}: {name_short(ending.short)}"]
    if ending.refused:
        parts.append(
            f"{ending.refused:,} of {ending.proposed:,} proposals for them were refused, most often as "
            f"{ending.chief_reason.replace('_', ' ')} ({ending.chief_reason_count:,})"
        )
    if ending.proposed:
        parts.append(f"{ending.tokens:,} tokens were spent on them")
    return f"{'; '.join(parts)}. To fill them: {ending.advice}."
