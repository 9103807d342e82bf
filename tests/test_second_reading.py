"""A pool that is read again after a model has labelled it, and the way in which its rows teach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.records import Floats, Integers
from counterpoise.runs.recipe.data import RecipeData, as_objects
from counterpoise.runs.recipe.estimator import Recipe
from counterpoise.runs.taught_way import choose_taught_way, find_adopted
from counterpoise.scorers.base import ClassifierScorer, cross_fit
from counterpoise.scorers.heard import HeardScorer
from counterpoise.scorers.model_labels import HeardRows, KnownRows, ModelLabels, ModelSay
from counterpoise.scorers.weighing import weigh
from counterpoise.students.pool_ways import weigh_by_shares
from counterpoise.tasks.text.second_reading import read_again
from tests.made_up import ENCODER, make_chat, make_records, write_sentences

NAMES = ("common", "other", "rare")
SHARES = (0.7, 0.22, 0.08)


def make_side(n: int, seed: int, spread: float) -> EncodedRecords:
    """Rows around the middles of three labels in 32 dimensions."""
    source = np.random.default_rng(seed)
    labels = source.choice(3, size=n, p=SHARES)
    labels[:6] = (0, 1, 2, 0, 1, 2)
    middles = np.random.default_rng(1).standard_normal((3, 32))
    vectors = middles[labels] + spread * source.standard_normal((n, 32))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"{seed} row {row}" for row in range(n)]
    return EncodedRecords(make_records(texts, labels.tolist(), NAMES), vectors.astype(np.float32))


def judge(labels: Integers, seed: int) -> Floats:
    """What a model says that is right in 85% of the texts."""
    source = np.random.default_rng(seed)
    wrong = source.random(len(labels)) > 0.85
    said = np.where(wrong, (labels + source.integers(1, 3, len(labels))) % 3, labels)
    return np.where(np.arange(3) == said[:, None], 0.9, 0.05)


def read(spread: float) -> tuple[EncodedRecords, Floats, Floats | None]:
    train, pool = make_side(60, 2, spread), make_side(900, 3, spread)
    labels, folds = train.records.labels, np.arange(60) % 5
    own, _ = cross_fit(train.vectors, labels, folds, 3)
    heard = HeardRows(train.vectors, labels, judge(labels, 4), folds)
    weighing, chat = weigh(own, heard.factors, labels), make_chat(lambda request, index: "A")[0]
    nothing = KnownRows(as_objects([]), train.vectors[:0], labels[:0], labels[:0])
    say = ModelSay(ModelLabels(chat, NAMES, nothing), weighing, heard)
    scores = ClassifierScorer(ENCODER, train.vectors, labels, 3).score_vectors(pool.vectors)
    factors = judge(pool.records.labels, 5)
    said = {str(text): row for text, row in zip(pool.records.texts, factors, strict=True)}
    found = read_again(say, train, folds, pool, scores, said)
    again = read_again(say, train, folds, pool, scores, dict(reversed(said.items())))
    if found is not None and again is not None:
        assert found.united.tobytes() == again.united.tobytes()
    return pool, weighing.unite(scores, factors), None if found is None else found.united


def test_a_pool_is_read_better_by_a_classifier_that_learned_from_the_first_reading() -> None:
    pool, first, second = read(spread=2.2)
    truth = pool.records.labels
    assert second is not None
    right = [(weigh_by_shares(table).argmax(axis=1) == truth).mean() for table in (first, second)]
    assert right[1] > right[0] + 0.01 and right[1] > 0.9
    sure = [(weigh_by_shares(table)[:, 2] >= 0.8) & (truth == 2) for table in (first, second)]
    assert sure[1].sum() > sure[0].sum(), "rows of the rare label become sure"


def test_where_vectors_tell_nothing_or_the_model_was_not_measured_the_first_reading_stands() -> None:
    assert read(spread=100.0)[2] is None
    train = make_side(20, 2, 2.0)
    chat = make_chat(lambda request, index: "A")[0]
    nothing = KnownRows(as_objects([]), train.vectors[:0], np.empty(0, int), np.empty(0, int))
    labels = train.records.labels
    weighing = weigh(judge(labels, 1), judge(labels, 2), labels)
    say = ModelSay(ModelLabels(chat, NAMES, nothing), weighing)
    scores, said = judge(labels, 3), {str(text): np.ones(3) / 3 for text in train.records.texts}
    assert read_again(say, train, np.arange(20) % 5, train, scores, said) is None


def test_what_a_second_reading_holds_of_a_text_stands_for_it() -> None:
    train = make_side(30, 2, 2.0)
    labels = train.records.labels
    scorer = ClassifierScorer(ENCODER, train.vectors, labels, 3)
    weighing = weigh(judge(labels, 1), judge(labels, 2), labels)
    heard = HeardScorer(scorer, weighing, read={"known": np.array([0.1, 0.2, 0.7])})
    scores = heard.score_texts(["known", "new"], train.vectors[:2])
    assert scores[0].tolist() == [0.1, 0.2, 0.7]
    assert scores[1].tobytes() == scorer.score_texts(["known", "new"], train.vectors[:2])[1].tobytes()


def make_data(n_own: int, n_added: int) -> RecipeData:
    texts, labels = write_sentences(n_own // 2 + n_added // 2, n_own // 2 + n_added // 2, 7)
    order = np.argsort(np.arange(len(texts)) % (len(texts) // 2), kind="stable")  # labels in turn
    original = np.arange(len(texts)) < n_own
    sources = np.empty(len(texts), dtype=object)
    sources[:] = [(f"id{row}",) if own else (f"pool{row}",) for row, own in enumerate(original)]
    return RecipeData(
        as_objects([texts[row] for row in order]),
        np.array(labels)[order],
        np.ones(len(texts)),
        original,
        ("bad", "good"),
        ("bad", "good"),
        sources=sources,
    )


def test_many_adopted_rows_choose_the_way_that_learns_from_them() -> None:
    def choose(data: RecipeData) -> str:
        # This one learns from own rows alone.
        return choose_taught_way(lambda way: Recipe("words", way, data=data), "logit_adjustment")

    many = make_data(4, 120)
    assert find_adopted(many).tolist() == list(range(4, 124))
    assert choose(many) == "added_rows"
    assert choose(make_data(40, 20)) == "logit_adjustment", "fewer than own rows choose nothing"
    written = replace(many, sources=as_objects([("id0",)] * 124))
    assert choose(written) == "logit_adjustment", "rows made from own ones are no answer"
