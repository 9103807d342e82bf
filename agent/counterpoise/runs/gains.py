"""What more records of a cell are expected to help, before anything of the kind was bought.

Where nothing was measured a cell's gain is the rise of the entropy of the shares of its family (the labels, or the
labels within one concept or value), to first order: each record more of a cell that has ``h`` and should have ``w``
counts ``log(w / h)``. So the first records of a cell that is nearly empty help most, the last before it is full hardly,
and what is beyond helps nothing (entropy-driven mixtures: Ge et al., 2024, Data Mixing Made Efficient).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Protocol

from counterpoise.core.plans import Cell, Deficit


class Gains(Protocol):
    """What records help.

    Attributes:
        unit: what a gain is told in, as in "by what they help for a token, told in *points of macro-F1*".
    """

    @property
    def unit(self) -> str: ...  # noqa: D102

    def gain(self, cell: Cell, given: float, more: float, worth: float = 1.0) -> float:
        """What records help a cell; 0 or more, and falling the more it has got.

        Args:
            cell: the cell.
            given: records that it has got since it was counted.
            more: records, each of which
            worth: stands for so many real ones.
        """
        ...


class ShareGains:
    """By counts alone: how much nearer records bring the shares of a family to what they should be.

    Args:
        deficits: the cells that lack records.
    """

    unit = "how thin cells are"

    def __init__(self, deficits: Mapping[Cell, Deficit]) -> None:
        self._deficits = deficits

    def gain(self, cell: Cell, given: float, more: float, worth: float = 1.0) -> float:
        """See `Gains`; 0 for a cell that lacks nothing.

        >>> from counterpoise.core.plans import Cell, Deficit
        >>> gains = ShareGains({Cell("rare"): Deficit(Cell("rare"), 10, 40)})
        >>> round(gains.gain(Cell("rare"), 0, 10), 1), round(gains.gain(Cell("rare"), 20, 10), 1)
        (10.0, 1.4)
        """
        known = self._deficits.get(cell)
        if known is None or more <= 0:
            return 0.0
        low = min(max(0.0, known.have + given), known.want)
        return worth * (_sum_logs(min(low + more, known.want), known.want) - _sum_logs(low, known.want))


def _sum_logs(have: float, want: float) -> float:
    """Integral of log(want / x) from 0 to `have`."""
    return have * (1.0 + log(want / have)) if have > 0 else 0.0
