"""Where a measure of a text becomes a reason to refuse it: bars from the user's own rows, and how often they are wrong.

Nothing here knows what is measured. A measure is a number a text, the higher the odder. Its bar is a height that few of
the user's own rows reach (`choose_bars`); how many unseen real rows it would refuse is counted on rows that had no
part in setting it (`cross_refuse`). A handful of rows of a rare label cannot set a bar of their own: they share
the bar of all rows, raised where their own mean and spread say that it would hit them more often.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student_t

from counterpoise.core.records import Floats, Integers

FEWEST_ROWS = 40
"""Rows that a bar needs: with fewer, the highest of them is passed by more than one real row in forty."""

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
