"""Filters are tried on rows of the user's own before they are believed; what refuses too many of them is weakened."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.plans import Cell, Nature, PlanItem, Proposal, Verdict
from counterpoise.core.records import Integers
from counterpoise.filters.alarms import settle_bars
from counterpoise.filters.base import KEPT, Filter
from counterpoise.filters.batch import KeptTexts, ProposalBatch
from counterpoise.filters.chain import FilterData, ask_filters, fit_filters
from counterpoise.filters.distance import FAR, fit_distance
from counterpoise.filters.editors import Help, choose_need, find_confirmed_from, measure_help
from counterpoise.filters.edits import CONTRADICTED, NOT_CONFIRMED
from counterpoise.filters.fluency import DISORDER, FluencyFilter, fit_fluency
from counterpoise.filters.trials import settle_reasons
from counterpoise.filters.word_model import fit_word_model, shuffle_words, split_words
from counterpoise.runs.filter_report import describe_filters
from counterpoise.runs.ledger import Ledger
from tests.made_up import ENCODER
from tests.test_judging import make_data

N_ROWS = 240
THINGS = ["soup", "bread", "fish", "lamb", "cake", "tea", "wine", "rice", "salad", "pasta", "curry", "toast"]
PLACES = ["kitchen", "garden", "bar", "terrace", "hall", "corner", "window", "counter"]
WORDS = [
    "cold",
    "warm",
    "stale",
    "fresh",
    "salty",
    "sweet",
    "dull",
    "lovely",
    "burnt",
    "greasy",
    "crisp",
    "bland",
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def write_rows(n: int, seed: int = 0) -> list[str]:
    """Sentences with an order of their own."""
    source = random.Random(seed)

    def clause() -> str:
        start = source.choice(("We said that the", "They brought a", "Nobody wanted the", "I think the"))
        return (
            f"{start} {source.choice(WORDS)} {source.choice(THINGS)} from the {source.choice(PLACES)} "
            f"{source.choice(('was', 'looked', 'seemed'))} {source.choice(WORDS)}"
        )

    return [", and ".join(clause().lower() for _ in range(source.randint(1, 3))) for _ in range(n)]


def make_batch(texts: Sequence[str], nature: Nature = Nature.WRITTEN, parent: str = "") -> ProposalBatch:
    item = PlanItem("minority_text", Cell("bad"), len(texts), 1, 0)
    parents = (parent,) if parent else ()
    proposals = [
        Proposal(f"{item.id}-{place:05d}", item, text, "bad", parents, nature=nature)
        for place, text in enumerate(texts)
    ]
    return ProposalBatch(
        proposals,
        ("bad", "good"),
        {parent: shuffle_words(texts[0])} if parent else {},
        KeptTexts([], ENCODER.encode([])),
        ENCODER,
        lambda asked, _: np.full((len(asked), 2), 0.5),
    )


@pytest.fixture(scope="module")
def fluency() -> FluencyFilter:
    texts = write_rows(N_ROWS)
    return fit_fluency(texts, np.arange(N_ROWS) % 2, np.arange(N_ROWS) % 5, 2)


def refuse(judge: FluencyFilter, batch: ProposalBatch) -> float:
    verdicts = judge.verdicts(batch)
    assert {verdict.reason for verdict in verdicts} <= {KEPT, DISORDER}
    return float(np.mean([not verdict.kept for verdict in verdicts]))


def test_the_order_of_words_gains_nothing_where_it_is_random() -> None:
    model = fit_word_model(write_rows(N_ROWS))
    unseen = write_rows(60, seed=1)
    gains, words = model.measure_gain(unseen)
    shuffled, _ = model.measure_gain([shuffle_words(text) for text in unseen])
    assert (gains > 0.3).all() and abs(shuffled.mean()) < 0.15
    assert list(words) == [len(text.split()) for text in unseen]
    few, none = model.measure_gain(["good soup", "", "soup"])
    assert not few.any() and not none.any()
    assert split_words("Good 汤好 (really)") == ["Good", "汤", "好", "(really)"]


def test_rows_pass_and_words_in_random_order_do_not(fluency: FluencyFilter) -> None:
    words = " ".join(write_rows(40)).split()
    source = random.Random(2)
    gibberish = [" ".join(source.choices(words, k=14)) for _ in range(60)]
    unseen = write_rows(60, seed=1)
    assert refuse(fluency, make_batch(unseen)) <= 0.05
    assert refuse(fluency, make_batch(gibberish)) >= 0.98
    assert refuse(fluency, make_batch(gibberish, Nature.REAL)) == 0.0
    (alarm,) = fluency.alarms()
    assert alarm.n == N_ROWS and alarm.refused <= 0.02 * N_ROWS
    # A few texts are no audit of a writer: each is judged by itself.
    assert refuse(fluency, make_batch(["Soup", "cold soup", unseen[0]])) == 0.0


def test_an_edit_may_keep_its_sources_disorder(fluency: FluencyFilter) -> None:
    text = shuffle_words(write_rows(1, seed=8)[0])
    assert refuse(fluency, make_batch([text], Nature.REWRITTEN, "parent")) == 0.0
    assert refuse(fluency, make_batch([text], Nature.REWRITTEN)) == 1.0


def test_rows_of_no_order_set_a_bar_that_refuses_none() -> None:
    shuffled = [shuffle_words(text) for text in write_rows(N_ROWS)]
    judge = fit_fluency(shuffled, np.zeros(N_ROWS, np.int64), np.arange(N_ROWS) % 5, 2)
    unseen = [shuffle_words(text) for text in write_rows(60, seed=1)]
    assert refuse(judge, make_batch(unseen)) <= 0.05
    few = fit_fluency(shuffled[:20], np.zeros(20, np.int64), np.arange(20) % 5, 2)
    assert refuse(few, make_batch(unseen)) == 0.0 and "it takes 40" in few.alarms()[0].note


def test_what_is_far_from_all_rows_is_refused() -> None:
    generator = np.random.default_rng(0)

    def draw(n: int, centre: int) -> Vectors:
        vectors = np.eye(ENCODER.dimension)[centre] + 0.02 * generator.normal(size=(n, ENCODER.dimension))
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    judge = fit_distance(
        draw(100, 0), np.arange(100) % 2, np.arange(100) % 5, 2, np.concatenate([draw(5, 0), draw(4, 1)])
    )
    batch = make_batch([f"text {place}" for place in range(40)])
    batch.__dict__["vectors"] = np.concatenate([draw(20, 0), draw(10, 1), draw(10, 2)])
    reasons = [verdict.reason for verdict in judge.verdicts(batch)]
    assert reasons[:20].count(KEPT) >= 19 and reasons[20:] == [FAR] * 20


def test_bars_that_refuse_too_many_unseen_rows_are_weakened() -> None:
    generator = np.random.default_rng(1)
    scores, folds = generator.normal(size=50), np.arange(50) % 5
    labels = np.zeros(50, np.int64)
    settled = settle_bars("odd", scores, labels, folds, 1, 0.2)
    assert settled.alarm.refused <= 1 and "Weakened: it refused" in settled.alarm.note
    assert settled.bars[0] >= scores.max()
    mild = settle_bars("odd", scores, labels, folds, 1, 0.2, most=0.5)
    assert not mild.alarm.note and mild.bars[0] < settled.bars[0]
    # Each fold lies far beyond the others: no bar holds.
    apart = settle_bars("odd", np.array([10.0 * fold**4 for fold in folds]), labels, folds, 1, 0.02)
    assert np.isinf(apart.bars).all() and apart.alarm.note.endswith("set to refuse nothing.")
    few = settle_bars("odd", scores[:30], labels[:30], folds[:30], 1, 0.2)
    assert np.isinf(few.bars).all() and few.alarm.n == 0


class WordFilter:
    """Refuses texts with certain words."""

    name = "mine.words"

    def __init__(self, words: Sequence[str]) -> None:
        self.reasons = tuple(words)

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        found = [next((word for word in self.reasons if word in text), "") for text in batch.texts]
        return [
            Verdict(proposal.id, not word, word or KEPT)
            for proposal, word in zip(batch.proposals, found, strict=True)
        ]


class LearningFilter(WordFilter):
    """Refuses the words that no row has which it was fitted to."""

    name = "mine.learning"
    fits: Counter[int]

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(words)
        self.fits = Counter()

    def fit(self, data: FilterData) -> WordFilter:
        self.fits[len(data.train)] += 1
        seen = " ".join(map(str, data.train.records.texts))
        return WordFilter([word for word in self.reasons if word not in seen])


def judge_text(part: Filter, text: str) -> str:
    (ready,) = fit_filters([part], make_data(is_trusted=True))
    (verdict,) = ask_filters([ready], make_batch([text]))
    return verdict.reason


def test_a_users_filter_that_refuses_rows_of_theirs_loses_that_reason_alone() -> None:
    part = WordFilter(["was", "zebra"])  # the first stands in every row
    (ready,) = fit_filters([part], make_data(is_trusted=True))
    assert ready.trial.off == {"was"}
    (alarm,) = describe_filters([ready], Ledger()).alarms
    assert alarm.filter == "was" and "this reason is off" in alarm.note and "of 180 unseen rows" in alarm.note
    assert judge_text(part, "the soup was cold") == KEPT
    assert judge_text(part, "a zebra in the soup") == "zebra"
    rule = WordFilter(["was"])
    rule.is_tried = False  # type: ignore[attr-defined]
    assert judge_text(rule, "the soup was cold") == "was"


def test_a_filter_that_is_fitted_is_tried_on_rows_it_was_not_fitted_to() -> None:
    part = LearningFilter(["was", "zebra"])
    (ready,) = fit_filters([part], make_data(is_trusted=True))
    assert not ready.trial.off and ready.alarms[0].n == 180
    sizes = sorted(part.fits)
    assert sizes[-1] == 180 and len(part.fits) > 1 and part.fits[180] == 1


def test_a_filter_that_cannot_be_tried_says_so() -> None:
    class Needy(WordFilter):
        name = "mine.needy"

        def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
            assert batch.parents, "it wants parents"
            return super().verdicts(batch)

    (ready,) = fit_filters([Needy(["zebra"])], make_data(is_trusted=True))
    assert not ready.trial.off and "could not be tried" in ready.alarms[0].note


def test_reasons_are_switched_off_until_few_enough_rows_are_refused() -> None:
    trial = settle_reasons("mine", Counter(a=30, b=5, c=1), 300)
    assert trial.off == {"a"} and [alarm.refused for alarm in trial.alarms] == [0, 5, 1]
    assert settle_reasons("mine", Counter(c=1), 30).off == {"c"}
    assert "too few" in settle_reasons("mine", Counter(c=1), 30).alarms[0].note
    assert settle_reasons("mine", Counter(), 30).alarms[0].n == 30


def draw_edits(wrong: float, seed: int = 3) -> Help:
    """What edits add of which a share has the label wrong; rows and edits lie about two centres."""
    generator = np.random.default_rng(seed)
    labels, folds = np.arange(120) % 2, np.arange(120) // 2 % 5

    def place(owners: Integers) -> Vectors:
        vectors = generator.normal(size=(len(owners), 8))
        vectors[:, 0] += np.where(owners == 1, 1.5, -1.5)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    own, claims = place(labels), 1 - labels
    truth = np.where(generator.random(120) < wrong, labels, claims)
    return measure_help(own, labels, folds, 2, (place(truth), claims, folds))


def test_an_editor_is_judged_by_what_its_edits_teach() -> None:
    good, bad = draw_edits(0.0), draw_edits(0.8)
    assert good.mean > 0 and not good.is_harm and bad.is_harm
    known = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55], [0.7, 0.3]])
    labels = np.array([0, 0, 1, 1, 1])
    assert choose_need(good, known, labels).least == 0.0
    unknown = choose_need(None, known, labels)
    assert unknown.reason == CONTRADICTED and 0.3 <= unknown.least < 0.45
    assert choose_need(Help(-0.01, 0.02), known, labels) == unknown
    harmful = choose_need(bad, known, labels)
    assert harmful.reason == NOT_CONFIRMED and harmful.least == find_confirmed_from(known, labels)


def test_the_scorers_skill_sets_what_confirms_an_edit() -> None:
    # Claims of 0.8 and more are right; below, one of 0.7 is wrong.
    known = np.array([[0.9, 0.1], [0.8, 0.2], [0.15, 0.85], [0.7, 0.3]])
    assert find_confirmed_from(known, np.array([0, 0, 1, 1])) == 0.8
    assert np.isinf(find_confirmed_from(1 - known, np.array([0, 0, 1, 1])))
    assert np.isinf(find_confirmed_from(known[:0], np.empty(0, np.int64)))
