"""Macro-F1 and AUROC are scikit-learn's, only quicker."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from counterpoise.students.metrics import (
    compute_auroc,
    compute_drawn_aurocs,
    compute_drawn_macro_f1s,
    compute_macro_f1,
)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), n_labels=st.integers(2, 5), n=st.integers(2, 50))
def test_both_are_scikit_learns(seed: int, n_labels: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    # Some labels never occur in the truth, though they may be answered; coarse scores make ties.
    occurring = generator.permutation(n_labels)[: generator.integers(1, n_labels + 1)]
    truth = generator.choice(occurring, n)
    scores = generator.integers(-3, 4, (n, n_labels)) / 3.0
    answers = scores.argmax(axis=1)
    present = np.unique(truth)
    assert compute_macro_f1(answers, truth, n_labels) == pytest.approx(
        f1_score(truth, answers, labels=present, average="macro", zero_division=0)
    )
    if len(present) < 2:
        assert np.isnan(compute_auroc(scores, truth))
    elif n_labels == 2:
        assert compute_auroc(scores, truth) == pytest.approx(
            roc_auc_score(truth, scores[:, 1] - scores[:, 0])
        )
    else:
        areas = [roc_auc_score(truth == label, scores[:, label]) for label in present]
        assert compute_auroc(scores, truth) == pytest.approx(np.mean(areas))


def test_ties_count_half_and_two_columns_are_compared_within_a_row() -> None:
    truth = np.array([0, 0, 1, 1])
    assert compute_auroc(np.zeros((4, 2)), truth) == 0.5
    scores = np.array([[0.0, -1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    assert compute_auroc(scores, truth) == pytest.approx((2 + 1 + 0.5) / 4)
    # What is added to both scores of a row says nothing: log-scores rank as their probabilities do.
    assert compute_auroc(scores + np.array([[9.0], [-9.0], [3.0], [-3.0]]), truth) == pytest.approx(3.5 / 4)


def test_a_label_that_is_answered_but_never_right_costs_its_hits_only() -> None:
    truth, answers = np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1])
    assert compute_macro_f1(answers, truth, 3) == pytest.approx((2 / 3 + 1) / 2)


def test_macro_f1_at_other_shares_is_that_of_rows_repeated() -> None:
    answers, truth = np.array([0, 1, 1, 1, 0, 1]), np.array([0, 0, 1, 1, 1, 1])
    repeats = np.where(truth == 0, 6, 1)  # twelve rows of the first label, four of the second
    expected = compute_macro_f1(np.repeat(answers, repeats), np.repeat(truth, repeats), 2)
    assert compute_macro_f1(answers, truth, 2, shares=np.array([3, 1])) == pytest.approx(expected)


def test_equalised_macro_f1_is_that_of_rows_repeated_to_equal_numbers() -> None:
    truth = np.array([0] * 12 + [1] * 3)
    answers = np.array([0] * 9 + [1] * 3 + [0, 1, 1])
    repeated = np.concatenate([np.arange(12), np.repeat(np.arange(12, 15), 4)])
    expected = f1_score(truth[repeated], answers[repeated], average="macro")
    assert compute_macro_f1(answers, truth, 2, equalise=True) == pytest.approx(expected)
    assert compute_macro_f1(answers, truth, 2) == pytest.approx(f1_score(truth, answers, average="macro"))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), n_labels=st.integers(2, 5), n=st.integers(2, 50))
def test_resamples_are_scored_as_if_each_was_written_out(seed: int, n_labels: int, n: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.choice(generator.permutation(n_labels)[: generator.integers(1, n_labels + 1)], n)
    scores = generator.integers(-3, 4, (n, n_labels)) / 3.0
    answers = scores.argmax(axis=1)
    members = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    draws = [np.concatenate([generator.choice(group, len(group)) for group in members]) for _ in range(7)]
    counts = np.stack([np.bincount(rows, minlength=n) for rows in draws])
    areas = np.array([compute_auroc(scores[rows], truth[rows]) for rows in draws])
    np.testing.assert_array_equal(compute_drawn_aurocs(scores, truth, counts), areas)
    f1s = [compute_macro_f1(answers[rows], truth[rows], n_labels) for rows in draws]
    np.testing.assert_array_equal(compute_drawn_macro_f1s(answers, truth, n_labels, counts), f1s)
