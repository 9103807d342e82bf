"""Model servers that are ours to start and to stop; each speaks HTTP like any other server."""

from __future__ import annotations

import http.client
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from counterpoise.core.assets import SMOLLM2, Asset, ensure_asset
from counterpoise.core.llama_server import LlamaServer
from counterpoise.core.wheels import Progress

N_SLOTS = 16
"""Requests the embedded server works on at once."""

SLOT_TOKENS = 2048
"""Context of each of them."""


class Server(Protocol):
    """A model server that is started and stopped; a context manager does both."""

    def start(self) -> tuple[str, str]:
        """Start it; gives its base address and its key once it has served a completion."""
        ...

    def stop(self) -> None:
        """Stop it; a second call does nothing, and one during `start`, from another thread, ends that."""
        ...

    def is_alive(self) -> bool:
        """Whether its process runs; that it answers is another matter."""
        ...

    def explain_end(self) -> str:
        """Why it ended, in a few words, as far as that can be told."""
        ...


class EmbeddedServer(LlamaServer):
    """llama.cpp's server with a pinned model.

    Args:
        asset: a GGUF file among the pinned assets; pulled where it is missing.
        cache_dir: as `counterpoise.core.assets.ensure_asset` takes it.
        n_slots: requests it works on at once.
        slot_tokens: context of each, prompt and completion together.
        progress: told of bytes done and in all while the model is pulled.

    Example:
        with EmbeddedServer() as server:
            engine = OpenAIEngine(server.url, api_key=server.api_key)
    """

    def __init__(
        self,
        asset: Asset = SMOLLM2,
        cache_dir: Path | None = None,
        *,
        n_slots: int = N_SLOTS,
        slot_tokens: int = SLOT_TOKENS,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(
            partial(ensure_asset, asset, cache_dir, progress),
            f"{Path(asset.member).stem}@{asset.sha256[:12]}",
            n_slots=n_slots,
            slot_tokens=slot_tokens,
        )


def ask_for_health(url: str, timeout_seconds: float) -> bool | None:
    """Ask a server whether its engine runs; vLLM's API server outlives its engine by a moment.

    Args:
        url: base address, as `http://127.0.0.1:8000/v1`.
        timeout_seconds: how long it may stay silent before it counts as dead.

    Returns:
        None where nobody takes the connection. A server that knows no such question is healthy: it answers.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout_seconds)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except TimeoutError:
        return False
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
