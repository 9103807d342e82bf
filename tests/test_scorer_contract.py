"""What every label scorer keeps: all that are registered, and one of a user's own; and who decides."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from counterpoise.core.errors import PartError
from counterpoise.scorers.audits import audit
from counterpoise.scorers.deciding import Decider, choose_decider, score_out_of_fold
from counterpoise.scorers.family import SCORERS, Scorer, ScorerRows
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.label_trust import audit_free_scorers, needs_model
from tests.made_up import ENCODER, as_objects, write_sentences
from tests.parts_distribution.mine_parts.scorers import RuleScorer
from tests.test_trust import make_inputs

PARTS = [*(name for name in SCORERS.names if not needs_model(SCORERS.find(name))), RuleScorer.name]
ODD_TEXTS = [
    "",
    "a zero\0character",
    "half a character \ud83d",
    "Еда была отличной 食物很好吃 😀",
    "x" * 1_000_000,
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def find(name: str) -> Scorer:
    return RuleScorer() if name == RuleScorer.name else SCORERS.find(name)


def make_rows(n_labels: int, n_rows: int = 120) -> ScorerRows:
    texts, _ = write_sentences(n_rows // 2, n_rows - n_rows // 2)
    texts[: len(ODD_TEXTS)] = ODD_TEXTS[:n_rows]
    names = tuple(f"label {label}" for label in range(n_labels))
    labels = np.arange(len(texts)) % n_labels
    return ScorerRows(as_objects(texts), ENCODER.encode(texts), names, names, ENCODER, labels)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("n_labels", [1, 2, 60])
def test_it_gives_probabilities_for_any_texts_and_the_same_again(name: str, n_labels: int) -> None:
    rows, part = make_rows(n_labels, 360), find(name)
    folds = np.arange(len(rows)) // n_labels % 2
    scores = score_out_of_fold(part, rows, folds)
    assert scores.shape == (len(rows), n_labels) and (scores >= 0).all()
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert score_out_of_fold(part, rows, folds).tobytes() == scores.tobytes()


@pytest.mark.parametrize("name", PARTS)
def test_nobody_is_shown_the_label_of_what_it_scores(name: str) -> None:
    rows, part = make_rows(2), find(name)
    folds = np.arange(len(rows)) % 5
    flipped = np.where(folds == 0, 1 - rows.labels, rows.labels)
    other = ScorerRows(rows.texts, rows.vectors, rows.label_names, rows.descriptions, rows.encoder, flipped)
    mine = folds == 0
    first, second = (score_out_of_fold(part, one, folds)[mine] for one in (rows, other))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("name", PARTS)
def test_it_says_what_it_costs_and_scores_nothing_for_nothing(name: str) -> None:
    part = find(name)
    assert part.name == name and part.price >= 0
    decider = Decider(part, make_rows(2), np.arange(120) % 5, np.full((120, 2), 0.5))
    assert decider.score_texts([], np.empty((0, ENCODER.dimension), np.float32)).shape == (0, 2)


class WrongScorer:
    name = "mine.wrong"
    price = 0.0

    def __init__(self, give: Callable[[ScorerRows], NDArray[np.float64]]) -> None:
        self.score = give


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda rows: [][1], "scorer 'mine.wrong': it raised IndexError: list index out of range; mend it"),
        (lambda rows: np.ones((3, 2)), "it gave an array of shape (3, 2), and not (120, 2) for 120 texts"),
        (lambda rows: np.ones((120, 2)), "it gave rows that are no probabilities: each has to sum to 1"),
        (lambda rows: np.full((120, 2), np.nan), "it gave rows that are no probabilities"),
    ],
)
def test_a_users_scorer_that_fails_is_one_line(
    give: Callable[[ScorerRows], NDArray[np.float64]], message: str
) -> None:
    with pytest.raises(PartError, match=re.escape(message)):
        score_out_of_fold(WrongScorer(give), make_rows(2), np.arange(120) % 5)


class OracleScorer:
    """Knows the right label of some texts, and holds all others for good."""

    name = "mine.oracle"
    price = 0.0

    def __init__(self, bad: Collection[str]) -> None:
        self.bad = set(bad)

    def score(self, rows: ScorerRows) -> NDArray[np.float64]:
        is_bad = np.array([text in self.bad for text in rows.texts])
        return np.stack([np.where(is_bad, 0.9, 0.1), np.where(is_bad, 0.1, 0.9)], axis=1)


def test_a_users_scorer_decides_where_it_is_surely_better_than_the_classifier() -> None:
    inputs = make_inputs(40, 120, shuffled=True)  # of which a classifier can learn nothing
    records = inputs.train.records
    oracle = OracleScorer([str(text) for text in records.texts[records.labels == 0]])
    assert not audit_free_scorers(inputs).is_trusted
    trust = audit_free_scorers(inputs, [*SCORERS.choose(SCORERS.defaults), oracle])
    lines = {line["name"]: line for line in trust.rows}
    assert list(lines) == ["classifier", "similarity", "mine.oracle"]
    assert trust.decider is not None and trust.decider.part is oracle and trust.is_trusted
    assert (
        lines["mine.oracle"]["role"] == "used" and "instead of the classifier" in lines["mine.oracle"]["note"]
    )
    assert lines["classifier"]["role"] == "reported" and "'mine.oracle'" in lines["classifier"]["note"]
    assert trust.out_of_fold.max() == 0.9
    assert trust.decider.score_texts(["unknown"], ENCODER.encode(["unknown"])).tolist() == [[0.1, 0.9]]
    edits = trust.decider.score_without_sources(["unknown"], ENCODER.encode(["unknown"]), np.array([3]))
    assert edits.shape == (1, 2) and edits[0, 1] > 0.9  # calibrated


def test_else_it_is_reported_and_everything_stays_as_it_was() -> None:
    inputs = make_inputs(40, 120)
    default = audit_free_scorers(inputs)
    for give, role in (
        (lambda rows: np.full((len(rows), 2), 0.5), "refused"),
        (lambda rows: default.out_of_fold, "reported"),
    ):
        trust = audit_free_scorers(inputs, [*SCORERS.choose(SCORERS.defaults), WrongScorer(give)])
        assert trust.decider is None and trust.out_of_fold.tobytes() == default.out_of_fold.tobytes()
        assert trust.rows[:2] == default.rows[:2] and trust.rows[2]["role"] == role


def test_the_best_of_several_decides_and_the_audit_has_to_pass() -> None:
    truth = np.repeat([0, 1], 100)
    generator = np.random.default_rng(0)

    def measure(noise: float) -> object:
        good = 1 / (1 + np.exp(-(2 * truth - 1 + generator.normal(scale=noise, size=200))))
        return audit(np.stack([1 - good, good], axis=1), truth)

    poor, fair, fine = measure(30), measure(1.5), measure(0.3)
    assert choose_decider(poor, {"fair": fair, "fine": fine}) == "fine"  # type: ignore[arg-type, dict-item]
    assert choose_decider(fine, {"fair": fair}) == choose_decider(poor, {"poor": poor}) == ""  # type: ignore[arg-type, dict-item]


def test_a_job_names_scorers() -> None:
    job = Job.make(data="reviews.csv", text="review", label="stars", scorers=["default", RuleScorer()])
    plain = Job.make(data="reviews.csv", text="review", label="stars")
    assert plain.scorers == SCORERS.defaults and "memory:mine.rule" in job.dump()
    assert job.fingerprint() != plain.fingerprint()
