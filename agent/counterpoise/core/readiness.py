"""Whether a model server serves: it is asked for a token or a vector, since an open port promises nothing."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from counterpoise.core.errors import ServerError


def wait_until_served(
    address: str,
    api_key: str,
    model: str,
    deadline: float,
    is_alive: Callable[[], bool],
    ask: Ask,
) -> None:
    """Return when a server has answered a question: an open port, or a list of models, promises nothing.

    Args:
        address: host:port.
        api_key: its key.
        model: name of the model to ask.
        deadline: by `time.monotonic()`.
        is_alive: whether its process runs.
        ask: `ask_for_completion` or `ask_for_embedding`.

    Raises:
        ServerError: it served none in time, or has ended.
    """
    found = "nothing tried"
    while (left := deadline - time.monotonic()) > 0:
        if not is_alive():
            raise ServerError("it ended before it had answered", where=address)
        found = ask(address, api_key, model, left)
        if not found:
            return
        time.sleep(0.1)
    raise ServerError(f"no answer within its time ({found})", where=address)


def ask_for_completion(address: str, api_key: str, model: str, timeout_seconds: float) -> str:
    """Ask a server for one token; gives "" where it came, else what came instead.

    Args:
        address: host:port.
        api_key: its key.
        model: name of the model to ask.
        timeout_seconds: how long it may stay silent.
    """
    body = {"model": model, "prompt": "The", "max_tokens": 1, "temperature": 0}
    return _ask(address, api_key, "/v1/completions", body, "choices", timeout_seconds)


def ask_for_embedding(address: str, api_key: str, model: str, timeout_seconds: float) -> str:
    """Ask a server for one vector; gives "" where it came, else what came instead. Arguments as above."""
    return _ask(address, api_key, "/v1/embeddings", {"model": model, "input": "The"}, "data", timeout_seconds)


Ask = Callable[[str, str, str, float], str]


def _ask(
    address: str, api_key: str, path: str, body: Mapping[str, Any], expected: str, timeout_seconds: float
) -> str:
    """What comes instead of an answer with the key `expected`, "" where it comes."""
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(address, timeout=timeout_seconds)
    try:
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        content = response.read()
        if response.status == http.HTTPStatus.OK and expected in json.loads(content):
            return ""
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    finally:
        connection.close()
    return f"HTTP {response.status}"
