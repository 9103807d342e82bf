"""Which rows of a pool a model that has a say is asked about, and what comes of its answers."""

from __future__ import annotations

import re

import numpy as np
import pytest

from counterpoise.actions.base import PoolScores
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Floats
from counterpoise.llm import ChatRequest
from counterpoise.scorers.base import ClassifierScorer
from counterpoise.scorers.heard import HeardScorer
from counterpoise.scorers.model_labels import KnownRows, ModelLabels, ModelSay
from counterpoise.scorers.weighing import weigh
from counterpoise.tasks.text.model_pool import ask_pool, choose_asked, count_wanted
from tests.made_up import ENCODER, as_objects, make_chat, make_records

NAMES = ("first", "second", "third")
N = 60


def know(request: ChatRequest, index: int) -> str:
    content = request.messages[-1].content
    wanted = NAMES[int(re.findall(r"number (\d+)", content)[-1]) % 3]
    return next(line[0] for line in content.splitlines() if line[3:] == wanted)


def make_say(limit: int | None = None) -> tuple[ModelSay, list[ChatRequest]]:
    """A model that knows, found on rows that a classifier gets right in two of three."""
    truth = np.arange(60) % 3
    classifier = _spread(np.where(np.arange(60) % 10 < 6, truth, (truth + 1) % 3), 0.6)
    chat, engine = make_chat(know, limit)
    nothing = KnownRows(as_objects([]), np.empty((0, 48), np.float32), truth[:0], truth[:0])
    return (
        ModelSay(ModelLabels(chat, NAMES, nothing), weigh(classifier, _spread(truth, 0.9), truth)),
        engine.requests,
    )


def _spread(said: np.ndarray, sure: float) -> Floats:
    return np.where(np.arange(3) == said[:, None], sure, (1 - sure) / 2)


def make_pool() -> tuple[EncodedRecords, PoolScores]:
    texts = [f"row number {row}" for row in range(N)]
    records = make_records(texts, [-1] * N, NAMES, ids=[f"id{row:03d}" for row in range(N)])
    guesses = _spread((np.arange(N) + (np.arange(N) % 4 == 0)) % 3, 0.6)
    return EncodedRecords(records, ENCODER.encode(texts)), PoolScores(guesses, np.zeros(N, np.int64), guesses)


def test_likely_rows_of_each_thin_label_are_asked_about_in_turn() -> None:
    likely = np.tile([0.2, 0.2, 0.6], (30, 1))
    likely[:10], likely[10:20] = [0.9, 0.05, 0.05], [0.05, 0.9, 0.05]
    ids = as_objects([f"id{row}" for row in range(30)])
    rows = choose_asked(likely, np.array([4, 2, 0]), ids, "seed 0")
    assert [int(row) < 10 for row in rows] == [True, False, True, False, True, False, True, True]
    assert all(row < 20 for row in rows), "nothing is asked for a label that lacks nothing"
    # A row that is more or less than the other ones moves no other.
    kept = np.flatnonzero(np.arange(30) != rows[0])
    again = kept[choose_asked(likely[kept], np.array([4, 2, 0]), ids[kept], "seed 0")]
    assert set(again) >= set(rows[1:].tolist())
    assert not len(choose_asked(likely, np.zeros(3, np.int64), ids, "seed 0"))


def test_wanted_counts_labels_and_their_cells() -> None:
    deficits = [
        Deficit(Cell("first"), 2, 10),
        Deficit(Cell("first", "food"), 1, 4),
        Deficit(Cell("second", "food"), 1, 4),
        Deficit(Cell("second", "noise"), 1, 3),
    ]
    assert count_wanted(deficits, NAMES).tolist() == [8, 5, 0]


async def test_what_a_model_says_of_a_pool_makes_its_labels_sure() -> None:
    say, requests = make_say()
    pool, scores = make_pool()
    found, said = await ask_pool(say, pool, scores, np.array([30, 0, 0]), "seed 0", is_trusted=True)
    assert found.united is not None and len(requests) == 2 * len(said) > 0
    truth = np.arange(N) % 3
    heard = np.array([str(text) in said for text in pool.records.texts])
    assert (found.united.argmax(axis=1) == truth)[heard].all()
    assert (found.united.max(axis=1)[heard] > 0.8).all() and (found.united.max(axis=1)[~heard] < 0.8).all()
    # Where the classifier failed its audit nothing is held of rows that the model was not asked about.
    found, _ = await ask_pool(make_say()[0], pool, scores, np.array([30, 0, 0]), "seed 0", is_trusted=False)
    assert found.united is not None and found.united[~heard] == pytest.approx(1 / 3)


async def test_a_fifth_of_the_budget_is_what_a_pool_may_cost() -> None:
    limit = 20_000
    say, requests = make_say(limit)
    pool, scores = make_pool()
    await ask_pool(say, pool, scores, np.array([30, 30, 30]), "seed 0", is_trusted=True)
    budget = say.way.chat.budget
    assert 0 < sum(budget.estimate(request) for request in requests) <= limit / 5
    assert {request.purpose for request in requests} == {"label"}


def test_texts_that_the_model_was_asked_about_are_scored_with_its_answer() -> None:
    say, _ = make_say()
    texts = [f"row number {row}" for row in range(6)]
    vectors, labels = ENCODER.encode(texts), np.array([0, 1, 2, 0, 1, 2])
    scorer = ClassifierScorer(ENCODER, vectors, labels, 3)
    heard = HeardScorer(scorer, say.weighing, {texts[1]: np.array([0.05, 0.05, 0.9])})
    plain, with_model = scorer.score_texts(texts, vectors), heard.score_texts(texts, vectors)
    assert (np.delete(with_model, 1, axis=0) == np.delete(plain, 1, axis=0)).all()
    assert with_model[1].argmax() == 2 != plain[1].argmax()
