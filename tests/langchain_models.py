"""Chat models of LangChain's own packages, asked over HTTP; `make test-extras` runs it (test_langchain_extras.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_openai import ChatOpenAI

import counterpoise
from counterpoise.core.errors import ServerError
from counterpoise.data.instances import Instance, Passage
from counterpoise.llm import ChatRequest, Message, ReplyStore, TokenBudget
from counterpoise.llm.config import read_llm
from counterpoise.llm.connect import open_models
from counterpoise.llm.model_objects import name_model
from tests.retrieval_judges import reply_first, reply_second
from tests.servers import Body, LocalServer

INSTANCES = [
    Instance(
        query_id=f"q{place}",
        query=f"what is topic{place}",
        positives=(Passage(f"p{place}", f"all about topic{place}"),),
        negatives=(Passage(f"n{place}", f"{'more' if place % 2 else 'not'} about topic{place % 2 * place}"),),
    )
    for place in range(40)
]


def reply(body: Body, index: int) -> str:
    asked = "\n".join(str(message["content"]) for message in body["messages"])
    judge = reply_second if "better_or_equal" in asked else reply_first
    return judge(str(body["messages"][1]["content"]))


def make_model(server: LocalServer, **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=server.url, api_key="secret-key", model="local-model", max_retries=0, **settings
    )


def test_one_chat_model_serves_call_after_call(tmp_path: Path) -> None:
    """Each call runs in an event loop of its own, and the model keeps its connections."""
    with LocalServer(reply) as server:
        model = make_model(server)
        found = [
            counterpoise.relabel_negatives(
                INSTANCES, model=model, budget="400k", cache_dir=str(tmp_path / name)
            )
            for name in ("one", "two", "three")
        ]
        assert server.n_requests > 100
    assert found[0].outcomes == found[1].outcomes == found[2].outcomes
    assert not found[0].failed_audits and found[0].tokens > 0


async def test_a_bound_model_and_one_with_fallbacks_answer(tmp_path: Path) -> None:
    with LocalServer(lambda body, index: json.dumps(body.get("temperature"))) as server:
        model = make_model(server)
        bound = model.bind(temperature=0.5)
        for one, said in ((bound, "0.5"), (model.with_fallbacks([bound]), "null")):
            with ReplyStore(tmp_path / "replies.sqlite") as store:
                asking: dict[str, Any] = {"budget": TokenBudget(None), "cache_dir": None}
                async with open_models(read_llm(one), store=store, **asking) as models:
                    (answer,) = await models.chat.generate(ChatRequest((Message("user", "How warm?"),)))
            assert answer.text == said
    names = {name_model(each) for each in (model, bound, make_model(server, temperature=0.1))}
    assert len(names) == 3 and not any("secret" in name for name in names)


async def test_a_refused_key_is_one_line_and_not_asked_again() -> None:
    with LocalServer(reply, api_key="another-key") as server:
        asking: dict[str, Any] = {"budget": TokenBudget(None), "cache_dir": None}
        async with open_models(read_llm(make_model(server)), store=None, **asking) as models:
            with pytest.raises(ServerError) as caught:
                await models.chat.generate(ChatRequest((Message("user", "Hello"),)))
    assert not caught.value.retryable
    line = str(caught.value)
    assert "AuthenticationError" in line and "\n" not in line and "secret" not in line
