"""Every run ends, and says truly why: balanced only where nothing is short."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.balance.deficits import is_short
from counterpoise.core.plans import Cell, Deficit, Plan, PlanItem, Proposal, Verdict
from counterpoise.filters.base import list_remedies
from counterpoise.llm.chat import COMPLETIONS_PER_REQUEST
from counterpoise.report.schema import CellCount
from counterpoise.runs.begun import OLD_ROUNDS, keep_old_rounds
from counterpoise.runs.directory import RunDirectory
from counterpoise.runs.endings import (
    BALANCED,
    NOTHING_PAYS,
    STALLED_ROUNDS,
    Progress,
    Stop,
    count_missing,
    describe_ending,
    name_short,
)
from counterpoise.runs.ledger import JudgedProposals, Ledger, leave_out_surplus
from counterpoise.runs.planner import make_plan
from counterpoise.tasks.filters import FILTERS
from counterpoise.tasks.text.job import job_from
from tests.made_up import make_offers

BAD, FOOD = Cell("bad"), Cell("bad", concept="food")
SHORT = [Deficit(BAD, 20, 66), Deficit(FOOD, 2, 14)]


def settle(
    ledger: Ledger,
    cell: Cell,
    n_kept: int,
    reasons: dict[str, int],
    *,
    tokens: float = 10,
    action: str = "minority_text",
) -> None:
    """One more round with a single item."""
    item = PlanItem(action, cell, 6, len(ledger.rounds) + 1, 0, n_requests=0 if action == "adopt" else 4)
    said = ["kept"] * n_kept + [reason for reason, n in reasons.items() for _ in range(n)]
    proposals = tuple(
        Proposal(f"{item.id}-{place}", item, "text", cell.label, tokens=tokens) for place in range(len(said))
    )
    verdicts = tuple(
        Verdict(proposal.id, reason == "kept", reason)
        for proposal, reason in zip(proposals, said, strict=True)
    )
    ledger.settle(
        Plan(item.round, (item,)),
        JudgedProposals(proposals, verdicts, np.zeros((len(said), 2), np.float32), None),
    )


def test_nothing_left_to_try_is_not_balanced() -> None:
    ledger = Ledger()
    settle(ledger, BAD, 0, {"copy_of_data": 60, "too_short": 38})
    remedies = list_remedies(FILTERS.choose(FILTERS.defaults))
    told = describe_ending(NOTHING_PAYS, SHORT, ledger, 20_000, remedies)
    assert told.kind == "nothing_pays" and [cell.need for cell in told.short] == [46, 12]
    assert told.sentence.startswith(
        "no action pays any more: bad lacks 46, bad with food lacks 12; 98 of 98 proposals for them were refused, "
        "most often as copy of data (60); 980 tokens were spent on them. To fill them: a writer that varies"
    )
    assert "balanced" not in told.sentence and told.tokens_needed is None


def test_a_cell_that_was_given_up_is_named_with_the_reason() -> None:
    ledger = Ledger()
    settle(ledger, BAD, 2, {"copy_of_data": 60, "too_short": 38})
    settle(ledger, FOOD, 5, {"too_short": 1})
    ledger.fillers |= {BAD: ("minority_text",), FOOD: ("minority_text",)}
    told = describe_ending(NOTHING_PAYS, SHORT, ledger, 20_000)
    assert [(one.cell, one.reason) for one in told.retired] == [
        (
            "bad",
            "2 of 100 proposals were good enough, for 1,000 tokens; most were refused as copy of data",
        )
    ]


@pytest.mark.parametrize("stop", [NOTHING_PAYS, Stop("rounds", "all 4 rounds are done"), BALANCED])
def test_balanced_is_said_exactly_where_no_cell_is_short(stop: Stop) -> None:
    told = describe_ending(stop, [], Ledger(), None)
    assert told.sentence == "the data is balanced." and told.kind == "balanced" and not told.advice


@pytest.mark.parametrize(
    ("stop", "advice"),
    [
        (Stop("rounds", "all 2 rounds are done"), "raise `rounds` or leave it out, in a new `output`"),
        (Stop("time", "the 5 minutes are spent"), "run the job again with more `minutes`"),
        (
            Stop("budget", "the budget is spent"),
            "raise `budget` by about 920 tokens, to 21,000, in a new `output`",
        ),
    ],
)
def test_every_end_says_what_is_short_and_what_it_would_take(stop: Stop, advice: str) -> None:
    ledger = Ledger()
    settle(ledger, BAD, 10, {"too_short": 10})
    told = describe_ending(stop, SHORT, ledger, 20_000)
    assert told.sentence.startswith(f"{stop.why}: bad lacks 46, bad with food lacks 12; 10 of 20 proposals")
    assert advice in told.advice
    # 46 records, food among them, at 20 tokens a kept one.
    assert told.tokens_needed == 920 and count_missing(SHORT) == 46


def test_a_server_that_answers_nothing_is_sent_to_the_doctor() -> None:
    ledger = Ledger()
    settle(ledger, BAD, 0, {"refused": 4})
    assert "counterpoise doctor" in describe_ending(NOTHING_PAYS, SHORT, ledger, None).advice


def test_many_short_cells_are_counted() -> None:
    cells = [CellCount(f"c{place}", 0, 10 - place, 10 - place) for place in range(5)]
    assert name_short(cells) == "c0 lacks 10, c1 lacks 9, c2 lacks 8 and 2 more cells are short"
    assert name_short(cells[:4]).endswith("and 1 more cell is short") and name_short([]) == ""


@dataclass
class World:
    """A data set of two labels and two topics, and a writer of which so many texts are kept in each cell."""

    counts: dict[Cell, int]
    kept: dict[Cell, float]
    tokens: float
    fails_from: int

    def list_short(self) -> list[Deficit]:
        found = []
        for cell, have in self.counts.items():
            siblings = [
                other
                for other in self.counts
                if (other.attribute, other.value) == (cell.attribute, cell.value)
            ]
            found.append(Deficit(cell, have, max(self.counts[other] for other in siblings)))
        return sorted((one for one in found if is_short(one)), key=lambda one: (-one.need, one.cell))

    def act(self, plan: Plan, source: random.Random) -> JudgedProposals:
        proposals, verdicts = [], []
        for item in plan.items:
            n = 0 if plan.round >= self.fails_from else item.n_requests * COMPLETIONS_PER_REQUEST
            for place in range(n):
                proposal = Proposal(f"{item.id}-{place:05d}", item, "", item.cell.label, tokens=self.tokens)
                is_kept = source.random() < self.kept[item.cell]
                proposals.append(proposal)
                verdicts.append(Verdict(proposal.id, is_kept, "kept" if is_kept else "length"))
        checked = leave_out_surplus(proposals, verdicts)
        for proposal, verdict in zip(proposals, checked, strict=True):
            for cell in {proposal.item.cell, Cell(proposal.label)} if verdict.kept else ():
                self.counts[cell] += 1
        return JudgedProposals(
            tuple(proposals), tuple(checked), np.zeros((len(proposals), 2), np.float32), None
        )


CELLS = [
    Cell(label, attribute=name, value=value)
    for label in "ab"
    for name, value in (("", ""), ("t", "x"), ("t", "y"))
]


def make_world(counts: list[int], rates: list[float], tokens: float = 20.0, fails_from: int = 10**9) -> World:
    named = dict(zip(CELLS, counts, strict=True))
    for label in "ab":  # a label has at least its rows with a topic
        named[Cell(label)] = sum(n for cell, n in named.items() if cell.label == label)
    return World(named, dict(zip(CELLS, rates, strict=True)), tokens, fails_from)


def run(world: World, limit: int | None, *, has_contrast: bool, seed: int = 0) -> tuple[Ledger, float]:
    """The rounds as the loop has them; the ledger, and the tokens that were spent."""
    ledger, progress, source, spent = Ledger(), Progress(), random.Random(seed), 0.0
    most = (sum(one.need for one in world.list_short()) + 1) * STALLED_ROUNDS
    for number in count(1):
        assert number <= most + 1
        short, gone = world.list_short(), ledger.find_exhausted()
        open_cells = [one for one in short if ("minority_text", one.cell) not in gone]
        if not open_cells or progress.is_stalled(short):
            break
        offers = {}
        for cell in CELLS:
            other = Cell("b" if cell.label == "a" else "a", attribute=cell.attribute, value=cell.value)
            can_contrast = has_contrast and ("minority_text", other) not in gone
            offers[cell] = make_offers(300, contrast=other if can_contrast else None)
        left = None if limit is None else max(0, int(limit - spent))
        plan = make_plan(
            open_cells,
            offers,
            ledger.costs,
            round_number=number,
            n_rounds=None,
            remaining_tokens=left,
            exhausted=gone,
        )
        if not plan.items:
            assert left is not None and left < 600
            break
        judged = world.act(plan, source)
        ledger.settle(plan, judged)
        spent += sum(proposal.tokens for proposal in judged.proposals)
    return ledger, spent


@settings(deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(0, 120), min_size=6, max_size=6),
    rates=st.lists(st.sampled_from([0.0, 0.05, 0.15, 0.5, 1.0]), min_size=6, max_size=6),
    tokens=st.sampled_from([0.0, 20.0]),
    fails_from=st.sampled_from([1, 3, 10**9]),
    has_contrast=st.booleans(),
    limit=st.sampled_from([None, 0, 5_000, 200_000]),
    seed=st.integers(0, 5),
)
def test_every_run_ends_and_says_balanced_only_where_it_is(
    counts, rates, tokens, fails_from, has_contrast, limit, seed
) -> None:
    world = make_world(counts, rates, tokens, fails_from)
    ledger, spent = run(world, limit, has_contrast=has_contrast, seed=seed)
    assert limit is None or spent <= limit
    short = world.list_short()
    assert (describe_ending(NOTHING_PAYS, short, ledger, limit).kind == "balanced") == (not short)


@pytest.mark.parametrize("has_contrast", [True, False])
@pytest.mark.parametrize("rate", [1.0, 0.5, 0.2])
@pytest.mark.parametrize("limit", [None, 1_000_000, 10_000])
def test_a_writer_that_works_is_used_until_nothing_is_short_or_nothing_is_left(
    rate: float, limit: int | None, has_contrast: bool
) -> None:
    world = make_world([0, 40, 3, 0, 400, 250], [rate] * 6)
    thinnest = Cell("a", attribute="t", value="y")
    _, spent = run(world, limit, has_contrast=has_contrast)
    if limit == 10_000:
        assert world.list_short() and spent > 10_000 - 600, (
            "all but what one request and its contrast may take"
        )
        assert world.counts[thinnest] >= 6
    else:
        assert not world.list_short()


def test_a_directory_of_a_version_that_stopped_after_four_rounds_goes_on_so(tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "data": {"text": ["a", "b"], "label": ["x", "y"]},
        "text": "text",
        "label": "label",
    }
    job = job_from(**keys)
    inputs: Any = SimpleNamespace(fingerprint="abc")
    old = f"{job.model_copy(update={'rounds': OLD_ROUNDS}).fingerprint()}-abc"
    assert job.rounds is None and old != f"{job.fingerprint()}-abc"
    with RunDirectory(tmp_path / "old") as directory:
        assert keep_old_rounds(job, inputs, directory).rounds is None  # nothing has begun there
        directory.begin("{}", old)
        assert keep_old_rounds(job, inputs, directory).rounds == OLD_ROUNDS
        other = job_from(**keys, rounds=7)
        assert keep_old_rounds(other, inputs, directory).rounds == 7
        directory.write("run", {"rounds": 4})  # what this version writes: its user did set four
        assert keep_old_rounds(job, inputs, directory).rounds is None
