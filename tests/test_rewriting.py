"""Refused texts that are written once more: which ones, what is asked, and a run in which they fill a cell."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import counterpoise
from counterpoise.actions.rewriting import Rewrite
from counterpoise.core.plans import Cell, Kind, Plan, PlanItem, Proposal, Refusal, Verdict
from counterpoise.filters.base import list_instructions
from counterpoise.llm.models import Models
from counterpoise.runs.ledger import JudgedProposals, Ledger
from counterpoise.tasks.filters import FILTERS
from counterpoise.tasks.text.job import job_from
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reply, write_reviews
from tests.made_up import make_chat, write_sentence
from tests.servers import Body, LocalServer, draw_seed, hash_body
from tests.test_edit_actions import CONTINUES, DATA, FOLLOWS

ACTION = Rewrite()
CELL = Cell("bad")
ITEM = PlanItem(ACTION.name, CELL, 4, 2, 0, n_requests=4, reserved_tokens=10**6)
IDS = [str(one) for one in DATA.train.records.ids[DATA.train.records.labels == 0]]


def refuse(number: int, text: str, cell: Cell = CELL) -> Refusal:
    item = PlanItem("minority_text", cell, 1, 1, 0)
    proposal = Proposal(f"{item.id}-{number:05d}", item, text, cell.label, tuple(IDS[:3]), writer="calm")
    return Refusal(proposal, "It is too short.")


REFUSED = (refuse(0, "Cold."), refuse(1, "Bad soup."), refuse(2, "Nice.", Cell("good")))


async def test_each_refused_text_of_the_cell_is_asked_for_once_more_with_its_fault() -> None:
    chat, engine = make_chat(lambda request, index: "The soup was cold, and nobody cared.")
    data = replace(DATA, refused=REFUSED)
    found = [proposal async for proposal in ACTION.act(ITEM, data, Models(chat, FOLLOWS))]
    assert sorted(proposal.rewritten_from for proposal in found) == ["r001-p00-00000", "r001-p00-00001"]
    assert {proposal.parents for proposal in found} == {tuple(IDS[:3])}
    assert {proposal.writer for proposal in found} == {"calm"} and {one.kind for one in found} == {
        ACTION.name
    }
    asked = [request.messages[-1].content for request in engine.requests]
    assert len(asked) == 2
    for content, text in zip(
        sorted(asked, key=lambda one: "Cold." not in one), ["Cold.", "Bad soup."], strict=True
    ):
        assert text in content and "It is too short." in content and "unhappy guests" in content
        shown = [str(DATA.train.records.texts[list(DATA.train.records.ids).index(one)]) for one in IDS[:3]]
        assert all(one in content for one in shown)


def test_it_is_offered_where_a_model_follows_instructions_and_something_was_refused() -> None:
    chat, engine = make_chat(lambda request, index: "")
    data = replace(DATA, refused=REFUSED)
    offer = ACTION.offer(CELL, data, Models(chat, FOLLOWS))
    assert offer is not None and offer.most == 2 and offer.request_tokens > 0
    assert ACTION.offer(CELL, data, Models(chat, CONTINUES)) is None
    later = ACTION.offer(CELL, DATA, Models(chat, FOLLOWS))
    assert later is not None and later.most == 0, "something may be refused in a later round"
    assert not engine.requests


async def test_what_the_tokens_do_not_reach_is_not_sent() -> None:
    chat, engine = make_chat(lambda request, index: "The soup was cold, and nobody cared.")
    data = replace(DATA, refused=REFUSED)
    price = chat.estimate(ACTION.list_requests(ITEM, data, Models(chat, FOLLOWS))[0])
    item = replace(ITEM, reserved_tokens=price + 1)
    found = [proposal async for proposal in ACTION.act(item, data, Models(chat, FOLLOWS))]
    assert [one.rewritten_from for one in found] == ["r001-p00-00000"] and len(engine.requests) == 1


def test_a_text_is_rewritten_once_and_only_for_what_a_writer_can_mend() -> None:
    told = list_instructions(FILTERS.choose(FILTERS.names))
    assert "too_short" in told and "copy_of_held_out" not in told and "gibberish" not in told
    first = PlanItem("minority_text", CELL, 3, 1, 0, 1)
    texts = {"too_short": "Cold.", "gibberish": "xqzt", "copy_of_held_out": "The soup was cold."}
    made = [Proposal(f"{first.id}-{n:05d}", first, text, "bad") for n, text in enumerate(texts.values())]
    ledger = Ledger()
    verdicts = tuple(Verdict(one.id, False, reason) for one, reason in zip(made, texts, strict=True))
    vectors = DATA.train.vectors[:3]
    ledger.settle(Plan(1, (first,)), JudgedProposals(tuple(made), verdicts, vectors, None))
    (refusal,) = ledger.list_mendable(told)
    assert refusal.proposal.text == "Cold." and refusal.instruction == told["too_short"]
    again = replace(ITEM, round=2)
    second = Proposal(f"{again.id}-00000", again, "Cold!", "bad", rewritten_from=made[0].id)
    ledger.settle(
        Plan(2, (again,)),
        JudgedProposals((second,), (Verdict(second.id, False, "too_short"),), vectors[:1], None),
    )
    assert ledger.list_mendable(told) == []


def test_a_run_fills_a_cell_with_texts_that_were_refused_first(tmp_path: Path) -> None:
    rows = make_reviews(60, 20)
    write_reviews(tmp_path / "reviews.csv", rows)
    write_reviews(tmp_path / "test.csv", make_reviews(20, 20, seed=1))
    make_cache(tmp_path / "cache")

    def reply(body: Body, index: int) -> str:
        messages = body.get("messages")
        asked = messages[-1]["content"] if messages else ""
        if "capital letters" in asked or "Write" not in asked:
            return write_reply(body, index, instructs=True)
        whole = write_sentence(
            random.Random(draw_seed(hash_body(body), index)), good="raise" in asked.split("\n")[0]
        )
        return whole if "The draft cannot be used" in asked else whole.split(" ")[0]

    with LocalServer(reply) as server:
        job = make_job(tmp_path, server, "run", actions=["minority_text", "rewriting"], rounds=4)
        run = counterpoise.run(job)
    kinds = [row["provenance"]["kind"] for row in run.dataset["train"]]
    assert kinds.count("rewriting") > 5 and kinds.count(Kind.ORIGINAL) == 80
    prompts = {
        row["provenance"]["prompt"].split("@")[0]
        for row in run.dataset["train"]
        if row["provenance"]["kind"] == "rewriting"
    }
    assert len(prompts) == 1 and "rewriting" in prompts.pop()


def test_a_run_that_was_begun_before_it_was_known_goes_on_without_it() -> None:
    keys = {"data": "a.csv", "text": "text", "label": "label"}
    before = ["adopt", "concept_injection", "counterfactual_edit", "minority_text"]
    assert job_from(**keys, actions=before).fingerprint() == job_from(**keys).fingerprint()
    assert job_from(**keys, actions=before[1:]).fingerprint() != job_from(**keys).fingerprint()
