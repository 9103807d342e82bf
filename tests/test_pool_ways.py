"""Ways that look at the pool: they keep the contract of treatments, and learn from rows without a label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterpoise.core.records import Floats
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.base import Student
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.metrics import compute_macro_f1
from counterpoise.students.pool_labels import LabelledPool, NeighbourVotes, ZeroShotPool
from counterpoise.students.pool_ways import MOST_POOL, PoolWay, weigh_by_shares
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import BASELINE, TREATMENTS
from tests.made_up import ENCODER, STUDENTS, WORDS, as_objects, join_rows, write_sentences

WAYS = [way for way in map(TREATMENTS.find, TREATMENTS.names) if way.uses_pool]
NEAR = SimilarityScorer(ENCODER, ("cold rude dull awful", "lovely warm fresh great"))


def make_side(n_bad: int, n_good: int, seed: int) -> Rows:
    texts, labels = write_sentences(n_bad, n_good, seed)
    vectors = ENCODER.encode(texts)
    return make_rows(as_objects(texts), vectors, np.array(labels), zero_shot=NEAR.score_vectors(vectors))


TRAIN, TEST, POOL = make_side(6, 60, 1), make_side(60, 60, 2), make_side(80, 120, 3)


def predict(
    way: PoolWay, student: Student, pool: Rows | None, train: Rows = TRAIN, n_labels: int = 2
) -> Floats:
    return predict_by_treatments([way], student, train, TEST, n_labels, pool=pool)[way.name]


CASES = [
    pytest.param(way, student, id=f"{way.name}-{student.name}")
    for way in WAYS
    for student in STUDENTS
    if way.suits(student)
]


@pytest.mark.parametrize(("way", "student"), CASES)
def test_labels_of_the_pool_are_not_read_and_the_order_of_rows_tells_nothing(
    way: PoolWay, student: Student
) -> None:
    scores = predict(way, student, POOL)
    assert scores.shape == (len(TEST), 2) and np.isfinite(scores).all()
    blind = replace(POOL, labels=np.full(len(POOL), 99))
    assert predict(way, student, blind).tobytes() == scores.tobytes()
    order = np.random.default_rng(0).permutation(len(TRAIN))
    moved = predict(way, student, POOL, TRAIN.take(order))
    np.testing.assert_allclose(moved, scores, atol=0.05)


@pytest.mark.parametrize(("way", "student"), CASES)
def test_a_pool_of_one_row_and_a_label_without_rows_are_taken(way: PoolWay, student: Student) -> None:
    zero_shot = np.tile(TRAIN.zero_shot[:, :1], (1, 3))
    train = replace(TRAIN, zero_shot=zero_shot)
    pool = replace(POOL, zero_shot=np.tile(POOL.zero_shot[:, :1], (1, 3))).take(np.arange(1))
    scores = predict(way, student, pool, train, n_labels=3)
    assert (scores.argmax(axis=1) != 2).all() and np.isfinite(scores).all()


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_a_labelled_pool_is_worth_more_than_no_pool(student: Student) -> None:
    way = LabelledPool()
    with_pool, without = (
        compute_macro_f1(predict(way, student, pool).argmax(axis=1), TEST.labels, 2) for pool in (POOL, None)
    )
    assert with_pool > without + 0.01
    baseline = predict_by_treatments([BASELINE], student, TRAIN, TEST, 2)[BASELINE.name]
    assert (predict(way, student, None).argmax(axis=1) == baseline.argmax(axis=1)).all()


@pytest.mark.parametrize("way", [LabelledPool(), NeighbourVotes(), ZeroShotPool()], ids=lambda way: way.name)
def test_who_labels_the_pool_is_mostly_right_and_gives_probabilities(way: LabelledPool) -> None:
    said = weigh_by_shares(way.label(TRAIN, POOL, 2))
    assert said.shape == (len(POOL), 2) and said.sum(axis=1) == pytest.approx(np.ones(len(POOL)))
    assert (said.argmax(axis=1) == POOL.labels).mean() > 0.65


def test_a_classifier_is_enough_where_labels_have_no_descriptions() -> None:
    train, pool = (replace(rows, zero_shot=np.empty((0, 0))) for rows in (TRAIN, POOL))
    assert (LabelledPool().label(train, pool, 2).argmax(axis=1) == pool.labels).mean() > 0.65
    one = train.take(train.labels == 1)
    assert (LabelledPool().label(one, pool, 2).argmax(axis=1) == 1).all()


def test_one_row_of_each_label_is_enough_to_label_the_pool() -> None:
    one = TRAIN.take(np.array([int(np.flatnonzero(TRAIN.labels == label)[0]) for label in (0, 1)]))
    said = LabelledPool().label(one, POOL, 2)
    assert np.isfinite(said).all() and (said.argmax(axis=1) == POOL.labels).mean() > 0.5


def test_of_a_large_pool_the_first_rows_are_looked_at() -> None:
    many = POOL.take(np.arange(MOST_POOL) % len(POOL))
    more = join_rows(many, make_side(300, 0, 5))
    way = TREATMENTS.find("label_spreading")
    found = [
        predict_by_treatments([way], STUDENTS[0], TRAIN, TEST, 2, pool=pool)[way.name]
        for pool in (many, more)
    ]
    assert found[0].tobytes() == found[1].tobytes()


def test_naive_bayes_has_nothing_to_learn_from_rows_without_words() -> None:
    empty = replace(TRAIN, texts=as_objects(["!"] * len(TRAIN)))
    way = TREATMENTS.find("naive_bayes_em")
    scores = predict_by_treatments([way], WORDS, empty, TEST, 2, pool=POOL)[way.name]
    assert np.isfinite(scores).all()
