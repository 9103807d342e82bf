"""The evaluation of judges: a model forced into a stack, on made-up views."""

from __future__ import annotations

import numpy as np

from counterpoise.scorers.concepts.views import Views
from counterpoise.scorers.gold import Gold
from counterpoise.scorers.weighing import weigh
from counterpoise.students.metrics import compute_auroc
from evals.judges import force_model, script
from evals.label_ladder import Side, decide, judge, list_shown


def make_views(truth: np.ndarray, seed: int) -> Views:
    generator = np.random.default_rng(seed)
    clause = generator.normal(size=(len(truth), 8)) + 0.8 * truth[:, None]
    clause = (clause / np.linalg.norm(clause, axis=1, keepdims=True)).astype(np.float32)
    similarity = truth + generator.normal(0.0, 0.8, len(truth))
    return Views(similarity, clause, np.hstack([clause, clause]))


def test_a_good_model_raises_the_stack_and_noise_hardly_lowers_it() -> None:
    generator = np.random.default_rng(5)
    truth, others = generator.integers(0, 2, 200), generator.integers(0, 2, 200)
    reference, views = make_views(truth, 1), make_views(others, 2)
    rows = np.arange(40)
    gold = Gold(rows[:20], truth[:20], rows[20:], truth[20:40])
    worth = []
    for said, judged in (
        (script(truth, generator)[20:40], script(others, generator)),
        (generator.random(20), generator.random(200)),
    ):
        pair = force_model(reference, gold, said, views, judged)
        without, with_model = (compute_auroc(np.column_stack([-one, one]), others) for one in pair)
        worth.append(with_model - without)
    assert worth[0] > 0.02 and worth[1] > -0.05


def test_judges_of_the_ladder_are_right_as_often_as_they_say_and_adversaries_are_not_believed() -> None:
    source = np.random.default_rng(0)
    labels = source.integers(0, 30, 2_000)
    likely = np.where(np.arange(30) == labels[:, None], 4.0, 1.0) * source.random((2_000, 30))
    likely /= likely.sum(axis=1, keepdims=True)
    side = Side(labels, likely, list_shown(likely, likely))
    for kind in ("uniform", "confused"):
        said = judge(kind, 0.8, side, source)
        is_shown = (side.listed == labels[:, None]).any(axis=1)
        assert abs((said.argmax(axis=1) == labels)[is_shown].mean() - 0.8) < 0.04
    known = np.arange(40)
    for kind in ("random", "another_label", "first_letter"):
        said = judge(kind, 0.0, side, source)
        found = weigh(likely[known], said[known], labels[known])
        assert (
            abs(
                (decide(found, found.decides, side, said) == labels).mean()
                - (decide(found, "classifier", side, said) == labels).mean()
            )
            < 0.02
        )
    assert np.isnan(judge("mute", 0.0, side, source)).all()
