"""The evaluation of judges: a model forced into a stack, on made-up views."""

from __future__ import annotations

import numpy as np

from counterpoise.scorers.concepts.views import Views
from counterpoise.scorers.gold import Gold
from counterpoise.students.metrics import compute_auroc
from evals.judges import force_model, script


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
