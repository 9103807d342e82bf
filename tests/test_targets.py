"""How many records a cell should have: enough, a chosen correlation, tolerances, raked margins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.balance.association import measure_residuals
from counterpoise.balance.profiles import Profile
from counterpoise.balance.targets.correlation import (
    add_closest,
    add_fewest,
    find_correlation_deficits,
    find_shape,
    measure_correlation,
)
from counterpoise.balance.targets.enough import count_enough, find_enough, find_enough_deficits
from counterpoise.balance.targets.raking import Margin, rake
from counterpoise.balance.targets.tolerances import plan_within_tolerances
from counterpoise.core.plans import Cell
from tests.test_joint_plan import BAD, GOOD, make_records

WORKED = (250, 250, 50, 450)
"""The example of METHODS 3.4, in the order 11, 10, 01, 00."""


def test_the_nearest_shape_of_a_correlation() -> None:
    np.testing.assert_allclose(find_shape((0.4, 0.1, 0.1, 0.4), 0.0), 0.25, atol=1e-6)
    np.testing.assert_allclose(
        find_shape((0.4, 0.1, 0.1, 0.4), 0.18), (0.295, 0.205, 0.205, 0.295), atol=1e-6
    )


@pytest.mark.parametrize(("correlation", "closest", "fewest"), [(0.0, 970, 371), (0.18, 401, 166)])
def test_additions_of_the_worked_example(correlation: float, closest: int, fewest: int) -> None:
    nearest, least = add_closest(WORKED, correlation), add_fewest(WORKED, correlation)
    assert (nearest.sum(), least.sum()) == (closest, fewest)
    for added in (nearest, least):
        assert measure_correlation(WORKED + added) == pytest.approx(correlation, abs=2e-3)
    if not correlation:
        assert least.tolist() == [0, 78, 293, 0]


def test_dear_cells_are_filled_less() -> None:
    dear = add_fewest(WORKED, 0.0, (1, 1, 10, 1))
    assert dear[2] < 293
    assert dear[1] > 78
    assert measure_correlation(WORKED + dear) == pytest.approx(0, abs=2e-3)


FOUR = st.lists(st.integers(1, 500), min_size=4, max_size=4)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(FOUR, st.floats(0, 0.9))
def test_a_correlation_is_never_more_than_wanted_and_nothing_is_taken(
    counts: list[int], wanted: float
) -> None:
    added = add_fewest(counts, wanted)
    assert (added >= 0).all()
    assert abs(measure_correlation(np.array(counts) + added)) <= max(wanted, 0) + 0.51 / min(
        counts[0] + counts[2], counts[1] + counts[3]
    )
    if abs(measure_correlation(counts)) <= wanted:
        assert not added.any()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(FOUR, st.floats(-0.8, 0.8))
def test_shapes_have_the_correlation_and_are_shares(counts: list[int], wanted: float) -> None:
    shape = find_shape(counts, wanted)
    assert shape.sum() == pytest.approx(1)
    assert (shape >= 0).all()
    assert measure_correlation(shape) == pytest.approx(wanted, abs=1e-6)


def test_a_concept_that_goes_with_a_label_lacks_rows_and_others_do_not() -> None:
    counts = {
        Profile(GOOD, ("food",)): 250,
        Profile(GOOD): 250,
        Profile(BAD, ("food",)): 50,
        Profile(BAD): 450,
    }
    found = {one.cell: one.need for one in find_correlation_deficits(make_records(counts), 0.0)}
    assert found == {Cell(BAD, concept="food"): 293, Cell(GOOD): 78}
    assert find_correlation_deficits(make_records(counts), 0.6) == []


def test_a_cell_is_full_where_its_next_slice_is_worth_its_price() -> None:
    full = count_enough(2.0, 0.5, price=3_000, worth=0.3, value=1e6, slice_size=20)
    slope = 2.0 * 0.5 * full**-1.5
    assert slope * 0.3 * 1e6 * 20 == pytest.approx(3_000)
    assert count_enough(0.0, 0.5, price=3_000) == 0
    assert count_enough(2.0, 0.5, price=6_000, worth=0.3, value=1e6) < full


def test_sixty_labels_ask_for_a_tenth_of_equal_at_most() -> None:
    rows = np.geomspace(12, 6_000, 60).round()
    enough = find_enough(rows)
    asked, equal = np.maximum(0, enough - rows).sum(), (rows.max() - rows).sum()
    assert 0 < asked <= equal / 10
    assert find_enough(rows * 3) == pytest.approx(3 * enough)
    assert find_enough(rows, worth=0.1) < enough


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=80))
def test_enough_lies_between_the_least_and_the_largest(counts: list[int]) -> None:
    assert min(counts) - 1e-6 <= find_enough(counts) <= max(counts) + 1e-6


def test_enough_asks_nothing_of_even_cells() -> None:
    even = {Profile(label, marks): 30 for label in (BAD, GOOD) for marks in ((), ("food",))}
    assert find_enough_deficits(make_records(even)) == []
    skewed = {Profile(GOOD): 300, Profile(BAD): 15}
    found = find_enough_deficits(make_records(skewed))
    assert [one.cell for one in found] == [Cell(BAD)]
    assert 15 < found[0].want < 300
    known = find_enough_deficits(make_records(skewed), known={Cell(BAD): 300.0})
    assert known == []


def test_residuals_are_brought_within_their_tolerances() -> None:
    counts = {
        Profile(GOOD, ("food",)): 250,
        Profile(GOOD): 250,
        Profile(BAD, ("food",)): 50,
        Profile(BAD): 450,
    }
    prices = dict.fromkeys(counts, 1.0)
    found = plan_within_tolerances(prices, counts, association_tolerance=0.02, n_errors=0)
    assert found.missed == {}
    after = {profile: count + found.additions.get(profile, 0) for profile, count in counts.items()}
    n = sum(after.values())
    rate = 300 / 1000
    with_food = sum(count for profile, count in after.items() if profile.concepts)
    assert abs(with_food / n - rate) <= 0.02 + 1e-6
    for label in (BAD, GOOD):
        mine = sum(
            count * ((1.0 if profile.concepts else 0.0) - rate)
            for profile, count in after.items()
            if profile.label == label
        )
        assert abs(mine / n) <= 0.02 + 1e-6
    present, known = np.array([[50, 250]]), np.array([[500, 500]])
    assert measure_residuals(present, known).hinge_sum > 0
    wide = plan_within_tolerances(prices, counts, association_tolerance=0.2)
    assert wide.additions == {}


def test_tolerances_that_nothing_meets_are_named() -> None:
    counts = {Profile(GOOD, ("food",)): 90, Profile(BAD): 90}
    found = plan_within_tolerances({Profile(GOOD, ("food",)): 1.0}, counts)
    assert "food and good" in found.missed
    assert plan_within_tolerances({}, counts).additions == {}
    rates = plan_within_tolerances(
        dict.fromkeys(counts, 1.0), counts, {"food": 0.8}, association_tolerance=1.0, n_errors=0
    )
    assert rates.additions == {Profile(GOOD, ("food",)): pytest.approx(230, abs=40)}


def make_margins(first: list[float], second: list[float]) -> list[Margin]:
    labels, groups = np.repeat([0, 0, 1, 1], (40, 10, 20, 30)), np.repeat([0, 1, 0, 1], (40, 10, 20, 30))
    return [
        Margin("label", labels, np.array(first), ("bad", "good")),
        Margin("source", groups, np.array(second), ("web", "shop")),
    ]


def test_raked_weights_meet_all_margins_at_once() -> None:
    margins = make_margins([1, 3], [0.5, 0.5])
    found = rake(margins, 100)
    assert found.is_met
    assert found.weights.mean() == pytest.approx(1)
    for margin, wanted in zip(margins, ([0.25, 0.75], [0.5, 0.5]), strict=True):
        shares = np.bincount(margin.levels, found.weights) / 100
        np.testing.assert_allclose(shares, wanted, atol=1e-3)
    assert 1 < found.effective_size < 100
    even = rake(make_margins([50, 50], [60, 40]), 100)
    np.testing.assert_allclose(even.weights, 1, atol=1e-6)
    assert even.effective_size == pytest.approx(100)


def test_an_empty_level_and_targets_that_contradict_are_said() -> None:
    labels = np.repeat([0, 1], 50)
    empty = rake([Margin("label", labels, np.ones(3), ("bad", "good", "mixed"))], 100)
    assert empty.empty == ("label=mixed",)
    assert not empty.is_met
    # Both columns are the same, and are to have other shares.
    names = ("bad", "good")
    torn = rake(
        [
            Margin("label", labels, np.array([0.5, 0.5]), names),
            Margin("copy", labels, np.array([0.8, 0.2]), names),
        ],
        100,
    )
    assert torn.missed
    assert torn.n_sweeps >= 200
    far = rake([Margin("label", np.repeat([0, 1], (99, 1)), np.ones(2), names)], 100)
    assert far.weights.max() / far.weights.min() <= 25 + 1e-6
    assert set(far.missed) == {"label=bad", "label=good"}


def test_rows_without_a_level_keep_their_weight_among_the_others() -> None:
    levels = np.repeat([0, 1, -1], (30, 10, 60))
    found = rake([Margin("food", levels, np.ones(2), ("absent", "present"))], 100)
    assert found.is_met
    assert np.ptp(found.weights[40:]) == 0
    assert found.weights[30] == pytest.approx(3 * found.weights[0], rel=1e-3)
