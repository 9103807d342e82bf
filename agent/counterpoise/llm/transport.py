"""The HTTP client of an engine: aiohttp below, and no reply larger than memory can bear."""

from __future__ import annotations

from typing import Any

import httpx2
import openai

LARGEST_REPLY = 1 << 24
"""Bytes of a reply, unpacked. Hundreds of completions with their tables of log-probabilities have a tenth of it."""


class EndlessReplyError(httpx2.RequestError):
    """A reply that had not ended after `LARGEST_REPLY` bytes."""


class BoundedClient(openai.DefaultAioHttpClient):
    """As the openai package's client on aiohttp; a reply that does not end is cut."""

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request and read its whole reply.

        Raises:
            EndlessReplyError: the reply is larger than `LARGEST_REPLY`.
        """
        response = await super().send(request, stream=True, **options)
        parts: list[bytes] = []
        size = 0
        try:
            async for part in response.aiter_bytes():
                size += len(part)
                if size > LARGEST_REPLY:
                    raise EndlessReplyError("a reply without end", request=request)
                parts.append(part)
        finally:
            await response.aclose()
        unpacked = [
            (name, value)
            for name, value in response.headers.multi_items()
            if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
        ]
        return httpx2.Response(
            response.status_code, headers=unpacked, content=b"".join(parts), request=request
        )
