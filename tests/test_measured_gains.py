"""What records help by error curves: a budget that does not reach for everything goes where the metric rises most."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.core.plans import Cell, Deficit
from counterpoise.runs.gains import ShareGains
from counterpoise.runs.measured_gains import CurveGains
from counterpoise.runs.planner import make_plan
from counterpoise.students.curve_fits import Curve, FittedCurve, SizedErrors
from counterpoise.students.error_curves import CellCurve, ErrorCurves, JudgedBy
from counterpoise.tasks.text.job import job_from
from tests.made_up import make_offers

STEEP, FLAT, BLIND = Cell("steep"), Cell("flat"), Cell("blind")
CELLS = (BLIND, FLAT, STEEP)
DEFICITS = {cell: Deficit(cell, 20, 320) for cell in CELLS}
SCALES = {STEEP: 1.0, FLAT: 0.1, BLIND: None}


def make_curves(metric: JudgedBy = "macro_f1", worst: Cell = STEEP) -> ErrorCurves:
    points = SizedErrors(np.array([20.0]), np.array([0.3]), np.eye(1), 0.3)
    curves = {}
    for cell, scale in SCALES.items():
        curve = None if scale is None else Curve(0.05, scale, 0.5)
        curves[cell] = CellCurve(cell, 20, 0.3, points, FittedCurve(curve, 0.3, 0.1, 0.01, 1.0))
    errors = np.array([[0.9 if cell == worst else 0.2 for cell in curves]] * 5)
    return ErrorCurves(metric, 0.3, curves, errors)


def gains(metric: JudgedBy = "macro_f1", worst: Cell = STEEP) -> CurveGains:
    return CurveGains(make_curves(metric, worst), ShareGains(DEFICITS), {})


def test_gains_are_points_of_the_metric_and_fall_with_what_was_given() -> None:
    known = gains()
    first = known.gain(STEEP, 0, 40, worth=0.5)
    assert first == pytest.approx(100 * (20**-0.5 - 40**-0.5), rel=1e-3)
    assert known.gain(STEEP, 40, 40, worth=0.5) < first
    assert known.gain(FLAT, 0, 40, worth=0.5) == pytest.approx(first / 10, rel=1e-3)
    assert known.unit == "points of macro-F1"
    # What no curve is known of is measured by counts, on the scale of the others.
    assert known.gain(FLAT, 0, 1) < known.gain(BLIND, 0, 1) < known.gain(STEEP, 0, 1)


def test_of_the_worst_group_the_others_hardly_count() -> None:
    known = gains("worst_group", worst=FLAT)
    assert known.gain(FLAT, 0, 20) > 100 * known.gain(STEEP, 0, 20) > 0
    assert known.unit == "points of the worst cell"


def test_a_short_budget_goes_where_the_metric_rises_and_a_long_one_needs_no_curve() -> None:
    asked: list[CurveGains] = []

    def open_gains() -> CurveGains:
        asked.append(gains())
        return asked[-1]

    def plan(tokens: int | None) -> dict[Cell, int]:
        offers = dict.fromkeys(CELLS, make_offers(600))
        made = make_plan(
            list(DEFICITS.values()),
            offers,
            {},
            round_number=1,
            n_rounds=1,
            remaining_tokens=tokens,
            gains=open_gains,
        )
        return {item.cell: item.n_requests for item in made.items}

    short = plan(12 * 600)
    assert short[STEEP] > short.get(FLAT, 0) and asked
    asked.clear()
    assert set(plan(None)) == set(CELLS) and not asked


def test_with_the_worst_group_ways_are_compared_by_macro_f1() -> None:
    job = job_from(data="reviews.csv", text="text", label="label", llm="embedded", metric="worst_group")
    assert job.scored_by == "macro_f1" and job.metric == "worst_group"
