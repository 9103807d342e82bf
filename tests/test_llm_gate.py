"""The gate: order, being alone, and following a server."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest

from counterpoise.llm.concurrency import Gate
from counterpoise.llm.servers.load import ServerLoad, read_metrics


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_permits_go_out_in_order_and_never_more_than_the_limit() -> None:
    gate = Gate(3)
    order: list[int] = []
    most = 0

    async def work(number: int) -> None:
        nonlocal most
        await gate.enter()
        order.append(number)
        most = max(most, gate.n_in_use)
        await asyncio.sleep(0)
        gate.leave()

    await asyncio.gather(*(work(number) for number in range(50)))
    assert order == list(range(50)) and most == 3 and gate.n_in_use == 0


async def test_one_that_asks_to_be_alone_is_and_goes_first() -> None:
    gate = Gate(4)
    company: dict[str, int] = {}

    async def work(name: str, *, alone: bool = False) -> None:
        await gate.enter(alone=alone)
        company[name] = gate.n_in_use
        await asyncio.sleep(0.001)
        company[name] = max(company[name], gate.n_in_use)
        gate.leave()

    await asyncio.gather(
        *(work(f"a{n}") for n in range(4)),
        *(work(f"b{n}") for n in range(4)),
        *(work(f"alone{n}", alone=True) for n in range(2)),
    )
    assert company["alone0"] == company["alone1"] == 1
    assert list(company)[4:6] == ["alone0", "alone1"]
    assert gate.n_in_use == 0


async def test_cancelled_waiters_lose_no_permit() -> None:
    source = random.Random(1)
    gate = Gate(2)

    async def work(number: int) -> None:
        await gate.enter(alone=number % 7 == 0)
        try:
            await asyncio.sleep(source.uniform(0, 0.003))
        finally:
            gate.leave()

    tasks = [asyncio.create_task(work(number)) for number in range(80)]
    for task in source.sample(tasks, 40):
        await asyncio.sleep(0.0005)
        task.cancel()
    await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert gate.n_in_use == 0 and not gate.n_waiting
    await asyncio.wait_for(gate.enter(), 1)


async def test_refusals_halve_once_a_flight_and_replies_raise_again() -> None:
    clock = Clock()
    gate = Gate(64, clock=clock)
    for _ in range(64):
        await gate.enter()
    sent_at = clock.now
    clock.now += 1
    for _ in range(64):
        gate.note_refusal(sent_at)
        gate.leave()
    assert gate.limit == 32
    gate.note_refusal(clock.now + 1)
    assert gate.limit == 1, "nothing was under way"
    rises = []
    for _ in range(4000):
        clock.now += 0.01
        gate.note_reply("label", 0.05)
        rises.append(gate.limit)
    assert rises[-1] == 64 and all(0 <= b - a <= 4 for a, b in pairwise(rises))


async def test_a_pause_that_was_asked_for_is_kept() -> None:
    gate = Gate(8)
    loop = asyncio.get_running_loop()
    gate.note_refusal(0.0, 0.0)
    gate.note_refusal(gate._clock(), 0.2)
    began = loop.time()
    await gate.enter()
    assert loop.time() - began >= 0.19


def drive(gate: Gate, clock: Clock, load: ServerLoad, seconds: int) -> int:
    for _ in range(seconds):
        clock.now += 1
        gate.note_load(load)
    return gate.limit


async def test_a_servers_own_queue_is_kept_short_but_never_empty() -> None:
    """A server that works on 64 at once and queues the rest, as vLLM does."""
    clock = Clock()
    gate = Gate(16, 512, clock)
    seen = []
    for _ in range(600):
        while not gate.is_busy:
            await gate.enter()
        while gate.n_in_use > gate.limit:
            gate.leave()
        clock.now += 1
        running = min(64, gate.n_in_use)
        gate.note_load(ServerLoad(n_running=running, n_waiting=gate.n_in_use - running, memory_ratio=0.5))
        seen.append(gate.limit)
    assert min(seen[60:]) >= 64 and max(seen[60:]) <= 64 * 1.5
    assert drive(gate, clock, ServerLoad(n_running=64, n_waiting=1, memory_ratio=0.99), 5) < 64


@pytest.mark.parametrize(
    ("spread", "factor"), [(0.0, 1), (1.0, 1), (1.0, 20)], ids=["fixed", "long tail", "collapse"]
)
async def test_only_throughput_that_falls_with_growing_latency_takes_the_limit_back(
    spread: float, factor: int
) -> None:
    source = random.Random(4)
    clock = Clock()
    gate = Gate(256, clock=clock)
    for _ in range(256):
        await gate.enter()
    lowest = gate.limit
    for number in range(60_000):
        slow = factor if number > 20_000 else 1
        seconds = 0.05 * slow * source.lognormvariate(0, spread)
        clock.now += 0.05 * slow * 1.65 / 256
        gate.note_reply("label", seconds)
        lowest = min(lowest, gate.limit)
    assert lowest == 256 if factor == 1 else lowest <= 192


VLLM = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="a } b"} 3.0
vllm:num_requests_running{engine="1",model_name="a } b"} 4.0
vllm:num_requests_waiting{engine="0",model_name="m"} 5.0
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} NaN
vllm:prefix_cache_queries_total{engine="0",model_name="m"} 1000.0
vllm:prefix_cache_hits_total{engine="0",model_name="m"} 600.0
vllm:prefix_cache_hits_created{engine="0",model_name="m"} 1.7e+09
"""


def test_metrics_are_read_and_a_restart_counts_from_zero() -> None:
    load = read_metrics(VLLM)
    assert load == ServerLoad(7.0, 5.0, 0.25, 1000.0, 600.0)
    assert load.prefix_hit_ratio() == 0.6
    assert load.prefix_hit_ratio(ServerLoad(prefix_tokens=500, prefix_hits=100)) == 1.0
    assert load.prefix_hit_ratio(ServerLoad(prefix_tokens=5000, prefix_hits=100)) == 0.6
    assert ServerLoad().prefix_hit_ratio() is None
    assert read_metrics("llamacpp:requests_processing 2\nllamacpp:requests_deferred 1") == ServerLoad(2, 1)
    assert (
        read_metrics("<html>not found</html>") is None
        and read_metrics("up 1\nvllm:num_requests_running x") is None
    )
