"""Personal data masked on the way to a model and back."""

from __future__ import annotations

import sys

import pytest

from counterpoise.core.errors import JobError
from counterpoise.llm import ChatClient, ChatRequest, Message, ReplyStore, ScriptedChatClient
from counterpoise.llm.masking import KINDS, Masker
from counterpoise.runs.writing_report import describe_masked
from counterpoise.tasks.text.job import job_from

pytest.importorskip("datafog")

TEXT = (
    "Write to jo@example.com or +49 30 1234567, card 4111 1111 1111 1111, 192.168.0.1; we paid 300 in 2019."
)


def make_client(said: str, kinds: tuple[str, ...] = KINDS, store: ReplyStore | None = None) -> ChatClient:
    return ChatClient(ScriptedChatClient(lambda request, index: said), store, masker=Masker(kinds))


async def test_neither_model_nor_run_sees_what_is_masked() -> None:
    engine = ScriptedChatClient(lambda request, index: "Ask ann@example.org, +49 30 1234567")
    chat = ChatClient(engine, masker=Masker(("email", "phone")))
    asked = ChatRequest((Message("user", TEXT),))
    (reply,) = await chat.generate(asked)
    outcomes = [one async for one in chat.generate_many([asked, ChatRequest(prompt=TEXT)])]
    replies = {reply.text, *(one.completions[0].text for one in outcomes)}
    assert replies == {"Ask [EMAIL], [PHONE]"}
    for request in engine.requests:
        said = request.prompt or request.messages[0].content
        assert said.startswith(
            "Write to [EMAIL] or [PHONE], card 4111 1111 1111 1111, 192.168.0.1; we paid 300"
        )
    assert [(one.kind, one.shown, one.said) for one in describe_masked(chat.masker)] == [
        ("email", 1, 1),
        ("phone", 1, 1),
    ]


async def test_replies_of_the_store_are_masked_too(tmp_path: object) -> None:
    with ReplyStore(f"{tmp_path}/replies.sqlite") as store:  # type: ignore[arg-type]
        asked = ChatRequest((Message("user", TEXT),))
        for _ in range(2):
            chat = make_client("Ask ann@example.org", store=store)
            async with chat:
                (reply,) = await chat.generate(asked)
                outcomes = [one async for one in chat.generate_many([asked])]
            assert reply.text == outcomes[0].completions[0].text == "Ask [EMAIL]"
        # Unmasked it is another question.
        plain = ScriptedChatClient(lambda request, index: "Ask ann@example.org")
        async with ChatClient(plain, store) as chat:
            (reply,) = await chat.generate(asked)
        assert reply.text == "Ask ann@example.org" and plain.n_calls == 1


def test_what_a_job_may_mask() -> None:
    def make(**keys: object) -> object:
        return job_from(data="a.csv", text="t", label="l", **keys)

    assert make(mask="email").mask == ("email",)  # type: ignore[attr-defined]
    assert make().open_masker() is None  # type: ignore[attr-defined]
    for wrong, said in (([], "found no kinds"), (["name"], "mask")):
        with pytest.raises(JobError, match=said):
            make(mask=wrong)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datafog", None)
    with pytest.raises(JobError, match=r"datafog, which is not installed.*counterpoise\[mask\]"):
        Masker(("email",))
