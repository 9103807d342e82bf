"""An engine that talks to anything OpenAI-compatible: vLLM, the embedded server, a hosted API.

Replies are read from their JSON: building the openai package's reply objects costs more than sending the
request. `seed` is never sent; there are servers that it kills.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai

from counterpoise.errors import ServerError
from counterpoise.llm.budget import estimate_prompt, estimate_tokens
from counterpoise.llm.chat import ChatRequest, Completion, Usage
from counterpoise.llm.server_load import ServerLoad, read_metrics
from counterpoise.llm.structured import score_letters
from counterpoise.redactions import keep_secret, keep_secrets_of, redact, redact_values

TOP_LOGPROBS = 20
"""Log-probabilities asked for; the most that servers give."""

KEEP_ALIVE_SECONDS = 2.0
"""Shorter than any server's, so that no request goes out on a connection the server is closing."""

MAX_CONNECTIONS = 10_000
"""The gate limits requests, not the pool."""

AWAY = (502, 503, 504)
"""What a gateway answers while the server behind it is being started again."""

LOWEST_LOGPROB = -9999.0
"""What stands for minus infinity in replies that have no number for it."""


class OpenAIEngine:
    """One model behind one base address.

    An async context manager: entering it finds the model by `/v1/models`.

    Args:
        url: base address, as `http://localhost:8000/v1`.
        model: name of the model; "" takes the first that the server lists.
        api_key: sent as bearer token; "" where the server wants none.
        timeout_seconds: how long a server may stay silent; a queue counts as silence.
        connect_seconds: how long connecting may take.

    Raises:
        ValueError: the address is not one.
    """

    def __init__(
        self,
        url: str,
        model: str = "",
        *,
        api_key: str = "",
        timeout_seconds: float = 600.0,
        connect_seconds: float = 10.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{url!r} is not the address of a server; one looks like http://localhost:8000/v1"
            )
        self.url = url.rstrip("/")
        self.model = model
        self._identity = ""
        self._api_key = api_key
        keep_secret(api_key)
        keep_secrets_of(url)
        self._timeout = httpx2.Timeout(timeout_seconds, connect=connect_seconds, pool=None)
        self._is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._client: openai.AsyncOpenAI | None = None

    @property
    def name(self) -> str:
        """The model and what the server says of its revision: root, size, owner."""
        if not self._identity:
            raise RuntimeError("the model is not known yet: use the engine as an async context manager")
        return self._identity

    async def __aenter__(self) -> Self:
        """Connect, and find the model.

        Raises:
            ServerError: no answer, or no such model.
        """
        # Proxies of the environment are for the world outside; a server on this machine is asked directly.
        transport = openai.DefaultAioHttpClient(
            timeout=self._timeout,
            trust_env=not self._is_local,
            limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_SECONDS),
        )
        # A key is always set: without one the package would send the user's OPENAI_API_KEY to this server.
        self._client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=self._api_key or "none",
            max_retries=0,
            timeout=self._timeout,
            http_client=transport,
        )
        try:
            await self._find_model()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections; a second call does nothing."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def generate(self, request: ChatRequest) -> list[Completion]:
        """The `n` completions of a request.

        Raises:
            ServerError: with `retryable` where asking again may help, and `maybe_paid` where the work may be
                done.
        """
        path = "/chat/completions" if request.messages else "/completions"
        content = json.dumps(self._compose(request)).encode()
        reply = await self._exchange("post", path, content)
        try:
            return _read_completions(reply, request)
        except _NoLogprobsError as error:
            raise ServerError(
                "a reply without log-probabilities",
                where=self.url,
                hint="a server that gives them can score letters",
                maybe_paid=True,
            ) from error
        except (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ServerError(
                f"a reply that is not a completion ({type(error).__name__}: {error})",
                where=self.url,
                retryable=True,
                maybe_paid=True,
            ) from error

    async def read_load(self) -> ServerLoad | None:
        """What the server says of its load; None where it has no `/metrics` or says nothing known there.

        Raises:
            ServerError: no answer, or a gateway's word that there is none now.
        """
        address = self.url.removesuffix("/v1") + "/metrics"
        try:
            response = await self._connect().get(address, cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            if error.status_code in AWAY:
                raise self._explain_status(error) from error
            return None
        except (openai.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError, OSError) as error:
            raise self._explain_connection(error) from error
        return read_metrics(response.content.decode("utf-8", "replace"))

    def _compose(self, request: ChatRequest) -> dict[str, Any]:
        """The request body. Temperature and top_p always go along: servers have defaults of their own."""
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if request.messages:
            body["messages"] = [{"role": turn.role, "content": turn.content} for turn in request.messages]
        else:
            body["prompt"] = request.prompt
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if request.n > 1:
            body["n"] = request.n
        if request.schema is not None:
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": request.schema, "strict": True},
            }
        if request.choices and request.messages:
            body["logprobs"] = True
            body["top_logprobs"] = TOP_LOGPROBS
        elif request.choices:
            body["logprobs"] = TOP_LOGPROBS
        return body

    async def _find_model(self) -> None:
        try:
            listing = await self._exchange("get", "/models")
            models = [entry for entry in listing["data"] if isinstance(entry["id"], str)]
        except ServerError as error:
            if error.status in (404, 405, 501) and self.model:
                self._identity = self.model  # a gateway without a list: the name is all there is to know
                return
            if error.status == 404:
                error.hint = "does the address end in /v1?"
            raise
        except (KeyError, TypeError) as error:
            raise ServerError(
                "its list of models cannot be read", where=self.url, hint="does the address end in /v1?"
            ) from error
        for entry in models:
            if self.model in ("", entry["id"], *entry.get("aliases", ())):
                self.model = self.model or entry["id"]
                self._identity = redact(_describe_model(entry))
                return
        names = ", ".join(sorted(entry["id"] for entry in models)) or "none"
        raise ServerError(
            f"it has no model {self.model!r}", where=self.url, hint=f"it has: {names}", status=404
        )

    def _connect(self) -> openai.AsyncOpenAI:
        if self._client is None:
            raise RuntimeError("the engine is closed: use it as an async context manager")
        return self._client

    async def _exchange(self, method: str, path: str, content: bytes | None = None) -> Any:
        """Send, and read the JSON that comes back; every failure becomes a ServerError here."""
        client = self._connect()
        try:
            if method == "get":
                response = await client.get(path, cast_to=httpx2.Response)
            else:
                response = await client.post(path, content=content, cast_to=httpx2.Response)
        except openai.APIStatusError as error:
            raise self._explain_status(error) from error
        except openai.APIConnectionError as error:
            raise self._explain_connection(error) from error
        except (httpx2.HTTPError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._explain_connection(error) from error
        try:
            return redact_values(json.loads(response.content))
        except (ValueError, RecursionError) as error:
            raise ServerError(
                f"a reply that is not JSON: {response.content[:60]!r}",
                where=self.url,
                retryable=True,
                status=response.status_code,
                maybe_paid=True,
            ) from error

    def _explain_status(self, error: openai.APIStatusError) -> ServerError:
        status = error.status_code
        hint = {
            401: "is the API key right?",
            403: "is the API key right?",
            404: f"does the address end in /v1, and does it serve {self.model!r}?",
        }.get(status, "")
        return ServerError(
            f"HTTP {status}: {error.message}",
            where=self.url,
            hint=hint,
            retryable=status in (408, 409, 425, 429) or status >= 500,
            status=status,
            retry_after_seconds=_read_retry_after(error.response.headers),
            maybe_paid=status == 504,  # the gateway no longer waits; the server behind it may still write
        )

    def _explain_connection(self, error: BaseException) -> ServerError:
        """Tell a server that was never reached from one that may have worked.

        The transport maps aiohttp's errors onto few classes (a refused connection comes as a timeout), so the
        cause decides.
        """
        chain: list[BaseException] = []
        step: BaseException | None = error
        while step is not None and step not in chain:
            chain.append(step)
            step = step.__cause__ or step.__context__
        causes = [cause for cause in chain if isinstance(cause, (aiohttp.ClientError, OSError, TimeoutError))]
        cause = causes[0] if causes else chain[-1]
        if any(isinstance(link, aiohttp.ClientConnectorCertificateError) for link in chain):
            return ServerError(f"its certificate is refused ({cause})", where=self.url)
        if any(
            isinstance(link, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)) for link in chain
        ):
            return ServerError(
                f"no connection ({cause})",
                where=self.url,
                hint="is the server running?",
                retryable=True,
                is_unreached=True,
            )
        said = str(cause) or type(cause).__name__
        return ServerError(
            f"the reply did not arrive ({said})",
            where=self.url,
            retryable=True,
            maybe_paid=True,
            is_timeout=any(isinstance(link, TimeoutError | httpx2.TimeoutException) for link in chain),
        )


class _NoLogprobsError(Exception):
    """A reply without what was asked for; the server would leave it out the next time, too."""


def _read_completions(reply: Any, request: ChatRequest) -> list[Completion]:
    choices = sorted(reply["choices"], key=lambda choice: int(choice.get("index", 0)))
    if len(choices) != request.n:
        raise ValueError(f"{len(choices)} completions instead of {request.n}")
    texts = [
        (choice["message"]["content"] or "") if request.messages else choice["text"] for choice in choices
    ]
    usage = reply.get("usage") or {}
    n_prompt, n_completion = (int(usage.get(part) or 0) for part in ("prompt_tokens", "completion_tokens"))
    if not n_prompt and not n_completion:
        n_prompt, n_completion = estimate_usage(request, texts)
    n_completion = correct_count(n_completion, texts, request.sampling.max_tokens)
    shares = split_usage(n_prompt, n_completion, texts)
    return [
        Completion(
            text=text,
            logprobs=_read_letters(choice, request.choices) if request.choices else None,
            usage=share,
            finish_reason=choice.get("finish_reason") or "stop",
        )
        for choice, text, share in zip(choices, texts, shares, strict=True)
    ]


def estimate_usage(request: ChatRequest, texts: Sequence[str]) -> tuple[int, int]:
    """Tokens of prompt and completions where a server counts none, so that a budget holds all the same."""
    n_completion = min(estimate_tokens(texts), len(texts) * request.sampling.max_tokens)
    return estimate_prompt(request), n_completion


def correct_count(n_completion: int, texts: Sequence[str], max_tokens: int) -> int:
    """Completion tokens of all completions together.

    llama.cpp reports those of the first completion only. Text has fewer than seven bytes a token; where the report
    would need more, four bytes a token are counted instead, as in English text, and never more than were allowed.
    """
    n_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    if len(texts) == 1 or n_completion * 7 >= n_bytes:
        return n_completion
    return min(-(-n_bytes // 4), len(texts) * max_tokens)


def split_usage(n_prompt: int, n_completion: int, texts: Sequence[str]) -> list[Usage]:
    """Shares of a reply's tokens, summing to what was reported: equal for the prompt, else by length."""
    n = len(texts)
    if n == 1:
        return [Usage(n_prompt, n_completion)]
    weights = [len(text) + 1 for text in texts]
    total = sum(weights)
    shares = []
    seen = 0
    for index, weight in enumerate(weights):
        prompt = n_prompt * (index + 1) // n - n_prompt * index // n
        completion = n_completion * (seen + weight) // total - n_completion * seen // total
        seen += weight
        shares.append(Usage(prompt, completion))
    return shares


def _read_letters(choice: Mapping[str, Any], letters: Sequence[str]) -> dict[str, float]:
    """Letter probabilities from either form of log-probabilities: a list of tokens, or a table a position."""
    logprobs = choice.get("logprobs") or {}
    entries: list[tuple[str, float | None]] = []
    if logprobs.get("content"):
        listed = logprobs["content"][0].get("top_logprobs") or ()
        entries = [(entry["token"], entry["logprob"]) for entry in listed]
    elif logprobs.get("top_logprobs"):
        entries = list((logprobs["top_logprobs"][0] or {}).items())
    if not entries:
        raise _NoLogprobsError
    table: dict[str, float] = {}
    for token, logprob in entries:
        value = LOWEST_LOGPROB if logprob is None else float(logprob)
        table[token] = max(value, table.get(token, LOWEST_LOGPROB))
    return score_letters(table, letters)


def _describe_model(entry: Mapping[str, Any]) -> str:
    """A name that changes when the model behind it does, and not when its server is started again."""
    meta = entry.get("meta") or {}
    details = [
        str(detail)
        for detail in (entry.get("owned_by"), entry.get("root"), meta.get("n_params"), meta.get("size"))
        if detail and detail != entry["id"]
    ]
    return f"{entry['id']} ({', '.join(details)})" if details else str(entry["id"])


def _read_retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header, 0 where there is none (or a date, which needs the server's clock)."""
    try:
        return min(max(0.0, float(headers.get("retry-after", "0"))), 600.0)
    except ValueError:
        return 0.0
