"""Who listens hears what happens in its block, in tasks and in threads that work for it, and nothing else."""

from __future__ import annotations

import asyncio
import threading

from counterpoise.core.events import Event, listening, report_download, tell_event, tell_progress
from counterpoise.core.interrupts import run_alone


def test_the_innermost_listener_is_told_and_nobody_outside_of_a_block() -> None:
    outer: list[str] = []
    inner: list[str] = []
    with listening(lambda event: outer.append(event.name)):
        tell_event(Event("first"))
        with listening(lambda event: inner.append(event.name)):
            tell_event(Event("second"))
        tell_event(Event("third"))
    tell_event(Event("fourth"))
    assert (outer, inner) == (["first", "third"], ["second"])


async def test_threads_that_work_for_a_listener_tell_it() -> None:
    """A running loop, as of a notebook, makes `run_alone` work in a thread of its own."""
    heard: list[tuple[str, int]] = []

    def listen(event: Event) -> None:
        heard.append((event.name, threading.get_ident()))

    async def work() -> None:
        tell_event(Event("alone"))
        await asyncio.gather(*(asyncio.to_thread(tell_event, Event("to_thread")) for _ in range(2)))
        asyncio.get_running_loop().call_soon(tell_event, Event("soon"))
        await asyncio.create_task(asyncio.sleep(0))

    with listening(listen):
        run_alone(work)
        progress = tell_progress("encoding")
        download = report_download("weights")
    plain = threading.Thread(target=lambda: (progress(1, 2), download(1, 2)))
    plain.start()
    plain.join()
    names = [name for name, _ in heard]
    assert sorted(names) == ["alone", "downloading", "encoding", "soon", "to_thread", "to_thread"]
    assert threading.get_ident() not in {thread for _, thread in heard}
