"""What an action of a user's own may do wrong is one line that names it, and what is ours to mend stays as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from counterpoise.actions import ACTIONS
from counterpoise.actions.base import ActionData, Offer
from counterpoise.core.errors import PartError
from counterpoise.core.plans import Cell, Nature, PlanItem, Proposal
from counterpoise.core.schema import TextClassification
from counterpoise.llm.models import Models
from counterpoise.runs.acting import act, ask_actions
from tests.made_up import make_chat
from tests.test_action_contract import CAPABILITIES, WORLDS

DATA = WORLDS["two labels"]
ITEM = PlanItem("mine.own", Cell("bad"), 2, 1, 0, 1, 100)
GOOD = Proposal(f"{ITEM.id}-00000", ITEM, "cold soup", "bad", ("row0000",), "mine.own")
SCHEMA = TextClassification(("text",), "label")


class Own:
    """Proposes what it was given, and fails where it was given an error."""

    name = "mine.own"
    effect = "made"

    def __init__(self, *proposals: object, offer: object = None) -> None:
        self._proposals = proposals
        self._offer = offer

    def offer(self, cell: Cell, data: ActionData, models: Models) -> Offer | None:
        if isinstance(self._offer, Exception):
            raise self._offer
        return self._offer  # type: ignore[return-value]

    async def act(self, item: PlanItem, data: ActionData, models: Models) -> AsyncIterator[Proposal]:
        for proposal in self._proposals:
            if isinstance(proposal, Exception):
                raise proposal
            yield proposal  # type: ignore[misc]


def open_models() -> Models:
    return Models(make_chat(lambda request, index: "")[0], CAPABILITIES["follows"])


async def collect(*proposals: object) -> list[Proposal]:
    acting = act(Own(*proposals), ITEM, DATA, open_models(), SCHEMA)
    return [proposal async for proposal in acting if isinstance(proposal, Proposal)]


async def test_a_proposal_has_both_its_content_and_its_text() -> None:
    by_content = replace(GOOD, id=f"{ITEM.id}-00001", text="", content={"text": "rude waiter"})
    failed = replace(GOOD, id=f"{ITEM.id}-00002", text="", failure="no_reply")
    first, second, third = await collect(GOOD, by_content, failed)
    assert first.content == {"text": "cold soup"} and second.text == "rude waiter" and third == failed


@pytest.mark.parametrize(
    ("proposals", "line"),
    [
        (
            [KeyError("oops")],
            "action 'mine.own': it raised KeyError: 'oops'; mend it, then resume the run",
        ),
        (["a text"], "its proposal is 'a text'; yield `counterpoise.core.plans.Proposal`"),
        ([GOOD, GOOD], "needs an id of its own that begins with 'r001-p00-'"),
        ([replace(GOOD, id="1")], "needs an id of its own that begins with 'r001-p00-'"),
        ([replace(GOOD, item=replace(ITEM, index=3))], "is of another item"),
        ([replace(GOOD, label="ugly")], "has the label 'ugly', which the data does not know"),
        (
            [replace(GOOD, parents=("row0000", "nobody"))],
            "has the parent 'nobody', which is no id of a training row",
        ),
        ([replace(GOOD, parents=(), nature=Nature.INSERTED)], "is an edit without a parent"),
    ],
)
async def test_what_cannot_be_is_one_line(proposals: list[object], line: str) -> None:
    with pytest.raises(PartError) as caught:
        await collect(*proposals)
    assert line in str(caught.value) and "\n" not in str(caught.value) and caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("offer", "line"),
    [
        (ZeroDivisionError("by zero"), "action 'mine.own': it raised ZeroDivisionError: by zero"),
        (Offer(request_tokens=-1), "it offers what cannot be"),
        (Offer(request_tokens=10, per_request=0), "it offers what cannot be"),
    ],
)
def test_an_offer_that_cannot_be_is_one_line(offer: object, line: str) -> None:
    with pytest.raises(PartError, match=line):
        ask_actions([Own(offer=offer)], Cell("bad"), DATA, open_models())


async def test_a_fault_of_what_ships_is_no_fault_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Own(KeyError("oops"))
    monkeypatch.setattr(ours, "name", ACTIONS.names[0], raising=False)
    with pytest.raises(KeyError):
        [one async for one in act(ours, ITEM, DATA, open_models(), SCHEMA)]
