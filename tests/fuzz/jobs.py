"""Job files: valid ones with keys that are gone, doubled, of another kind or absurd; YAML with all its traps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from counterpoise.tasks.registry import TASKS, load_job
from tests.fuzz.common import DEEP, NUMBERS, Ended, Source, break_bytes, call, guard, put

TRAPS = (
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", "budget: 1e400\n", "seed: 0x1F\n", "seed: 0o17\n",
    "seed: 1:30\n", "seed: 99999999999999999999\n", "seed: -1\n", "rounds: 1_0\n", "rounds: 1e3\n",
    "held_out: .nan\n", "held_out: .inf\n", "held_out: -.inf\n", "budget: .inf\n",
    "budget: {tokens: .nan}\n", "budget: {minutes: 1e308}\n", "budget: {minutes: .inf}\n",
    "budget: 9e99b\n", "output: 2001-01-01\n", "label: 2001-01-01\n",
    "text: [!!python/object:os.system x]\n", "text: !!binary aGk=\n", "label: !!set {a, b}\n",
    "output: !!timestamp 2001-13-45\n", "<<: {data: x}\n", "? [a, b]\n: c\n", "label: *nothing\n",
    "&x self: *x\n", "concepts: &c {a: *c}\n", "target: {a: 1e309, b: 1}\n", "target: {a: 0, b: -1}\n",
    "name: \"a\\0b\"\n", "output: \"a\\0b\"\n", "data: \"a\\0b\"\n", "name: \"\\ud800\"\n",
    "output: \"\\udcff\"\n", "label: \"\\x1b[31m\"\n", "cache_dir: /dev/null/x\n", "output: /proc/x\n",
    "gold: .\n", "concepts: .\n", "concepts: /dev/zero\n", "encoder: .\n",
    "llm: {engine: server, url: 'http://[::1'}\n", "llm: {engine: server, url: 'http://a:99999/v1'}\n",
    "llm: {engine: server, url: 'http://\\ud800/v1'}\n",
    "llm: {engine: server, url: ['http://a/v1', 7]}\n",
    "llm: {engine: server, url: http://x/v1, api_key_env: '1x'}\n",
    "llm: {engine: server, url: http://x/v1, concurrency: 1e9}\n", "sample: {rows: {good: 1e9}}\n",
    "sample: {rows: {good: 0}}\n", "sample: {max_characters: 99999999999999999999}\n",
    "held_out: {rest: {good: 999999999999999999999}}\n", "pool: {rest: 1e999}\n", "pool: {a: [1]}\n",
    "--- {}\n--- {}\n", "%YAML 9.9\n---\n",
)  # fmt: skip


def make_bomb(source: Source) -> str:
    """Aliases of aliases, which a reader that walks values would never finish."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join([*lines, f"{source.choice(('concepts', 'attributes', 'data', 'target'))}: *a11\n"])


def fuzz_jobs(source: Source, folder: Path) -> Iterator[Ended]:
    """One job file; where it can be read, it is written, read again, and its data is read."""
    data = folder / "data.csv"
    data.write_text(
        "text,label,source\n"
        + "".join(f"text {n} soup,{'good' if n % 3 else 'bad'},{n % 2}\n" for n in range(30))
    )
    (folder / "triplets.jsonl").write_text('{"query": "a", "positive": "b", "negative": "c"}\n')
    draw = source.random()
    keys: dict[str, Any] = {
        "data": "data.csv",
        "text": "text",
        "label": "label",
        "output": "run",
        "budget": {"tokens": "20k"},
    }
    if draw < 0.2:
        keys = {"task": "tabular_classification", "data": "data.csv", "label": "label", "output": "run"}
    elif draw < 0.4:
        keys = {"task": "retrieval", "data": "triplets.jsonl", "output": "run"}
    options: dict[str, Any] = {
        "attributes": ["source"], "held_out": 0.2, "pool": "data.csv", "concepts": {"food": "what was eaten"},
        "target": {"good": 1, "bad": 2}, "metric": "auroc", "llm": {"engine": "server", "url": "http://127.0.0.1:9/v1"},
        "rounds": 2, "seed": 3, "sample": {"rows": {"good": 8, "bad": 8}}, "labels": {"good": "fine", "bad": "poor"},
        "trusted": "source", "gold": "data.csv", "cache_dir": "cache", "encoder": "data.csv", "name": "n",
        "candidates": 5, "min_precision": 0.7, "most_flagged": 0.5, "per_call": 4, "form": "auto", "corpus": "data.csv",
        "features": ["text", "source"],
    }  # fmt: skip
    for name in source.sample(sorted(options), source.randrange(4)):
        keys[name] = options[name]
    for _ in range(source.choice((0, 1, 1, 2))):
        change_key(source, keys)
    try:
        text = yaml.safe_dump(keys, allow_unicode=source.is_hit(0.5), sort_keys=False)
    except Exception:
        text = json.dumps(keys, default=str)
    draw = source.random()
    if draw < 0.3:
        trap = source.choice(TRAPS)
        name = trap.split(":")[0]
        text = "".join(line + "\n" for line in text.splitlines() if not line.startswith(f"{name}:")) + trap
    elif draw < 0.34:
        text += make_bomb(source)
    elif draw < 0.37:
        text += "name: " + "[" * DEEP + "\n"
    path = folder / "job.yaml"
    content = text.encode("utf-8", "surrogatepass")
    put(source, path, break_bytes(source, content) if source.is_hit(0.4) else content)

    def read() -> None:
        job = load_job(path)
        job.fingerprint()
        resolved = folder / "resolved.yaml"
        resolved.write_text(job.dump(), encoding="utf-8")
        again = load_job(resolved)
        assert again.fingerprint() == job.fingerprint(), "a job that was written is another one"
        TASKS.find(job.task).read(job)

    ended = guard(read)
    yield ended
    if ended.code == 2 and source.is_hit(0.1):
        yield call(source.choice(("run", "preview")), path)


def change_key(source: Source, keys: dict[str, Any]) -> None:
    """Change one key, or one inside of it."""
    name = source.choice(list(keys))
    inner = keys[name]
    if isinstance(inner, dict) and inner and source.is_hit(0.7):
        inner = keys[name] = dict(inner)
        inner[source.choice(list(inner))] = source.choice((source.pick_value(), source.choice(NUMBERS)))
    elif source.is_hit(0.15):
        del keys[name]
    elif source.is_hit(0.1):
        keys[source.pick_string()] = source.pick_value()
    else:
        keys[name] = source.choice((source.pick_value(), source.choice(NUMBERS), source.pick_string()))
