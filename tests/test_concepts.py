"""Concepts: found by the nearest clause, improved by answers, decided by audits; unknown where nothing is known."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

import numpy as np
import pytest

from counterpoise.core.records import Floats, State
from counterpoise.llm import ChatRequest
from counterpoise.scorers.concepts.labeller import (
    AuditedScorer,
    ConceptLabeller,
    ModelScores,
    choose_scorer,
    fit_concepts,
    is_tied,
    is_worth_its_price,
)
from counterpoise.scorers.concepts.model import ModelPilot, ask_model, make_concept_scorer, run_pilot
from counterpoise.scorers.concepts.passages import make_passages, split_passages
from counterpoise.scorers.concepts.similarity import calibrate_similarities
from counterpoise.scorers.concepts.stacks import cross_fit_stack
from counterpoise.scorers.gold import Gold
from tests.made_up import ENCODER, make_chat, make_records

CONCEPTS = {"food": "soup bread fish cake lamb", "music": "band song piano loud tune"}
NOWHERE = {"football": "goal referee penalty league"}


def write(n: int, concept: str, seed: int) -> list[str]:
    source = random.Random(seed)
    words = CONCEPTS[concept].split()
    return [" ".join([*source.sample(words, 3), f"word{source.randrange(99)}"]) for _ in range(n)]


def fit(
    texts: list[str],
    concepts: Mapping[str, str] = CONCEPTS,
    gold: Mapping[str, Gold] | None = None,
    model: ModelScores | None = None,
) -> ConceptLabeller:
    ids = [f"row{row:04d}" for row in range(len(texts))]
    return fit_concepts(texts, ENCODER.encode(texts), ids, concepts, ENCODER, gold, model)


def label(labeller: ConceptLabeller, texts: list[str]) -> Floats:
    return labeller.label(texts, ENCODER.encode(texts)).probabilities


TEXTS = write(60, "food", 1) + write(100, "music", 2)
TRUTH = np.array([1] * 60 + [0] * 100)


def give_answers(truth: np.ndarray = TRUTH, n: int = 20) -> Gold:
    order = np.random.default_rng(0).permutation(len(truth))
    audited, trained = np.sort(order[:n]), np.sort(order[n : 2 * n])
    return Gold(audited, truth[audited], trained, truth[trained])


def test_what_a_text_is_about_is_found_without_answers() -> None:
    columns = fit(TEXTS).label(TEXTS, ENCODER.encode(TEXTS))
    food, music = columns.states.T
    assert columns.names == ("food", "music") and columns.scorer == "similarity (words)"
    assert (food[:60] == State.PRESENT).mean() > 0.9 and (food[60:] == State.ABSENT).mean() > 0.9
    assert (music[:60] == State.ABSENT).mean() > 0.9 and (music[60:] == State.PRESENT).mean() > 0.9


def test_a_clause_is_enough_in_a_long_text() -> None:
    source = random.Random(5)
    filler = [f"alpha{source.randrange(50)} beta{source.randrange(50)} gamma" for _ in range(6)]
    long = [f"{'. '.join(filler)}. {text}" for text in TEXTS]
    found = label(fit(long), long)[:, 0]
    assert found[:60].mean() > 0.8 > 0.2 > found[60:].mean()


def test_a_concept_that_no_text_mentions_is_present_nowhere() -> None:
    source = random.Random(3)
    texts = [" ".join(f"w{source.randrange(500)}" for _ in range(8)) for _ in range(300)]
    labeller = fit(texts, NOWHERE)
    columns = labeller.label(texts, ENCODER.encode(texts))
    assert not (columns.states == State.PRESENT).any()
    (line,) = labeller.list_audits()
    assert line["role"] == "refused" and "no two groups" in line["note"]


def test_added_texts_cannot_move_the_thresholds_and_order_says_nothing() -> None:
    added = write(50, "food", 3)
    labeller = fit(TEXTS)
    together, alone = label(labeller, added), label(labeller, added[:1])
    np.testing.assert_allclose(together[:1], alone, atol=1e-6)
    shuffled = list(TEXTS)
    random.Random(0).shuffle(shuffled)
    np.testing.assert_allclose(label(fit(shuffled), added), together, atol=1e-6)


def test_between_the_groups_a_concept_is_unknown_and_probability_rises_with_similarity() -> None:
    generator = np.random.default_rng(4)
    reference = np.concatenate([generator.normal(0.1, 0.05, 150), generator.normal(0.5, 0.05, 50)])
    grid = np.linspace(-1, 1, 201)
    probabilities = calibrate_similarities(reference, grid)
    assert (np.diff(probabilities) >= 0).all() and probabilities[0] < 0.01 and probabilities[-1] > 0.99
    assert 0.2 < grid[np.searchsorted(probabilities, 0.5)] < 0.4
    one_group = generator.normal(0.2, 0.05, 400)
    assert (calibrate_similarities(one_group, grid) == 0.5).all()


@pytest.mark.parametrize("n_texts", [0, 1, 19])
def test_few_texts_say_nothing(n_texts: int) -> None:
    texts = write(n_texts, "food", 1)
    columns = fit(texts).label(texts, ENCODER.encode(texts))
    assert columns.states.shape == (n_texts, 2) and (columns.states == State.UNKNOWN).all()


def test_answers_decide_by_an_audit_on_rows_that_nothing_was_trained_on() -> None:
    labeller = fit(TEXTS, {"food": CONCEPTS["food"]}, {"food": give_answers()})
    lines = {line["name"]: line for line in labeller.list_audits()}
    assert set(lines) == {"similarity", "taught", "classifier", "knn", "stacked"}
    assert [line["role"] for line in lines.values()].count("used") == 1
    assert all(line["n"] == 20 and line["price_per_1000"] == 0 for line in lines.values())
    found = label(labeller, TEXTS)[:, 0]
    assert ((found > 0.5) == (TRUTH == 1)).mean() > 0.95


def test_where_no_scorer_passes_the_concept_is_left_alone_and_the_report_says_what_would_help() -> None:
    luck = np.random.default_rng(1).integers(0, 2, len(TEXTS))
    labeller = fit(TEXTS, {"food": CONCEPTS["food"]}, {"food": give_answers(luck)})
    assert (label(labeller, TEXTS) == 0.5).all()
    lines = labeller.list_audits()
    assert {line["role"] for line in lines} == {"refused"}
    assert "No scorer passes its audit" in lines[0]["note"] and "--ask 20" in lines[0]["note"]


def make_candidate(name: str, losses: list[float], price: float) -> AuditedScorer:
    found = fit(TEXTS, {"food": CONCEPTS["food"]}, {"food": give_answers()}).scorers[0].candidates[-1]
    return AuditedScorer(name, found.stack, found.result, np.array(losses), price, found.auc_low)


def test_the_cheapest_of_those_that_cannot_be_told_from_the_best_wins() -> None:
    best, near, far = [0.1, 0.2] * 10, [0.2, 0.1] * 10, [0.6, 0.7] * 10
    assert is_tied(np.array(near), np.array(best)) and not is_tied(np.array(far), np.array(best))
    anchors = np.empty((0, 0), np.float32)
    paid = make_candidate("stacked_with_llm", best, 900.0)
    chosen = choose_scorer("food", anchors, [paid, make_candidate("stacked", near, 0.0)]).chosen
    assert chosen is not None and chosen.name == "stacked"
    chosen = choose_scorer("food", anchors, [paid, make_candidate("stacked", far, 0.0)]).chosen
    assert chosen is not None and chosen.name == "stacked_with_llm"


def test_a_model_worth_its_price_decides_unless_the_stack_without_it_is_surely_better_here() -> None:
    anchors = np.empty((0, 0), np.float32)
    lucky = make_candidate("taught", [0.0, 0.1] * 10, 0.0)
    paid = make_candidate("stacked_with_llm", [0.1, 0.2] * 10, 900.0)
    for losses, decides in (([0.2, 0.1] * 10, "stacked_with_llm"), ([0.0, 0.1] * 10, "taught")):
        candidates = [lucky, make_candidate("stacked", losses, 0.0), paid]
        chosen = choose_scorer("food", anchors, candidates, is_paid_worthwhile=True).chosen
        assert chosen is not None and chosen.name == decides
    chosen = choose_scorer("food", anchors, candidates, is_paid_worthwhile=False).chosen
    assert chosen is not None and chosen.name == "taught"
    # Where one free scorer alone could be fitted there is no stack of them; the best stands for it.
    for losses, decides in (([0.2, 0.1] * 10, "stacked_with_llm"), ([0.0, 0.1] * 10, "similarity")):
        alone = make_candidate("similarity", losses, 0.0)
        chosen = choose_scorer("food", anchors, [alone, paid], is_paid_worthwhile=True).chosen
        assert chosen is not None and chosen.name == decides


def test_a_model_that_changes_next_to_nothing_is_not_worth_its_price() -> None:
    free = [0.2, 0.3] * 20
    for gain, pays in ((0.001, False), (0.1, True), (-0.1, False)):
        with_model = [loss - gain for loss in free]
        concepts = [
            [make_candidate("stacked", free, 0.0), make_candidate("stacked_with_llm", with_model, 9.0)]
        ]
        assert is_worth_its_price(concepts) is pays
    assert not is_worth_its_price([[make_candidate("stacked", free, 0.0)]])


def test_a_common_concept_is_audited_by_all_its_answers_each_by_what_was_not_shown_it() -> None:
    rows = np.concatenate([np.arange(60), np.arange(60, 100)])
    audited = np.array([*range(18), 60, 61])  # two texts without it: their interval alone says nothing
    trained = np.setdiff1d(rows, audited)[::3]
    common = Gold(audited, TRUTH[audited], trained, TRUTH[trained])
    scorer = fit(TEXTS, {"food": CONCEPTS["food"]}, {"food": common}).scorers[0]
    assert scorer.chosen is not None and scorer.chosen.result is not None
    assert scorer.chosen.result.is_weak and scorer.chosen.result.n == 20 and not scorer.chosen.is_weak


def test_a_cross_fitted_stack_is_shown_no_answer() -> None:
    truth = np.arange(20) % 2
    luck = np.random.default_rng(3).normal(size=20)
    flipped = np.where(np.arange(20) == 7, 1 - truth, truth)
    given: dict[str, Floats] = {"sure": (2.0 * truth - 1.0).astype(np.float64), "luck": luck}
    told, others = cross_fit_stack(given, truth), cross_fit_stack(given, flipped)
    assert told is not None and others is not None
    assert ((told > 0.5) == (truth == 1)).all() and (others[7] > 0.5) == (truth[7] == 1)
    assert cross_fit_stack(given, np.zeros(20, dtype=np.int64)) is None


RECORDS = make_records(TEXTS, TRUTH.tolist())


def answer_by(skill: float, seed: int = 0):
    """A model that is right about food so often, whichever letter stands for what."""

    def reply(request: ChatRequest, index: int) -> dict[str, float]:
        content = request.messages[-1].content
        text = content.split("</text>")[0].removeprefix("<text>")
        yes = next(line[0] for line in content.splitlines() if line[1:].startswith(". yes"))
        if text not in TEXTS:
            return {"A": 0.5, "B": 0.5}
        is_right = random.Random(f"{seed}{text}").random() < skill
        said = (TRUTH[TEXTS.index(text)] == 1) == is_right
        no = "B" if yes == "A" else "A"
        return {yes if said else no: 0.9, no if said else yes: 0.1}

    return reply


async def run(skill: float, limit: int | None = None, gold: bool = True) -> tuple[ModelPilot, int]:
    chat, engine = make_chat(answer_by(skill), limit)
    food = {"food": CONCEPTS["food"]}
    pilot = await run_pilot(chat, RECORDS, food, {"food": give_answers(n=40)} if gold else {}, "seed 0")
    return pilot, engine.n_calls


async def test_a_model_at_chance_is_refused_and_a_good_one_labels() -> None:
    luck, _ = await run(0.5)
    assert not luck.passes and "does not label the concepts" in luck.note and luck.result is not None
    good, _ = await run(0.95)
    assert good.passes and good.result is not None and good.result.kappa_low >= 0.4


async def test_agreement_with_itself_refuses_and_never_approves() -> None:
    first, _ = await run(0.95, gold=False)
    assert not first.passes and "no proof" in first.note and re.search(r"kappa (0\.9|1\.0)", first.note)
    chat, _ = make_chat(lambda request, index: {"A": 0.9, "B": 0.1})
    pilot = await run_pilot(chat, RECORDS, {"food": CONCEPTS["food"]}, {}, "seed 0")
    assert not pilot.passes and "agrees with itself at kappa" in pilot.note


async def test_a_pilot_costs_a_tenth_of_the_budget_at_most() -> None:
    pilot, n_calls = await run(0.95, limit=100_000)
    assert pilot.result is not None and 10 <= pilot.result.n < 40
    assert n_calls == 2 * pilot.result.n + 6, "two orders a row, and three texts that say nothing"
    poor, n_calls = await run(0.95, limit=3_000)
    assert n_calls == 0 and "does not pay" in poor.note


async def test_what_a_good_model_labelled_teaches_a_student() -> None:
    chat, _ = make_chat(answer_by(0.95))
    food, gold = {"food": CONCEPTS["food"]}, {"food": give_answers(n=40)}
    pilot = await run_pilot(chat, RECORDS, food, gold, "seed 0")
    per_text = make_concept_scorer(chat, "food", food["food"]).estimate_tokens(TEXTS[0])
    scores = await ask_model(chat, RECORDS, food, pilot, 60 * per_text, "seed 0", gold)
    asked = ~np.isnan(scores.probabilities["food"])
    assert 80 <= asked.sum() < len(TEXTS)
    lines = {line["name"]: line for line in fit(TEXTS, food, gold, scores).list_audits()}
    assert "student" in lines and lines["student"]["auc"] > 0.9 and "llm" not in lines
    whole = await ask_model(chat, RECORDS, food, pilot, None, "seed 0", gold)
    lines = {line["name"]: line for line in fit(TEXTS, food, gold, whole).list_audits()}
    assert lines["llm"]["price_per_1000"] > 0 and "stacked_with_llm" in lines


def test_clauses_cover_the_text_and_each_text_has_one() -> None:
    pieces = split_passages("The soup was cold, and the band was loud. Fine!")
    assert pieces == ["The soup was cold", "and the band was loud. Fine!"], "a lone word stays where it is"
    assert split_passages("") == [""] and split_passages("one") == ["one"]
    assert len(split_passages(". ".join(f"part {number}" for number in range(300)))) <= 64
    texts = ["soup cake; band song", "piano tune"]
    passages = make_passages(texts, ENCODER.encode(texts), ENCODER)
    nearest, best = passages.find_nearest(ENCODER.encode(["soup cake", "cake soup"]))
    assert passages.owners.tolist() == [0, 0, 1] and best.tolist() == [0, 2]
    assert nearest[0] == pytest.approx(1.0, abs=1e-3) and nearest[1] < 0.5
    empty = make_passages([], ENCODER.encode([]).reshape(0, 48), ENCODER)
    assert [len(part) for part in empty.find_nearest(ENCODER.encode(["x"]))] == [0, 0]
