"""Requests and tokens a second, and what they cost the client, against a bare loop on the same prompts.

Parts (`--only`): `fixed`, `lognormal` (a counting server with 256 slots in a process of its own), `cached` (replay
from the store). With `--engine vllm` or `--engine URL` also `label` and `generate` on that server. Each arm runs in
a process of its own and the arms of one repetition stand side by side, so that ratios hold on a machine that
others use too.

Arms: `bare_loop` is the openai client with its aiohttp transport and a semaphore, replies kept in a list;
`raw_aiohttp` posts the same bodies with aiohttp alone, the limit; `counterpoise` has reply store, budget, validation
and journal on.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evals import counting_server
from evals.common import Result, Settings, open_engine
from evals.memory import read_memory
from evals.vllm_on_cpu import KEY

ARMS = ("bare_loop", "raw_aiohttp", "counterpoise")
SCHEMA = {
    "type": "object",
    "properties": {"food": {"enum": ["present", "absent"]}, "why": {"type": "string"}},
    "required": ["food", "why"],
}
INSTRUCTION = "You label restaurant reviews. Say whether the review mentions food, and why, as JSON."
N_CONCURRENT = 256

NAN = float("nan")


def run(settings: Settings) -> Iterator[Result]:
    """Measure every part asked for."""
    parts = settings.only or (
        ("fixed", "lognormal", "cached")
        if settings.engine == "embedded"
        else ("fixed", "lognormal", "cached", "label", "generate")
    )
    n_repeats = settings.seeds or (1 if settings.quick else 3)
    for part in parts:
        if part in ("fixed", "lognormal"):
            with counting_server.serve() as url:
                yield from measure_counting(part, url, n_repeats, 1_000 if settings.quick else 8_000)
        elif part == "cached":
            with counting_server.serve() as url:
                yield from measure_cached(url, n_repeats, 2_000 if settings.quick else 20_000)
        else:
            n = 48 if settings.quick else 64 if part == "generate" else 256
            with open_engine(settings.engine) as llm:
                yield from measure_served(part, llm["url"], n_repeats, n)


def measure_counting(latency: str, url: str, n_repeats: int, n: int) -> Iterator[Result]:
    """All arms against the counting server."""
    counting_server.ask(url, f"reset?latency={latency}")
    measured: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for repeat in range(n_repeats):
        for arm in ARMS:
            counting_server.ask(url, f"reset?latency={latency}")
            figures = run_arm(arm, url, "counting", "schema", n, N_CONCURRENT, repeat)
            counts = counting_server.ask(url, "counts")
            if counts["requests"] != n:
                raise RuntimeError(f"{arm}: the server counted {counts['requests']} requests of {n}")
            figures |= {key: counts[key] for key in ("slots_used_ratio", "busy_ratio")}
            measured[arm].append(figures)
    yield from compare(f"counting/{latency}", measured, "requests_per_second", n)


def measure_cached(url: str, n_repeats: int, n: int) -> Iterator[Result]:
    """Replies a second from the store, and what each costs where others use the processor too."""
    counting_server.ask(url, "reset?median=0.0001")
    runs = [
        run_arm("counterpoise", url, "counting", "schema", n, N_CONCURRENT, repeat, replay=True)
        for repeat in range(n_repeats)
    ]
    for metric, unit in (("requests_per_second", "1/s"), ("cpu_seconds_per_request", "s")):
        yield summarise("cached", "counterpoise", metric, [one[metric] for one in runs], unit, n)


def measure_served(part: str, url: str, n_repeats: int, n: int) -> Iterator[Result]:
    """Tokens a second on a real server; prompts differ in every arm and repetition, so that no cache helps twice."""
    arms = ("bare_loop", "counterpoise")
    measured: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    run_arm("bare_loop", url, "", part, 8, 8, 999)  # warm
    for repeat in range(n_repeats):
        for arm in arms if repeat % 2 == 0 else arms[::-1]:
            # The same prompts for both but for their first word, which keeps the server's prefix cache out of it.
            measured[arm].append(run_arm(arm, url, "", part, n, 64, repeat))
    yield from compare(f"server/{part}", measured, "tokens_per_second", n)


def compare(data: str, measured: dict[str, list[dict[str, float]]], rate: str, n: int) -> Iterator[Result]:
    """Medians of every arm, and the ratio to the bare loop of the same repetition."""
    units = {"cpu_seconds_per_request": "s", "peak_mib": "MiB", "requests_per_second": "1/s", rate: "1/s"}
    for arm, runs in measured.items():
        for metric in runs[0]:
            yield summarise(data, arm, metric, [one[metric] for one in runs], units.get(metric, "ratio"), n)
        for metric, of in (("relative_throughput", rate), ("relative_cpu", "cpu_seconds_per_request")):
            ratios = [one[of] / bare[of] for one, bare in zip(runs, measured["bare_loop"], strict=True)]
            yield summarise(data, arm, metric, ratios, "ratio", n)


def summarise(data: str, arm: str, metric: str, values: Sequence[float], unit: str, n: int) -> Result:
    """Median and range over repetitions."""
    return Result(
        "throughput",
        data,
        arm,
        metric,
        statistics.median(values),
        min(values) if len(values) > 1 else NAN,
        max(values) if len(values) > 1 else NAN,
        len(values),
        unit,
        {"requests": n, "range": "min to max"},
    )


def run_arm(
    arm: str, url: str, model: str, form: str, n: int, concurrency: int, seed: int, *, replay: bool = False
) -> dict[str, float]:
    """One arm in a process of its own."""
    job = {
        "arm": arm,
        "url": url,
        "model": model,
        "form": form,
        "n": n,
        "concurrency": concurrency,
        "seed": seed,
        "replay": replay,
    }
    done = subprocess.run(
        [sys.executable, "-m", "evals.throughput", json.dumps(job)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{arm}: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def make_bodies(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The bodies of all requests; `schema` and `label` are chats, `generate` a continuation with `n` of 8."""
    tag = f"{job['arm']} {job['seed']}" if job["form"] != "schema" else f"{job['seed']}"
    bodies: list[dict[str, Any]] = []
    for number in range(job["n"]):
        review = f"Review {number} of {tag}: the soup was warm, the waiter kind, and the bill came late."
        body: dict[str, Any] = {"model": job["model"], "temperature": 0.0, "top_p": 1.0, "max_tokens": 64}
        if job["form"] == "generate":
            shown = "".join(f"- {word} {review}\n" for word in ("A", "Another", "One more"))
            body |= {
                "prompt": f"{tag}\nReviews of restaurants:\n{shown}-",
                "temperature": 0.9,
                "stop": ["\n"],
            }
            body |= {"n": 8, "max_tokens": 16}
        else:
            body["messages"] = [
                {"role": "system", "content": f"{INSTRUCTION} {tag}"},
                {"role": "user", "content": review},
            ]
        if job["form"] == "schema":
            body["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": SCHEMA, "strict": True},
            }
        if job["form"] == "label":
            body |= {"max_tokens": 1, "logprobs": True, "top_logprobs": 20}
        bodies.append(body)
    return bodies


async def measure(job: dict[str, Any]) -> dict[str, float]:
    """Inside the process of an arm."""
    if not job["model"]:
        job["model"] = await find_model(job["url"])
    bodies = make_bodies(job)
    arms: dict[str, Callable[..., Awaitable[tuple[float, float, int]]]] = {
        "bare_loop": ask_bare,
        "raw_aiohttp": ask_raw,
        "counterpoise": ask_counterpoise,
    }
    seconds, cpu, n_tokens = await arms[job["arm"]](job, bodies)
    figures = {
        "requests_per_second": len(bodies) / seconds,
        "cpu_seconds_per_request": cpu / len(bodies),
        "peak_mib": read_memory("VmHWM") / 2**20,
    }
    if job["form"] in ("label", "generate"):
        figures["tokens_per_second"] = n_tokens / seconds
    return figures


def find_key() -> str:
    """The key of the server that is measured; it is not among the words of a command line."""
    return os.environ.get(KEY, "none")


async def find_model(url: str) -> str:
    """The first model of a server."""
    import aiohttp

    headers = {"Authorization": f"Bearer {find_key()}"}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{url}/models") as reply:
        return str((await reply.json())["data"][0]["id"])


async def ask_bare(job: dict[str, Any], bodies: list[dict[str, Any]]) -> tuple[float, float, int]:
    """The openai client as its documentation shows it, with the aiohttp transport and a semaphore."""
    import openai

    gate = asyncio.Semaphore(job["concurrency"])
    n_tokens = 0
    texts: list[Any] = []
    async with (
        openai.AsyncOpenAI(
            base_url=job["url"],
            api_key=find_key(),
            max_retries=0,
            timeout=600.0,  # the package gives connecting five seconds, too few where 256 connect on a busy machine
            http_client=openai.DefaultAioHttpClient(timeout=600.0),
        ) as client
    ):

        async def ask(body: dict[str, Any]) -> None:
            nonlocal n_tokens
            async with gate:
                if "messages" in body:
                    reply: Any = await client.chat.completions.create(**body)
                else:
                    reply = await client.completions.create(**body)
            n_tokens += reply.usage.total_tokens
            texts.append(
                [choice.message.content if "messages" in body else choice.text for choice in reply.choices]
            )

        await ask(bodies[0])
        started, cpu = time.perf_counter(), time.process_time()
        n_tokens = 0
        await asyncio.gather(*(ask(body) for body in bodies[1:]))
        return time.perf_counter() - started, time.process_time() - cpu, n_tokens


async def ask_raw(job: dict[str, Any], bodies: list[dict[str, Any]]) -> tuple[float, float, int]:
    """Post with aiohttp and nothing else."""
    import aiohttp

    gate = asyncio.Semaphore(job["concurrency"])
    n_tokens = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def ask(body: dict[str, Any]) -> None:
            nonlocal n_tokens
            path = "chat/completions" if "messages" in body else "completions"
            async with gate, session.post(f"{job['url']}/{path}", json=body) as reply:
                n_tokens += json.loads(await reply.read())["usage"]["total_tokens"]

        await ask(bodies[0])
        started, cpu = time.perf_counter(), time.process_time()
        n_tokens = 0
        await asyncio.gather(*(ask(body) for body in bodies[1:]))
        return time.perf_counter() - started, time.process_time() - cpu, n_tokens


async def ask_counterpoise(job: dict[str, Any], bodies: list[dict[str, Any]]) -> tuple[float, float, int]:
    """Reply store, budget, validation and journal on."""
    from counterpoise.llm import (
        ChatClient,
        ChatRequest,
        Message,
        ReplyStore,
        Sampling,
        TokenBudget,
        answer_most,
    )
    from counterpoise.llm.engines.openai import OpenAIEngine
    from counterpoise.runs.directory import RunDirectory

    requests = [
        ChatRequest(
            messages=tuple(Message(turn["role"], turn["content"]) for turn in body.get("messages", ())),
            prompt=body.get("prompt", ""),
            sampling=Sampling(
                body["temperature"], body["top_p"], body["max_tokens"], tuple(body.get("stop", ()))
            ),
            schema=SCHEMA if "response_format" in body else None,
            choices=("A", "B") if body.get("logprobs") else (),
            n=body.get("n", 1),
            purpose=job["form"],
        )
        for body in bodies
    ]
    with tempfile.TemporaryDirectory() as folder, RunDirectory(Path(folder) / "run") as directory:
        directory.begin("job: a measurement", "measurement")
        figures = (0.0, 0.0, 0)
        for _ in range(2 if job["replay"] else 1):
            budget = TokenBudget(1_000_000_000)
            with ReplyStore(Path(folder) / "replies.sqlite") as store:
                async with ChatClient(
                    OpenAIEngine(job["url"], job["model"], api_key=find_key()),
                    store,
                    budget,
                    concurrency=job["concurrency"],
                    run_id=directory.id,
                ) as chat:
                    await chat.generate(requests[0])
                    before = budget.used
                    started, cpu = time.perf_counter(), time.process_time()
                    async for outcome in answer_most(chat, requests[1:]):
                        if outcome.error is not None:
                            raise outcome.error
                    directory.write_replies(chat.take_used())
                    seconds = time.perf_counter() - started
                    figures = (seconds, time.process_time() - cpu, budget.used - before)
        return figures


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(json.loads(sys.argv[1])))))
