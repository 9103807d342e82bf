"""What the cascade says of itself holds what happened, and no more is claimed than was measured."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.actions.relabel.estimates import Estimates, estimate
from counterpoise.actions.relabel.judge_audits import PlantedPassage
from counterpoise.actions.relabel.verdicts import Grade, Judgement
from counterpoise.balance.rates import Rate
from counterpoise.data.instances import Passage
from evals.estimate_coverage import draw
from evals.scripted_judges import DirectJudges, Rates

YES, NO = Judgement(Grade.RELEVANT), Judgement(Grade.NOT_RELEVANT)
SURE, NEVER = Judgement(Grade.BETTER_OR_EQUAL), Judgement(Grade.NOT_RELEVANT)


def make_known(n_found: int, n: int, kind: str) -> list[PlantedPassage]:
    return [PlantedPassage(True, kind, YES if place < n_found else NO, SURE) for place in range(n)]


def make_estimates(known: list[PlantedPassage], n_relabelled: int = 40, n_judged: int = 1000) -> Estimates:
    return estimate(
        known,
        n_judged=n_judged,
        n_relabelled=n_relabelled,
        n_confirmed=n_relabelled,
        n_unflagged=n_judged - n_relabelled,
        missed=Rate(2, 50),
    )


def test_a_small_number_of_false_negatives_is_a_draw_of_its_own() -> None:
    known = make_known(80, 100, "positive")
    few, many = make_estimates(known, 40), make_estimates(known, 40_000, 1_000_000)
    low, high = few.recall_known.interval
    assert few.recall.low < low - 0.02 and few.recall.high > high + 0.02
    assert abs(many.recall.low - low) < 0.02 and abs(many.recall.high - high) < 0.02
    assert few.recall.value == many.recall.value == 0.8
    assert few.as_dict()["recall"]["n"] == 100


def test_recall_is_surer_where_gold_speaks_of_everything() -> None:
    others = [PlantedPassage(False, "gold", NO, NEVER)] * 960
    found = make_estimates(make_known(40, 50, "gold") + others, n_relabelled=40, n_judged=1010)
    assert found.recall.value == 0.8
    assert (
        found.recall.high - found.recall.low < 0.2 < found.recall_known.interval[1] - found.recall.low + 0.2
    )


def test_without_gold_only_the_lower_end_of_the_first_judges_recall_is_known() -> None:
    found = make_estimates(make_known(80, 100, "positive"))
    assert str(found.precision) == "unknown" and found.first_recall.high == 1.0
    assert found.first_recall.low < found.first_recall.value < 1


def test_the_first_judges_recall_does_not_count_what_the_second_one_confirms_wrongly() -> None:
    misses, hits = [], []
    for seed in range(40):
        truth, said = draw(seed, 0.1, Rates(0.6, 0.7), Rates(0.9, 0.85))["first_recall"]
        misses.append(said.value - truth)
        hits.append(said.low <= truth <= said.high)
    assert abs(np.mean(misses)) < 0.08 and np.mean(hits) >= 0.9


def test_nothing_known_is_unknown() -> None:
    assert make_estimates([]).as_dict()["recall"] == "unknown"


@pytest.mark.parametrize("gold_share", [0.1, 0.0])
def test_intervals_hold_in_most_of_sixty_draws(gold_share: float) -> None:
    hits = []
    for seed in range(60):
        truth, said = draw(seed, gold_share)["recall"]
        hits.append(said.low <= truth <= said.high)
    assert np.mean(hits) > 0.86


def test_direct_judges_err_at_their_rates() -> None:
    passages = [Passage(str(number), f"text {number}") for number in range(1000)]
    relevant = {("query", one.full_text) for one in passages[:500]}
    judges = DirectJudges(Rates(0.9, 0.8), Rates(0.8, 0.9), relevant, seed=1)
    said = np.array([judges.relabels("query", one) for one in passages])
    assert abs(said[:500].mean() - 0.72) < 0.08 and abs(said[500:].mean() - 0.02) < 0.03
