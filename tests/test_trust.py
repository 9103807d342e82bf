"""Who may decide about labels, and what the report is told of those that may not."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset
from threadpoolctl import threadpool_limits

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.errors import ServerError
from counterpoise.llm import ChatClient, ChatRequest
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.scorers.gold import Gold
from counterpoise.tasks.text.inputs import Inputs, Tables
from counterpoise.tasks.text.label_trust import LabelTrust, audit_free_scorers
from counterpoise.tasks.text.model_trust import PILOT_ROWS, audit_model
from tests.made_up import BLAME, ENCODER, as_objects, make_chat, make_records, write_sentences

LABEL_TEXTS = ("a guest who disliked it", "a guest who liked it")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):  # small matrices; more threads only wait for each other
        yield


def make_inputs(n_bad: int, n_good: int, *, shuffled: bool = False) -> Inputs:
    """Inputs of sentences; with `shuffled` their labels say nothing."""
    texts, labels = write_sentences(n_bad, n_good, 11)
    if shuffled:
        random.Random(2).shuffle(labels)
    records = make_records(texts, labels)
    vectors = ENCODER.encode(texts)
    side = EncodedRecords(records, vectors, SimilarityScorer(ENCODER, LABEL_TEXTS).score_vectors(vectors))
    nothing = EncodedRecords(records.take([]), vectors[:0], side.zero_shot[:0])
    table = Dataset.from_dict({"text": texts})
    folds = np.arange(len(texts)) % 5
    return Inputs(
        Tables(table, table), side, nothing, nothing, folds, ENCODER, LABEL_TEXTS, {}, (), "fingerprint"
    )


def choose(request: ChatRequest, index: int) -> str:
    """The letter of the right label, by the words of the text."""
    text, *rest = request.messages[-1].content.splitlines()
    n_bad = sum(text.count(word) for word in BLAME)
    wanted = LABEL_TEXTS[0] if n_bad >= 1 else LABEL_TEXTS[1]
    return next(line[0] for line in rest if line[3:] == wanted)


async def audit_label_scorers(inputs: Inputs, chat: ChatClient, key: str) -> LabelTrust:
    return await audit_model(audit_free_scorers(inputs), inputs, chat, key)


def read_rows(trust: LabelTrust) -> dict[str, dict[str, object]]:
    return {str(row["name"]): row for row in trust.rows}


async def test_a_classifier_that_knows_the_labels_is_used_and_one_by_luck_is_not() -> None:
    good = audit_free_scorers(make_inputs(40, 120))
    assert good.is_trusted and [row["name"] for row in good.rows] == ["classifier", "similarity"]
    assert read_rows(good)["classifier"]["role"] == "used" and good.out_of_fold.shape == (160, 2)
    poor = audit_free_scorers(make_inputs(40, 120, shuffled=True))
    row = read_rows(poor)["classifier"]
    assert (
        not poor.is_trusted and row["role"] == "refused" and "neither adopts nor refuses" in str(row["note"])
    )
    assert poor.classifier.auc_low <= 0.6


async def test_the_audit_is_of_scores_given_without_the_answer() -> None:
    # Flattered scores of rows learned by heart would pass: 40 + 40 rows in 48 dimensions.
    trust = audit_free_scorers(make_inputs(40, 40, shuffled=True))
    assert trust.classifier.auc < 0.7


async def test_a_model_has_a_say_where_it_explains_known_labels_better() -> None:
    chat, _ = make_chat(choose)
    beside_a_poor_one = await audit_label_scorers(make_inputs(60, 60, shuffled=True), chat, "seed 0")
    assert read_rows(beside_a_poor_one)["llm"]["role"] == "refused", "it is at chance, too"
    assert beside_a_poor_one.model is None
    inputs = make_inputs(60, 60)
    # The classifier is made to know nothing: its vectors are noise.
    noise = np.random.default_rng(0).normal(size=inputs.train.vectors.shape).astype(np.float32)
    blind = EncodedRecords(inputs.train.records, noise, inputs.train.zero_shot)
    trust = await audit_label_scorers(replace(inputs, train=blind), chat, "seed 0")
    row = read_rows(trust)["llm"]
    assert row["role"] == "used" and "100 rows of known label" in str(row["note"])
    assert trust.model is not None and trust.model.weighing.model > 0.1
    assert "examples" not in trust.model.way.manner, "no token is spent on examples that are not needed"
    assert (
        row["n"] == PILOT_ROWS and isinstance(row["price_per_1000"], float) and row["price_per_1000"] > 1000
    )
    assert "the model" in str(read_rows(trust)["classifier"]["note"]).lower()


async def test_a_model_that_only_knows_beside_examples_is_asked_so_and_is_shown_no_row_that_it_is_asked_about() -> (
    None
):
    def need_examples(request: ChatRequest, index: int) -> str:
        content = request.messages[-1].content
        *shown, asked = re.findall(r"<text>(.*?)</text>", content)
        if not shown:
            return "A"
        assert asked not in shown
        n_bad = sum(asked.count(word) for word in BLAME)
        options = {line[3:]: line[0] for line in content.splitlines() if line[1:3] == ". "}
        return options[LABEL_TEXTS[0] if n_bad >= 1 else LABEL_TEXTS[1]]

    inputs = make_inputs(60, 60)
    noise = np.random.default_rng(0).normal(size=inputs.train.vectors.shape).astype(np.float32)
    blind = replace(inputs, train=EncodedRecords(inputs.train.records, noise, inputs.train.zero_shot))
    chat, engine = make_chat(need_examples)
    trust = await audit_label_scorers(blind, chat, "seed 0")
    assert trust.model is not None and trust.model.way.n_shown == 8
    assert "asked beside 8 examples" in str(read_rows(trust)["llm"]["note"])
    # Of both labels as many, and none out of the fold of the row, in which its near-duplicates are.
    fold_of = dict(zip(inputs.train.records.texts, inputs.folds, strict=True))
    label_of = dict(zip(inputs.train.records.texts, inputs.train.records.labels, strict=True))
    with_examples = [
        re.findall(r"<text>(.*?)</text>", request.messages[-1].content) for request in engine.requests[200:]
    ]
    assert len(with_examples) == 200
    for *shown, asked in with_examples:
        assert Counter(label_of[text] for text in shown) == {0: 4, 1: 4}
        assert fold_of[asked] not in {fold_of[text] for text in shown}


async def test_a_model_that_leans_to_a_label_is_centred() -> None:
    """It always writes the same letter, but is less sure of it where the other label is right."""

    def lean(request: ChatRequest, index: int) -> dict[str, float]:
        right = choose(request, index)
        first = next(
            line[0] for line in request.messages[-1].content.splitlines() if line[3:] == LABEL_TEXTS[0]
        )
        return (
            {first: 0.9, "AB".replace(first, ""): 0.1}
            if right == first
            else {
                first: 0.7,
                "AB".replace(first, ""): 0.3,
            }
        )

    inputs = make_inputs(60, 60)
    noise = np.random.default_rng(0).normal(size=inputs.train.vectors.shape).astype(np.float32)
    blind = replace(inputs, train=EncodedRecords(inputs.train.records, noise, inputs.train.zero_shot))
    chat, _ = make_chat(lean)
    trust = await audit_label_scorers(blind, chat, "seed 0")
    assert trust.model is not None and trust.model.way.manner == "outright, centred"


async def test_answers_of_a_person_are_what_a_model_is_audited_on() -> None:
    inputs = make_inputs(40, 40)
    rows = np.arange(0, 80, 2)
    gold = Gold(rows, inputs.train.records.labels[rows], rows[:0], rows[:0])
    chat, engine = make_chat(choose)
    trust = await audit_label_scorers(replace(inputs, gold={"label": gold}), chat, "seed 0")
    asked = {
        request.messages[-1].content.split("</text>")[0].removeprefix("<text>") for request in engine.requests
    }
    assert asked == set(inputs.train.records.texts[rows].tolist()) and read_rows(trust)["llm"]["n"] == 40


async def test_the_pilot_is_balanced_and_small() -> None:
    inputs = make_inputs(30, 300)
    chat, engine = make_chat(choose)
    await audit_label_scorers(inputs, chat, "seed 0")
    label_of = dict(zip(inputs.train.records.texts, inputs.train.records.labels, strict=True))
    asked = {
        request.messages[-1].content.split("</text>")[0].removeprefix("<text>") for request in engine.requests
    }
    assert Counter(int(label_of[text]) for text in asked) == {0: 30, 1: 70}
    assert {request.purpose for request in engine.requests} == {"audit"}
    other_chat, other = make_chat(choose)
    await audit_label_scorers(inputs, other_chat, "seed 1")
    assert {str(request) for request in other.requests} != {str(request) for request in engine.requests}


async def test_an_audit_takes_at_most_a_tenth_of_the_budget() -> None:
    limit = 60_000
    chat, engine = make_chat(choose, limit)
    row = read_rows(await audit_label_scorers(make_inputs(60, 60), chat, "seed 0"))["llm"]
    assert engine.n_calls == 2 * int(str(row["n"])) > 20
    assert sum(chat.budget.estimate(request) for request in engine.requests) <= limit / 10
    poor, unasked = make_chat(choose, 5_000)
    row = read_rows(await audit_label_scorers(make_inputs(60, 60), poor, "seed 0"))["llm"]
    assert unasked.n_calls == 0 and row["role"] == "refused" and row["accuracy"] is None
    assert "does not pay" in str(row["note"])


async def test_a_server_without_letter_probabilities_decides_nothing() -> None:
    def fail(request: ChatRequest, index: int) -> str:
        raise ServerError("no log-probabilities", where="here")

    chat, _ = make_chat(fail)
    row = read_rows(await audit_label_scorers(make_inputs(60, 60), chat, "seed 0"))["llm"]
    assert (row["role"], row["n"], row["auc"]) == ("refused", 0, None) and "no usable answer" in str(
        row["note"]
    )


async def test_a_model_is_audited_on_more_labels_than_there_are_letters() -> None:
    n_labels = 21
    texts = [f"topic{label} word{label} said guest {row}" for row in range(3) for label in range(n_labels)]
    labels = list(range(n_labels)) * 3
    names = tuple(f"topic{label:02d}" for label in range(n_labels))
    records = make_records(texts, labels, names)
    vectors = ENCODER.encode(texts)
    side = EncodedRecords(records, vectors, SimilarityScorer(ENCODER, names).score_vectors(vectors))
    table = Dataset.from_dict({"text": list(as_objects(texts))})
    folds = np.repeat([0, 1, 2], n_labels)
    inputs = Inputs(Tables(table, table), side, side, side, folds, ENCODER, names, {}, (), "fingerprint")

    def know(request: ChatRequest, index: int) -> str:
        text, *rest = request.messages[-1].content.splitlines()
        wanted = f"topic{int(text.split()[1].removeprefix('word')):02d}"
        options = {line[3:]: line[0] for line in rest if line[1:3] == ". "}
        return options.get(wanted, options["none of these"])

    chat, engine = make_chat(know)
    trust = await audit_label_scorers(inputs, chat, "seed 0")
    line = read_rows(trust)["llm"]
    assert line["n"] == 3 * n_labels == engine.n_calls / 2
    assert isinstance(line["accuracy"], float) and line["accuracy"] > 0.95
    assert trust.classifier.auc > 0.95
