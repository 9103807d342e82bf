"""The contract of an action, over everything that is registered: one suite, whatever an action does."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import numpy as np
import pytest

from counterpoise.actions import ACTIONS, Action
from counterpoise.actions.base import ActionData, Costs, Offer, PoolScores, list_requests
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.errors import ServerError
from counterpoise.core.plans import Cell, Nature, PlanItem, Proposal, Refusal
from counterpoise.core.records import ConceptColumns, State
from counterpoise.llm import ChatClient, ChatRequest, Completion, ScriptedChatClient, TokenBudget
from counterpoise.llm.models import Models
from counterpoise.llm.retries import RetryPolicy
from tests.made_up import ENCODER, make_records, write_sentences

EVERY_ACTION = pytest.mark.parametrize(
    "action", [ACTIONS.find(name) for name in ACTIONS.names], ids=lambda one: one.name
)
CAPABILITIES = {
    "continues": Capabilities("scripted"),
    "follows": Capabilities("scripted", follows_instructions=True),
}
EVERY_MODEL = pytest.mark.parametrize("capabilities", CAPABILITIES.values(), ids=CAPABILITIES)


def encode(
    texts: list[str], labels: list[int], names: tuple[str, ...], *, prefix: str = "row"
) -> EncodedRecords:
    """Rows with a concept and an attribute that go with their place."""
    present = np.array([place % 3 == 0 for place in range(len(texts))])
    records = make_records(
        texts,
        labels,
        names,
        attributes={"source": ["web" if place % 4 else "print" for place in range(len(texts))]},
        concepts=ConceptColumns(
            ("music",),
            np.where(present, State.PRESENT, State.ABSENT).astype(np.int8)[:, None],
            present[:, None].astype(np.float64),
        ),
        ids=[f"{prefix}{place:04d}" for place in range(len(texts))],
    )
    vectors = ENCODER.encode(texts) if texts else np.empty((0, ENCODER.dimension), np.float32)
    return EncodedRecords(records, vectors)


def make_data(texts: list[str], labels: list[int], names: tuple[str, ...]) -> ActionData:
    train = encode(texts, labels, names)
    pool = encode([f"{text} indeed" for text in texts], labels, names, prefix="pool")
    sure = np.full((len(texts), len(names)), 0.02)
    sure[np.arange(len(texts)), labels] = 1.0
    sure /= sure.sum(axis=1, keepdims=True)
    return ActionData(
        train,
        ENCODER,
        {name: f"Reviews that are {name}" for name in names},
        "seed 0",
        {"music": "how loud the band was"},
        pool=pool,
        pool_scores=PoolScores(sure, np.array(labels), sure),
        is_trusted=True,
        refused=refuse(train, names[0]),
    )


def refuse(train: EncodedRecords, label: str) -> tuple[Refusal, ...]:
    """Two texts that were written for a label and refused; none without rows."""
    if not len(train):
        return ()
    item = PlanItem("minority_text", Cell(label), 2, 1, 0, 1)
    shown = tuple(str(one) for one in train.records.ids[train.records.labels == 0][:3])
    texts = ("Cold.", "Loud")
    made = [Proposal(f"{item.id}-{n:05d}", item, text, label, shown) for n, text in enumerate(texts)]
    return tuple(Refusal(one, "It is too short.") for one in made)


def make_worlds() -> dict[str, ActionData]:
    texts, labels = write_sentences(24, 24)
    many, _ = write_sentences(180, 0, 3)
    odd = [
        "",
        "汤是冷的。服务员很粗鲁。",
        "الحساء بارد 🍜",
        "l\u0000n",
        "ẞ" * 400,
        "- a\n- b",
    ] * 4
    return {
        "two labels": make_data(texts, labels, ("bad", "good")),
        "one label": make_data(texts[:24], [0] * 24, ("bad",)),
        "sixty labels": make_data(
            many, [place % 60 for place in range(180)], tuple(f"intent {place}" for place in range(60))
        ),
        "odd texts": make_data(odd, [place % 2 for place in range(len(odd))], ("schlecht é", "很好")),
        "a label of one row": make_data(texts[:5], [0, 1, 1, 1, 1], ("bad", "good")),
    }


WORLDS = make_worlds()
EVERY_WORLD = pytest.mark.parametrize("data", WORLDS.values(), ids=WORLDS)


def list_cells(data: ActionData) -> list[Cell]:
    label = data.train.records.label_names[0]
    return [Cell(label), Cell(label, concept="music"), Cell(label, attribute="source", value="print")]


class Shuffling(ScriptedChatClient):
    """Answers in another order each time."""

    async def generate(self, request: ChatRequest) -> list[Completion]:
        await asyncio.sleep(random.Random(f"{self.name}{request.prompt}{request.messages}").random() / 200)
        return await super().generate(request)


def reply(request: ChatRequest, index: int) -> str:
    return f"The soup was cold and the band number {index} was loud"


def open_models(capabilities: Capabilities, name: str = "scripted") -> tuple[Models, Shuffling]:
    engine = Shuffling(reply, name=name)
    chat = ChatClient(engine, budget=TokenBudget(None), retries=RetryPolicy(attempts=1))
    return Models(chat, capabilities), engine


def plan(action: Action, cell: Cell, offer: Offer, n_requests: int = 3) -> PlanItem:
    n = 0 if offer.is_free else int(min(n_requests, offer.requests_left))
    return PlanItem(action.name, cell, 4, 2, 1, n, n * offer.request_tokens)


async def carry_out(action: Action, item: PlanItem, data: ActionData, models: Models) -> list[Proposal]:
    return [one async for one in action.act(item, data, models) if isinstance(one, Proposal)]


def list_offers(action: Action, data: ActionData, models: Models) -> dict[Cell, Offer]:
    offers = {cell: action.offer(cell, data, models) for cell in list_cells(data)}
    return {cell: offer for cell, offer in offers.items() if offer is not None and offer.most != 0}


def check_proposal(proposal: Proposal, item: PlanItem, data: ActionData) -> None:
    """What holds for every proposal, and for one of its nature."""
    train, cell = data.train.records, item.cell
    assert proposal.item == item and proposal.label == cell.label and proposal.id.startswith(f"{item.id}-")
    assert set(proposal.parents) <= set(train.ids) and bool(proposal.failure) <= (not proposal.text)
    if cell.attribute and proposal.text:
        assert proposal.attributes[cell.attribute] == cell.value
    if proposal.nature is Nature.REAL:
        assert (
            data.pool is not None
            and proposal.kind == "adopted"
            and not proposal.tokens
            and not proposal.parents
        )
        (row,) = np.flatnonzero(data.pool.records.ids == proposal.source_id)
        assert proposal.text == data.pool.records.texts[row], "a real text is taken as it is"
        assert proposal.source_id not in data.taken
        return
    assert proposal.kind not in ("original", "adopted", "relabelled") and not proposal.source_id
    assert proposal.model == "scripted" and "@" in proposal.prompt and proposal.parents
    source = train.labels[np.flatnonzero(train.ids == proposal.parents[0])[0]]
    is_label = train.label_names[source] == cell.label
    assert {Nature.INSERTED: is_label, Nature.REWRITTEN: not is_label}.get(proposal.nature, True)


@EVERY_WORLD
@EVERY_MODEL
@EVERY_ACTION
async def test_what_is_offered_is_done_within_its_price_and_in_any_order_alike(
    action: Action, capabilities: Capabilities, data: ActionData
) -> None:
    models, _ = open_models(capabilities)
    for cell, offer in list_offers(action, data, models).items():
        assert not models.chat.budget.used, "an offer asks nothing"
        assert offer == action.offer(cell, data, models)
        item = plan(action, cell, offer)
        runs = []
        for name in ("one", "two"):
            own, engine = open_models(capabilities, name)
            found = await carry_out(action, item, data, own)
            assert sum(own.chat.estimate(request) for request in engine.requests) <= item.reserved_tokens
            assert found and len({proposal.id for proposal in found}) == len(found)
            most = offer.most if offer.is_free else item.n_requests * offer.per_request
            assert most is not None and len(found) <= most
            # Equal requests are sent once.
            assert sum(proposal.tokens for proposal in found) >= own.chat.budget.used
            for proposal in found:
                check_proposal(proposal, item, data)
            runs.append(sorted(found, key=lambda proposal: proposal.id))
        assert runs[0] == runs[1]


@EVERY_MODEL
@EVERY_ACTION
async def test_the_price_pays_for_all_requests_of_like_records(
    action: Action, capabilities: Capabilities
) -> None:
    data = WORLDS["two labels"]
    models, _ = open_models(capabilities)
    for cell, offer in list_offers(action, data, models).items():
        item = plan(action, cell, offer, 6)
        requests = list_requests(action, item, data, models)
        assert len(requests) == item.n_requests
        assert sum(models.chat.estimate(request) for request in requests) <= item.reserved_tokens


@EVERY_ACTION
def test_nothing_is_offered_where_there_is_nothing_to_start_from(action: Action) -> None:
    for capabilities in CAPABILITIES.values():
        assert not list_offers(action, make_data([], [], ("bad", "good")), open_models(capabilities)[0])


@EVERY_ACTION
async def test_what_was_done_before_is_not_offered_again(action: Action) -> None:
    data, (models, _) = WORLDS["two labels"], open_models(CAPABILITIES["follows"])
    for cell, offer in list_offers(action, data, models).items():
        if offer.is_free:
            (*found,) = await carry_out(action, plan(action, cell, offer), data, models)
            later = replace(data, taken=frozenset(proposal.source_id for proposal in found))
            again = action.offer(cell, later, models)
            assert offer.most is not None and (again.most if again else 0) == offer.most - len(found)
        elif offer.most is not None:
            costs = {(action.name, cell): Costs(requests=int(offer.requests_left))}
            again = action.offer(cell, replace(data, costs=costs, refused=()), models)
            assert again is None or again.most == 0


@EVERY_MODEL
@EVERY_ACTION
async def test_a_request_that_fails_gives_a_proposal_that_says_why(
    action: Action, capabilities: Capabilities
) -> None:
    data, (models, _) = WORLDS["two labels"], open_models(capabilities)
    for cell, offer in list_offers(action, data, models).items():
        item = plan(action, cell, offer)
        first = [*list_requests(action, item, data, models), None][0]

        def fail(request: ChatRequest, index: int, first: ChatRequest | None = first) -> str:
            if first and (request.prompt, request.messages) == (first.prompt, first.messages):
                raise ServerError("as scripted", where="here")
            return "text"

        chat = ChatClient(ScriptedChatClient(fail), budget=TokenBudget(None), retries=RetryPolicy(attempts=1))
        found = await carry_out(action, item, data, Models(chat, capabilities))
        failed = [(proposal.failure, proposal.id[-5:]) for proposal in found if proposal.failure]
        assert failed == ([("refused", "00000")] if first else []) and len(found) > len(failed)
        for proposal in found:
            check_proposal(proposal, item, data)


@EVERY_ACTION
async def test_an_action_can_be_left_at_any_proposal(action: Action) -> None:
    data, (models, _) = WORLDS["two labels"], open_models(CAPABILITIES["follows"])
    before = asyncio.all_tasks()
    for cell, offer in list_offers(action, data, models).items():
        acting = action.act(plan(action, cell, offer, 8), data, models)
        async for _ in acting:
            break
        await acting.aclose()  # type: ignore[attr-defined]
        task = asyncio.create_task(carry_out(action, plan(action, cell, offer, 8), data, models))
        await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.05)
    assert asyncio.all_tasks() == before


@EVERY_ACTION
def test_an_action_says_what_it_does(action: Action) -> None:
    assert action.name == action.name.lower() and " " not in action.name and action.effect
