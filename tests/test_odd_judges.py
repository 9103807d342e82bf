"""A perfect judge is used whatever stands around its JSON; of one that never answers that is what is said."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from counterpoise.actions.relabel.judges import Judge
from counterpoise.actions.relabel.passages import relabel_instances
from counterpoise.actions.relabel.result import RelabelledInstances
from counterpoise.llm import ChatClient
from counterpoise.llm.engines.openai import OpenAIEngine
from tests.retrieval_judges import reply_first, reply_second
from tests.servers import Body, LocalServer
from tests.test_relabel_retrieval import INSTANCES

pytestmark = pytest.mark.processes


class JudgeServer(LocalServer):
    """A judge that is always right, in a form of its own."""

    def __init__(self, form: str, *, refuses: str = "") -> None:
        super().__init__(self._judge)
        self._form = form
        self._refuses = refuses

    def _judge(self, body: Body, index: int) -> str:
        content = str(body["messages"][0]["content"] + body["messages"][-1]["content"])
        if "capital letters" in str(body["messages"]):
            return self._form.replace("JSON", "TABLE")
        reply = reply_second if "grade" in content else reply_first
        return self._form.replace("JSON", reply(str(body["messages"][1]["content"])))

    async def _answer(self, request: web.Request, body: Body, name: str, number: int) -> web.StreamResponse:
        if self._refuses and (self._refuses in body or self._refuses == "all"):
            return web.json_response({"error": {"message": f"no {self._refuses} here"}}, status=400)
        return await super()._answer(request, body, name, number)


def judge_with(server: LocalServer) -> RelabelledInstances:
    async def work() -> RelabelledInstances:
        async with ChatClient(OpenAIEngine(server.url)) as chat:
            judges = (Judge("first", chat, per_call=3), Judge("second", chat, per_call=3))
            return await relabel_instances(INSTANCES, *judges)

    return asyncio.run(work())


@pytest.mark.parametrize(
    ("form", "refuses"),
    [
        ("JSON", ""),
        ("<think>I weigh {the evidence}.\nWell.</think>\nJSON", ""),
        ("I weigh {the evidence}.\n</think>\nJSON", ""),
        ("Here is my verdict:\n\n```json\nJSON\n```\nI hope that helps.", ""),
        ("JSON", "response_format"),
    ],
)
def test_a_perfect_judge_is_used_whatever_stands_around_its_json(form: str, refuses: str) -> None:
    with JudgeServer(form, refuses=refuses) as server:
        done = judge_with(server)
    assert all(audit.is_passed for audit in done.audits) and done.outcomes["relabel"] == len(INSTANCES)


def test_a_judge_that_never_answers_is_said_to_have_given_no_usable_reply() -> None:
    for server, why in (
        (JudgeServer("JSON", refuses="all"), "no all here"),
        (JudgeServer("Yes."), "not JSON"),
    ):
        with server:
            done = judge_with(server)
        (audit,) = done.audits
        assert "no usable reply on 60 of 60" in audit.sentence and why in audit.sentence
        assert not audit.is_passed and audit.audit is None and not done.n_changed
