"""What a target means for weights, and what weighing rows leaves."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.balance.margins import list_margins
from counterpoise.balance.profiles import Profile
from counterpoise.balance.targets.raking import rake
from counterpoise.core.plans import Cell
from counterpoise.core.records import Records
from counterpoise.runs.weighing_rows import weigh_own_rows
from tests.test_joint_plan import BAD, GOOD, make_records

SKEWED = {
    Profile(GOOD, ("food",)): 250,
    Profile(GOOD): 150,
    Profile(BAD, ("food",)): 50,
    Profile(BAD): 100,
}
TORN = {
    Profile(GOOD, ("food",), (("source", "web"),)): 250,
    Profile(GOOD, (), (("source", "shop"),)): 150,
    Profile(BAD, ("food",), (("source", "shop"),)): 50,
    Profile(BAD, (), (("source", "web"),)): 100,
}
"""Whatever makes food independent of the label makes source depend on it."""


def measure(records: Records, weights: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
    """Share of the first label, and P(good | food) - P(good | no food), by weight."""
    assert records.concepts is not None
    food, good = records.concepts.states[:, 0] == 1, records.labels == 1
    both = [float(weights[good & side].sum() / weights[side].sum()) for side in (food, ~food)]
    return float(weights[~good].sum() / weights.sum()), both[0] - both[1]


def test_equal_shares_make_label_and_concept_independent() -> None:
    records = make_records(SKEWED)
    found = weigh_own_rows(records, "equal")
    share, correlation = measure(records, found.raked.weights)
    assert share == pytest.approx(0.5, abs=2e-3)
    assert correlation == pytest.approx(0, abs=5e-3)
    assert measure(records, np.ones(len(records)))[1] > 0.2
    assert found.short == ()
    assert found.raked.effective_size < len(records)
    assert "which tell as much as" in found.notes[0]


@pytest.mark.parametrize(
    ("target", "share", "most"), [({BAD: 1.0, GOOD: 4.0}, 0.2, 0.01), ("enough", 0.4, 0.01)]
)
def test_labels_have_the_shares_of_the_target(
    target: str | dict[str, float], share: float, most: float
) -> None:
    records = make_records(SKEWED)
    found = measure(records, weigh_own_rows(records, target).raked.weights)
    assert found[0] == pytest.approx(share, abs=0.08 if target == "enough" else 2e-3)
    assert abs(found[1]) < most


@pytest.mark.parametrize("limit", [0.05, 0.15, 0.9])
def test_a_correlation_is_brought_to_what_is_wanted_and_no_further(limit: float) -> None:
    records = make_records(SKEWED)
    before = measure(records, np.ones(len(records)))
    after = measure(records, weigh_own_rows(records, f"correlation {limit}").raked.weights)
    assert after[1] == pytest.approx(min(limit, before[1]), abs=5e-3)
    assert after[0] == pytest.approx(before[0], abs=5e-3)


def test_margins_are_named_as_cells_are_and_sum_to_one() -> None:
    margins = list_margins(make_records(TORN))
    assert margins[0].level_names == (BAD, GOOD)
    assert "bad with food" in margins[1].level_names
    assert "good with source=web" in margins[-1].level_names
    for margin in margins:
        assert margin.shares.sum() == pytest.approx(1)
    assert rake(margins[:2], 550).is_met


def test_what_weights_cannot_fill_is_said() -> None:
    records = make_records({Profile(GOOD, ("food",)): 300, Profile(GOOD): 100, Profile(BAD): 5})
    found = weigh_own_rows(records, "equal")
    assert "bad with food" in found.raked.empty
    assert Cell(BAD, concept="food") in {one.cell for one in found.short}
    assert Cell(BAD) in {one.cell for one in found.short}, "weights are bounded"
    assert any(note.startswith("no weight fills what has no row: bad with food") for note in found.notes)
    assert any("out of balance by weight stays: " in note for note in found.notes)


def test_balanced_rows_weigh_one_each() -> None:
    even = {Profile(label, marks): 40 for label in (BAD, GOOD) for marks in ((), ("food",))}
    np.testing.assert_allclose(weigh_own_rows(make_records(even), "equal").raked.weights, 1, atol=1e-6)


def test_margins_that_contradict_one_another_are_met_half_way_and_said() -> None:
    records = make_records(TORN)
    found = weigh_own_rows(records, "equal")
    assert found.raked.missed
    share, correlation = measure(records, found.raked.weights)
    assert share == pytest.approx(0.5, abs=0.05)
    assert abs(correlation) < abs(measure(records, np.ones(len(records)))[1])
