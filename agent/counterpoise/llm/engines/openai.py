"""An engine that talks to anything OpenAI-compatible: vLLM, the embedded server, a hosted API.

Replies are read from their JSON: building the openai package's reply objects costs more than sending the
request. `seed` is never sent; there are servers that it kills. What a server refuses of a request is left out and
remembered (`counterpoise.llm.dialect`); what it sends is read in one place (`counterpoise.llm.replies`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import httpx2
import openai

from counterpoise.core.errors import ServerError
from counterpoise.core.redactions import keep_secret, keep_secrets_of, redact, redact_values
from counterpoise.llm.chat import ChatRequest, Completion
from counterpoise.llm.dialect import Dialect, guess_detours, is_about_size, name_parts
from counterpoise.llm.letters import has_table
from counterpoise.llm.replies import read_completions
from counterpoise.llm.reply_bodies import read_body
from counterpoise.llm.reply_shapes import read_window
from counterpoise.llm.served_errors import find_error, quote_error
from counterpoise.llm.servers.load import ServerLoad, read_metrics
from counterpoise.llm.transport import LARGEST_REPLY, BoundedClient, EndlessReplyError

KEEP_ALIVE_SECONDS = 2.0
"""Shorter than any server's, so that no request goes out on a connection the server is closing."""

MAX_CONNECTIONS = 10_000
"""The gate limits requests, not the pool."""

AWAY = (502, 503, 504)
"""What a gateway answers while the server behind it is being started again."""

REFUSALS = (400, 403, 405, 406, 415, 422, 501)
"""Statuses that say no to what was asked, and would say it again."""

MOST_DETOURS = 32
"""Times that a refused request is sent in another way; refusals cost no token."""

MOST_HOPELESS = 2
"""Requests that were refused in every way, after which a refusal that names nothing is believed at once."""


class OpenAIEngine:
    """One model behind one base address.

    An async context manager: entering it finds the model by `/v1/models`.

    Args:
        url: base address, as `http://localhost:8000/v1`.
        model: name of the model; "" takes the first that the server lists.
        api_key: sent as bearer token; "" where the server wants none.
        timeout_seconds: how long a server may stay silent; a queue counts as silence.
        connect_seconds: how long connecting may take.
        explores: where a refusal does not say what it is about, find out by leaving out one part after the other.

    Attributes:
        context_tokens: prompt and completion together, as the list of models says; 0 where it does not.

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
        explores: bool = False,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"{url!r} is not the address of a server; one looks like http://localhost:8000/v1"
            )
        self.url = url.rstrip("/")
        self.model = model
        self._identity = ""
        self.context_tokens = 0
        self._api_key = api_key
        keep_secret(api_key)
        keep_secrets_of(url)
        self._timeout = httpx2.Timeout(timeout_seconds, connect=connect_seconds, pool=None)
        self._is_local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        self._client: openai.AsyncOpenAI | None = None
        self._dialect = Dialect()
        self._known: frozenset[str] = frozenset()
        self._n_hopeless = 0
        self._explores = explores
        self._refusals: dict[str, str] = {}

    @property
    def refusals(self) -> dict[str, str]:
        """What the server was found not to take, as `counterpoise.llm.dialect` names it -> what it said of that."""
        return {part: self._refusals.get(part, "") for part in sorted(self._dialect.without)}

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
        transport = BoundedClient(
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
        reply = await self._ask(request, self._dialect)
        completions = self._read(reply, request)
        if not request.choices or completions[0].logprobs is not None or request.thoughts is not None:
            return completions
        # The first token is no letter and has no table of letters: the letter may come a little later.
        without_table = frozenset(["top_logprobs=20", "logprobs"])
        if not has_table(reply):
            self._dialect = self._dialect.avoid(without_table)
        (second,) = self._read(await self._ask(request, self._dialect.avoid(without_table)), request)
        return [replace(second, usage=completions[0].usage + second.usage)]

    async def _ask(self, request: ChatRequest, dialect: Dialect) -> Any:
        """The reply to a request; where the server refuses it, it is sent once more without what is refused."""
        path = "/chat/completions" if request.messages else "/completions"
        start = dialect.without
        guesses: Iterator[Dialect] | None = None
        refusal: ServerError | None = None
        for _ in range(MOST_DETOURS):
            body = dialect.compose(request, self.model)
            try:
                reply = await self._exchange("post", path, json.dumps(body).encode())
            except ServerError as error:
                refusal = refusal or error
                named = dialect.list_detours(error.said, body)
                is_about_n = error.status == 500 and "n" in named  # an assertion that failed: it will again
                if not (error.is_refusal or is_about_n) or is_about_size(error.said):
                    raise error if error.retryable else refusal from error
                if named:
                    dialect, guesses = dialect.avoid(named), None
                    continue
                if error.status not in (400, 422, 501) or request.thoughts:
                    raise refusal from error
                if guesses is None:
                    guesses = self._guess(dialect, body)
                if (other := next(guesses, None)) is None:
                    self._n_hopeless += 1
                    raise refusal from error
                dialect = other
                continue
            for part in dialect.without - start:
                self._refusals.setdefault(part, refusal.said if refusal else "")
            self._dialect = self._dialect.avoid(dialect.without - start)
            self._known |= set(name_parts(body))
            return reply
        raise refusal or RuntimeError("no way to send a request was tried")

    def _guess(self, dialect: Dialect, body: Mapping[str, Any]) -> Iterator[Dialect]:
        if self._explores and self._n_hopeless < MOST_HOPELESS:
            for parts in guess_detours(body, self._known):
                yield dialect.avoid(parts)

    def _read(self, reply: Any, request: ChatRequest) -> list[Completion]:
        try:
            return read_completions(reply, request)
        except ValueError as error:
            if isinstance(reply, Mapping) and isinstance(reply.get("choices"), list) and not reply["choices"]:
                raise ServerError(
                    "a reply with an empty list of completions", where=self.url, maybe_paid=True, status=200
                ) from error
            raise ServerError(
                f"a reply that is not a completion ({error})",
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

    async def _find_model(self) -> None:
        try:
            models = _list_models(await self._exchange("get", "/models"))
        except ServerError as error:
            if error.status in (404, 405, 501) and self.model:
                self._identity = self.model  # a gateway without a list: the name is all there is to know
                return
            if error.status in (404, 405, 501):
                error.hint = (
                    "does the address end in /v1? A server without a list of models is told the name by "
                    "`llm: {engine: server, url: ..., model: NAME}` in a job file"
                )
            raise
        except (KeyError, TypeError) as error:
            raise ServerError(
                "its list of models cannot be read", where=self.url, hint="does the address end in /v1?"
            ) from error
        for entry in models:
            if self.model in ("", entry["id"], *(entry.get("aliases") or ())):
                self.model = self.model or entry["id"]
                self._identity = redact(_describe_model(entry))
                self.context_tokens = read_window(entry)
                return
        names = ", ".join(sorted(entry["id"] for entry in models)) or "none"
        raise ServerError(
            f"it has no model {self.model!r}" if self.model else "it has no model",
            where=self.url,
            hint=f"it has: {names}" if models else "load one there",
            status=404,
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
            reply = redact_values(read_body(response.content))
        except (ValueError, RecursionError) as error:
            raise ServerError(
                f"a reply that is not JSON: {response.content[:60]!r}",
                where=self.url,
                retryable=True,
                status=response.status_code,
                maybe_paid=True,
            ) from error
        if found := find_error(reply):
            said = redact(found.said)
            raise ServerError(
                f"HTTP {response.status_code} with an error: {said}",
                where=self.url,
                retryable=found.is_transient,
                status=found.status or 400,
                said=said,
                is_refusal=not found.is_transient,
            )
        return reply

    def _explain_status(self, error: openai.APIStatusError) -> ServerError:
        status = error.status_code
        said = redact(quote_error(error.response.content))
        hint = {
            401: "is the API key right?",
            403: "is the API key right?",
            404: f"does the address end in /v1, and does it serve {self.model!r}?",
        }.get(status, "")
        is_loading = status == 503 and "load" in said.casefold()
        # Some servers answer 500 to a field that they do not know, and say so.
        is_refusal = status in REFUSALS or (status == 500 and bool(_UNKNOWN_FIELD.search(said)))
        return ServerError(
            f"HTTP {status}: {said}" if said else f"HTTP {status}",
            where=self.url,
            hint=hint,
            retryable=not is_refusal and (status in (408, 409, 425, 429) or status >= 500),
            status=status,
            retry_after_seconds=_read_retry_after(error.response.headers),
            maybe_paid=status == 504,  # the gateway no longer waits; the server behind it may still write
            said=said,
            is_refusal=is_refusal,
            is_unreached=is_loading,
            is_loading=is_loading,
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
        if any(isinstance(link, EndlessReplyError) for link in chain):
            return ServerError(
                f"its reply had not ended after {LARGEST_REPLY >> 20} MiB", where=self.url, maybe_paid=True
            )
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


_UNKNOWN_FIELD = re.compile(
    r"(?:unsupported|unknown|unexpected|unrecognized|invalid|extra) (?:keyword |input |request )?"
    r"(?:param|field|argument|value)"
    r"|not (?:supported|permitted|allowed|implemented)|does(?: not|n't) support",
    re.IGNORECASE,
)


def _list_models(listing: Any) -> list[dict[str, Any]]:
    """The entries of a list of models that have a name, under `id`.

    Raises:
        TypeError: it is no list of models.
    """
    entries = listing
    if isinstance(listing, Mapping):
        entries = listing.get("data", listing.get("models"))
    if not isinstance(entries, list):
        raise TypeError("no list of models")
    models: list[dict[str, Any]] = []
    for entry in entries:
        given = entry if isinstance(entry, Mapping) else {"id": entry}
        name = given.get("id") or given.get("name") or given.get("model")
        if isinstance(name, str) and name:
            models.append({**given, "id": name})
    return models


def _describe_model(entry: Mapping[str, Any]) -> str:
    """A name that changes when the model behind it does, and not when its server is started again."""
    meta = entry.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    details = [
        str(detail)
        for detail in (entry.get("owned_by"), entry.get("root"), meta.get("n_params"), meta.get("size"))
        if detail and detail != entry["id"]
    ]
    return f"{entry['id']} ({', '.join(details)})" if details else str(entry["id"])


def _read_retry_after(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header, 0 where there is none (or a date, which needs the server's clock)."""
    try:
        seconds = float(headers.get("retry-after", "0"))
    except ValueError:
        return 0.0
    return min(max(0.0, seconds), 600.0) if math.isfinite(seconds) else 0.0
