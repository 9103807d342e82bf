"""What all evaluations share: result lines, data files, paired intervals, the engine."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import math
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.assets import find_cache_dir
from evals.vllm_on_cpu import KEY, VllmOnCpu

if TYPE_CHECKING:
    from counterpoise.llm import ChatClient

Floats = NDArray[np.float64]

EMBEDDED_KEY = "COUNTERPOISE_EMBEDDED_KEY"


class MissingDataError(Exception):
    """A data set that is not there; its message is one clear line."""


class MissingPackageError(Exception):
    """Packages of the `eval` extra that are not there; its message is one clear line."""


@dataclass(frozen=True)
class Result:
    """One line of output: a metric of an arm on a data set, with its 95% interval."""

    eval: str
    data: str
    arm: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    unit: str = "ratio"
    extra: dict[str, Any] = field(default_factory=dict)

    def as_line(self) -> str:
        """One JSON object."""
        fields = asdict(self)
        extra = fields.pop("extra")
        rounded = {
            key: (round(value, 6) if math.isfinite(value) else None) if isinstance(value, float) else value
            for key, value in {**fields, **extra, "version": version("counterpoise")}.items()
        }
        return json.dumps(rounded, ensure_ascii=False)


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    Args:
        data: folder that holds the data sets.
        engine: `embedded`, `vllm` or a URL.
        seeds: draws; None for the evaluation's own number.
        quick: a small version of everything.
        only: names of data sets or parts to run, all where empty.
        lines: folder with the lines of other evaluations.
    """

    data: Path
    engine: str = "embedded"
    seeds: int | None = None
    quick: bool = False
    only: tuple[str, ...] = ()
    lines: Path = Path(__file__).parent / "results"


def need_packages(*names: str) -> None:
    """Say in one line what has to be installed.

    Raises:
        MissingPackageError: one of the packages is absent.
    """
    absent = [name for name in names if find_spec(name) is None]
    if absent:
        raise MissingPackageError(f"absent: {', '.join(absent)}; the extra has it: pip install -e '.[eval]'")


def find_file(folder: Path, *names: str) -> Path:
    """The first of several files that is there.

    Raises:
        MissingDataError: none is.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise MissingDataError(f"data set absent: {folder / names[0]}; name the folder that has it with --data")


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a gzipped CSV file."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Rows of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def interval(draws: Floats) -> tuple[float, float]:
    """2.5% and 97.5% quantiles."""
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)


def resample_means(values: Sequence[float], n_resamples: int = 4000, seed: int = 7) -> Floats:
    """Bootstrap means over draws; the same resamples for equal lengths, so differences of two are paired."""
    table = np.asarray(values, dtype=np.float64)
    generator = np.random.default_rng(seed)
    picks = generator.integers(0, len(table), size=(n_resamples, len(table)))
    return np.asarray(table[picks].mean(axis=1))


def describe_spend(
    evaluation: str, data: str, arm: str, used: Sequence[float], added: Sequence[float]
) -> Iterator[Result]:
    """Tokens used, records accepted, and tokens for each of them.

    Args:
        evaluation: whose lines they are.
        data: data set or part of it.
        arm: what spent them.
        used: tokens of each draw.
        added: accepted records of each draw.
    """
    for metric, values, unit in (("tokens", used, "tokens"), ("accepted", added, "records")):
        low, high = interval(resample_means(values))
        yield Result(evaluation, data, arm, metric, float(np.mean(values)), low, high, len(values), unit)
    if sum(added):
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = interval(resample_means(used) / resample_means(added))
        price = sum(used) / sum(added)
        yield Result(evaluation, data, arm, "tokens_per_accepted", price, low, high, len(used), "tokens")


@contextlib.contextmanager
def open_engine(engine: str) -> Iterator[dict[str, Any]]:
    """The `llm` key of a job, for a server that runs as long as the block.

    Args:
        engine: `embedded`, `vllm` (both started here), or the URL of a server that runs; its key, where it wants
            one, stands in the variable `KEY`.
    """
    if engine == "embedded":
        from counterpoise.llm.servers.embedded import N_SLOTS, EmbeddedServer

        with EmbeddedServer() as server:
            os.environ[EMBEDDED_KEY] = server.api_key
            yield {
                "engine": "server",
                "url": server.url,
                "api_key_env": EMBEDDED_KEY,
                "concurrency": N_SLOTS,
            }
        return
    with VllmOnCpu() as server:
        url = server.find_url() if engine == "vllm" else engine
        yield {"engine": "server", "url": url, **({"api_key_env": KEY} if KEY in os.environ else {})}


@contextlib.asynccontextmanager
async def open_model(llm: Mapping[str, Any]) -> AsyncIterator[ChatClient]:
    """A client of what `open_engine` gave, without a budget, with the product's store of replies.

    Args:
        llm: `engine`, `url`, and where there are `api_key_env` and `concurrency`.
    """
    from counterpoise.llm import ReplyStore, TokenBudget
    from counterpoise.llm.config import LlmConfig
    from counterpoise.llm.connect import open_models

    cache_dir = find_cache_dir()
    with ReplyStore(cache_dir / "replies.sqlite") as store:
        async with open_models(
            LlmConfig(**{"concurrency": 16, **llm}),
            store=store,
            budget=TokenBudget(None),
            cache_dir=cache_dir,
        ) as models:
            yield models.chat
