"""Near-duplicate vectors, agreement of labels among neighbours, diverse choice."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise_retrievers.arrays import normalise_rows
from counterpoise_retrievers.neighbours import find_near_duplicates, knn_agreement, pick_diverse


def turn(degrees: list[float]) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def test_pairs_are_those_of_the_full_matrix() -> None:
    random = np.random.default_rng(0)
    centres = random.normal(size=(60, 16))
    rows = np.repeat(centres, 40, axis=0) + 0.35 * random.normal(size=(2400, 16))
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pairs, cosines = find_near_duplicates(rows, 0.9)
    expected = np.argwhere(np.triu(units @ units.T >= 0.9, 1))
    assert len(expected) > 1000 and pairs.tolist() == expected.tolist()
    np.testing.assert_allclose(cosines, (units @ units.T)[tuple(expected.T)], atol=1e-6)
    across, _ = find_near_duplicates(rows[:700], 0.9, against=rows[700:])
    assert across.tolist() == np.argwhere(units[:700] @ units[700:].T >= 0.9).tolist()


def test_equal_vectors_are_found_at_a_threshold_of_one() -> None:
    rows = normalise_rows(np.random.default_rng(1).normal(size=(50, 384)))
    pairs, _ = find_near_duplicates(np.concatenate([rows, rows[7:8], 3 * rows[:1]]), 1.0)
    assert pairs.tolist() == [[0, 51], [7, 50]]
    assert find_near_duplicates(rows, 1.0, against=rows[:0])[0].shape == (0, 2)
    with pytest.raises(ValueError, match="threshold"):
        find_near_duplicates(rows, 1.5)


def test_agreement_counts_the_labels_of_the_nearest_others() -> None:
    rows = turn([0, 1, 2, 90, 91, 92, 46])
    labels = np.array(["a", "a", "b", "b", "b", "b", "a"])
    # The last row lies between: its nearest are the third and the fourth.
    assert knn_agreement(rows, labels, 2).tolist() == [0.5, 0.5, 0, 1, 1, 1, 0]
    assert knn_agreement(rows, labels, 99)[0] == pytest.approx(2 / 6)


def test_agreement_leaves_a_row_itself_out_among_equal_ones() -> None:
    labels = np.array([0] * 30 + [1] * 10)
    agreement = knn_agreement(np.ones((40, 3)), labels, 5)
    assert agreement.tolist() == [1.0] * 30 + [0.0] * 10
    with pytest.raises(ValueError, match="cannot be compared"):
        knn_agreement(np.ones((1, 3)), labels[:1], 5)


def test_diverse_choice_is_the_one_worked_out_by_hand() -> None:
    rows = turn([0, 1, 60, 90])
    relevance = np.array([1.0, 0.99, 0.8, 0.5])
    assert pick_diverse(relevance, rows, 3, trade_off=1).tolist() == [0, 1, 2]
    # After row 0 at one half: row 1 gains -0.005, row 2 0.4 - 0.25 = 0.15, row 3 0.25. After row 3, at 30
    # degrees from row 2: row 1 gains -0.005, row 2 0.4 - 0.433.
    assert pick_diverse(relevance, rows, 4, trade_off=0.5).tolist() == [0, 3, 1, 2]
    assert pick_diverse(np.ones(3), turn([0, 0, 0]), 2).tolist() == [0, 1]
    assert pick_diverse(relevance, rows, 0).tolist() == []
    with pytest.raises(ValueError, match="4 finite numbers"):
        pick_diverse(relevance[:3], rows, 2)
