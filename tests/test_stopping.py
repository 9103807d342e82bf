"""Why a run ends before another round: rules in their order, and a bound on what a model may have made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from counterpoise.core.plans import Cell, Deficit
from counterpoise.llm import TokenBudget
from counterpoise.runs.endings import STALLED_ROUNDS, Progress, Stop
from counterpoise.runs.ledger import Ledger
from counterpoise.runs.stopping import StopState, cap_written, find_stop

SHORT = (Deficit(Cell("bad"), 10, 60),)


def state(**keys: Any) -> StopState:
    return replace(StopState(1, SHORT, SHORT, SHORT, TokenBudget(1000), Progress()), **keys)


def test_a_round_may_begin_where_no_rule_says_anything() -> None:
    assert find_stop(state()) is None
    assert find_stop(state(), [lambda known: Stop("rounds", f"it is round {known.number}")]) == Stop(
        "rounds", "it is round 1"
    )


@pytest.mark.parametrize(
    ("keys", "kind", "why"),
    [
        ({"short": (), "open_cells": ()}, "balanced", "balanced"),
        ({"number": 3, "n_rounds": 2}, "rounds", "all 2 rounds"),
        ({"number": 2, "n_rounds": 1}, "rounds", "the one round"),
        ({"open_cells": (), "max_synthetic": 0.5}, "share", "50% are written"),
        ({"open_cells": ()}, "nothing_pays", "no action"),
        ({"paying": (), "open_cells": (), "max_synthetic": 0.5}, "nothing_pays", "no action"),
        ({"short": (), "open_cells": (), "number": 9, "n_rounds": 2}, "balanced", "balanced"),
    ],
)
def test_the_first_rule_that_says_something_ends_the_run(keys: dict[str, Any], kind: str, why: str) -> None:
    stop = find_stop(state(**keys))
    assert stop is not None and stop.kind == kind and why in stop.why


def test_minutes_and_rounds_without_progress_end_it_too() -> None:
    budget = TokenBudget(1000)
    budget.end_after(-1.0)
    stop = find_stop(state(budget=budget, minutes=2.0))
    assert stop is not None and stop.kind == "time" and "2 minutes" in stop.why
    progress = Progress()
    stops = [find_stop(state(progress=progress)) for _ in range(STALLED_ROUNDS + 1)]
    assert [stop is None for stop in stops] == [True] * STALLED_ROUNDS + [False]


def test_no_label_is_planned_beyond_the_share_that_a_model_may_have_made() -> None:
    cells = (
        *SHORT,
        Deficit(Cell("bad", attribute="source", value="web"), 2, 90),
        Deficit(Cell("ugly"), 2, 60),
    )
    found = cap_written(cells, Ledger(), {"bad": 30, "ugly": 2, "good": 60}, 0.5)
    # Thirty of the user's own allow for thirty written ones, two for two, which is too few to do anything about.
    assert [(one.cell.label, one.need) for one in found] == [("bad", 30), ("bad", 30)]
    # Named cells share what their label may get; one that would get too little to matter is left out.
    print_, shop = (Deficit(Cell("bad", attribute="source", value=name), 2, 22) for name in ("print", "shop"))
    found = cap_written([*SHORT, print_, shop, replace(shop, have=1)], Ledger(), {"bad": 30}, 0.5)
    assert [(one.cell.value, one.need) for one in found] == [("", 30), ("print", 20), ("shop", 10)]
