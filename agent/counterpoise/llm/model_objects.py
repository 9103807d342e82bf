"""Models that are objects in Python: LangChain's chat models, and engines of the user's own.

Whatever has `generate(request)` is an engine; whatever of LangChain can be invoked with messages becomes one. The name
of a model is part of every key of the reply store. An engine that has none is named after its class, and as nothing
tells two of one class apart, its replies are not kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import re
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self

from counterpoise.core.errors import ServerError
from counterpoise.llm.chat import ChatRequest, Completion, Engine


def is_model(value: object) -> bool:
    """Whether a value can be asked as it is: an engine, or a model of LangChain."""
    return not isinstance(value, type) and (
        _is_langchain(value) or callable(getattr(value, "generate", None))
    )


def name_model(value: Any) -> str:
    """The identity of a model: what tells it from models that would reply otherwise.

    Of a LangChain model that is its class, its model name and a hash of its settings.
    """
    if _is_langchain(value):
        kind = type(value).__name__
        given = getattr(value, "model_name", "") or getattr(value, "model", "")
        settings = json.dumps(_describe(value), sort_keys=True, default=_write_plain, ensure_ascii=False)
        digest = hashlib.sha256(settings.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        model = f":{given}" if isinstance(given, str) and given else ""
        return f"langchain:{kind}{model}@{digest}"
    name = getattr(value, "name", None)
    return name if isinstance(name, str) and name else f"object:{type(value).__qualname__}"


def keeps_replies(value: Any) -> bool:
    """Whether replies of a model may be kept for other runs: it has a name of its own."""
    return _is_langchain(value) or bool(isinstance(getattr(value, "name", None), str) and value.name)


def make_engine(value: Any) -> Engine:
    """The engine around a model."""
    if _is_langchain(value):
        from counterpoise.llm.engines.langchain import LangChainEngine

        return LangChainEngine(value)
    return ObjectEngine(value)


class ObjectEngine:
    """An engine around any object with `generate`, be it `async` or not.

    Args:
        model: the object; where it is an async context manager it is entered and left.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._opened = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Enter the object, where it can be entered."""
        if isinstance(self._model, AbstractAsyncContextManager):
            await self._opened.enter_async_context(self._model)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it."""
        await self._opened.__aexit__(kind, error, trace)

    @property
    def name(self) -> str:
        """Identity of the model."""
        return name_model(self._model)

    async def generate(self, request: ChatRequest) -> list[Completion]:
        """What the object replies.

        Raises:
            ServerError: it replies something else than a list of `request.n` completions.
        """
        if inspect.iscoroutinefunction(self._model.generate):
            replies = await self._model.generate(request)
        else:
            replies = await asyncio.to_thread(self._model.generate, request)
            replies = await replies if inspect.isawaitable(replies) else replies
        listed = [replies] if isinstance(replies, Completion) else replies
        if (
            not isinstance(listed, list | tuple)
            or not 0 < len(listed) <= request.n
            or not all(isinstance(one, Completion) for one in listed)
        ):
            raise ServerError(
                f"generate gave {listed!r:.60}",
                where=self.name,
                hint=f"it has to give a list of n={request.n} counterpoise.llm.Completion",
            )
        return list(listed)


def _is_langchain(value: object) -> bool:
    """Whether it is a model of LangChain, or a chain around one; nobody has one without importing the package."""
    module = sys.modules.get("langchain_core.runnables")
    return module is not None and isinstance(value, module.Runnable)


def _write_plain(value: object) -> str:
    """A setting as text; without its address in memory, which is another one in every process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value))


def _describe(value: Any) -> Any:
    """The settings of a LangChain model; of a model that is bound to arguments or has fallbacks those of its parts."""
    if not _is_langchain(value):
        return str(value) if isinstance(value, str | int | float | bool) else type(value).__qualname__
    if hasattr(type(value), "_identifying_params"):
        return {"type": type(value).__name__, **dict(value._identifying_params)}
    names = getattr(type(value), "model_fields", None) or {}
    parts: dict[str, Any] = {"type": type(value).__name__}
    for name in sorted(names):
        part = getattr(value, name)
        if name in ("kwargs", "config"):
            parts[name] = _write_plain(part)
        elif isinstance(part, list | tuple):
            parts[name] = [_describe(one) for one in part]
        else:
            parts[name] = _describe(part)
    return parts
