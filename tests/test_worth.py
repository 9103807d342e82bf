"""What added records are worth is counted in real rows of their label, and says how surely it is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterpoise.core.records import Floats
from counterpoise.runs.worth import ALL, count_learned, find_thin, measure_origins
from counterpoise.students.added_ways import find_mixture
from counterpoise.students.rows import Rows
from counterpoise.students.source_folds import assign_own_folds, mark_made
from counterpoise.students.treatments import BASELINE
from counterpoise.students.validation import predict_out_of_fold
from counterpoise.students.worth import estimate_learnable, measure_worth
from tests.made_up import VECTORS, WORDS, join_rows
from tests.test_measures import make_noise, make_side

LABELS = np.repeat([0, 1], [15, 60])


def score(loss: float) -> Floats:
    """Log-scores that lose so much on every row."""
    right = np.exp(-loss)
    table = np.log(np.array([[right, 1 - right], [1 - right, right]]))
    return np.asarray(table[LABELS])


@pytest.fixture
def certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterpoise.students.worth.LEARNABLE_SPREAD", 0.0)
    monkeypatch.setattr("counterpoise.students.worth.NOISE", 0.0)


@pytest.mark.usefixtures("certain")
def test_records_stand_for_as_many_real_rows_as_take_away_as_much() -> None:
    # Thirty real rows beside ten take away 0.6 (1 - sqrt(10 / 40)) of the loss.
    taken = 0.6 * (1 - np.sqrt(10 / 40))
    found = measure_worth(score(0.4), score(0.4 * (1 - taken)), LABELS, 10, 30, 0.6)
    assert (found.low, found.value, found.high) == pytest.approx((1, 1, 1), abs=1e-6)
    found = measure_worth(score(0.4), score(0.4 * (1 - taken)), LABELS, 10, 120, 0.6)
    assert found.value == pytest.approx(0.25, abs=1e-6)
    assert measure_worth(score(0.4), score(0.5), LABELS, 10, 30, 0.6).high < 1e-6
    assert measure_worth(score(0.4), score(0.01), LABELS, 10, 30, 0.6).value == 1


def test_what_is_not_known_widens_the_interval() -> None:
    taken = 0.6 * (1 - np.sqrt(10 / 40))
    found = measure_worth(score(0.4), score(0.4 * (1 - taken)), LABELS, 10, 120, 0.6)
    assert found.low < 0.2 and 0.2 < found.value < 0.3 and found.high > 0.4


def test_what_is_learnable_shows_in_the_last_doubling() -> None:
    taken = 0.5 * (1 - np.sqrt(5 / 10))
    halves = [score(0.4), score(0.4)]
    assert estimate_learnable(halves, score(0.4 * (1 - taken)), LABELS, 5, 10) == pytest.approx(
        np.sqrt(0.4 * 0.5)
    )
    assert estimate_learnable(halves, score(0.5), LABELS, 5, 10) == pytest.approx(np.sqrt(0.4 * 0.02))
    assert estimate_learnable(halves, score(0.01), LABELS, 5, 10) == pytest.approx(np.sqrt(0.4))


def add(own: Rows, *others: Rows) -> Rows:
    rows = own
    for other in others:
        rows = join_rows(rows, replace(other, original=np.zeros(len(other), np.bool_)))
    sources = np.empty(len(rows), dtype=object)
    sources[:] = [(f"own {row}",) if row < len(own) else () for row in range(len(rows))]
    return replace(rows, sources=sources)


@pytest.mark.parametrize("student", [WORDS, VECTORS], ids=["words", "vectors"])
def test_good_records_are_worth_more_than_wrong_ones_together_and_apart(student: object) -> None:
    own, good = make_side(15, 60, 3), make_side(45, 0, 4)
    wrong = replace(make_side(0, 45, 6), labels=np.repeat(good.labels[0], 45))
    rows = add(own, good, wrong)
    folds = assign_own_folds(rows)
    made, mixture = mark_made(rows, folds), find_mixture(student, BASELINE)  # type: ignore[arg-type]
    parts = mixture.list_parts(student, rows)  # type: ignore[arg-type]
    tables = predict_out_of_fold(rows, folds, 2, [student], [*parts], made)  # type: ignore[list-item]
    said = {name: table[rows.original] for (name, _), table in tables.items()}
    origins = ["minority:good"] * 45 + ["minority:bad"] * 45
    found = measure_origins(student, mixture, rows, origins, folds, made, said)  # type: ignore[arg-type]
    assert [(one.origin, one.n_records) for one in found] == [
        (ALL, 90),
        ("minority:good", 45),
        ("minority:bad", 45),
    ]
    _, of_good, of_bad = (one.worth for one in found)
    assert of_good is not None and of_bad is not None
    assert of_good.value > of_bad.value and of_bad.low < 0.01


def test_contrast_records_for_the_largest_label_do_not_count() -> None:
    own, thin = make_side(15, 60, 3), make_side(45, 0, 4)
    contrast = make_side(0, 20, 6)
    alone, beside = add(own, thin), add(own, thin, contrast)
    counts = []
    for rows in (alone, beside):
        folds = assign_own_folds(rows)
        counts.append(count_learned(rows, folds, mark_made(rows, folds)))
        assert find_thin(rows).tolist() == [thin.labels[0]]
    assert counts[0] == counts[1] == (12, 45), "of fifteen own rows a fold of three is left out"
    assert find_thin(add(own, contrast)).tolist() == [contrast.labels[0]], (
        "where nothing else was added it counts"
    )


def test_nothing_is_told_of_records_that_were_made_from_rows_of_all_folds() -> None:
    own, added = make_side(15, 60, 3), make_noise(20, 5)
    rows = add(own, replace(added, zero_shot=np.full((20, 2), 0.5), labels=np.zeros(20, np.int64)))
    sources = rows.sources
    assert sources is not None
    bad = np.flatnonzero(own.labels == 0)
    sources[75:] = [tuple(f"own {row}" for row in bad)] * 20
    rows = replace(rows, sources=sources)
    folds = assign_own_folds(rows)
    made, mixture = mark_made(rows, folds), find_mixture(WORDS, BASELINE)
    tables = predict_out_of_fold(rows, folds, 2, [WORDS], [*mixture.list_parts(WORDS, rows)], made)
    said = {name: table[rows.original] for (name, _), table in tables.items()}
    (found,) = measure_origins(WORDS, mixture, rows, ["minority"] * 20, folds, made, said)
    assert found.worth is None
