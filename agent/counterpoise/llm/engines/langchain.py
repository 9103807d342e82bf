"""Any LangChain chat model as an engine, so that a model the user has already can judge and write.

LangChain has no common way to set temperature or length, so the model is used as the user configured it; stop texts are
passed on. A letter choice uses log-probabilities where the model returns them, and the letter it wrote where not.

Every call into counterpoise has an event loop of its own, but a model keeps connections that belong to the loop they
were opened in. So all models of LangChain are invoked in one loop, which lives as long as the process.
"""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from counterpoise.core.errors import ServerError
from counterpoise.llm.chat import ChatRequest, Completion
from counterpoise.llm.model_objects import name_model
from counterpoise.llm.replies import read_completions

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

_N_TOP = 20
_PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that go by."""


class LangChainEngine:
    """An engine around a LangChain chat model.

    Args:
        model: the chat model, or a chain that takes messages; wrapped in a `ChatClient` its failures are retried, so
            let it not retry by itself.
        name: identity of the model, part of every key of the reply store; by default its class, its model name and a
            hash of its settings.
    """

    def __init__(self, model: Runnable[Any, Any], name: str = "") -> None:
        self._model = model
        self._name = name or name_model(model)
        self._shows_scores = True

    @property
    def name(self) -> str:
        """Identity of the model."""
        return self._name

    async def generate(self, request: ChatRequest) -> list[Completion]:
        """`request.n` completions, asked one by one.

        Raises:
            ServerError: the model failed, or was asked to continue a text, which chat models cannot.
        """
        if not request.messages:
            raise ServerError(
                "a chat model cannot continue a text", where=self.name, hint="use another engine"
            )
        return list(await asyncio.gather(*(self._complete(request) for _ in range(request.n))))

    async def _complete(self, request: ChatRequest) -> Completion:
        messages = [(message.role, message.content) for message in request.messages]
        if request.schema is not None:
            schema = json.dumps(dict(request.schema), ensure_ascii=False)
            messages.append(
                ("system", f"Answer with JSON that keeps to this schema, and nothing else: {schema}")
            )
        reply = await self._ask(messages, request)
        return read_completions(_describe_reply(reply), replace(request, n=1))[0]

    async def _ask(self, messages: list[tuple[str, str]], request: ChatRequest) -> Any:
        """Invoke the model; one that refuses to show log-probabilities is not asked for them again."""
        options: dict[str, Any] = {"stop": list(request.sampling.stop)} if request.sampling.stop else {}
        if request.choices and self._shows_scores:
            try:
                return await self._invoke(messages, options | {"logprobs": True, "top_logprobs": _N_TOP})
            except ServerError as error:
                if error.retryable:
                    raise
            reply = await self._invoke(messages, options)
            self._shows_scores = False
            return reply
        return await self._invoke(messages, options)

    async def _invoke(self, messages: list[tuple[str, str]], options: dict[str, Any]) -> Any:
        """Invoke the model.

        Raises:
            ServerError: it failed; not to be tried again where it refuses the request, or lacks a package.
        """
        asked = asyncio.run_coroutine_threadsafe(self._model.ainvoke(messages, **options), _start_loop())
        try:
            return await asyncio.wrap_future(asked)
        except Exception as error:  # every provider has errors of its own
            response = getattr(error, "response", None)
            status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
            status = status if isinstance(status, int) else 0
            is_refused = 400 <= status < 500 and status not in _PASSING
            is_wrong = isinstance(error, ImportError | TypeError | NotImplementedError)
            raise ServerError(
                f"{type(error).__name__}: {error}",
                where=self.name,
                hint="install the package that it names" if isinstance(error, ImportError) else "",
                retryable=not (is_refused or is_wrong),
                status=status,
            ) from error


@cache
def _start_loop() -> asyncio.AbstractEventLoop:
    """The loop that models are invoked in."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="counterpoise-langchain", daemon=True).start()
    return loop


def _describe_reply(reply: Any) -> dict[str, Any]:
    """What a model of LangChain gave, in the shape of a server's reply, which is read in one place."""
    if isinstance(reply, str):
        return {"choices": [{"message": {"content": reply}}]}
    metadata = getattr(reply, "response_metadata", None) or {}
    more = getattr(reply, "additional_kwargs", None) or {}
    usage = getattr(reply, "usage_metadata", None) or {}
    details = usage.get("output_token_details") or {}
    message = {
        "content": getattr(reply, "content", getattr(reply, "text", None)),
        "reasoning_content": more.get("reasoning_content") or more.get("reasoning"),
    }
    choice = {
        "message": message,
        "finish_reason": metadata.get("finish_reason")
        or metadata.get("stop_reason")
        or metadata.get("done_reason"),
        "logprobs": metadata.get("logprobs"),
    }
    counts = {**usage, "completion_tokens_details": {"reasoning_tokens": details.get("reasoning")}}
    return {"choices": [choice], "usage": counts}
