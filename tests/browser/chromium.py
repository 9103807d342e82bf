"""A page in headless Chromium over its DevTools protocol: what it says, how it looks, what it complains of.

Only aiohttp is needed. `open_page` gives a `Page`; `take_screenshot` writes a PNG.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
TIMEOUT_SECONDS = 60.0


def find_chromium() -> str:
    """The path of the browser, "" where there is none."""
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))),
        "",
    )


@dataclass
class Page:
    """One open page.

    Attributes:
        complaints: console messages of level warning and error, uncaught exceptions, entries of the browser's
            log of these levels, and requests that failed, in the order in which they came.
    """

    socket: aiohttp.ClientWebSocketResponse
    session: str = ""
    complaints: list[str] = field(default_factory=list)
    events: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    _replies: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and wait for its result."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self._replies[number] = answer = asyncio.get_running_loop().create_future()
        await self.socket.send_json(message)
        reply = await asyncio.wait_for(answer, TIMEOUT_SECONDS)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        result: dict[str, Any] = reply["result"]
        return result

    async def evaluate(self, expression: str) -> Any:
        """The JSON value of a JavaScript expression in the page."""
        reply = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in reply:
            raise RuntimeError(f"{expression}: {reply['exceptionDetails']}")
        return reply["result"].get("value")

    async def visit(self, url: str, *, width: int, height: int, dark: bool = False) -> None:
        """Load an address at a window size in CSS pixels; returns when it is loaded and quiet."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events = asyncio.Queue()
        await self.call("Page.navigate", url=url)
        while await asyncio.wait_for(self.events.get(), TIMEOUT_SECONDS) != "Page.loadEventFired":
            pass
        # Two frames later everything that the page does at load has been done and reported.
        await self.call(
            "Runtime.evaluate",
            expression="new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))",
            awaitPromise=True,
        )

    async def capture(self, *, whole: bool = False) -> bytes:
        """A PNG of the window, or of the whole page."""
        picture = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(picture["data"])

    async def listen(self) -> None:
        """Sort what the browser sends until the socket closes."""
        async for message in self.socket:
            data = message.json()
            if "id" in data:
                if not (answer := self._replies.pop(data["id"])).done():
                    answer.set_result(data)
                continue
            if complaint := _read_complaint(data["method"], data.get("params", {})):
                self.complaints.append(complaint)
            self.events.put_nowait(data["method"])


@contextlib.asynccontextmanager
async def open_page() -> AsyncIterator[Page]:
    """A fresh browser with one empty page; both are gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            find_chromium(),
            *FLAGS,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            address = await _wait_for_address(Path(profile) / "DevToolsActivePort", process)
            async with (
                aiohttp.ClientSession() as client,
                client.ws_connect(address, max_msg_size=0) as socket,
            ):
                page = Page(socket)
                listener = asyncio.create_task(page.listen())
                target = await page.call("Target.createTarget", url="about:blank")
                attached = await page.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
                page.session = attached["sessionId"]
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.call(f"{domain}.enable")
                yield page
                page.session = ""
                await page.call("Browser.close")
                await listener
        finally:
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                await asyncio.wait_for(process.wait(), 10)
            if process.returncode is None:
                process.kill()
                await process.wait()


def take_screenshot(html_path: Path, png_path: Path, width: int, height: int, *, dark: bool = False) -> None:
    """Write a picture of a page.

    Args:
        html_path: the page.
        png_path: where the PNG goes.
        width: width of the window in CSS pixels.
        height: its height; 0 shows the whole page.
        dark: whether the reader prefers dark pages.
    """

    async def shoot() -> bytes:
        async with open_page() as page:
            url = html_path.resolve().as_uri()
            await page.visit(url, width=width, height=height or 800, dark=dark)
            if not height:
                full = int(await page.evaluate("document.documentElement.scrollHeight"))
                await page.visit(url, width=width, height=full, dark=dark)
            return await page.capture()

    png_path.write_bytes(asyncio.run(shoot()))


def _read_complaint(method: str, data: dict[str, Any]) -> str:
    """What an event complains of, "" where it does not."""
    if method == "Runtime.consoleAPICalled" and data["type"] in ("error", "warning", "assert"):
        return f"console {data['type']}: " + " ".join(
            str(item.get("value", item.get("description"))) for item in data["args"]
        )
    if method == "Runtime.exceptionThrown":
        return f"exception: {data['exceptionDetails']['text']}"
    if method == "Log.entryAdded" and data["entry"]["level"] in ("error", "warning"):
        return f"log {data['entry']['level']}: {data['entry']['text']}"
    if method == "Network.loadingFailed":
        return f"request failed: {data['errorText']}"
    if method == "Network.responseReceived" and data["response"]["status"] >= 400:
        return f"request failed: {data['response']['status']} {data['response']['url']}"
    return ""


async def _wait_for_address(path: Path, process: asyncio.subprocess.Process) -> str:
    """The WebSocket address that the browser writes into its profile once it listens."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            lines = path.read_text().splitlines() if path.exists() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            if process.returncode is not None:
                raise RuntimeError(f"Chromium ended with code {process.returncode} before it listened")
            await asyncio.sleep(0.05)
