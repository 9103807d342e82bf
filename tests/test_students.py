"""Students and arms: what each may see, what each changes, and that all give scores of one kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students import fitting
from counterpoise.students.base import Student
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.linear import Features, fit_log_probabilities
from counterpoise.students.linear_students import VectorsStudent
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import TREATMENTS
from counterpoise.students.weights import (
    LARGEST_OWN_WEIGHT,
    WRITTEN_WEIGHT,
    balance_weights,
    log_prior,
    weigh_rows,
)
from tests.made_up import ENCODER, STUDENTS, VECTORS, WORDS, as_objects, join_rows, write_sentences

DRAWING_ARMS = (
    "oversampling",
    "downsampling",
    "balanced_bags",
    "vector_smote",
    "tuned_bags",
    "emco",
    "easy_augmentation",
)
NAMES = sorted(TREATMENTS.names)
ALL_WAYS = [TREATMENTS.find(name) for name in TREATMENTS.names]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):  # small matrices; more threads only wait for each other
        yield


def make_side(n_bad: int, n_good: int, seed: int) -> Rows:
    texts, labels = write_sentences(n_bad, n_good, seed)
    vectors = ENCODER.encode(texts)
    anchors = SimilarityScorer(ENCODER, ("cold rude dull awful", "lovely warm fresh great"))
    return make_rows(as_objects(texts), vectors, np.array(labels), zero_shot=anchors.score_vectors(vectors))


TRAIN, TEST = make_side(8, 60, 1), make_side(25, 25, 2)
ADDED = replace(make_side(40, 6, 3), weights=np.full(46, 0.2), original=np.zeros(46, dtype=np.bool_))
ALL = join_rows(TRAIN, ADDED)


def predict(way: str, student: Student, train: Rows, test: Rows, n_labels: int, seed: int = 0) -> Floats:
    return fitting.predict(TREATMENTS.find(way), student, train, test, n_labels, seed)


def count_rare(scores: Floats) -> int:
    return int((scores.argmax(axis=1) == 0).sum())


@pytest.mark.parametrize(
    ("arm", "student"),
    [
        pytest.param(arm, student, id=f"{arm}-{student.name}")
        for arm in NAMES
        for student in STUDENTS
        if TREATMENTS.find(arm).suits(student) or TREATMENTS.find(arm).needs_zero_shot
    ],
)
def test_every_arm_keeps_the_contract(arm: str, student: Student) -> None:
    n_labels = 3  # of which the last never occurs in training
    train, test = (replace(rows, zero_shot=np.tile(rows.zero_shot[:, :1], (1, 3))) for rows in (ALL, TEST))
    scores = predict(arm, student, train, test, n_labels, seed=4)
    assert scores.shape == (len(TEST), n_labels) and np.isfinite(scores).all()
    # The labels of the rows to score are not read, and equal calls give equal bytes.
    blind = replace(test, labels=np.full(len(TEST), 99))
    assert predict(arm, student, train, blind, n_labels, seed=4).tobytes() == scores.tobytes()
    if arm != "embedding_zero_shot":
        assert (scores.argmax(axis=1) != 2).all(), "a label without a training row is never the answer"
    if arm not in DRAWING_ARMS:
        order = np.random.default_rng(0).permutation(len(train))
        np.testing.assert_allclose(
            predict(arm, student, train.take(order), test, n_labels, seed=4), scores, atol=0.02
        )


@pytest.mark.parametrize(
    ("arm", "student"),
    [
        pytest.param(arm, student, id=f"{arm}-{student.name}")
        for arm in NAMES
        for student in STUDENTS
        if TREATMENTS.find(arm).suits(student) or TREATMENTS.find(arm).needs_zero_shot
    ],
)
def test_ways_that_cost_no_token_never_see_an_added_row(arm: str, student: Student) -> None:
    with_added = predict(arm, student, ALL, TEST, 2)
    without = predict(arm, student, TRAIN, TEST, 2)
    assert np.array_equal(with_added, without) != TREATMENTS.find(arm).uses_added


def test_arms_scored_together_are_what_each_is_alone() -> None:
    for student in STUDENTS:
        ways = [way for way in ALL_WAYS if way.suits(student)]
        together = predict_by_treatments(ways, student, ALL, TEST, 2, seed=3)
        arms = [way.name for way in ways]
        assert list(together) == arms
        for arm in arms:
            alone = predict(arm, student, ALL, TEST, 2, seed=3)
            assert together[arm].tobytes() == alone.tobytes(), (arm, student.name)


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_every_treatment_answers_the_rare_label_more_often(student: Student) -> None:
    plain = predict("nothing", student, TRAIN, TEST, 2)
    for arm in ("class_weights", "oversampling", "downsampling", "logit_adjustment", "balanced_bags"):
        assert count_rare(predict(arm, student, TRAIN, TEST, 2)) >= count_rare(plain) + 5, arm
    adjusted = predict("logit_adjustment", student, TRAIN, TEST, 2)
    np.testing.assert_allclose(plain - adjusted, np.log([[8 / 68, 60 / 68]] * len(TEST)))


def test_bags_and_draws_depend_on_the_seed_and_on_nothing_else() -> None:
    for arm in DRAWING_ARMS:
        student = VECTORS if TREATMENTS.find(arm).suits(VECTORS) else WORDS
        first = predict(arm, student, TRAIN, TEST, 2, seed=1)
        assert first.tobytes() == predict(arm, student, TRAIN, TEST, 2, seed=1).tobytes()
        assert np.abs(first - predict(arm, student, TRAIN, TEST, 2, seed=2)).max() > 0.01, arm


class CountingStudent(VectorsStudent):
    """Notes on how many rows it is trained."""

    def __init__(self) -> None:
        super().__init__("minilm")
        self.trained_on: list[int] = []

    def fit_log_probabilities(
        self, features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
    ) -> Floats:
        self.trained_on.append(features.shape[0])
        return super().fit_log_probabilities(features, labels, weights, test, n_labels)


def test_ways_that_train_on_the_same_rows_and_weights_share_one_training() -> None:
    even, counting = make_side(12, 12, 4), CountingStudent()
    ways = [TREATMENTS.find(name) for name in ("nothing", "class_weights", "balanced_bags")]
    together = predict_by_treatments(ways, counting, even, TEST, 2)
    # Balanced weights of even labels are 1, and ten balanced draws are ten times the same rows in another order.
    assert counting.trained_on == [24, 24]
    for way in ways:
        assert together[way.name].tobytes() == predict(way.name, VECTORS, even, TEST, 2).tobytes()


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_many_repeated_rows_become_weights(student: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    repeated = predict("oversampling", student, TRAIN, TEST, 2)
    monkeypatch.setattr("counterpoise.students.treatments._MOST_REPEATED", 0)
    counting = CountingStudent()
    predict("oversampling", counting, TRAIN, TEST, 2)
    assert counting.trained_on == [len(TRAIN)]
    weighted = predict("oversampling", student, TRAIN, TEST, 2)
    # The same optimum; where the solver stops moves a little with the order of the sums.
    np.testing.assert_allclose(np.exp(weighted), np.exp(repeated), atol=0.01)
    assert np.abs(np.exp(weighted) - np.exp(predict("nothing", student, TRAIN, TEST, 2))).max() > 0.1


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_many_coefficients_are_fitted_by_another_solver_to_the_same_end(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    solvers: list[str] = []
    make_model = LogisticRegression

    def note_solver(**given: Any) -> Any:
        solvers.append(given["solver"])
        return make_model(**given, tol=1e-8)

    monkeypatch.setattr("counterpoise.students.linear.LogisticRegression", note_solver)
    few = predict("nothing", student, TRAIN, TEST, 2)
    monkeypatch.setattr("counterpoise.students.linear._MANY_COEFFICIENTS", 0)
    many = predict("nothing", student, TRAIN, TEST, 2)
    assert solvers == ["lbfgs", "newton-cg"]
    np.testing.assert_allclose(many, few, atol=1e-3)


def test_a_student_sees_its_own_representation_only() -> None:
    blind, blind_test = (replace(rows, vectors=np.full_like(rows.vectors, np.nan)) for rows in (ALL, TEST))
    deaf, deaf_test = (replace(rows, texts=np.full(len(rows), None, dtype=object)) for rows in (ALL, TEST))
    for arm in ("nothing", "added_rows"):
        words, vectors = (predict(arm, student, ALL, TEST, 2) for student in (WORDS, VECTORS))
        assert np.array_equal(predict(arm, WORDS, blind, blind_test, 2), words)
        assert np.array_equal(predict(arm, VECTORS, deaf, deaf_test, 2), vectors)


def test_words_are_learned_from_the_training_side_only() -> None:
    strange = make_rows(as_objects(["xyzzy plugh", "", "😀 … \x00"]), TEST.vectors[:3], np.zeros(3, np.int64))
    scores = predict("nothing", WORDS, TRAIN, strange, 2)
    # Nothing is known of these words, so the answer is the same, and the frequent label.
    assert np.ptp(scores, axis=0).max() == 0 and scores[0, 1] > scores[0, 0]
    # What stands in the other texts to be scored changes nothing.
    alone = predict("nothing", WORDS, TRAIN, TEST.take(np.arange(5)), 2)
    np.testing.assert_allclose(alone, predict("nothing", WORDS, TRAIN, TEST, 2)[:5], atol=1e-9)


def test_texts_without_a_single_word_leave_the_word_student_with_the_shares() -> None:
    marks = replace(TRAIN, texts=as_objects(["!"] * len(TRAIN)))
    scores = predict("nothing", WORDS, marks, TEST, 2)
    np.testing.assert_allclose(np.exp(scores), [[8 / 68, 60 / 68]] * len(TEST), atol=0.01)


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_one_label_in_training_is_the_only_answer(student: Student) -> None:
    only_good = TRAIN.take(TRAIN.labels == 1)
    for arm in ("nothing", "logit_adjustment", "balanced_bags", "added_rows"):
        assert (predict(arm, student, only_good, TEST, 2).argmax(axis=1) == 1).all()


def test_zero_shot_needs_its_scores() -> None:
    bare = replace(TEST, zero_shot=np.empty((0, 0)))
    with pytest.raises(ValueError, match="descriptions"):
        predict("embedding_zero_shot", VECTORS, TRAIN, bare, 2)


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60))
@settings(deadline=None, max_examples=50)
def test_balance_weights_give_every_label_the_same_total(labels: list[int]) -> None:
    column = np.array(labels)
    weights = balance_weights(column, 5)
    totals = np.bincount(column, weights=weights, minlength=5)[np.unique(column)]
    np.testing.assert_allclose(totals, len(column) / len(totals))


def test_the_prior_of_an_absent_label_is_that_of_the_rarest() -> None:
    prior = log_prior(np.array([0, 0, 0, 2]), np.array([1.0, 1.0, 1.0, 0.5]), 3)
    np.testing.assert_allclose(np.exp(prior), np.array([3.0, 0.5, 0.5]) / 4)


@given(rows=st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=80))
@settings(deadline=None, max_examples=80)
def test_row_weights_keep_their_bounds(rows: list[tuple[int, bool]]) -> None:
    labels, written = np.array([label for label, _ in rows]), np.array([flag for _, flag in rows])
    weights = weigh_rows(labels, written, 3)
    assert ((weights >= WRITTEN_WEIGHT) & (weights <= LARGEST_OWN_WEIGHT)).all()
    assert (weights[written] <= 1).all() and (weights[~written] >= 1).all()
    if not written.any():
        assert (weights == 1).all()


def test_row_weights_anchor_the_thin_label_and_even_out_the_contrast() -> None:
    # 90 and 10 real rows, 60 written for the thin label and 20 for contrast.
    labels = np.array([1] * 90 + [0] * 10 + [0] * 60 + [1] * 20)
    written = np.arange(180) >= 100
    weights = weigh_rows(labels, written, 2)
    # Of 80 missing rows 60 were written, so three quarters of the way from 1 to 3.
    assert (weights[:90] == 1).all() and weights[90:100] == pytest.approx(2.5)
    assert weights[100:160] == pytest.approx(0.2) and weights[160:] == pytest.approx(0.6)
    assert weights[100:160].sum() == pytest.approx(weights[160:].sum())
    handful = weigh_rows(labels[:102], written[:102], 2)
    assert handful[90:100] == pytest.approx(1.05)
    fewer = weigh_rows(labels[:162], written[:162], 2)
    assert fewer[160:] == pytest.approx(1.0), "no written row is worth more than a real one"


def test_one_row_of_each_of_many_labels_warns_of_nothing() -> None:
    vectors = np.eye(40, dtype=np.float32)
    scores = fit_log_probabilities(vectors, np.arange(40), np.ones(40), vectors, 40)
    assert (scores.argmax(axis=1) == np.arange(40)).all()
