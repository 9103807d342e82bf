"""What records help where it is measured: how far the run's metric rises by the error curves of the user's own rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from counterpoise.balance.deficits import choose_cells, list_short_cells
from counterpoise.core.plans import Cell, Deficit
from counterpoise.runs.beliefs import UNKNOWN_WORTH
from counterpoise.runs.gains import Gains, ShareGains
from counterpoise.runs.ledger import Ledger
from counterpoise.students.base import Student
from counterpoise.students.error_curves import ErrorCurves, JudgedBy, find_members, measure_error_curves
from counterpoise.students.metrics import METRIC_NAMES
from counterpoise.students.rows import view_rows
from counterpoise.students.samples import draw_sample
from counterpoise.tasks.text.parts import RunContext

_LEAST = 1e-6
"""Of what counts alone say, for a cell that the metric does not hear of: so that order is left where nothing helps."""


class CurveGains:
    """By error curves; of cells without one what counts say, on the scale of those that have one.

    Args:
        curves: of the cells.
        by_counts: what counts say.
        had: cell -> real rows that records of earlier rounds count for.
    """

    def __init__(self, curves: ErrorCurves, by_counts: ShareGains, had: Mapping[Cell, float]) -> None:
        self._curves, self._by_counts, self._had = curves, by_counts, had
        self.unit = f"points of {METRIC_NAMES.get(curves.metric, 'the worst cell')}"
        self._scale = self._compare()

    def gain(self, cell: Cell, given: float, more: float, worth: float = 1.0) -> float:
        """See `Gains`; in points, 0 to 100."""
        by_counts = self._by_counts.gain(cell, given, more, worth)
        if not self._is_known(cell):
            return 100 * self._scale * by_counts
        had = self._had.get(cell, 0.0) + worth * max(0.0, given)
        fall = self._fall(cell, had + worth * more) - self._fall(cell, had)
        return 100 * (max(0.0, fall) + _LEAST * self._scale * by_counts)

    def _is_known(self, cell: Cell) -> bool:
        known = self._curves.curves.get(cell)
        return known is not None and known.fitted.curve is not None

    def _fall(self, cell: Cell, more: float) -> float:
        return self._curves.expect_fall(cell, more) or 0.0 if more > 0 else 0.0

    def _compare(self) -> float:
        """What a curve says for each nat that counts say, median over the cells that have both; 1 without any."""
        ratios = []
        for cell, known in self._curves.curves.items():
            nats = self._by_counts.gain(cell, 0.0, 1.0)
            if nats > 0 and self._is_known(cell) and known.have:
                ratios.append(self._fall(cell, 1.0) / nats)
        return float(np.median(ratios)) or 1.0 if ratios else 1.0


def open_gains(context: RunContext, deficits: Sequence[Deficit], ledger: Ledger) -> Callable[[], Gains]:
    """What measures the gains when a plan asks for them: where a budget pays for everything none does.

    Args:
        context: of the run; curves are of the user's rows alone, and measured once.
        deficits: of the short cells.
        ledger: settled rounds.
    """
    by_counts = ShareGains({one.cell: one for one in deficits})

    def measure() -> Gains:
        student, metric = context.student, context.metric
        if student is None:
            return by_counts
        curves = context.data.recall("error curves", lambda: _measure(context, student, metric))
        has_any = any(one.fitted.curve is not None for one in curves.curves.values())
        return CurveGains(curves, by_counts, _count_had(ledger)) if has_any else by_counts

    return measure


def _measure(context: RunContext, student: Student, metric: JudgedBy) -> ErrorCurves:
    """The curves of the cells that are short before anything is added, and of their labels."""
    inputs = context.inputs
    short = choose_cells(list_short_cells(inputs.train.records, inputs.corrected, context.target), ())
    cells = sorted({one.cell for one in short} | {Cell(one.cell.label) for one in short})
    drawn = draw_sample(inputs.train.records).rows
    train = inputs.train.take(drawn)
    records = train.records
    return measure_error_curves(
        view_rows(train),
        records.ids,
        inputs.folds[drawn],
        len(records.label_names),
        student,
        find_members(records, cells),
        metric,
    )


def _count_had(ledger: Ledger) -> dict[Cell, float]:
    """Cell -> real rows that the records of earlier rounds count for, each label with all of its own."""
    had: dict[Cell, float] = {}
    for proposal, _ in ledger.list_accepted():
        for cell in {proposal.item.cell, Cell(proposal.label)}:
            had[cell] = had.get(cell, 0.0) + (1.0 if proposal.nature.is_real else UNKNOWN_WORTH)
    return had
