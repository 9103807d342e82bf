"""The evaluation of judges: a model forced into a stack, on made-up views."""

from __future__ import annotations

import numpy as np

from counterpoise.scorers.concepts.views import Views
from counterpoise.scorers.gold import Gold
from counterpoise.scorers.weighing import weigh
from counterpoise.students.metrics import compute_auroc
from evals.judges import force_model, script
from evals.label_ladder import Corpus, Side, decide, judge, list_shown
from evals.real_judges import JudgedSet, draw_votes, measure_served


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


def test_one_vote_is_drawn_as_often_as_annotators_gave_it() -> None:
    votes = np.tile([4.0, 0.0, 1.0], (4_000, 1))
    said = draw_votes(votes)(np.arange(4_000), np.random.default_rng(0))
    assert (said == 1).sum() == 0 and abs((said == 0).mean() - 0.8) < 0.02


def test_a_server_that_knows_labels_has_a_say_and_those_that_mean_harm_change_hardly_anything() -> None:
    source = np.random.default_rng(1)
    labels = source.permutation(np.repeat([0, 1], [60, 100]))
    vectors = source.normal(size=(160, 8)) + 1.5 * labels[:, None]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    corpus = Corpus([f"text {row}" for row in range(160)], vectors, labels, np.zeros((160, 2)))
    found = measure_served(JudgedSet("made", corpus, n_rare=15, n_plenty=45), 1)
    used = {arm: np.mean(values) for (arm, metric), values in found.items() if metric == "used_ratio"}
    assert used["server_honest_writer"] == 1 and used["server_judges_well_and_writes_the_opposite"] == 1
    assert (
        used["server_always_yes"] == used["server_first_option"] == used["server_copies_demonstration"] == 0
    )
    right = [
        float(np.mean(found[f"server_{name}", "judge_right_points"])) for name in ("honest_writer", "random")
    ]
    assert right[0] == 100 and abs(right[1] - 50) < 15
