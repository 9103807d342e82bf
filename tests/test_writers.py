"""Writers of a job, and several records in one reply."""

from __future__ import annotations

import json

import pytest

from counterpoise.actions.minority_requests import MinorityRequests
from counterpoise.actions.minority_text import MinorityText
from counterpoise.actions.record_forms import LINES
from counterpoise.actions.writers import Writer
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.errors import JobError
from counterpoise.core.plans import Proposal
from counterpoise.llm import ChatClient, ChatRequest, ScriptedChatClient
from counterpoise.llm.capabilities import find_capabilities
from counterpoise.llm.listed_replies import Entry, read_listed
from counterpoise.llm.models import Models
from counterpoise.tasks.text.job import Job, job_from
from tests.made_up import ENCODER, make_chat, make_item, make_records, write_sentences

TEXTS = write_sentences(30, 0, 4)[0]
SHOWN = EncodedRecords(make_records(TEXTS, [0] * 30), ENCODER.encode(TEXTS))
CONTINUES = Capabilities("scripted")
FOLLOWS = Capabilities("scripted", follows_instructions=True)
LISTS = Capabilities("scripted", follows_instructions=True, lists=True)
PLAIN, ANGRY = Writer("plain"), Writer("angry", "Write as angry customers would.", 1.3)


def make_writer(*writers: Writer) -> MinorityText:
    given = writers or (Writer(),)
    return MinorityText(MinorityRequests({"bad": "Reviews by guests"}, "seed 0", {}, LINES, given))


def make_job(**keys: object) -> Job:
    return job_from(data="reviews.csv", text="review", label="stars", **keys)


async def write(writer: MinorityText, reply: str, capabilities: Capabilities, n: int = 1) -> list[Proposal]:
    chat, _ = make_chat(lambda request, index: reply)
    item = make_item(n_requests=n)
    found = [one async for one in writer.propose(item, SHOWN, Models(chat, capabilities))]
    assert sum(one.tokens for one in found) == pytest.approx(chat.budget.used)
    return sorted(found, key=lambda one: one.id)


def read_rest(request: ChatRequest) -> str:
    return request.messages[-1].content.rpartition("their language.")[2]


async def test_writers_take_turns_and_are_named_in_what_they_write() -> None:
    writer = make_writer(PLAIN, ANGRY)
    requests = writer.make_requests(make_item(n_requests=4), SHOWN, FOLLOWS)
    assert [read_rest(one) for one in requests] == ["", " Write as angry customers would."] * 2
    assert [one.sampling.temperature for one in requests] == [0.9, 1.3] * 2
    proposals = await write(writer, "text", FOLLOWS, 2)
    assert [one.writer for one in proposals] == ["plain"] * 6 + ["angry"] * 6
    assert {one.prompt.partition("@")[0] for one in proposals} == {
        "minority_instruction/plain",
        "minority_instruction/angry",
    }
    assert len({one.prompt for one in proposals}) == 2


async def test_a_line_of_the_users_is_for_models_that_follow_instructions() -> None:
    one = make_writer(Writer("", "Write as angry customers would."))
    (asked,) = one.make_requests(make_item(), SHOWN, FOLLOWS)
    assert "angry" in asked.messages[-1].content
    (continued,) = one.make_requests(make_item(), SHOWN, CONTINUES)
    assert "angry" not in continued.prompt
    (proposal, *_) = await write(one, "text", FOLLOWS)
    (plain, *_) = await write(make_writer(), "text", FOLLOWS)
    assert proposal.prompt.startswith("minority_instruction@") and proposal.prompt != plain.prompt


def test_the_writers_of_a_job() -> None:
    assert make_job().list_writers() == (Writer(),)
    job = make_job(writer={"instructions": " as angry customers would "})
    assert job.list_writers() == (Writer("", "as angry customers would"),)
    named = make_job(writers=[{"name": "plain"}, {"name": "angry", "temperature": 1.3}])
    assert named.list_writers() == (PLAIN, Writer("angry", "", 1.3))
    assert len({one.fingerprint() for one in (make_job(), job, named)}) == 3


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"writers": []}, "found no writers"),
        ({"writers": [{"name": "a"}, {"name": "a"}]}, "writer 'a' is named twice"),
        ({"writers": [{"name": "a b"}]}, "write a name of letters"),
        ({"writers": [{"name": "a"}], "writer": {"temperature": 1}}, "say the same"),
        ({"writer": {"temperature": 3}}, "temperature"),
        ({"writer": {"instruction": "x"}}, "did you mean 'instructions'"),
    ],
)
def test_a_mistake_among_writers_is_one_line(keys: dict[str, object], said: str) -> None:
    with pytest.raises(JobError, match=said) as raised:
        make_job(**keys)
    assert "\n" not in str(raised.value)


async def test_several_records_come_in_one_reply() -> None:
    (request,) = make_writer().make_requests(make_item(), SHOWN, LISTS)
    assert request.n == 1 and request.schema and "Write 6 more records" in request.messages[-1].content
    proposals = await write(make_writer(), json.dumps({"records": [f"text {n}" for n in range(6)]}), LISTS)
    assert [one.id[-5:] for one in proposals] == [f"{n:05d}" for n in range(6)]
    assert [one.text for one in proposals] == [f"text {n}" for n in range(6)]
    assert len({one.parents for one in proposals}) == 1 and len(proposals[0].parents) == 5
    assert proposals[0].prompt.startswith("minority_records@")


async def test_a_bad_entry_loses_only_itself() -> None:
    reply = 'Here you go: {"records": ["one", 7, "", "two", {"text": "x"}, "three and a ha'
    proposals = await write(make_writer(), reply, LISTS)
    told = [(one.text, one.failure, one.finish_reason) for one in proposals]
    unusable = ("", "unusable_reply", "stop")
    cut = ("three and a ha", "", "length")
    assert told == [("one", "", "stop"), unusable, unusable, ("two", "", "stop"), unusable, cut]
    (nothing,) = await write(make_writer(), "I cannot do that", LISTS)
    assert nothing.failure == "unusable_reply" and nothing.id.endswith("00000")


@pytest.mark.parametrize(("window", "per_reply"), [(8_000, 6), (500, 3), (400, 1)])
def test_the_number_a_reply_follows_the_window(window: int, per_reply: int) -> None:
    can = Capabilities("scripted", follows_instructions=True, lists=True, context_tokens=window)
    (draft,) = make_writer().requests.compose(make_item(), SHOWN, can)
    assert draft.per_reply == per_reply and draft.request.n == 6 // per_reply


@pytest.mark.parametrize(
    ("reply", "entries"),
    [
        ('{"records": ["a\\n\\nb"]}', [Entry("a\n\nb")]),
        ('{"records": ["a\nb"]}', [Entry("a\nb")]),
        ('```json\n{"records": ["a", "b"]}\n```', [Entry("a"), Entry("b")]),
        ('{"records": []} no, {"records": ["a"]}', [Entry("a")]),
        ('{"records": ["caf\\u00', [Entry("caf", "cut_off")]),
        ('{"records": ["a", [1, 2', [Entry("a")]),
        ('["a", "b"]', []),
        ("", []),
    ],
)
def test_what_is_whole_of_a_list_is_read(reply: str, entries: list[Entry]) -> None:
    assert read_listed(reply) == entries


@pytest.mark.parametrize(
    ("listed", "lists"),
    [
        ('{"records": ["It rains.", "It is warm.", "Birds sing."]}', True),
        ('{"records": ["It rains.", "It rains.", "It rains."]}', False),
        ('{"records": ["It rains."]}', False),
        ("It rains. It is warm. Birds sing.", False),
    ],
)
async def test_whether_a_model_writes_lists_is_measured(listed: str, lists: bool) -> None:
    def reply(request: ChatRequest, index: int) -> str:
        asked = request.messages[-1].content if request.messages else ""
        if "capital letters" in asked:
            return asked.rsplit(":", 1)[1].strip().upper()
        return listed if request.schema else "It rains."

    chat = ChatClient(ScriptedChatClient(reply))
    found = await find_capabilities(chat)
    assert found.follows_instructions and found.lists == lists
