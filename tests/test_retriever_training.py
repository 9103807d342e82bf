"""Training retrievers to see what relabelling is worth: the arms hold what they say, rows and figures are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from evals import retriever_training, retriever_worker
from evals.common import Floats

N = 40


def write(name: str, n: int) -> str:
    return " ".join(f"{name}word{place}" for place in range(n))


@pytest.fixture(scope="module")
def made_up() -> retriever_training.Set:
    """Each query has one abstract, every fourth has two; a passage and its shortened form lie close and share words."""
    source = np.random.default_rng(0)
    queries = [f"query {place}" for place in range(N)]
    names = [f"p{place}" for place in range(2 * N)]
    texts = [*queries, *(write(name, 30) for name in names), *(write(name, 20) for name in names)]
    wide: Floats = source.normal(size=(len(texts), 16))
    wide[N : 2 * N] += 2 * wide[:N]
    vectors = (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)
    passages = {name: N + place for place, name in enumerate([*names, *(f"{name}~" for name in names)])}
    qrels = {
        query: [f"p{place}", *([f"p{N + place}"] if place % 4 == 0 else [])]
        for place, query in enumerate(queries)
    }
    return retriever_training.Set(
        texts, vectors, {name: place for place, name in enumerate(queries)}, passages, names, qrels
    )


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_arms_differ_only_in_what_was_planted_and_found(
    made_up: retriever_training.Set, share: float
) -> None:
    drawn = retriever_training.make_arms(made_up, 1, share)
    arms, held_out = drawn.arms, drawn.held_out
    assert len(held_out) == N // 4 and not set(held_out) & {one.query_id for one in arms["clean"]}
    n_planted = sum(
        planted.negatives != clean.negatives
        for planted, clean in zip(arms["planted"], arms["clean"], strict=True)
    )
    assert n_planted == round(share * (N - N // 4))
    for planted, drop, relabel in zip(arms["planted"], arms["drop"], arms["relabel_all"], strict=True):
        found = [one for one in planted.negatives if one not in drop.negatives]
        assert relabel.negatives == drop.negatives and relabel.positives == (*planted.positives, *found)
        assert (planted in arms["remove"]) == (not found)
    hidden = [one for planted in arms["planted"] for one in planted.negatives]
    facts = drawn.facts
    assert facts["near_copies"] == sum(one.id.endswith("~") for one in hidden) > 0
    n_changed = n_relabelled = 0
    for drop, relabel in zip(arms["drop_all"], arms["relabel_without_gold"], strict=True):
        assert relabel.negatives == drop.negatives
    n_positives = [
        sum(len(one.positives) for one in arms[arm]) for arm in ("planted", "relabel_without_gold")
    ]
    assert n_positives[1] - n_positives[0] == facts["relabelled"] + facts["dropped"]
    for planted, drop, relabel in zip(arms["planted"], arms["drop_all"], arms["relabel"], strict=True):
        assert relabel.negatives == drop.negatives and drop.positives == planted.positives
        assert not any(one.id.endswith("~") for one in (*relabel.negatives, *relabel.positives))
        n_changed += len(planted.negatives) - len(drop.negatives)
        n_relabelled += len(relabel.positives) - len(planted.positives)
    assert n_relabelled == facts["relabelled"]
    assert n_changed == facts["near_copies"] + facts["relabelled"] + facts["dropped"]


def test_what_is_taken_apart_is_clean_data_with_one_thing_more(made_up: retriever_training.Set) -> None:
    drawn = retriever_training.make_arms(made_up, 1, 1.0)
    taken = retriever_training.take_apart(drawn)
    arms, apart = drawn.arms, taken.arms
    assert apart["clean"] == arms["clean"] and taken.held_out == drawn.held_out
    n_judged = 0
    for clean, planted, twice, every, judged in zip(
        arms["clean"],
        arms["planted"],
        apart["positive_twice"],
        apart["all_relabelled"],
        apart["judged_relabelled"],
        strict=True,
    ):
        assert twice.positives == clean.positives * 2 and twice.negatives == clean.negatives
        assert every.positives == (*clean.positives, planted.negatives[0])
        n_judged += len(judged.positives) - 1
    assert n_judged == sum(len(made_up.qrels[one.query_id]) == 2 for one in arms["clean"])
    assert all(
        one in relabelled.positives
        for alarms, relabelled in zip(apart["false_alarms"], arms["relabel_all"], strict=True)
        for one in alarms.positives
    )


def test_rows_are_of_pairs_or_of_queries() -> None:
    instances = [[0, [10, 11], [20, 21]], [1, [12], [22, 23]], [2, [13], [24]]]
    how = {"epochs": 1, "batch": 8, "negatives": 2, "rows": "pairs"}
    spec: dict[str, Any] = {"seed": 3, "how": how, "instances": instances}
    (pairs,) = retriever_worker.iterate_batches(spec)
    # The last has too few negatives.
    assert sorted(pairs) == [(0, 10, [20, 21]), (0, 11, [20, 21]), (1, 12, [22, 23])]
    (queries,) = retriever_worker.iterate_batches({**spec, "how": {**how, "rows": "queries"}})
    assert sorted(one[0] for one in queries) == [0, 1]
    alone = {**spec, "instances": [[place, [place + 10], [50, 51]] for place in range(9)]}
    both = [
        list(retriever_worker.iterate_batches({**alone, "how": {**how, "epochs": 3, "rows": rows}}))
        for rows in ("pairs", "queries")
    ]
    assert both[0] == both[1]


def test_scores_and_what_is_recovered() -> None:
    similarities = np.array([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
    spec: dict[str, Any] = {"corpus": [7, 8, 9], "held_out": [[0, [7]], [1, [8, 9]]]}
    wanted = (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    assert retriever_worker.score(similarities, spec) == pytest.approx([1.0, wanted])
    scores = {
        "untrained": [0.6, 0.6],
        "clean": [0.80, 0.82],
        "planted": [0.70, 0.72],
        "remove": [0.70, 0.70],
        "drop": [0.78, 0.80],
        "relabel_all": [0.75, 0.77],
        "drop_all": [0.79, 0.80],
        "relabel": [0.79, 0.81],
    }
    facts = [{"relabelled": 3, "precision": 0.91239}, {"relabelled": 0, "precision": float("nan")}]
    lines = {(one.arm, one.metric): one for one in retriever_training.report("made up", scores, facts)}
    assert lines["planted", "ndcg@10_loss"].value == pytest.approx(0.1)
    assert lines["relabel", "loss_recovered_ratio"].value == pytest.approx(0.9)
    assert lines["relabel-drop", "ndcg@10_difference"].low == pytest.approx(0.01)
    assert lines["relabel-relabel_all", "ndcg@10_difference"].value == pytest.approx(0.04)
    assert lines["relabel-drop_all", "ndcg@10_difference"].value == pytest.approx(0.005)
    in_draws = lines["relabel", "draws_relabelled_ratio"]
    assert in_draws.value == 0.5 and in_draws.extra == {"relabelled": [3, 0], "precision": [0.912, None]}
