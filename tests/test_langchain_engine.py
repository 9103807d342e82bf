"""A LangChain chat model judges and writes like any other engine."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from counterpoise.core.errors import ServerError
from counterpoise.llm import ChatClient, ChatRequest, Message
from counterpoise.llm.engines.langchain import LangChainEngine
from counterpoise.llm.retries import RetryPolicy
from counterpoise.scorers.base import LLMScorer
from tests.made_up import make_records


class WithLetters(FakeListChatModel):
    """Returns log-probabilities as OpenAI-like providers do."""

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **options: Any
    ) -> ChatResult:
        assert options["logprobs"] and options["top_logprobs"] == 20
        top = [{"token": "A", "logprob": -0.1}, {"token": " B", "logprob": -2.4}]
        reply = AIMessage("A", response_metadata={"logprobs": {"content": [{"top_logprobs": top}]}})
        reply.usage_metadata = {"input_tokens": 30, "output_tokens": 1, "total_tokens": 31}
        return ChatResult(generations=[ChatGeneration(message=reply)])


ASK = ChatRequest((Message("user", "Which?"),), choices=("A", "B"))


async def test_log_probabilities_are_read_where_there_are_any() -> None:
    (reply,) = await LangChainEngine(WithLetters(responses=["A"])).generate(ASK)
    assert reply.logprobs is not None and 0.9 < reply.logprobs["A"] < 0.92 and reply.usage.total == 31


async def test_a_written_letter_counts_where_there_are_none() -> None:
    engine = LangChainEngine(FakeListChatModel(responses=["b", "neither of them"]))
    assert engine.name.startswith("langchain:FakeListChatModel@")
    good, bad = [(await engine.generate(ASK))[0] for _ in range(2)]
    assert good.logprobs == pytest.approx({"A": 0.1, "B": 0.9}) and good.usage.total > 0
    assert bad.logprobs is None and "none of the letters" in bad.problem


async def test_it_scores_records_like_any_engine() -> None:
    chat = ChatClient(
        LangChainEngine(FakeListChatModel(responses=["A", "B"])),
        retries=RetryPolicy(attempts=1),
        concurrency=1,
    )
    table = await LLMScorer(chat, "Which?", ("bad", "good")).score(make_records(["the soup was cold"], [0]))
    assert table[0] == pytest.approx([0.9, 0.1])


async def test_what_it_cannot_do_is_an_error_of_ours() -> None:
    engine = LangChainEngine(FakeListChatModel(responses=["x"]))
    with pytest.raises(ServerError, match="cannot continue"):
        await engine.generate(ChatRequest(prompt="one, two,"))

    class Broken(FakeListChatModel):
        def _generate(self, *arguments: Any, **options: Any) -> ChatResult:
            raise RuntimeError("no route")

    with pytest.raises(ServerError, match="no route") as caught:
        await LangChainEngine(Broken(responses=["x"])).generate(ASK)
    assert caught.value.retryable
