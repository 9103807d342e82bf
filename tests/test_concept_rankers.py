"""Every way to rank texts by a concept that costs no token, against the same contract; and stacks of them."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.scorers.concepts.rankers import (
    FEWEST_ANSWERS,
    FREE_RANKERS,
    can_train,
    cross_fit_ranker,
    fit_ranker,
)
from counterpoise.scorers.concepts.stacks import Stack, fit_calibration, weigh_scorers
from counterpoise.scorers.concepts.views import Views, take_views
from counterpoise.students.metrics import compute_auroc

N = 200
_generator = np.random.default_rng(0)
TRUTH = _generator.integers(0, 2, N)
_clause = (np.eye(6)[TRUTH] + 0.4 * _generator.normal(size=(N, 6))).astype(np.float32)
_clause /= np.linalg.norm(_clause, axis=1, keepdims=True)
VIEWS = Views(TRUTH + 0.5 * _generator.normal(size=N), _clause, np.hstack([_clause, _clause]))
ROWS = np.arange(40)


@pytest.mark.parametrize("name", FREE_RANKERS)
def test_each_ranks_texts_alike_every_time_and_scores_on_one_scale(name: str) -> None:
    ranker = FREE_RANKERS[name]
    fitted, again = (fit_ranker(ranker, VIEWS, ROWS, TRUTH[ROWS]) for _ in range(2))
    assert fitted is not None and again is not None
    scores = fitted.standardise(VIEWS)
    assert scores.shape == (N,) and scores.tolist() == again.standardise(VIEWS).tolist()
    assert scores.mean() == pytest.approx(0.0, abs=1e-9) and scores.std() == pytest.approx(1.0)
    rest = np.arange(40, N)
    assert compute_auroc(np.column_stack([-scores[rest], scores[rest]]), TRUTH[rest]) > 0.85
    assert fitted.standardise(take_views(VIEWS, rest)) == pytest.approx(scores[rest])


@pytest.mark.parametrize("name", FREE_RANKERS)
def test_each_does_without_answers_or_says_that_it_needs_them(name: str) -> None:
    ranker = FREE_RANKERS[name]
    few = np.flatnonzero(TRUTH == 1)[:FEWEST_ANSWERS]
    assert not can_train(TRUTH[few])
    for fitted in (
        fit_ranker(ranker, VIEWS, few, TRUTH[few]),
        cross_fit_ranker(ranker, VIEWS, few, TRUTH[few]),
    ):
        assert (fitted is None) == ranker.needs_answers


@pytest.mark.parametrize("name", [name for name, one in FREE_RANKERS.items() if one.needs_answers])
def test_no_answer_is_scored_by_what_was_shown_it(name: str) -> None:
    luck = np.random.default_rng(1).integers(0, 2, 40)
    crossed = cross_fit_ranker(FREE_RANKERS[name], VIEWS, ROWS, luck)
    assert crossed is not None
    assert 0.2 < compute_auroc(np.column_stack([-crossed, crossed]), luck) < 0.8


def test_texts_of_one_similarity_teach_nothing() -> None:
    flat = Views(np.zeros(N), VIEWS.clause, VIEWS.both)
    assert fit_ranker(FREE_RANKERS["taught"], flat, ROWS, TRUTH[ROWS]) is None


def test_a_stack_gives_scorers_at_chance_no_weight_and_never_turns_a_scale_round() -> None:
    truth = TRUTH[ROWS]
    right = truth.astype(np.float64)
    weights = weigh_scorers({"good": right, "wrong": -right, "none": np.zeros(40)}, truth)
    assert weights == {"good": 1.0, "wrong": 0.0, "none": 0.0}
    assert weigh_scorers({"a": VIEWS.similarity[:3], "b": VIEWS.similarity[:3]}, truth[:3]) == {
        "a": 0.5,
        "b": 0.5,
    }
    assert fit_calibration(-right, truth).slope == 0.0
    fitted = fit_ranker(FREE_RANKERS["similarity"], VIEWS, ROWS, truth)
    assert fitted is not None
    stack = Stack(
        {"similarity": fitted}, {"similarity": 1.0}, fit_calibration(fitted.standardise(VIEWS), TRUTH)
    )
    probabilities = stack.predict(VIEWS)
    assert probabilities.sum(axis=1) == pytest.approx(1.0)
    assert (np.argsort(probabilities[:, 1]) == np.argsort(VIEWS.similarity)).all()
