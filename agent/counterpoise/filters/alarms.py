"""Where a measure of a text becomes a reason to refuse it: bars from the user's own rows, and how often they are wrong.

Nothing here knows what is measured. A measure is a number a text, the higher the odder. Its bar is a height that few of
the user's own rows reach (`choose_bars`); how many unseen real rows it would refuse is counted on rows that had no
part in setting it (`cross_refuse`). A handful of rows of a rare label cannot set a bar of their own: they share
the bar of all rows, raised where their own mean and spread say that it would hit them more often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from counterpoise.core.records import Floats, Integers

FEWEST_ROWS = 40
"""Rows that a bar needs: with fewer, the highest of them is passed by more than one real row in forty."""

MOST_REFUSED = 0.02
"""Share of unseen real rows that a filter may refuse: one that refuses more is weakened."""

_STEPS = (1.0, 0.5, 0.25, 0.0)
"""Parts of its share of alarms that a filter is tried with, one after the other, until it refuses few enough."""

_STRETCHES = (0.25, 0.5, 1.0)
"""Then bars are raised by so much of their distance from the middle row: of few rows the highest lies too low."""

_OWN_QUANTILE_FROM = 40
_BORROWED_ROWS = 5
"""So many rows' worth of the other labels' spread go into that of a rare label."""

Bars = Floats
"""(k,) the bar of each label; infinity where there is none."""


def choose_bars(
    scores: Floats,
    labels: Integers,
    n_labels: int,
    alarm: float,
    *,
    floor: float = -np.inf,
    pooled: bool = True,
) -> Bars:
    """Bars that about a share `alarm` of real rows of each label is above.

    Args:
        scores: (n,) of real rows; NaN where a row was not measured.
        labels: (n,) their label indices.
        n_labels: k.
        alarm: share of real rows that may be refused, 0 to 1.
        floor: no bar is lower.
        pooled: whether all labels are held to one bar where their own rows allow; else each to its own.

    Returns:
        (k,) bars; all infinite where fewer than `FEWEST_ROWS` rows were measured.
    """
    used = ~np.isnan(scores)
    values, owners = scores[used], labels[used]
    if len(values) < FEWEST_ROWS:
        return np.full(n_labels, np.inf)
    common = max(find_bar(values, alarm), floor)
    groups = [values[owners == label] for label in range(n_labels)]
    spreads = [group.var(ddof=1) for group in groups if len(group) > 1]
    spread = float(np.mean(spreads)) if spreads else float(values.var())
    bars = np.full(n_labels, common)
    for label, group in enumerate(groups):
        if not len(group):
            continue
        if len(group) >= _OWN_QUANTILE_FROM:
            own = find_bar(group, alarm)
        else:
            own = _foresee_bar(group, spread, alarm)
        bars[label] = max(common, own) if pooled else max(floor, own)
    return bars


def find_bar(values: Floats, alarm: float) -> float:
    """The value that the next one is above with probability `alarm`; the highest where there are few (conformal)."""
    n_above = max(0, int(alarm * (len(values) + 1)) - 1)
    return float(np.sort(values)[len(values) - 1 - n_above])


def _foresee_bar(group: Floats, spread: float, alarm: float) -> float:
    """The height that the next row of a small group passes with probability `alarm`, were its values normal."""
    n = len(group)
    own = float(group.var(ddof=1)) * (n - 1) if n > 1 else 0.0
    freedom = n - 1 + _BORROWED_ROWS
    deviation = np.sqrt((own + _BORROWED_ROWS * spread) / freedom)
    return float(group.mean() + student_t.ppf(1 - alarm, freedom) * deviation * np.sqrt(1 + 1 / n))


@dataclass(frozen=True, slots=True)
class Alarm:
    """How often a filter refuses real rows that had no part in setting it.

    Args:
        name: the reason it refuses with.
        n: real rows it was tried on; 0 where it could not be set.
        refused: of them.
        note: why it does nothing, or what else there is to say.
    """

    name: str
    n: int
    refused: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class SettledBars:
    """Bars of a measure that refuse few enough unseen rows.

    Args:
        bars: (k,) of the labels.
        refused: (n,) which of the rows bars of the other folds' rows refuse.
        alarm: how often, and what was weakened to what.
    """

    bars: Bars
    refused: NDArray[np.bool_]
    alarm: Alarm


def settle_bars(
    name: str,
    scores: Floats,
    labels: Integers,
    folds: Integers,
    n_labels: int,
    alarm: float,
    *,
    floor: float = -np.inf,
    pooled: bool = True,
    most: float = MOST_REFUSED,
) -> SettledBars:
    """Set bars at a share of alarms, or at less where rows that had no part in it are refused more often than `most`.

    Where the height of the highest row is not enough, bars rise beyond it by parts of its distance from the middle one,
    and where that is not either they are infinite.

    Args:
        name: the reason, for the alarm.
        scores: (n,) of real rows, each by what has not seen it; NaN where a row was not measured.
        labels: (n,) their label indices.
        folds: (n,) fold numbers.
        n_labels: k.
        alarm: share of real rows that may be refused, 0 to 1.
        floor: no bar is lower.
        pooled: whether all labels are held to one bar where their own rows allow.
        most: share of unseen rows that may be refused, 0 to 1.
    """
    n = int((~np.isnan(scores)).sum())
    nothing = np.full(n_labels, np.inf), np.zeros(len(scores), dtype=np.bool_)
    if n < FEWEST_ROWS:
        note = f"It refuses nothing: {n} rows can be measured, it takes {FEWEST_ROWS} to set it."
        return SettledBars(*nothing, Alarm(name, 0, 0, note))
    first, count = 0, 0
    for place, (step, stretch) in enumerate(
        [*((step, 0.0) for step in _STEPS), *((0.0, s) for s in _STRETCHES)]
    ):
        choose = partial(
            _choose_stretched,
            stretch=stretch,
            n_labels=n_labels,
            alarm=step * alarm,
            floor=floor,
            pooled=pooled,
        )
        refused = cross_refuse(scores, labels, folds, choose)
        count = int(refused.sum())
        first = count if place == 0 else first
        if count <= most * n:
            told = (
                f"{step * alarm:.2%} of rows"
                if not stretch
                else f"what lies {stretch:.0%} beyond the highest row"
            )
            note = _tell_weakened(first, n, most, told) if place else ""
            return SettledBars(choose(scores, labels), refused, Alarm(name, n, count, note))
    return SettledBars(*nothing, Alarm(name, n, 0, _tell_weakened(first, n, most, "nothing")))


def _choose_stretched(
    scores: Floats,
    labels: Integers,
    *,
    stretch: float,
    n_labels: int,
    alarm: float,
    floor: float,
    pooled: bool,
) -> Bars:
    bars = choose_bars(scores, labels, n_labels, alarm, floor=floor, pooled=pooled)
    used = scores[~np.isnan(scores)]
    return bars + stretch * (bars - np.median(used)) if stretch and len(used) else bars


def _tell_weakened(count: int, n: int, most: float, what: str) -> str:
    return (
        f"Weakened: it refused {count} of {n} unseen rows, more than {most:.0%}; it is set to refuse {what}."
    )


def cross_refuse(
    scores: Floats,
    labels: Integers,
    folds: Integers,
    choose: Callable[[Floats, Integers], Bars],
) -> NDArray[np.bool_]:
    """(n,) whether a bar set on the other folds' rows refuses a row.

    Args:
        scores: (n,) of real rows.
        labels: (n,) their labels.
        folds: (n,) fold numbers.
        choose: sets the bars from scores and labels.
    """
    refused = np.zeros(len(scores), dtype=np.bool_)
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        refused[outside] = scores[outside] > choose(scores[inside], labels[inside])[labels[outside]]
    return refused
