"""The rows "a 7B model" of all tables, filled on a server of your own, in one file that can be sent back.

    python -m evals bench --model http://localhost:8000/v1 --minutes 120 --data DIR

Every evaluation that asks a model runs against the server, in small steps: each once with the fewest draws, so that
every row has a figure early, then with more of them. It stops at its minutes, and the same command goes on where it
stopped: steps that ended are kept beside the file, and replies in the user's cache. The file is whole after each step:
a first line with the model as the server names it and the versions, the lines of results, and last a hash of all above.
It holds figures and names of data sets: no text of them, no address and no key. `python -m evals page` fills the tables
from it where it lies in `evals/results` as `bench.jsonl`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from counterpoise.core.errors import CounterpoiseError
from counterpoise.core.redactions import keep_secret
from counterpoise.llm.config import read_llm
from evals.bench_file import BenchFile, BenchFileError, clean_name
from evals.bench_rows import ROWS, list_open_rows
from evals.common import open_engine, open_model
from evals.vllm_on_cpu import KEY


@dataclass(frozen=True)
class Step:
    """A part of an evaluation with so many draws; a later step of the same part replaces the lines of an earlier one.

    Args:
        evaluation: its name.
        only: its parts.
        seeds: draws; 0 where it knows none.
        is_short: whether it is run whole even where everything else is run in small.
    """

    evaluation: str
    only: tuple[str, ...]
    seeds: int = 0
    is_short: bool = False

    @property
    def part(self) -> str:
        """What it measures, whatever the number of draws."""
        return "-".join((self.evaluation, *self.only)).replace("@", "-at-")

    @property
    def name(self) -> str:
        """Of the file that keeps its lines."""
        return f"{self.part}-{self.seeds}"

    def list_words(self, *, quick: bool) -> list[str]:
        """Its words of a command line."""
        words = [self.evaluation, *(word for part in self.only for word in ("--only", part))]
        return [
            *words,
            *(("--seeds", str(self.seeds)) if self.seeds else ()),
            *(("--quick",) if quick and not self.is_short else ()),
        ]


STEPS = (
    Step("judges", ("llm",), 1, is_short=True),
    Step("counterfactual_quality", ("cebab", "embedded")),
    Step("false_negatives", ("model",)),
    Step("minority_text", ("cebab@15",), 1),
    Step("concept_bias", ("generate",), 1),
    Step("judges", ("llm",), 10, is_short=True),
    Step("minority_text", ("cebab@15",), 3),
    Step("concept_bias", ("generate",), 5),
    Step("minority_text", ("cebab@15",), 10),
)
"""In this order."""

Run = Callable[[Step, float | None], str | None]
"""The lines of a step, within so many seconds; None where the time did not do."""


def main(arguments: list[str]) -> int:
    """Run what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m evals bench", description=__doc__)
    parser.add_argument("--model", required=True, help="base URL of the server, ending in /v1")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--key-env", default="", help="variable that holds the server's key")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--out", type=Path, default=None, help="the file; by default bench-MODEL.jsonl")
    parser.add_argument("--quick", action="store_true", help="everything in small, to try it out")
    given = parser.parse_args(arguments)
    ends_at = monotonic() + 60 * given.minutes
    if given.key_env:
        os.environ[KEY] = os.environ.get(given.key_env, "")
        keep_secret(os.environ[KEY])
    try:
        read_llm(given.model)  # an address that holds a password is refused before it is used
        model = asyncio.run(ask_name(given.model))
        path = given.out or Path(f"bench-{clean_name(model).replace('/', '-')}.jsonl")
        file = BenchFile(path, model, is_quick=given.quick)
        words = ["--data", str(given.data), "--engine", given.model]
        failed = run_steps(
            file, STEPS, ends_at, lambda step, left: run_one(step, words, left, quick=given.quick)
        )
    except (BenchFileError, CounterpoiseError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for row in (left := list_open_rows(file.lines)):
        print(f"not filled yet: {row}", file=sys.stderr)
    print(f"{len(ROWS) - len(left)} of {len(ROWS)} rows are filled: {path}")
    return 1 if failed else 0


async def ask_name(url: str) -> str:
    """What the server calls its model."""
    with open_engine(url) as llm:
        async with open_model(llm) as chat:
            return chat.name


def run_steps(
    file: BenchFile,
    steps: Sequence[Step],
    ends_at: float,
    run: Run,
    clock: Callable[[], float] = monotonic,
) -> list[str]:
    """Run what is not in the file yet, until the time is up; the names of steps that failed.

    Args:
        file: where lines are kept.
        steps: in their order.
        ends_at: by `clock`.
        run: one step.
        clock: seconds that never go back.
    """
    failed = []
    for step in steps:
        if file.has(step.name):
            continue
        left = ends_at - clock()
        if left <= 0:
            print(f"the minutes are spent before {step.name}; the same command goes on here", file=sys.stderr)
            break
        print(f"{step.name} ...", file=sys.stderr, flush=True)
        try:
            lines = run(step, left)
        except subprocess.CalledProcessError as error:
            print(f"{step.name}: failed with exit code {error.returncode}", file=sys.stderr)
            failed.append(step.name)
            continue
        if lines is None:
            print(f"the minutes are spent within {step.name}; the same command goes on here", file=sys.stderr)
            break
        file.add(step.name, step.part, lines)
    return failed


def run_one(step: Step, words: Sequence[str], seconds: float | None, *, quick: bool) -> str | None:
    """One step in a process of its own.

    Raises:
        CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", "evals", *step.list_words(quick=quick), "--json", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            return None
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, step.name)
    return said


def list_evaluations() -> Iterator[str]:
    """The evaluations that a bench runs."""
    yield from dict.fromkeys(step.evaluation for step in STEPS)
