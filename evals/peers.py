"""Peers: the same work, by the same model on the same server at equal tokens, by what one would write or take instead.

For each draw of `minority_text` (15 rows of the rare label, no pool) the agent runs. Then others ask the same model for
texts of the rare label: a plain instruction with three of the real texts, one text a request, no filter, exact copies
dropped. `script` is a hand-written asyncio loop that goes on until it has used as many tokens, by the server's count,
as the agent did (requests that are under way then are used too); `distilabel` is a pipeline of that library, version
1.5.3, as many instructions as the tokens reach for. It takes part where COUNTERPOISE_PEERS_PYTHON names a Python that
has `distilabel[openai]` and `requests`, or where its texts are kept from an earlier time.

All their texts are added with weight 1 and trained on as they are; `..._adjusted` adjusts the logits by the label
shares besides, which the script's author would have to think of; `..._our_way` weighs the rows and uses the prior as
our arm `added_rows` does, so that only the rows differ. Differences are paired over draws, to the best of these uses.

    python -m evals peers --data DIR --engine URL [--only cebab] [--seeds 3]
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import numpy as np
from openai import AsyncOpenAI, OpenAI

from counterpoise.core.assets import find_cache_dir
from evals.common import Result, Settings, interval, open_engine, resample_means
from evals.minority_text import (
    CORPORA,
    GAPS,
    QUICK_BUDGET,
    RIVAL_WAYS,
    SIMPLE_ARMS,
    divide_draw,
    find_best,
    open_encoder,
    run_draw,
)
from evals.students import STUDENTS

N_SHOWN = 3
N_AT_ONCE = 16
TEMPERATURE = 0.9
MOST_TOKENS = 160  # of one text
ASKS = {
    "cebab": "Write a negative restaurant review.",
    "sms_spam": "Write a spam text message.",
}
OUR_ARMS = ("added_rows", "counterpoise")

Scores = Mapping[tuple[str, str, str], Sequence[float]]
"""(arm, student, metric) -> a value a draw."""


@dataclass(frozen=True)
class Task:
    """What is asked for.

    Args:
        url: of the server.
        api_key: for it.
        n_at_once: requests at a time.
        ask: the instruction.
        examples: real texts of the label.
        n_tokens: to be used, prompts and completions.
        seed: which examples each request shows.
        model: what the server serves.
    """

    url: str
    api_key: str
    n_at_once: int
    ask: str
    examples: tuple[str, ...]
    n_tokens: int
    seed: int
    model: str = ""

    def write_prompts(self) -> Iterator[str]:
        """Prompts without end, each with other examples."""
        generator = random.Random(self.seed)
        while True:
            shown = generator.sample(self.examples, min(N_SHOWN, len(self.examples)))
            yield f"{self.ask} Examples:\n\n" + "\n\n".join(shown)


@dataclass(frozen=True)
class Written:
    """What was written.

    Args:
        texts: all of them, in order.
        tokens: used, prompts and completions.
    """

    texts: tuple[str, ...]
    tokens: int

    def list_new(self, known: Sequence[str]) -> list[str]:
        """The texts without exact copies, of each other or of `known`, and empty ones."""
        return [text for text in dict.fromkeys(self.texts) if text and text not in known]


def run(settings: Settings) -> Iterator[Result]:
    """All data sets, or those named with `--only`."""
    encoder = open_encoder()
    names = [name for name in ASKS if not settings.only or name in settings.only]
    n_seeds = settings.seeds or (1 if settings.quick else 3)
    with open_engine(settings.engine) as llm:
        for name in names[:1] if settings.quick else names:
            corpus = CORPORA[name](settings.data)
            if settings.quick:
                corpus = replace(corpus, budget=QUICK_BUDGET)
            (rare,) = corpus.rare
            scores: dict[tuple[str, str, str], list[float]] = {}
            spent: dict[tuple[str, str], list[float]] = {}
            for seed in range(n_seeds):
                started = monotonic()
                examples = tuple(text for text, label in divide_draw(corpus, seed)[0] if label == rare)
                task = Task(
                    llm["url"],
                    os.environ.get(llm.get("api_key_env", ""), "none"),
                    min(N_AT_ONCE, llm.get("concurrency", N_AT_ONCE)),
                    ASKS[name],
                    examples,
                    0,
                    seed,
                )
                task = replace(task, model=find_model(task))
                written: dict[str, Written] = {}
                rival = _make_rival(task, rare, written, with_distilabel=not settings.quick)
                drawn = run_draw(corpus, llm, encoder, seed, with_pool=False, rival=rival)
                for key, value in drawn["scores"].items():
                    scores.setdefault(key, []).append(value)
                facts = {
                    ("counterpoise", "tokens"): drawn["facts"]["tokens"],
                    ("counterpoise", "rows"): drawn["facts"]["added"],
                }
                for who, done in written.items():
                    facts[who, "tokens"] = done.tokens
                    facts[who, "rows"] = len(done.list_new(examples))
                for fact, number in facts.items():
                    spent.setdefault(fact, []).append(float(number))
                print(f"{name}, {seed}: {monotonic() - started:.0f} s, {facts}", file=sys.stderr, flush=True)
            yield from describe(name, scores, spent)


def _make_rival(
    task: Task, rare: str, written: dict[str, Written], *, with_distilabel: bool
) -> Callable[[int], dict[str, list[tuple[str, str]]]]:
    """From the tokens that the agent used to the rows of each peer; what they wrote is kept in `written`."""

    def ask(n_tokens: int) -> dict[str, list[tuple[str, str]]]:
        asked = replace(task, n_tokens=n_tokens)
        script = _keep("script", asked, lambda: asyncio.run(write_by_script(asked)))
        if script is not None:
            written["script"] = script
            n_texts = 1.1 * n_tokens * len(script.texts) / max(1, script.tokens)
            if with_distilabel:
                made = _keep("distilabel", asked, lambda: write_by_distilabel(asked, int(n_texts) + 1))
                if made is not None:
                    written["distilabel"] = made
        return {who: [(text, rare) for text in done.list_new(task.examples)] for who, done in written.items()}

    return ask


def _keep(who: str, task: Task, write: Callable[[], Written | None]) -> Written | None:
    """What `write` gives, or from the user's cache what it gave for the same task and model."""
    asked = json.dumps(
        [who, task.ask, task.examples, task.n_tokens, task.seed, N_SHOWN, TEMPERATURE, MOST_TOKENS]
    )
    path = find_cache_dir() / "evals" / f"peers-{hashlib.sha256(asked.encode()).hexdigest()[:20]}.json"
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept.get("model", task.model) == task.model:
            return Written(tuple(kept["texts"]), kept["tokens"])
    written = write()
    if written is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {"texts": written.texts, "tokens": written.tokens, "model": task.model}
        path.write_text(json.dumps(kept, ensure_ascii=False), encoding="utf-8")
    return written


def find_model(task: Task) -> str:
    """The first model that the server of a task lists."""
    with OpenAI(base_url=task.url, api_key=task.api_key) as client:
        return client.models.list().data[0].id


async def write_by_script(task: Task) -> Written:
    """The hand-written script."""
    prompts = task.write_prompts()
    texts: list[str] = []
    used = 0
    async with AsyncOpenAI(base_url=task.url, api_key=task.api_key) as client:
        slots = asyncio.Semaphore(task.n_at_once)

        async def ask() -> None:
            nonlocal used
            async with slots:
                if used >= task.n_tokens:
                    return
                reply = await client.chat.completions.create(
                    model=task.model,
                    messages=[{"role": "user", "content": next(prompts)}],
                    temperature=TEMPERATURE,
                    max_tokens=MOST_TOKENS,
                )
                used += reply.usage.total_tokens if reply.usage else 0
                texts.append((reply.choices[0].message.content or "").strip())

        # No request takes less than some forty tokens; those that are not needed return at once.
        await asyncio.gather(*(ask() for _ in range(task.n_tokens // 40 + 1)))
    return Written(tuple(texts), used)


def write_by_distilabel(task: Task, n_texts: int) -> Written | None:
    """The same prompts by a distilabel pipeline, its first texts up to the tokens; None where it is not there."""
    python = os.environ.get("COUNTERPOISE_PEERS_PYTHON")
    if not python:
        return None
    prompts = task.write_prompts()
    asked = {
        "url": task.url,
        "api_key": task.api_key,
        "instructions": [next(prompts) for _ in range(n_texts)],
        "temperature": TEMPERATURE,
        "max_tokens": MOST_TOKENS,
        "n_at_once": task.n_at_once,
    }
    worker = Path(__file__).with_name("distilabel_worker.py")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "rows.json"
        subprocess.run(
            [python, str(worker), str(out)],
            input=json.dumps(asked),
            text=True,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        rows = json.loads(out.read_text(encoding="utf-8"))
    texts: list[str] = []
    used = 0
    for row in rows:
        if used >= task.n_tokens:
            break
        used += row["tokens"]
        texts.append(row["text"].strip())
    return Written(tuple(texts), used)


def describe(name: str, scores: Scores, spent: Mapping[tuple[str, str], Sequence[float]]) -> Iterator[Result]:
    """Means of the arms, and paired differences of ours to each peer and of all to the best zero-token arm.

    Args:
        name: data set.
        scores: of all arms.
        spent: (who, unit) -> a number a draw.
    """
    for (who, unit), values in spent.items():
        low, high = interval(resample_means(values))
        yield Result("peers", name, who, unit, float(np.mean(values)), low, high, len(values), unit)
    n_draws = len(spent["counterpoise", "rows"])
    # One that took part in some draws only, as its texts were kept of these, cannot be compared.
    peers = [
        who
        for (who, unit), values in spent.items()
        if unit == "rows" and who != "counterpoise" and len(values) == n_draws
    ]
    for student in STUDENTS:
        for metric in GAPS:
            mine = {
                arm: values for (arm, who, what), values in scores.items() if (who, what) == (student, metric)
            }
            best = find_best(mine, SIMPLE_ARMS)
            rivals = {peer: [f"{peer}{ending}" for ending in RIVAL_WAYS] for peer in peers}
            for arm in (best, *(arm for arms in rivals.values() for arm in arms), *OUR_ARMS, "real_data"):
                found: dict[str, list[float]] = {"value": list(mine[arm])}
                if arm not in (best, "real_data"):
                    found["gain over the best zero-token arm"] = _subtract(mine[arm], mine[best])
                if arm in OUR_ARMS:
                    for peer, arms in rivals.items():
                        better = find_best(mine, arms)
                        found[f"gain over the better {peer}"] = _subtract(mine[arm], mine[better])
                shown = f"{arm} (the best zero-token arm)" if arm == best else arm
                for column, values in found.items():
                    low, high = interval(resample_means(values))
                    mean, n = float(np.mean(values)), len(values)
                    yield Result("peers", f"{name}/{student}/{metric}", shown, column, mean, low, high, n)


def _subtract(values: Sequence[float], others: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(values, others, strict=True)]
