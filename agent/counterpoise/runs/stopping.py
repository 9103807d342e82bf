"""Why another round is not to begin: rules that are asked one after the other.

A rule is a callable that sees the state of the run and says why it ends, or None. A round that can be begun and buys
nothing ends a run as well: the budget does not reach, or no way pays any more (`planner`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from counterpoise.balance.deficits import SMALLEST_USEFUL_COUNT
from counterpoise.core.plans import Deficit
from counterpoise.llm import TokenBudget
from counterpoise.runs.endings import BALANCED, NOTHING_PAYS, Progress, Stop
from counterpoise.runs.ledger import Ledger


@dataclass(frozen=True, slots=True)
class StopState:
    """What a rule may know.

    Args:
        number: of the round that would begin, from 1.
        short: the cells that are short.
        paying: those of them in which something still pays.
        open_cells: those of these in which more may be written.
        budget: of tokens and time.
        progress: of the rounds so far.
        n_rounds: rounds that the job allows, None without a limit.
        minutes: that it allows.
        max_synthetic: share of a label's records that a model may have made.
    """

    number: int
    short: Sequence[Deficit]
    paying: Sequence[Deficit]
    open_cells: Sequence[Deficit]
    budget: TokenBudget
    progress: Progress
    n_rounds: int | None = None
    minutes: float | None = None
    max_synthetic: float | None = None


StopRule: TypeAlias = Callable[[StopState], Stop | None]


def stop_balanced(state: StopState) -> Stop | None:
    """No cell is short."""
    return None if state.short else BALANCED


def stop_in_time(state: StopState) -> Stop | None:
    """The minutes are spent."""
    return stop_for_time(state.minutes) if state.budget.is_time_up else None


def stop_after_rounds(state: StopState) -> Stop | None:
    """The rounds that the job allows are done."""
    if state.n_rounds is None or state.number <= state.n_rounds:
        return None
    done = f"all {state.n_rounds} rounds are done" if state.n_rounds > 1 else "the one round is done"
    return Stop("rounds", done)


def stop_at_share(state: StopState) -> Stop | None:
    """What is short could be written, and may hold no more records that a model has made.

    Students that learn from what models like them wrote drift away from people's records (Taori and Hashimoto, 2023,
    Data Feedback Loops): who wants a bound on it names one.
    """
    if state.max_synthetic is None or state.open_cells or not state.paying:
        return None
    return Stop("share", f"of the labels that are short {state.max_synthetic:.0%} are written records")


def stop_stalled(state: StopState) -> Stop | None:
    """The last rounds brought nothing, or no way of any short cell pays any more."""
    return NOTHING_PAYS if state.progress.is_stalled(state.short) or not state.open_cells else None


RULES: tuple[StopRule, ...] = (stop_balanced, stop_in_time, stop_after_rounds, stop_at_share, stop_stalled)
"""In the order in which they are asked."""


def find_stop(state: StopState, rules: Sequence[StopRule] = RULES) -> Stop | None:
    """What the first rule says that says anything; None where a round may begin."""
    return next((stop for rule in rules if (stop := rule(state)) is not None), None)


def stop_for_time(minutes: float | None) -> Stop:
    """The end of a run whose minutes are spent."""
    return Stop("time", f"the {minutes or 0:g} minutes are spent")


def cap_written(
    deficits: Sequence[Deficit], ledger: Ledger, n_own: dict[str, int], share: float
) -> list[Deficit]:
    """What cells may still get where a model may have made a share of a label's records at most.

    What a label may still get its named cells share: the first of them take it. A record of theirs is one of the label,
    too, so the label itself is bounded by the whole.

    Args:
        deficits: of the short cells.
        ledger: what was added so far.
        n_own: label -> rows of the user's.
        share: above 0, below 1.
    """
    real, written = dict(n_own), dict.fromkeys(n_own, 0)
    for proposal, _ in ledger.list_accepted():
        counts = real if proposal.nature.is_real else written
        counts[proposal.label] = counts.get(proposal.label, 0) + 1
    whole = {label: int(share / (1 - share) * n) - written.get(label, 0) for label, n in real.items()}
    of_named = dict(whole)
    capped = []
    for one in deficits:
        left = of_named if one.cell.is_named else whole
        most = left.get(one.cell.label, 0)
        if most >= SMALLEST_USEFUL_COUNT:
            capped.append(replace(one, want=min(one.want, one.have + most)))
            if one.cell.is_named:
                of_named[one.cell.label] -= capped[-1].need
    return capped
