"""Evaluations of minority text, cost, peers and forecasts: their arithmetic on made-up draws."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evals import budget_curve, concept_bias, forecast, gap_means, peers
from evals.common import describe_spend
from evals.concept_texts import Texts
from evals.easy_augmentation import augment, fill_labels
from evals.edit_cases import CONCEPTS
from evals.forecast_picture import draw
from evals.minority_text import GAPS, RIVAL_WAYS, SIMPLE_ARMS, list_parts, read_validation, summarise
from evals.students import STUDENTS, VECTORS, WORDS
from tests.servers import LocalServer

pytestmark = pytest.mark.processes

ARMS = ("unverified", "added_rows", "averaged", "counterpoise", "real_data")


def make_scores(n_draws: int = 3, **values: float) -> dict[tuple[str, str, str], list[float]]:
    """Every arm at 0.6 but those named, real data at 0.9."""
    level = {**dict.fromkeys((*SIMPLE_ARMS, *ARMS), 0.6), "real_data": 0.9, **values}
    return {
        (arm, student, metric): [value + 0.001 * draw for draw in range(n_draws)]
        for arm, value in level.items()
        for student in STUDENTS
        for metric in (*GAPS, "macro_f1_natural")
    }


def test_easy_augmentation_uses_own_words_only_and_fills_every_label() -> None:
    rows = [(f"one two three four {number}", "many") for number in range(9)]
    rows += [("alpha beta gamma", "few"), ("delta", "few")]
    made = fill_labels(rows, seed=0)
    assert [label for _, label in made] == ["few"] * 7
    assert {word for text, _ in made for word in text.split()} <= {"alpha", "beta", "gamma", "delta"}
    assert made == fill_labels(rows, seed=0) != fill_labels(rows, seed=1)


@pytest.mark.parametrize("seed", range(20))
def test_easy_augmentation_changes_a_tenth_of_the_words(seed: int) -> None:
    words = [f"w{number}" for number in range(20)]
    changed = augment(" ".join(words), np.random.default_rng(seed)).split()
    assert len(changed) in (18, 20, 22)
    assert len(set(words) - set(changed)) in (0, 2)


def test_lines_carry_draws_and_what_was_said_before() -> None:
    scores = make_scores(counterpoise=0.75)
    said = {key: [0.7, float("nan"), 0.7] for key in scores if key[0] == "counterpoise"}
    lines = list(summarise("made", scores, said, [50.0] * 3, [{"adopted_right": None}] * 3))
    mine = [line for line in lines if line.arm == "counterpoise" and line.metric == "auroc"]
    assert mine[0].extra == {"draws": [0.75, 0.751, 0.752], "validation": [0.7, None, 0.7]}
    gaps = [line.value for line in lines if line.metric == "gap_closed_ratio" and line.arm == "counterpoise"]
    assert gaps == pytest.approx([0.5, 0.5])


def test_what_validation_said_of_the_chosen_way_is_said_of_counterpoise() -> None:
    rows = [
        {"arm": arm, "student": WORDS, "macro_f1": value, "auroc": value}
        for arm, value in (("averaged", 0.8), ("nothing", 0.4))
    ]
    said = read_validation(rows, {WORDS: "tuned_added:tuned_bags"}, {WORDS: "tuned_added:tuned_bags"})
    assert said["counterpoise", WORDS, "auroc"] == 0.8
    assert list_parts(["clinc150@50"], quick=False) == [("clinc150", 50, False)]


def test_budget_curve_says_what_a_point_costs_only_where_there_is_one() -> None:
    used = [20_000.0, 20_000.0, 20_000.0]
    better = list(budget_curve.describe_gains("made", "40k", make_scores(counterpoise=0.7), used))
    points = [
        line for line in better if line.arm == "counterpoise, 40k" and line.metric == "tokens_per_point"
    ]
    assert [line.value for line in points] == pytest.approx([2_000, 2_000])
    assert not [
        line for line in better if line.arm == "added_rows, 40k" and line.metric == "tokens_per_point"
    ]
    spend = {
        line.metric: line.value for line in describe_spend("budget_curve", "made", "40k", used, [100, 0, 100])
    }
    assert spend["tokens_per_accepted"] == pytest.approx(300)


def test_what_tokens_buy_in_the_worst_cell_is_told_against_the_best_simple_way() -> None:
    cells = np.array([(label, *[state] * len(CONCEPTS)) for label in (0, 1) for state in (0, 1)] * 3)
    n, n_draws = len(cells), 3
    test = Texts(
        np.array([f"text {row}" for row in range(n)], dtype=object),
        cells[:, 0],
        cells[:, 1:],
        np.array([f"original {row // 4}" for row in range(n)], dtype=object),
        np.zeros((n, 1), np.float32),
    )
    in_worst = (cells[:, 0] == 1) & (cells[:, 1] == 0)
    answers = {
        "oversampling": [~in_worst] * n_draws,
        "downsampling": [np.arange(n) % 2 == 0] * n_draws,
        "written": [np.ones(n, dtype=np.bool_)] * n_draws,
    }
    lines = list(
        concept_bias.summarise(
            "made", "words", dict.fromkeys(CONCEPTS, answers), test, [10_000, 20_000, 30_000]
        )
    )
    found = {(line.arm, line.metric): line for line in lines if line.data == "made-mean/words"}
    assert found["written", "worst_group_accuracy"].value == 100
    assert found["written", "worst_group_accuracy_difference"].value == 100
    price = found["written", "worst_group_points_per_10k_tokens"]
    assert price.value == pytest.approx(50) and price.unit == "points"
    assert 100 / 3 <= price.low < price.value < price.high <= 100
    assert ("oversampling", "worst_group_points_per_10k_tokens") not in found


def test_peers_are_compared_with_the_better_use_of_their_rows() -> None:
    scores = make_scores(counterpoise=0.7, script=0.5, script_adjusted=0.65, script_our_way=0.5)
    spent = {("counterpoise", "rows"): [9.0] * 3, ("script", "rows"): [5.0] * 3}
    lines = list(peers.describe("made", scores, spent))
    gains = {line.metric: line.value for line in lines if line.arm == "counterpoise" and "/" in line.data}
    assert gains["gain over the better script"] == pytest.approx(0.05)
    assert gains["gain over the best zero-token arm"] == pytest.approx(0.1)
    assert set(RIVAL_WAYS) == {"", "_adjusted", "_our_way"}


def test_a_peer_that_took_part_in_some_draws_only_is_not_compared() -> None:
    scores = make_scores(counterpoise=0.7, script=0.5, script_adjusted=0.65, script_our_way=0.5)
    scores |= {(f"distilabel{way}", who, what): [0.6] for way in RIVAL_WAYS for _, who, what in list(scores)}
    spent = {
        ("counterpoise", "rows"): [9.0] * 3,
        ("script", "rows"): [5.0] * 3,
        ("distilabel", "rows"): [5.0],
    }
    arms = {line.arm for line in peers.describe("made", scores, spent) if "/" in line.data}
    assert "script_adjusted" in arms and "distilabel" not in arms


def test_a_peer_shows_other_examples_each_time_and_drops_copies() -> None:
    task = peers.Task("http://127.0.0.1:9", "none", 2, "Write.", ("a", "b", "c", "d"), 100, 0)
    prompts = list(islice(task.write_prompts(), 8))
    assert len(set(prompts)) > 4
    assert prompts == list(islice(task.write_prompts(), 8))
    assert peers.Written(("x", "a", "", "x", "y"), 10).list_new(task.examples) == ["x", "y"]


def test_what_one_model_wrote_is_not_taken_for_what_another_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(tmp_path))
    used = []

    def write(server: LocalServer) -> peers.Written | None:
        task = peers.Task(server.url, "none", 2, "Write.", ("a", "b", "c", "d"), 100, 0)
        task = replace(task, model=peers.find_model(task))
        return peers._keep("script", task, lambda: asyncio.run(peers.write_by_script(task)))

    with LocalServer(models=["small"]) as small, LocalServer(models=["large"]) as large:
        for server in (small, large, large):
            written = write(server)
            assert written is not None and written.texts
            used.append((small.n_requests, large.n_requests))
    assert 0 < used[0][0] == used[1][0] and used[0][1] == 0 < used[1][1] == used[2][1]


def test_forecast_ranks_actions_and_is_drawn() -> None:
    lines = [
        {
            "data": f"set{part}{ending}/{WORDS}",
            "metric": "auroc",
            "arm": arm,
            "validation": [level + 0.01 * part, None],
            "draws": [level / 2 + 0.01 * part, 0.5],
        }
        for part in range(4)
        for ending in ("", "+pool")
        for arm, level in (("nothing", 0.5), ("class_weights", 0.6), ("added_rows", 0.8))
    ]
    table = forecast.read_table(lines)
    points = forecast.list_points(table, "nothing")
    assert len(points) == 16
    assert {point.kind for point in points} == {"simple", "written", "adopted"}
    (ranks, signs) = forecast.correlate("all", "auroc", points)
    assert ranks.value == pytest.approx(1, abs=0.2)
    assert signs.value == 1
    over_best = forecast.list_points(table, "", forecast.ADDED_ARMS)
    assert over_best[0].forecast == pytest.approx(0.2)
    assert forecast.find_headroom(table, over_best[0]) == pytest.approx(0.4)
    drawn = [(point.kind, point.forecast, point.realised) for point in points]
    ElementTree.fromstring(draw([("AUROC", drawn), ("none", [])]))


def test_what_a_preview_foresees_is_compared_with_what_records_brought() -> None:
    said = {"nothing": ([0.5], [0.4]), "logit_adjustment": ([0.7], [0.6]), "added_rows": ([0.9], [0.85])}
    table = {("set", WORDS, "auroc", arm): pair for arm, pair in said.items()}
    known = {("set", WORDS, "auroc", 0): 0.1, ("set", WORDS, "macro_f1", 0): 0.3}
    (point,) = forecast.list_foreseen(table, known, "auroc", "logit_adjustment")
    assert point.forecast == pytest.approx(0.1) and point.realised == pytest.approx(0.25)
    (point,) = forecast.list_foreseen(table, known, "auroc", "nothing")
    assert point.forecast == pytest.approx(0.3) and point.realised == pytest.approx(0.45)


def test_a_gap_of_nothing_outweighs_a_mean_of_ratios_and_no_ratio_of_sums() -> None:
    def write(data: str, arm: str, *draws: float) -> dict[str, Any]:
        return {"data": f"{data}/{VECTORS}", "metric": "auroc", "arm": arm, "draws": draws}

    lines = [
        write("wide", "nothing", 0.1, 0.3),
        write("wide", "smote", 0.5, 0.5),
        write("wide", "counterpoise", 0.6, 0.6),
        write("wide", "real_data", 0.7, 0.7),
        write("narrow", "nothing", 0.900, 0.900),
        write("narrow", "counterpoise", 0.905, 0.905),
        write("narrow", "real_data", 0.901, 0.901),
        {"data": "wide", "metric": "tokens_per_accepted", "arm": "counterpoise"},
    ]
    draws = gap_means.read_draws(lines)
    gaps = [gap_means.find_gap(draws, name, VECTORS, "auroc") for name in ("wide", "narrow")]
    assert [gain.tolist() for gain, _ in gaps] == [pytest.approx([0.1, 0.1]), pytest.approx([0.005, 0.005])]
    ratios, sums = gap_means.measure("15 rows", VECTORS, "auroc", gaps)
    assert ratios.value == ratios.low == ratios.high == pytest.approx((0.5 + 5.0) / 2)
    assert sums.value == pytest.approx(0.105 / 0.201) and sums.extra == {"sets": [0.5, 5.0]}
