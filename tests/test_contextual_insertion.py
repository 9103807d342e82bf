"""Clauses that a model inserts into real records: what is asked, of which rows, and a run that names the action."""

from __future__ import annotations

from pathlib import Path

import pytest

import counterpoise
from counterpoise.actions.contextual_insertion import ContextualInsertion, InsertInContext, remove_clause
from counterpoise.core.plans import Cell, Nature, PlanItem
from counterpoise.llm.models import Models
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reply, write_reviews
from tests.made_up import make_chat
from tests.servers import Body, LocalServer, hash_body
from tests.test_edit_actions import CONTINUES, DATA, FOLLOWS

ACTION = InsertInContext()
CELL = Cell("bad", attribute="source", value="print")


def plan(cell: Cell = CELL) -> PlanItem:
    return PlanItem(ACTION.name, cell, 4, 1, 0, 4, 10**6)


async def test_a_row_of_the_cell_is_asked_for_again_with_a_clause_more() -> None:
    chat, engine = make_chat(lambda request, index: "The soup was cold, and nobody cared.")
    found = [proposal async for proposal in ACTION.act(plan(), DATA, Models(chat, FOLLOWS))]
    assert len(found) == 4 and {proposal.nature for proposal in found} == {Nature.INSERTED}
    assert {proposal.kind for proposal in found} == {ContextualInsertion.action}
    records = DATA.train.records
    rows = {str(identity): place for place, identity in enumerate(records.ids)}
    for proposal in found:
        source = rows[proposal.parents[0]]
        assert records.labels[source] == 0 and records.attributes["source"][source] == "print"
        (asked,) = [
            request
            for request in engine.requests
            if f"Record: {records.texts[source]}\n" in request.messages[-1].content
        ]
        assert "unhappy guests" in asked.messages[-1].content
    places = {
        request.messages[-1].content.split("twelve words ")[1].split(" that")[0]
        for request in engine.requests
    }
    assert places == {"at the beginning", "in the middle", "at the end"}


def test_cells_of_concepts_are_left_to_their_injection() -> None:
    chat, _ = make_chat(lambda request, index: "")
    assert ACTION.offer(Cell("bad", concept="music"), DATA, Models(chat, FOLLOWS)) is None
    assert ACTION.offer(Cell("bad"), DATA, Models(chat, FOLLOWS)) is not None


def test_a_model_that_only_continues_is_shown_real_records_without_and_with_a_clause() -> None:
    material = ACTION.gather(CELL, DATA, CONTINUES)
    texts = {str(text) for text in DATA.train.records.texts}
    assert material.pairs and all(after in texts and before in after for before, after in material.pairs)
    chat, _ = make_chat(lambda request, index: "")
    request = ACTION.list_requests(plan(), DATA, Models(chat, CONTINUES))[0]
    assert request.prompt.startswith("unhappy guests. Each is given short") and request.prompt.endswith(
        "\nLong:"
    )


@pytest.mark.parametrize(
    ("text", "is_divided"),
    [
        ("One clause only", False),
        ("", False),
        ("汤是冷的。服务员很粗鲁。", True),
        ("a, " * 20, False),
        ("Cold soup! Never again.", True),
    ],
)
def test_a_clause_is_left_out_of_texts_that_have_several(text: str, is_divided: bool) -> None:
    pair = remove_clause(text, "key")
    assert (pair is not None) == is_divided
    assert pair is None or (pair[1] == text and 0 < len(pair[0]) < len(text))


def insert(body: Body, index: int) -> str:
    """What a model that does as it is told says: the record with a clause more."""
    messages = body.get("messages")
    asked = str(messages[-1]["content"]) if messages else ""
    if "insert one clause" not in asked:
        return write_reply(body, index, instructs=True)
    record = asked.split("Record: ")[1].split("\n")[0]
    return f"{record.removesuffix('.')}, as we had feared since {hash_body(body)[:4]} o'clock."


@pytest.mark.assets
@pytest.mark.processes
def test_a_run_that_names_it_keeps_what_it_inserts(tmp_path: Path) -> None:
    write_reviews(tmp_path / "reviews.csv", make_reviews(48, 14))
    write_reviews(tmp_path / "test.csv", make_reviews(20, 20, seed=1))
    make_cache(tmp_path / "cache")
    with LocalServer(insert) as server:
        run = counterpoise.run(
            make_job(tmp_path, server, "run", rounds=2, actions=["contextual_insertion", "default"])
        )
    rows = {row["provenance"]["id"]: row for row in run.dataset["train"]}
    inserted = [row for row in rows.values() if row["provenance"]["kind"] == "contextual_insertion"]
    assert len(inserted) >= 5
    for row in inserted:
        source = rows[row["provenance"]["parents"][0]]
        assert (
            row["review"].startswith(source["review"].removesuffix(".")) and row["stars"] == source["stars"]
        )
    items = [item for turn in run.report_data["rounds"] for item in turn["items"]]
    assert "contextual_insertion" in {item["action"] for item in items}
    assert "contextual insertion" in run.report().read_text(encoding="utf-8")
