"""Adopting from a pool whose labels are known to the test and to nobody else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from counterpoise.actions.adopt import (
    SURE_FROM,
    Adoptable,
    find_adoptable,
    list_candidates,
    propose_adoptions,
)
from counterpoise.core.plans import Cell, PlanItem
from counterpoise.core.records import UNLABELLED, ConceptColumns, Floats, Integers, Records, State
from counterpoise.students.calibration import calibrate_labels, estimate_shares
from counterpoise_retrievers.faiss_index import FaissIndex
from tests.made_up import make_records

DISTANCE = 3.0  # between the two labels, in standard deviations
NO_VECTORS = np.empty((0, 4), np.float32)


@dataclass(frozen=True)
class Simulated:
    """Rows whose evidence is drawn from one normal distribution a label."""

    labels: Integers
    truth: Floats  # probabilities under equal label shares
    timid: Floats  # what a scorer says that believes a third of it and leans to label 1


def simulate(n_rare: int, n_often: int, seed: int) -> Simulated:
    generator = np.random.default_rng(seed)
    labels = np.array([0] * n_rare + [1] * n_often)
    odds = DISTANCE * (generator.normal(DISTANCE * labels) - DISTANCE / 2)

    def squash(logits: Floats) -> Floats:
        sure = 1 / (1 + np.exp(-logits))
        return np.column_stack([1 - sure, sure])

    return Simulated(labels, squash(odds), squash(0.3 * odds + 0.5))


KNOWN, POOL = simulate(40, 400, 1), simulate(700, 300, 2)


def test_shares_of_a_pool_are_estimated_from_its_scores() -> None:
    for n_rare in (50, 300, 700, 990):
        pool = simulate(n_rare, 1000 - n_rare, n_rare)
        shares = estimate_shares(pool.truth)
        assert shares == pytest.approx([n_rare / 1000, 1 - n_rare / 1000], abs=0.03)
    assert estimate_shares(np.empty((0, 3))) == pytest.approx([1 / 3] * 3)


def test_calibration_takes_timidity_and_lean_away() -> None:
    calibrated = calibrate_labels(KNOWN.timid, KNOWN.labels, POOL.timid)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)
    assert np.abs(POOL.timid - POOL.truth).mean() > 0.15
    assert np.abs(calibrated - POOL.truth).mean() < 0.03
    three = np.column_stack([KNOWN.timid, np.full(len(KNOWN.labels), 0.01)])
    three /= three.sum(axis=1, keepdims=True)
    assert (calibrate_labels(three, KNOWN.labels, three)[:, 2] < 1e-6).all(), (
        "a label without rows is never likely"
    )


def test_sure_rows_are_right_as_often_as_they_say() -> None:
    found = find_adoptable(KNOWN.timid, KNOWN.labels, POOL.timid)
    assert found.shares == pytest.approx([0.7, 0.3], abs=0.05)
    sure = found.sure >= 0
    assert 0.8 < sure.mean() < 1
    assert (found.sure[sure] == POOL.labels[sure]).mean() > 0.95
    # Calibrated: rows that are barely sure are right about that often, and not always.
    highest = found.posteriors.max(axis=1)
    barely = (highest >= SURE_FROM) & (highest < 0.95)
    assert 0.75 <= (found.sure[barely] == POOL.labels[barely]).mean() < 1
    assert (found.sure[highest < SURE_FROM] == -1).all()


def test_a_label_that_is_rare_in_the_pool_is_rarely_sure() -> None:
    pool = simulate(10, 990, 5)
    found = find_adoptable(KNOWN.timid, KNOWN.labels, pool.timid)
    adopted = found.sure == 0
    assert adopted.any() and (pool.labels[adopted] == 0).mean() >= 0.7


def make_pool(n: int) -> Records:
    states = np.array([[State.PRESENT if row % 3 == 0 else State.UNKNOWN] for row in range(n)], dtype=np.int8)
    return make_records(
        [f"pool text {row}" for row in range(n)],
        [UNLABELLED] * n,
        attributes={"source": ["web" if row % 2 else "mail" for row in range(n)]},
        concepts=ConceptColumns(("food",), states, np.full((n, 1), 0.5)),
        ids=[f"p{row}" for row in range(n)],
    )


def list_for(cell: Cell, pool: Records, sure: list[int], taken: frozenset[str] = frozenset()) -> list[int]:
    offer = Adoptable(np.empty((0, 2)), np.empty(2), np.array(sure))
    return list(list_candidates(cell, pool, offer, taken, NO_VECTORS, FaissIndex(4)))


def test_candidates_are_sure_untaken_and_of_the_cell() -> None:
    pool, sure = make_pool(12), [0, 0, 1, 0, -1, 0, 0, 1, 0, 0, -1, 0]
    assert list_for(Cell("good"), pool, sure) == [2, 7]
    assert list_for(Cell("bad"), pool, sure, frozenset({"p1", "p9"})) == [0, 3, 5, 6, 8, 11]
    assert list_for(Cell("bad", attribute="source", value="web"), pool, sure) == [1, 3, 5, 9, 11]
    assert list_for(Cell("bad", attribute="colour", value="web"), pool, sure) == []
    assert list_for(Cell("bad", concept="food"), pool, sure) == [0, 3, 6, 9]
    bare = make_records(["text"], [UNLABELLED])
    assert list_for(Cell("bad", concept="food"), bare, [0]) == []


def test_of_a_large_pool_only_the_neighbours_are_looked_at() -> None:
    pool = make_pool(500)
    vectors = np.zeros((500, 4), np.float32)
    vectors[:, 0] = np.linspace(1, 0, 500)
    vectors[:, 1] = np.sqrt(1 - vectors[:, 0] ** 2)
    index = FaissIndex(4)
    index.add(vectors)
    offer = Adoptable(np.empty((0, 2)), np.empty(2), np.zeros(500, dtype=np.int64))
    thin = np.array([[1, 0, 0, 0]], np.float32)
    near = list_candidates(Cell("bad"), pool, offer, frozenset(), thin, index)
    assert near.tolist() == list(range(200))


def adopt(pool: Records, count: int) -> dict[str, str]:
    item = PlanItem("adopt", Cell("bad"), count, 1, 0)
    proposals = propose_adoptions(item, pool, np.arange(len(pool)), "seed 0")
    assert [proposal.id for proposal in proposals] == [f"r001-p00-{place:05d}" for place in range(count)]
    return {proposal.source_id: proposal.text for proposal in proposals}


def test_one_more_pool_row_or_another_order_changes_at_most_one_adoption() -> None:
    pool = make_pool(60)
    chosen = adopt(pool.take(np.arange(59)), 10)
    assert chosen == adopt(pool.take(np.arange(58, -1, -1)), 10)
    whole = adopt(pool, 10)
    shrunk = [adopt(pool.take(np.delete(np.arange(60), row)), 10) for row in range(60)]
    assert all(len(set(whole) - set(part)) <= 1 for part in shrunk)
    assert sum(set(part) != set(whole) for part in shrunk) == 10, "only a row that was chosen is missed"
    assert list(whole) != sorted(whole), "drawn, not the first ones"


def test_an_adoption_carries_its_source_and_its_attributes() -> None:
    item = PlanItem("adopt", Cell("bad"), 5, 2, 3)
    pool = make_pool(8)
    proposals = propose_adoptions(item, pool, np.array([4, 7]), "seed 0")
    assert {proposal.source_id for proposal in proposals} == {"p4", "p7"}
    for proposal in proposals:
        assert proposal.text == f"pool text {proposal.source_id[1:]}" and proposal.label == "bad"
        assert proposal.nature.is_real and proposal.parents == () and proposal.tokens == 0
        assert proposal.attributes == {"source": "web" if proposal.source_id == "p7" else "mail"}
