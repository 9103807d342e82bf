"""What more rows of a cell are expected to bring: curves, what cells lend one another, and measuring on rows."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.core.plans import Cell
from counterpoise.core.records import ConceptColumns, Floats, Integers, Objects, Records
from counterpoise.students.curve_fits import Curve, SizedErrors, fit_curves, shrink
from counterpoise.students.error_curves import (
    MOST_ROWS,
    ErrorCurves,
    JudgedBy,
    find_members,
    measure_error_curves,
)
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.thinned_scores import ThinnedScores
from tests.made_up import VECTORS, WORDS, as_objects

SIZES = np.array([50.0, 100.0, 150.0, 200.0])
RARE, PLENTY, LOST = Cell("0"), Cell("1"), Cell("2")


def make_points(curve: Curve, sizes: Floats = SIZES, variance: float = 1e-8) -> SizedErrors:
    errors = np.array([curve.expect_error(size) for size in sizes])
    return SizedErrors(sizes, errors, np.eye(len(sizes)) * variance, float(errors[-1]))


def make_rows_of(n_rare: int, n_plenty: int, seed: int = 0) -> tuple[Rows, Objects, Integers]:
    """Two labels with words of their own among shared ones, and a third of shared words alone, which none can learn."""
    generator = np.random.default_rng(seed)
    texts, labels = [], []
    for label, count in enumerate((n_rare, n_plenty, n_plenty)):
        for _ in range(count):
            own = [f"label{min(label, 1)}word{number}" for number in generator.integers(0, 60, 2)]
            shared = [f"shared{number}" for number in generator.integers(0, 30, 6)]
            texts.append(" ".join([*own, *shared]))
            labels.append(label)
    n = len(labels)
    rows = make_rows(as_objects(texts), np.zeros((n, 2), np.float32), np.array(labels))
    return rows, as_objects([f"id{row}" for row in range(n)]), np.arange(n) % 5


def measure(
    rows: Rows, ids: Objects, folds: Integers, metric: JudgedBy = "macro_f1", cells: int = 3
) -> ErrorCurves:
    members = {Cell(str(label)): np.flatnonzero(rows.labels == label) for label in range(cells)}
    return measure_error_curves(rows, ids, folds, 3, WORDS, members, metric)


@pytest.mark.parametrize("curve", [Curve(0.1, 1.5, 0.5), Curve(0.0, 0.9, 0.2), Curve(0.2, 4.0, 1.0)])
def test_a_curve_without_noise_is_found_again(curve: Curve) -> None:
    found = fit_curves([make_points(curve)])[0].curve
    assert found is not None
    assert found.expect_error(200) == pytest.approx(curve.expect_error(200), abs=1e-3)
    assert found.expect_fall(200, 200) == pytest.approx(curve.expect_fall(200, 200), rel=0.05)
    assert found.floor >= 0
    assert 0.05 <= found.power <= 1


def test_an_error_that_rises_or_stands_has_no_curve() -> None:
    rising = np.array([0.2, 0.22, 0.25, 0.3])
    found = fit_curves([SizedErrors(SIZES, rising, np.eye(4) * 1e-4, 0.3)])[0]
    assert (found.curve, found.slope) == (None, 0.0)


def test_a_fall_within_the_noise_is_no_curve() -> None:
    points = make_points(Curve(0.1, 1.0, 0.5), variance=0.01)
    assert fit_curves([points])[0].curve is None


def test_a_cell_of_few_rows_follows_the_others_and_keeps_its_own_size() -> None:
    many = [make_points(Curve(0.02 * number, 1.0, 0.5), variance=1e-6) for number in range(1, 8)]
    small = SizedErrors(
        np.array([3.0, 6.0, 9.0, 12.0]), np.array([0.4, 0.5, 0.3, 0.45]), np.eye(4) * 0.02, 0.45
    )
    alone, together = fit_curves([small])[0], fit_curves([*many, small])[-1]
    assert alone.curve is None
    assert together.curve is not None
    assert together.own_share < 0.2
    assert together.error == pytest.approx(0.45)
    assert together.curve.expect_error(12) == pytest.approx(0.45)
    shares = [one.slope / one.error for one in fit_curves(many)]
    assert min(shares) < together.slope / 0.45 < max(shares), (
        "falls by the share of its error that others fall by"
    )


def test_a_cell_that_nothing_could_be_measured_on_has_the_curve_of_all() -> None:
    single = SizedErrors(np.array([1.0]), np.array([0.5]), np.zeros((1, 1)), 0.5)
    many = [make_points(Curve(0.1, 1.0, 0.5)) for _ in range(4)]
    found = fit_curves([*many, single])[-1]
    assert found.curve is not None
    assert found.own_share == 0
    assert fit_curves([single])[0].curve is None
    assert fit_curves([]) == []


def test_figures_that_differ_by_chance_alone_become_one_and_others_do_not() -> None:
    alike = shrink([1.0, 1.1, 0.9], [0.04, 0.04, 0.04])
    assert {round(mean, 6) for mean, _, _ in alike} == {1.0}
    apart = shrink([1.0, 5.0, 9.0], [0.04, 0.04, 0.04])
    assert [round(mean) for mean, _, _ in apart] == [1, 5, 9]
    assert all(own > 0.9 for _, _, own in apart)


def test_leaving_rows_out_in_closed_form_is_training_without_them() -> None:
    generator = np.random.default_rng(1)
    features = generator.normal(size=(40, 6)).astype(np.float32)
    test = generator.normal(size=(9, 6)).astype(np.float32)
    labels = generator.integers(0, 3, 40)
    left_out = np.array([1, 7, 20, 33, 39])
    kept = np.setdiff1d(np.arange(40), left_out)
    whole = ThinnedScores(features, labels, test, 3).score_without(left_out)
    anew = ThinnedScores(features[kept], labels[kept], test, 3).score_without(np.empty(0, np.int64))
    np.testing.assert_allclose(whole, anew, atol=1e-8)


def test_a_label_without_rows_is_never_the_answer() -> None:
    features = np.eye(6, dtype=np.float32)
    labels = np.array([0, 0, 1, 1, 2, 2])
    scores = ThinnedScores(features, labels, features, 3).score_without(np.array([4, 5]))
    assert (scores.argmax(axis=1) != 2).all()
    assert np.isfinite(scores).all()


def test_what_can_be_learned_has_a_curve_and_what_cannot_has_none() -> None:
    found = measure(*make_rows_of(60, 150), metric="auroc")
    curve = found.curves[RARE].fitted.curve
    assert curve is not None
    assert found.curves[RARE].have == 60
    fall = [curve.expect_fall(60, more) for more in (10, 40, 160)]
    assert 0 < fall[0] < fall[1] < fall[2] <= found.loss
    rows, ids, folds = make_rows_of(60, 150)
    generator = np.random.default_rng(5)
    noise = make_rows(rows.texts, rows.vectors, generator.permutation(rows.labels))
    assert measure(noise, ids, folds, "auroc").curves[RARE].fitted.curve is None


@pytest.mark.parametrize("metric", ["macro_f1", "auroc"])
def test_the_thinnest_label_brings_most_for_the_next_rows(metric: JudgedBy) -> None:
    found = measure(*make_rows_of(40, 300), metric=metric)
    falls = {cell: found.expect_fall(cell, 20) or 0.0 for cell in found.curves}
    assert falls[RARE] > max(falls[PLENTY], falls[LOST])
    assert found.weigh(RARE) == 1


def test_of_the_worst_group_only_the_worst_cell_moves_the_metric() -> None:
    rows, ids, folds = make_rows_of(60, 150)
    found = measure(rows, ids, folds, "worst_group")
    worst = max(found.curves, key=lambda cell: found.curves[cell].error)
    assert found.loss == pytest.approx(found.curves[worst].error)
    assert sum(found.weigh(cell) for cell in found.curves) == pytest.approx(1)
    best = min(found.curves, key=lambda cell: found.curves[cell].error)
    assert found.weigh(best) == 0
    assert not found.expect_fall(best, 1000)


def test_the_order_of_rows_and_cells_changes_nothing() -> None:
    rows, ids, folds = make_rows_of(40, 100)
    order = np.random.default_rng(3).permutation(len(rows))
    first, second = measure(rows, ids, folds), measure(rows.take(order), ids[order], folds[order])
    assert first.curves.keys() == second.curves.keys()
    for cell, one in first.curves.items():
        assert one.fitted == second.curves[cell].fitted
    np.testing.assert_array_equal(first.draws, second.draws)


def test_large_data_is_measured_on_a_part_with_the_scarce_cell_whole() -> None:
    rows, ids, folds = make_rows_of(30, MOST_ROWS)
    found = measure(rows, ids, folds)
    assert found.curves[RARE].points.n_rows == pytest.approx(30 * 4 / 5)
    assert found.curves[PLENTY].have == MOST_ROWS
    assert found.curves[PLENTY].points.n_rows < MOST_ROWS / 2 * 4 / 5 + 1


def test_cells_without_rows_and_no_cells_are_no_fault() -> None:
    rows, ids, folds = make_rows_of(40, 100)
    members = {RARE: np.flatnonzero(rows.labels == 0), Cell("0", concept="food"): np.empty(0, np.int64)}
    found = measure_error_curves(rows, ids, folds, 3, WORDS, members, "worst_group")
    assert found.curves[Cell("0", concept="food")].have == 0
    assert measure_error_curves(rows, ids, folds, 3, WORDS, {}).curves == {}
    vectors = measure_error_curves(rows, ids, folds, 3, VECTORS, {RARE: members[RARE]})
    assert vectors.curves[RARE].fitted.curve is None, "vectors of zeros tell nothing"


def test_members_of_a_cell() -> None:
    records = Records(
        ids=as_objects(["a", "b", "c", "d"]),
        texts=as_objects(["a", "b", "c", "d"]),
        labels=np.array([0, 0, 1, -1]),
        label_names=("bad", "good"),
        attributes={"source": as_objects(["x", "y", "x", "x"])},
        concepts=ConceptColumns(("food",), np.array([[1], [2], [1], [1]], np.int8), np.ones((4, 1))),
    )
    cells = [Cell("bad"), Cell("bad", concept="food"), Cell("good", attribute="source", value="x")]
    found = find_members(records, cells)
    assert [rows.tolist() for rows in found.values()] == [[0, 1], [0], [2]]
