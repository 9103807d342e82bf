"""What a run has so far: what settling a round adds, what an item keeps, and when an action is given up."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.actions.base import Costs
from counterpoise.core.plans import Cell, Kind, Nature, Plan, PlanItem, Proposal, Verdict
from counterpoise.core.records import ConceptColumns, State
from counterpoise.runs.ledger import NOT_NEEDED, JudgedProposals, Ledger, add_accepted, leave_out_surplus
from tests.made_up import make_records
from tests.test_endings import settle

BAD, GOOD, FOOD = Cell("bad"), Cell("good"), Cell("bad", concept="food")
WRITE = ("minority_text", BAD)


def judge_as(said: dict[PlanItem, list[str]], concepts: ConceptColumns | None = None) -> JudgedProposals:
    """Proposals of items, ten tokens each, with the reasons given; `!` before one says that the request failed."""
    proposals, verdicts = [], []
    for item, reasons in said.items():
        for place, reason in enumerate(reasons):
            failure = reason[1:] if reason.startswith("!") else ""
            one = Proposal(
                f"{item.id}-{place}", item, f"text {place}", item.cell.label, tokens=10, failure=failure
            )
            proposals.append(one)
            verdicts.append(Verdict(one.id, reason == "kept", reason.lstrip("!")))
    vectors = np.arange(2 * len(proposals), dtype=np.float32).reshape(-1, 2)
    return JudgedProposals(tuple(proposals), tuple(verdicts), vectors, concepts)


def test_each_item_of_a_round_is_charged_for_its_own_proposals() -> None:
    first, second = PlanItem("minority_text", BAD, 6, 1, 0, 2), PlanItem("minority_text", GOOD, 6, 1, 1, 3)
    ledger = Ledger()
    ledger.settle(
        Plan(1, (first, second)),
        judge_as({first: ["kept", "too_short", NOT_NEEDED, "!no_reply"], second: ["kept"]}),
    )
    # A request that failed was no try; a text that was one too many was good enough.
    assert ledger.costs[WRITE] == Costs(tried=3, accepted=2, tokens=30, requests=2)
    assert ledger.costs["minority_text", GOOD] == Costs(tried=1, accepted=1, tokens=10, requests=3)
    again = PlanItem("minority_text", BAD, 6, 2, 0, 4)
    ledger.settle(Plan(2, (again,)), judge_as({again: ["kept"]}))
    assert ledger.costs[WRITE] == Costs(tried=4, accepted=3, tokens=40, requests=6)
    assert ledger.tries[WRITE] == [(3, 2), (1, 1)]
    accepted = [proposal.id for proposal, _ in ledger.list_accepted()]
    assert accepted == ["r001-p00-0", "r001-p01-0", "r002-p00-0"]
    rejected = [(proposal.id, verdict.reason) for proposal, verdict in ledger.list_rejected()]
    assert rejected == [("r001-p00-1", "too_short"), ("r001-p00-2", NOT_NEEDED), ("r001-p00-3", "no_reply")]
    np.testing.assert_array_equal(ledger.stack_vectors(2), [[0, 1], [8, 9], [0, 1]])
    assert ledger.stack_vectors(2, kept_only=False).shape == (6, 2) and Ledger().stack_vectors(7).shape == (
        0,
        7,
    )


def test_a_row_of_the_pool_is_offered_once_whether_it_was_kept_or_not() -> None:
    item = PlanItem("adopt", BAD, 2, 1, 0)
    proposals = tuple(
        Proposal(f"a{place}", item, "", "bad", kind=Kind.ADOPTED, nature=Nature.REAL, source_id=source)
        for place, source in enumerate(("pool7", "pool9"))
    )
    verdicts = (Verdict("a0", True, "kept"), Verdict("a1", False, "copy_of_data"))
    ledger = Ledger()
    assert ledger.list_offered() == frozenset()
    ledger.settle(Plan(1, (item,)), JudgedProposals(proposals, verdicts, np.zeros((2, 2), np.float32), None))
    settle(ledger, BAD, 1, {})  # a written text has no row that it was adopted from
    assert ledger.list_offered() == {"pool7", "pool9"}


def test_an_action_is_given_up_for_what_it_did_lately() -> None:
    ledger = Ledger()
    settle(ledger, BAD, 300, {"too_short": 100})
    settle(ledger, BAD, 2, {"copy_of_proposal": 40})
    assert (
        WRITE not in ledger.find_exhausted()
    )  # fewer than fifty of late, with the round before it is plenty
    settle(ledger, BAD, 1, {"copy_of_proposal": 40})
    assert ledger.find_exhausted() == {WRITE} and ledger.costs[WRITE].accepted == 303


@pytest.mark.parametrize(
    ("n_kept", "reasons", "is_given_up"),
    [
        (4, {"too_short": 46}, True),  # less than a tenth of fifty
        (5, {"too_short": 45}, False),
        (0, {"too_short": 49}, False),  # fewer than fifty say nothing yet
        (0, {"too_short": 50}, True),
        (0, {}, True),  # no text at all: the same would come again
        (0, {NOT_NEEDED: 60}, False),
    ],
)
def test_an_action_is_given_up_below_a_tenth_of_fifty_or_after_a_round_without_text(
    n_kept: int, reasons: dict[str, int], is_given_up: bool
) -> None:
    ledger = Ledger()
    settle(ledger, BAD, n_kept, reasons)
    settle(ledger, GOOD, 10, {})
    assert ledger.find_exhausted() == ({WRITE} if is_given_up else frozenset())


def test_adopting_ends_where_nothing_was_kept() -> None:
    ledger = Ledger()
    settle(ledger, BAD, 0, {"copy_of_data": 1}, action="adopt")
    settle(ledger, GOOD, 1, {"copy_of_data": 1}, action="adopt")
    assert ledger.find_exhausted() == {("adopt", BAD)}


def test_an_item_keeps_no_more_than_its_cell_can_take() -> None:
    few, many = (
        PlanItem("minority_text", BAD, 3, 1, place, 1, most=most) for place, most in enumerate((2, 0))
    )
    judged = judge_as({few: ["kept", "length", "kept", "kept"], many: ["kept"] * 4})
    checked = leave_out_surplus(judged.proposals, judged.verdicts)
    # The last ids are left out; what was refused takes no place; an item without a limit keeps all.
    assert [verdict.reason for verdict in checked] == ["kept", "length", "kept", NOT_NEEDED, *["kept"] * 4]
    assert [verdict.kept for verdict in checked] == [True, False, True, False, *[True] * 4]
    assert [verdict.proposal_id for verdict in checked] == [proposal.id for proposal in judged.proposals]


def test_accepted_records_are_counted_with_their_labels_values_and_concepts() -> None:
    def mark(*states: int) -> ConceptColumns:
        column = np.array(states, dtype=np.int8)[:, None]
        return ConceptColumns(("food",), column, np.zeros((len(states), 1)))

    train = make_records(
        ["a", "b"], [0, 1], attributes={"source": ["web", ""]}, concepts=mark(State.ABSENT, State.ABSENT)
    )
    assert add_accepted(train, Ledger()) is train
    item = PlanItem("minority_text", FOOD, 3, 1, 0, 1)
    judged = judge_as(
        {item: ["kept", "too_short", "kept"]}, mark(State.PRESENT, State.PRESENT, State.UNKNOWN)
    )
    ledger = Ledger()
    ledger.settle(Plan(1, (item,)), judged)
    both = add_accepted(train, ledger)
    assert both.ids.tolist() == ["row0000", "row0001", "r001-p00-0", "r001-p00-2"]
    assert both.texts.tolist() == ["a", "b", "text 0", "text 2"] and both.labels.tolist() == [0, 1, 0, 0]
    assert both.attributes["source"].tolist() == ["web", "", "", ""]
    assert both.concepts is not None
    assert both.concepts.states[:, 0].tolist() == [0, 0, State.PRESENT, State.UNKNOWN]
