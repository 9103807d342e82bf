"""Who listens hears what happens in its block, in tasks and in threads that work for it, and nothing else."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

from counterpoise.core.event_kinds import Downloading, Encoding, Warned
from counterpoise.core.events import Event, listening, tell_event, tell_progress
from counterpoise.core.interrupts import run_alone


def test_the_innermost_listener_is_told_and_nobody_outside_of_a_block() -> None:
    outer: list[str] = []
    inner: list[str] = []
    with listening(lambda event: outer.append(event.data["message"])):
        tell_event(Warned("first"))
        with listening(lambda event: inner.append(event.data["message"])):
            tell_event(Warned("second"))
        tell_event(Warned("third"))
    tell_event(Warned("fourth"))
    assert (outer, inner) == (["first", "third"], ["second"])


async def test_threads_that_work_for_a_listener_tell_it() -> None:
    """A running loop, as of a notebook, makes `run_alone` work in a thread of its own."""
    heard: list[tuple[str, int]] = []

    def listen(event: Event) -> None:
        heard.append((event.data.get("message", event.name), threading.get_ident()))

    async def work() -> None:
        tell_event(Warned("alone"))
        await asyncio.gather(*(asyncio.to_thread(tell_event, Warned("to_thread")) for _ in range(2)))
        asyncio.get_running_loop().call_soon(tell_event, Warned("soon"))
        await asyncio.create_task(asyncio.sleep(0))

    with listening(listen):
        run_alone(work)
        progress = tell_progress(Encoding)
        download = tell_progress(partial(Downloading, "weights"))
    plain = threading.Thread(target=lambda: (progress(1, 2), download(1, 2)))
    plain.start()
    plain.join()
    names = [name for name, _ in heard]
    assert sorted(names) == ["alone", "downloading", "encoding", "soon", "to_thread", "to_thread"]
    assert threading.get_ident() not in {thread for _, thread in heard}
