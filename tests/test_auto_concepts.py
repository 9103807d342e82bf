"""`concepts: auto`: named by a model from what it is shown, checked by two readings, and never believed unchecked."""

from __future__ import annotations

import json
import random
import re

import numpy as np
import pytest

from counterpoise.core.records import Floats, State
from counterpoise.llm import ChatRequest
from counterpoise.scorers.concepts.clusters import find_clusters
from counterpoise.scorers.concepts.discovery import FoundConcept, Naming, clean_name, merge_names
from counterpoise.scorers.concepts.judge_rates import JudgeRates, count_rates
from counterpoise.scorers.concepts.labeller import ModelScores, fit_concepts
from counterpoise.scorers.concepts.languages import list_stop_words, list_words
from counterpoise.scorers.concepts.model import run_pilot
from counterpoise.scorers.concepts.passages import make_passages, split_passages
from counterpoise.scorers.concepts.proposing import look_around, propose_by_model
from counterpoise.scorers.concepts.readings import judge_readings, keep_different
from counterpoise.scorers.gold import Gold
from evals.scripted_concepts import ScriptedReader, TopicWords
from tests.made_up import ENCODER, make_chat, make_records

TOPICS = (
    TopicWords("food", "soup bread fish cake lamb", ("soup", "bread", "fish", "cake", "lamb")),
    TopicWords("music", "band song piano loud tune", ("band", "song", "piano", "loud", "tune")),
    TopicWords("good", "what guests liked", ("lovely", "warm", "fresh")),
)


def write(n: int, topic: TopicWords, seed: int) -> list[str]:
    source = random.Random(seed)
    return [
        f"the {' and the '.join(source.sample(topic.words, 3))} of guest {source.randrange(10**6)}"
        for _ in range(n)
    ]


TEXTS = [*write(50, TOPICS[0], 1), *write(50, TOPICS[1], 2)]
LABELS = [*([0] * 35 + [1] * 15), *([0] * 15 + [1] * 35)]
RECORDS = make_records(TEXTS, LABELS)
VECTORS = ENCODER.encode(TEXTS)


async def test_a_model_names_what_it_is_shown_and_a_name_of_a_label_is_no_concept() -> None:
    chat, _ = make_chat(ScriptedReader(TOPICS, skill=1.0))
    around = look_around(RECORDS, VECTORS, ENCODER)
    proposed = await propose_by_model(chat, around, "seed 0", taboo=("good", "bad"))
    assert proposed.is_checked and {one.name for one in proposed.concepts} == {"food", "music"}
    assert proposed.concepts[0].definition in {topic.definition for topic in TOPICS}
    assert all("kappa 1.00" in one.note for one in proposed.concepts)


async def test_what_two_readings_do_not_answer_alike_is_left_out_and_words_of_clusters_are_left() -> None:
    reader = ScriptedReader(TOPICS, skill=1.0)

    def reply(request: ChatRequest, index: int) -> str | dict[str, float]:
        content = request.messages[-1].content
        if not request.choices:
            return reader(request, index)
        return {"A": random.Random(content).random(), "B": 0.5}

    chat, _ = make_chat(reply)
    proposed = await propose_by_model(chat, look_around(RECORDS, VECTORS, ENCODER), "seed 0")
    assert not proposed.is_checked and "none is answered alike" in proposed.note
    words = {"guest", *(word for topic in TOPICS for word in topic.words)}
    assert {one.name for one in proposed.concepts} <= words


@pytest.mark.parametrize("said", ["no JSON", json.dumps({"topics": ["{{ evil }}", "<b>", "1234"]})])
async def test_a_model_that_names_nothing_costs_no_reading(said: str) -> None:
    chat, engine = make_chat(lambda request, index: said)
    proposed = await propose_by_model(chat, look_around(RECORDS, VECTORS, ENCODER), "seed 0")
    assert not proposed.is_checked and proposed.concepts
    assert not any(request.choices for request in engine.requests)


def test_names_are_cleaned_merged_and_need_two_replies() -> None:
    assert [clean_name(one) for one in ("  Food. ", "a b c d", "https://x.y", "x" * 50)] == [
        "food",
        "",
        "",
        "",
    ]
    said = [[Naming("soup bowl")], [Naming("bowl soup", "hot food")], [Naming("band")]]
    assert merge_names(said, ENCODER) == [FoundConcept("bowl soup", "hot food")]
    assert merge_names(said, ENCODER, taboo=("soup bowl",)) == []


def make_orders(first: list[int], second: list[int]) -> Floats:
    return np.array([[[1.0 - one, float(one)] for one in side] for side in (first, second)])


def test_a_concept_of_all_texts_or_none_is_no_concept_and_two_with_the_same_answers_are_one() -> None:
    some = [1, 0] * 6
    read = judge_readings(FoundConcept("a", "a"), make_orders(some, some), 8)
    again = judge_readings(FoundConcept("b", "b"), make_orders(some, some), 8)
    other = judge_readings(FoundConcept("c", "c"), make_orders([1, 1, 0, 0] * 3, [1, 1, 0, 0] * 3), 8)
    all_yes = judge_readings(FoundConcept("d", "d"), make_orders([1] * 12, [1] * 12), 8)
    unlike = judge_readings(FoundConcept("e", "e"), make_orders(some, some[::-1]), 8)
    gone = judge_readings(FoundConcept("f", "f"), np.full((2, 12, 2), np.nan), 8)
    assert [one.is_answerable for one in (read, all_yes, unlike, gone)] == [True, False, False, False]
    kept = keep_different([read, again, other, all_yes, unlike, gone])
    assert [one.concept.name for one in kept] == ["a", "c"]


def test_clauses_and_words_of_other_languages() -> None:
    dutch = "Het eten was koud maar de bediening was erg vriendelijk. Niet goedkoop!"
    assert split_passages(dutch, ("nl",))[:2] == [
        "Het eten was koud",
        "maar de bediening was erg vriendelijk.",
    ] or (split_passages(dutch, ("nl",))[0] == "Het eten was koud")
    assert split_passages(dutch)[0] == "Het eten was koud maar de bediening was erg vriendelijk."
    assert split_passages("服务很好，菜太咸。环境也不错", ("zh",)) == ["服务很好", "菜太咸", "环境也不错"]
    assert list_words("环境也不错") == ["环境", "境也", "也不", "不错"]
    assert {"und", "nicht"} <= list_stop_words(("de",)) and "und" not in list_stop_words(("en",))
    clauses = ["het eten was koud", "de soep was koud", "het terras was mooi", "het uitzicht was mooi"] * 6
    passages = make_passages(clauses, ENCODER.encode(clauses), ENCODER, ("nl",))
    words = {word for cluster in find_clusters(clauses, passages, ("nl",)) for word in cluster.words}
    assert words and not words & {"het", "was"}


def give_answers(n: int, seed: int, truth: np.ndarray) -> Gold:
    order = np.random.default_rng(seed).permutation(len(truth))
    audited, trained = np.sort(order[:n]), np.sort(order[n : 2 * n])
    return Gold(audited, truth[audited], trained, truth[trained])


def test_a_judges_errors_are_taken_out_of_the_shares_of_a_concept_nobody_answered() -> None:
    texts = [*write(90, TOPICS[0], 1), *write(510, TOPICS[1], 2)]
    truth = np.array([1] * 90 + [0] * 510)
    generator = np.random.default_rng(0)
    said = np.where(generator.random(600) < 0.9, truth, 1 - truth).astype(np.float64)
    concepts = {"music": TOPICS[1].definition, "food": TOPICS[0].definition}
    other = np.where(generator.random(600) < 0.9, 1 - truth, truth).astype(np.float64)
    gold = {"music": give_answers(60, 1, 1 - truth)}
    rates = count_rates(gold, {"music": other})
    assert 0.8 < rates.sensitivity < 0.97 and rates.n_present + rates.n_absent == 120
    ids = [f"row{row:04d}" for row in range(600)]
    model = ModelScores({"music": other, "food": said}, 10.0)
    labeller = fit_concepts(texts, ENCODER.encode(texts), ids, concepts, ENCODER, gold, model)
    columns = labeller.label(texts, ENCODER.encode(texts))
    assert labeller.scorers[1].scorer == "student"
    assert abs(columns.probabilities[:, 1].mean() - 0.15) < 0.04 < said.mean() - 0.15
    assert (columns.states[90:, 1] == State.PRESENT).mean() < 0.02
    (line,) = [one for one in labeller.list_audits() if "food" in one["question"]]
    assert line["role"] == "used" and "how well it repeats the model" in line["note"]


def test_texts_a_model_was_asked_about_have_its_answer_where_no_student_can_repeat_it() -> None:
    source = random.Random(4)
    texts = [" ".join(f"w{source.randrange(500)}" for _ in range(8)) for _ in range(300)]
    truth = np.array([source.random() < 0.9 for _ in texts]).astype(np.int64)
    right = np.array([source.random() < 0.9 for _ in texts])
    said = np.where(right, truth, 1 - truth).astype(np.float64)
    said[np.arange(300) % 2 == 1] = np.nan
    gold = {"music": give_answers(60, 1, truth)}
    model = ModelScores({"music": np.where(right, truth, 1 - truth).astype(np.float64), "food": said}, 10.0)
    concepts = {"music": "band song", "food": "soup bread"}
    vectors, ids = ENCODER.encode(texts), [f"row{row:04d}" for row in range(300)]
    labeller = fit_concepts(texts, vectors, ids, concepts, ENCODER, gold, model)
    assert labeller.scorers[1].scorer == "llm"
    found = labeller.label(texts, vectors, said=model.probabilities).probabilities[:, 1]
    asked = ~np.isnan(said)
    assert ((found[asked] > 0.5) == (said[asked] > 0.5)).all() and len(np.unique(found[~asked])) == 1
    assert abs(found[~asked][0] - truth.mean()) < 0.08
    assert abs(found.mean() - truth.mean()) < abs(said[asked].mean() - truth[asked].mean())
    lines = [line for line in labeller.list_audits() if "food" in line["question"]]
    assert lines[0]["name"] == "llm" and [line["role"] for line in lines].count("used") == 1


def test_rates_of_a_judge_that_knows_nothing_say_nothing() -> None:
    soft = JudgeRates(5, 10, 5, 10).soften(np.array([0, 1] * 20))
    assert np.allclose(soft, soft[0])


def answer_by(skill: float):
    def reply(request: ChatRequest, index: int) -> dict[str, float]:
        content = request.messages[-1].content
        match = re.search(r"<text>(.*?)</text>", content)
        text = match[1] if match else ""
        yes = next(line[0] for line in content.splitlines() if line[1:].startswith(". yes"))
        if text not in TEXTS:
            return {"A": 0.5, "B": 0.5}
        is_right = random.Random(f"{skill}{text}").random() < skill
        said = (TEXTS.index(text) < 50) == is_right
        return {letter: 0.95 if (letter == yes) == said else 0.05 for letter in "AB"}

    return reply


@pytest.mark.parametrize(("skill", "passes"), [(0.8, True), (0.5, False)])
async def test_few_answers_are_enough_for_a_model_that_beats_similarity(skill: float, passes: bool) -> None:
    truth = np.array([1] * 50 + [0] * 50)
    gold, food = {"food": give_answers(12, 3, truth)}, {"food": TOPICS[0].definition}
    chat, _ = make_chat(answer_by(skill))
    free = {"food": np.full(100, 0.5)}
    pilot = await run_pilot(chat, RECORDS, food, gold, "seed 0", similarity=free)
    assert pilot.passes is passes and "that of similarity 0.250" in pilot.note
    alone = await run_pilot(chat, RECORDS, food, gold, "seed 0")
    assert not alone.passes, "without a comparison twelve random answers do not do"
    better = {"food": truth.astype(np.float64)}
    refused = await run_pilot(chat, RECORDS, food, gold, "seed 0", similarity=better)
    assert not refused.passes
