"""Edits of records: what there is to edit for a cell, and who judges it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from counterpoise.actions.base import ActionData, Costs, Offer
from counterpoise.actions.concept_injection import InjectConcept
from counterpoise.actions.counterfactual_edit import EditCounterfactually
from counterpoise.actions.edits import EditAction
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
DATA = ActionData(
    INPUTS.train,
    INPUTS.encoder,
    {"bad": "unhappy guests", "good": "happy guests"},
    "seed 0",
    INPUTS.concepts,
    is_trusted=True,
)
INJECT, FLIP = InjectConcept(), EditCounterfactually()
FILTER = EditFilter(
    INPUTS.train,
    INPUTS.encoder,
    INPUTS.concepts,
    is_trusted=True,
    score=lambda _, vectors, rows: score_without_sources(
        INPUTS.train, INPUTS.folds, INPUTS.encoder, vectors, rows
    ),
    folds=INPUTS.folds,
    key="seed 0",
)


def test_sources_are_of_other_labels_or_lack_the_concept() -> None:
    def find(action: EditAction, cell: Cell) -> set[str]:
        return set(action.gather(cell, DATA, FOLLOWS).sources.records.ids)

    records = INPUTS.train.records
    good = {str(identity) for identity in records.ids[records.labels == 1]}
    bad = {str(identity) for identity in records.ids[records.labels == 0]}
    music = Cell("bad", concept="music")
    assert find(FLIP, CELL) == good == find(FLIP, music)
    assert find(INJECT, music) == bad and not find(INJECT, CELL)
    # A label by itself has records of its own to continue from.
    assert not find(FLIP, Cell("bad"))


def test_offers_are_made_where_somebody_can_judge() -> None:
    chat, engine = make_chat(lambda request, index: "")
    models = Models(chat, FOLLOWS)

    def offer(cell: Cell, drawn: int = 0, data: ActionData = DATA) -> Offer | None:
        costs = {(FLIP.name, cell): Costs(requests=drawn)}
        return FLIP.offer(cell, replace(data, costs=costs), models)

    made, left = offer(CELL), offer(CELL, drawn=100)
    assert made and left and (made.most, left.most, made.is_probed) == (120, 20, True)
    assert not offer(CELL, drawn=120) and not offer(CELL, data=replace(DATA, is_trusted=False))
    assert not INJECT.offer(CELL, DATA, models) and not offer(Cell("bad")) and not engine.requests


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
    material = FLIP.gather(CELL, DATA, FOLLOWS)
    proposals = [proposal async for proposal in FLIP.act(item, DATA, Models(chat, FOLLOWS))]
    assert all(proposal.attributes == {"source": "web"} for proposal in proposals)
    unchanged = replace(proposals[0], text=str(material.sources.records.texts[0]))
    fresh = replace(proposals[0], kind="minority", nature=Nature.WRITTEN, text="anything")
    everything = [*proposals, unchanged, fresh]
    vectors = ENCODER.encode([proposal.text for proposal in everything])
    verdicts = FILTER.check(everything, vectors, None)
    assert sum(verdict.kept for verdict in verdicts[:-2]) >= 8
    assert not verdicts[-2].kept and verdicts[-1].reason == KEPT and not verdicts[-1].scores
    failed = replace(proposals[0], text="", failure="no_reply")
    (verdict,) = FILTER.check([failed], np.zeros((1, vectors.shape[1]), np.float32), None)
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
    material = FLIP.gather(CELL, DATA, CONTINUES)
    assert material.pairs and all(before != after for before, after in material.pairs)
    assert not FLIP.gather(CELL, DATA, FOLLOWS).pairs


def test_an_accepted_injection_has_its_concept() -> None:
    item = PlanItem("concept_injection", Cell("bad", concept="music"), 1, 1, 0)
    proposal = Proposal("p", item, "text", "bad", ("row0000",), nature=Nature.INSERTED)
    unknown = ConceptColumns(("music",), np.full((2, 1), State.UNKNOWN, np.int8), np.full((2, 1), 0.5))
    verdicts = [Verdict("p", True, KEPT), Verdict("p", False, "label_not_confirmed")]
    marked = mark_injected([proposal, proposal], verdicts, unknown)
    assert marked.states.ravel().tolist() == [State.PRESENT, State.UNKNOWN]
