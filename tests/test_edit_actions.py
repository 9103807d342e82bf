"""Edits of records: what there is to edit for a cell, and who judges it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from counterpoise.actions.edits import EditActions
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.plans import Cell, Nature, PlanItem, Proposal, Verdict
from counterpoise.core.records import ConceptColumns, State
from counterpoise.filters.base import KEPT
from counterpoise.filters.edit_filter import EditFilter, mark_injected
from counterpoise.llm.models import Models
from counterpoise.scorers.without_sources import score_without_sources
from counterpoise.tasks.text.inputs import Inputs
from tests.made_up import BLAME, ENCODER, PRAISE, make_chat
from tests.test_trust import make_inputs

FOLLOWS = Capabilities("scripted", follows_instructions=True)
CONTINUES = Capabilities("scripted")
CELL = Cell("bad", attribute="source", value="web")


def make_sourced_inputs() -> Inputs:
    """Sentences from the web that are all good but one, and printed ones of both kinds."""
    inputs = make_inputs(30, 60)
    records = inputs.train.records
    source = np.where(records.labels == 1, "web", "print").astype(object)
    source[:3] = "web"
    concepts = ConceptColumns(
        ("music",),
        np.where(records.labels == 1, State.PRESENT, State.ABSENT).astype(np.int8)[:, None],
        np.zeros((len(records), 1)),
    )
    side = replace(inputs.train, records=replace(records, attributes={"source": source}, concepts=concepts))
    return replace(inputs, train=side, concepts={"music": "how loud the band was"})


INPUTS = make_sourced_inputs()
EDITS = EditActions(
    INPUTS.train,
    INPUTS.encoder,
    INPUTS.concepts,
    {"bad": "unhappy guests", "good": "happy guests"},
    "seed 0",
    is_trusted=True,
)
FILTER = EditFilter(
    INPUTS.train,
    INPUTS.encoder,
    INPUTS.concepts,
    is_trusted=True,
    score=partial(score_without_sources, INPUTS.train, INPUTS.folds, INPUTS.encoder),
)


def test_sources_are_of_other_labels_or_lack_the_concept() -> None:
    def find(action: str, cell: Cell) -> set[str]:
        return set(EDITS.gather(action, cell, FOLLOWS).sources.records.ids)

    records = INPUTS.train.records
    good = {str(identity) for identity in records.ids[records.labels == 1]}
    bad = {str(identity) for identity in records.ids[records.labels == 0]}
    music = Cell("bad", concept="music")
    assert find("counterfactual_edit", CELL) == good == find("counterfactual_edit", music)
    assert find("concept_injection", music) == bad and not find("concept_injection", CELL)
    # A label by itself has records of its own to continue from.
    assert not find("counterfactual_edit", Cell("bad"))


def test_offers_are_made_where_somebody_can_judge() -> None:
    chat, engine = make_chat(lambda request, index: "")
    offers = EDITS.make_offers(CELL, Models(chat, FOLLOWS), {})
    assert list(offers) == ["counterfactual_edit"] and offers["counterfactual_edit"].n_edits == 120
    left = EDITS.make_offers(CELL, Models(chat, FOLLOWS), {"counterfactual_edit": 100})
    assert left["counterfactual_edit"].n_edits == 20
    assert not EDITS.make_offers(CELL, Models(chat, FOLLOWS), {"counterfactual_edit": 120})
    assert not replace(EDITS, is_trusted=False).make_offers(CELL, Models(chat, FOLLOWS), {})
    assert not EDITS.make_offers(Cell("bad"), Models(chat, FOLLOWS), {}) and not engine.requests


async def test_edits_go_from_source_to_verdict() -> None:
    def flip(text: str) -> str:
        for praise, blame in zip(PRAISE, BLAME, strict=True):
            text = text.replace(f" {praise}", f" {blame}")
        return text

    texts = {str(text): flip(str(text)) for text in INPUTS.train.records.texts}
    chat, _ = make_chat(
        lambda request, index: next(
            flipped if index == 0 else text
            for text, flipped in texts.items()
            if f"Record: {text}\n" in request.messages[-1].content
        )
    )
    item = PlanItem("counterfactual_edit", CELL, 12, 1, 0, 12, 10**6)
    material = EDITS.gather(item.action, CELL, FOLLOWS)
    editor = EDITS.editors[item.action]
    proposals = [proposal async for proposal in editor.propose(item, material, Models(chat, FOLLOWS))]
    assert all(proposal.attributes == {"source": "web"} for proposal in proposals)
    unchanged = replace(proposals[0], text=str(material.sources.records.texts[0]))
    fresh = replace(proposals[0], kind="minority", nature=Nature.WRITTEN, text="anything")
    everything = [*proposals, unchanged, fresh]
    vectors = ENCODER.encode([proposal.text for proposal in everything])
    verdicts = FILTER.verdicts(everything, vectors, None)
    assert sum(verdict.kept for verdict in verdicts[:-2]) >= 8
    assert not verdicts[-2].kept and verdicts[-1].reason == KEPT and not verdicts[-1].scores
    failed = replace(proposals[0], text="", failure="no_reply")
    (verdict,) = FILTER.verdicts([failed], np.zeros((1, vectors.shape[1]), np.float32), None)
    assert not verdict.scores  # its refusal comes from the request, not from here


def test_an_edit_is_scored_by_who_never_saw_its_source() -> None:
    rows = np.array([0, 1, 40])
    vectors = INPUTS.train.vectors[rows]
    apart = score_without_sources(INPUTS.train, INPUTS.folds, INPUTS.encoder, vectors, rows)
    # A row of another fold may have been seen: it looks more like its own label.
    seen = score_without_sources(
        INPUTS.train, INPUTS.folds, INPUTS.encoder, vectors, (rows + 1) % len(INPUTS.train)
    )
    assert apart.shape == (3, 2) and np.allclose(apart.sum(axis=1), 1)
    own = np.arange(3), INPUTS.train.records.labels[rows]
    assert (seen[own] > apart[own]).all()


def test_pairs_for_a_model_that_continues_are_made_without_one() -> None:
    material = EDITS.gather("counterfactual_edit", CELL, CONTINUES)
    assert material.pairs and all(before != after for before, after in material.pairs)
    assert not EDITS.gather("counterfactual_edit", CELL, FOLLOWS).pairs


def test_an_accepted_injection_has_its_concept() -> None:
    item = PlanItem("concept_injection", Cell("bad", concept="music"), 1, 1, 0)
    proposal = Proposal("p", item, "text", "bad", ("row0000",), nature=Nature.INSERTED)
    unknown = ConceptColumns(("music",), np.full((2, 1), State.UNKNOWN, np.int8), np.full((2, 1), 0.5))
    verdicts = [Verdict("p", True, KEPT), Verdict("p", False, "label_not_confirmed")]
    marked = mark_injected([proposal, proposal], verdicts, unknown)
    assert marked.states.ravel().tolist() == [State.PRESENT, State.UNKNOWN]
