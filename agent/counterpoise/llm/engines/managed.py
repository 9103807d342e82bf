"""An engine with a server of its own: the server's death is a normal event.

Requests that were under way when the server died end with `EngineDiedError`, which may be asked again; the server
is started once for all of them, and requests that come meanwhile wait until it serves. What kills the server
again and again is for the caller to find out, who knows the requests. A server that keeps dying without having
answered anything in between is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from counterpoise.core.errors import EngineDiedError, ServerError, ServiceError, UserError
from counterpoise.core.event_kinds import ServerReady, Warned
from counterpoise.core.events import tell_event
from counterpoise.llm.chat import ChatRequest, Completion
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.llm.servers.embedded import Server, ask_for_health
from counterpoise.llm.servers.load import ServerLoad

MOST_DEATHS = 8
"""Deaths in a row, with no request answered in between, after which the server is given up. Several requests that
kill it may come one after the other before the caller has sorted them out."""

FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0

HEALTH_SECONDS = 30.0
"""A server that does not say within so long that it is healthy, after a request has failed, is dead."""

SETTLE_SECONDS = 10.0
"""The longest from a refused connection to the end of the process behind it."""


class ManagedEngine:
    """One model behind a server that is started, watched, started again and stopped here.

    An async context manager: entering it starts the server, which may take minutes.

    Args:
        server: the server; nobody else starts or stops it.
        model: name of the model; "" takes the first that the server lists.
        identity: `name`, where what the server says of its model tells more of this machine than of the model.
        most_deaths: see `MOST_DEATHS`.
        first_wait_seconds: wait before the second start in a row; it doubles with each further one.
        longest_wait_seconds: no wait is longer.
        timeout_seconds: as `OpenAIEngine` takes it.
    """

    def __init__(
        self,
        server: Server,
        model: str = "",
        *,
        identity: str = "",
        most_deaths: int = MOST_DEATHS,
        first_wait_seconds: float = FIRST_WAIT_SECONDS,
        longest_wait_seconds: float = LONGEST_WAIT_SECONDS,
        timeout_seconds: float = 600.0,
    ) -> None:
        self.n_starts = 0
        self._server = server
        self._model = model
        self._identity = identity
        self._most_deaths = most_deaths
        self._first_wait_seconds = first_wait_seconds
        self._longest_wait_seconds = longest_wait_seconds
        self._timeout_seconds = timeout_seconds
        self._name = self._api_key = ""
        self._engine: OpenAIEngine | None = None
        self._n_in_flight = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._n_deaths = 0
        self._restart: asyncio.Task[None] | None = None
        self._check: asyncio.Task[bool] | None = None
        self._failure: ServiceError | UserError | None = None

    @property
    def name(self) -> str:
        """The model and what the server says of its revision; the same after every start."""
        if not self._name:
            raise RuntimeError("the model is not known yet: use the engine as an async context manager")
        return self._name

    @property
    def engine(self) -> OpenAIEngine:
        """The engine of the server as it runs now; another one after a restart."""
        if self._engine is None:
            raise RuntimeError("the server is not running: use the engine as an async context manager")
        return self._engine

    @property
    def url(self) -> str:
        """Base address of the server as it runs now; another one after a restart."""
        return self.engine.url

    @property
    def context_tokens(self) -> int:
        """Prompt and completion together, as the server says or was told; 0 where that is not known."""
        return int(getattr(self._server, "slot_tokens", 0)) or self.engine.context_tokens

    @property
    def refusals(self) -> dict[str, str]:
        """As `OpenAIEngine.refusals`, of the server as it runs now."""
        return self.engine.refusals

    @property
    def server(self) -> Server:
        """The server, to be looked at."""
        return self._server

    def find_address(self) -> tuple[str, str]:
        """Base address and key of the server as it runs now."""
        return self.url, self._api_key

    async def __aenter__(self) -> Self:
        """Start the server, and find the model.

        Raises:
            UserError: the job asks the server for what cannot be.
            ServiceError: it does not come up.
        """
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        await self.close()

    async def close(self) -> None:
        """Stop the server and close the connections; a second call does nothing."""
        restart, self._restart = self._restart, None
        if restart is not None:
            restart.cancel()
            await asyncio.gather(restart, return_exceptions=True)
        try:
            if self._engine is not None:
                await self._engine.close()
        finally:
            await asyncio.shield(asyncio.to_thread(self._server.stop))

    async def wait_until_ready(self) -> None:
        """Wait while the server is being started.

        Raises:
            EngineDiedError: it was given up.
        """
        await self._find_engine()

    async def generate(self, request: ChatRequest) -> list[Completion]:
        """The `n` completions of a request; waits while the server is being started.

        Raises:
            EngineDiedError: the server died while it had the request; or, not retryable, it has died so often
                that it was given up.
            ServerError: as `OpenAIEngine.generate` raises it; retryable where the server turned out to be dead before
                it saw the request.
        """
        engine = await self._find_engine()
        self._count_in_flight(1)
        try:
            completions = await engine.generate(request)
        except ServerError as error:
            if not error.retryable or not await self._is_dead(engine):
                raise
            why = self._server.explain_end()
            self._begin_restart(engine)
            if error.is_unreached:
                # An attempt, not an absence: whether the server comes back is known here and not by waiting.
                raise ServerError(
                    f"the server had ended ({why}) and is started again", where=engine.url, retryable=True
                ) from error
            raise EngineDiedError(
                f"the server ended under the request ({why})",
                where=engine.url,
                retryable=True,
                maybe_paid=True,
            ) from error
        finally:
            self._count_in_flight(-1)
        self._n_deaths = 0
        return completions

    async def read_load(self) -> ServerLoad | None:
        """As `OpenAIEngine.read_load`, of the server as it runs now."""
        return await self.engine.read_load()

    async def _find_engine(self) -> OpenAIEngine:
        """The engine, once its server runs and no restart is under way."""
        if self._engine is not None and self._restart is None and not self._server.is_alive():
            self._begin_restart(self._engine)
        while self._restart is not None:
            await asyncio.shield(self._restart)
        if self._failure is not None:
            raise EngineDiedError(
                f"the server was given up ({self._failure.message})",
                where=self._failure.where,
                hint=self._failure.hint,
            ) from self._failure
        return self.engine

    async def _is_dead(self, engine: OpenAIEngine) -> bool:
        """Whether a request failed because the server died; asked once for all requests that fail together."""
        if engine is not self._engine or self._restart is not None or not self._server.is_alive():
            return True
        if self._check is None:
            self._check = asyncio.create_task(self._check_health(engine.url))
        return await asyncio.shield(self._check)

    async def _check_health(self, url: str) -> bool:
        """Whether the server at an address is dead; one that is dying is waited for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE_SECONDS
        try:
            while self._server.is_alive():
                is_healthy = await asyncio.to_thread(ask_for_health, url, HEALTH_SECONDS)
                if is_healthy is not None:
                    return not is_healthy
                if loop.time() > deadline:
                    break
                await asyncio.sleep(0.1)
            return True
        finally:
            self._check = None

    def _begin_restart(self, dead: OpenAIEngine) -> None:
        """Start the server again, once for all requests that found it dead."""
        if self._restart is None and dead is self._engine:
            why = self._server.explain_end()
            self._restart = asyncio.create_task(self._start_again(dead, why))

    async def _start_again(self, dead: OpenAIEngine, why: str) -> None:
        """The restart: never raises but when cancelled; a failure is kept for those who wait."""
        try:
            while True:
                self._n_deaths += 1
                self._tell(f"the server of {self._name} ended ({why})")
                await self._stop_server()
                if dead is self._engine:
                    await self._is_idle.wait()  # all its requests fail now, each with an error of its own
                    await dead.close()
                if self._n_deaths > self._most_deaths:
                    self._failure = ServerError(
                        f"it ended {self._n_deaths} times without answering a request in between; last: {why}",
                        where=self._name,
                    )
                    return
                await asyncio.sleep(self._choose_wait())
                try:
                    await self._open()
                except (ServiceError, UserError) as error:
                    why = error.message
                    continue
                return
        finally:
            self._restart = None

    def _choose_wait(self) -> float:
        """None after the first death: it may have been an accident. Then longer and longer."""
        if self._n_deaths == 1:
            return 0.0
        return min(self._first_wait_seconds * 2.0 ** (self._n_deaths - 2), self._longest_wait_seconds)

    async def _open(self) -> None:
        """Start the server and connect to it."""
        url, api_key = await self._start_server()
        engine = OpenAIEngine(url, self._model, api_key=api_key, timeout_seconds=self._timeout_seconds)
        await engine.__aenter__()
        name = self._identity or engine.name
        if self._name and name != self._name:
            await engine.close()
            raise ServerError(f"it comes back as another model, {name}", where=self._name)
        if self._engine is not None:
            await self._engine.close()
        self._engine, self._name, self._api_key = engine, name, api_key
        self.n_starts += 1
        tell_event(ServerReady(self._name, self.n_starts))

    async def _start_server(self) -> tuple[str, str]:
        """Start it in a thread; where the wait is cancelled, the start ends too."""
        start = asyncio.ensure_future(asyncio.to_thread(self._server.start))
        try:
            return await asyncio.shield(start)
        except asyncio.CancelledError:
            while not start.done():
                self._server.stop()
                await asyncio.wait([start], timeout=0.2)
            with contextlib.suppress(BaseException):
                start.result()
            raise

    async def _stop_server(self) -> None:
        await asyncio.shield(asyncio.to_thread(self._server.stop))

    def _count_in_flight(self, change: int) -> None:
        self._n_in_flight += change
        if self._n_in_flight:
            self._is_idle.clear()
        else:
            self._is_idle.set()

    def _tell(self, message: str) -> None:
        tell_event(Warned(message, retryable=True, purpose="server"))
