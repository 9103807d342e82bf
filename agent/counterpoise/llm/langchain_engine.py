"""Any LangChain chat model as an engine, so that a model the user has already can judge and write.

LangChain has no common way to set temperature or length, so the model is used as the user configured it; stop texts are
passed on. A letter choice uses log-probabilities where the model returns them, and the letter it wrote where not.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from counterpoise.errors import ServerError
from counterpoise.llm.chat import ChatRequest, Completion, Usage
from counterpoise.llm.structured import score_letters

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

_SURENESS = 0.9  # what a written letter counts for where there are no log-probabilities
_N_TOP = 20


class LangChainEngine:
    """An engine around a LangChain chat model.

    Args:
        model: the chat model; wrapped in a `ChatClient` its failures are retried, so let it not retry by itself.
        name: identity of the model, part of every key of the reply store; by default its class and model name.
    """

    def __init__(self, model: BaseChatModel, name: str = "") -> None:
        self._model = model
        given = getattr(model, "model_name", "") or getattr(model, "model", "")
        self._name = name or f"langchain:{type(model).__name__}:{given}".rstrip(":")

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
        options: dict[str, Any] = {"stop": list(request.sampling.stop) or None}
        if request.choices:
            options |= {"logprobs": True, "top_logprobs": _N_TOP}
        try:
            reply = await self._model.ainvoke(messages, **options)
        except Exception as error:  # every provider has errors of its own
            kind = type(error).__name__
            raise ServerError(f"{kind}: {error}", where=self.name, retryable=True) from error
        text = str(reply.text)
        usage = getattr(reply, "usage_metadata", None) or {}
        spent = Usage(int(usage.get("input_tokens", 0)), int(usage.get("output_tokens", 0)))
        if not spent.total:
            # A model that counts nothing is counted by words, so that a budget holds all the same.
            spent = Usage(sum(len(content.split()) for _, content in messages), len(text.split()))
        if not request.choices:
            return Completion(text=text, usage=spent)
        table = _read_table(reply.response_metadata)
        if table:
            return Completion(text=text, logprobs=score_letters(table, request.choices), usage=spent)
        letter = text.strip()[:1].upper()
        if letter not in request.choices:
            return Completion(
                text=text, usage=spent, problem=f"it chose {text[:40]!r}, which is none of the letters"
            )
        rest = (1.0 - _SURENESS) / max(1, len(request.choices) - 1)
        scores = {choice: _SURENESS if choice == letter else rest for choice in request.choices}
        return Completion(text=letter, logprobs=scores, usage=spent)


def _read_table(metadata: dict[str, Any]) -> dict[str, float]:
    """Log-probabilities of the first token as OpenAI-like providers hand them on; empty where there are none."""
    content = (metadata.get("logprobs") or {}).get("content") or []
    if not content:
        return {}
    return {str(entry["token"]): float(entry["logprob"]) for entry in content[0].get("top_logprobs", [])}
