"""What the integration tests share: made-up reviews, a cache of the test's own, a job, and what a server was asked."""

from __future__ import annotations

import csv
import os
import random
import sqlite3
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from counterpoise.core.assets import MINILM, MINILM_TOKENIZER, Asset, ensure_asset, list_assets
from counterpoise.llm import ChatRequest, Message, Sampling
from counterpoise.llm.reply_store import make_keys
from counterpoise.tasks.text.job import Job, job_from
from tests.made_up import write_sentence
from tests.servers import Body, draw_seed, hash_body

Row = tuple[str, str]
MODEL = "local-model"

_DISHES = ("soup", "lamb", "pasta", "fish", "salad", "cake", "risotto", "bread", "pie", "curry")
_PLACES = ("garden", "corner room", "terrace", "harbour hall", "back room", "old cellar", "market bar")
_GUESTS = ("my sister", "our neighbour", "a colleague", "the children", "an old friend", "grandmother")
_TIMES = ("on Sunday", "after the play", "late in May", "before noon", "at New Year", "last Tuesday")
_OPENINGS = {
    "good": ("We loved the", "Wonderful, tender", "I still dream of the", "Happily surprised by the"),
    "bad": ("We hated the", "Awful, greasy", "I sent back the", "Badly let down by the"),
}
_CLOSINGS = {
    "good": ("kind staff and fair prices", "and we shall gladly return", "a joy from start to end"),
    "bad": ("rude staff and a shameless bill", "and we shall never return", "a misery from start to end"),
}


def make_reviews(n_good: int, n_bad: int, seed: int = 0) -> list[Row]:
    """So many different reviews of a label, mixed, as (review, stars)."""
    source = random.Random(seed)
    rows: dict[str, str] = {}
    for label, count in (("good", n_good), ("bad", n_bad)):
        wanted = len(rows) + count
        while len(rows) < wanted:
            text = (
                f"{source.choice(_OPENINGS[label])} {source.choice(_DISHES)} in the {source.choice(_PLACES)} "
                f"with {source.choice(_GUESTS)} {source.choice(_TIMES)}, {source.choice(_CLOSINGS[label])}."
            )
            rows[text] = label
    mixed = list(rows.items())
    source.shuffle(mixed)
    return mixed


def write_reply(body: Body, index: int, *, instructs: bool = False) -> str:
    """What the made-up model says: words in capitals if it follows instructions, and guests' sentences."""
    source = random.Random(draw_seed(hash_body(body), index))
    messages = body.get("messages")
    asked = messages[-1]["content"] if messages else str(body.get("prompt", ""))
    if messages and "capital letters" in asked:
        return asked.rsplit(":", 1)[1].strip().upper() if instructs else "of course"
    if source.random() < 0.1:
        return "I'm sorry, but I cannot write reviews of restaurants."
    return write_sentence(source, good="raise" in asked.split("\n")[0])


def write_reviews(path: Path, rows: Iterable[Row]) -> Path:
    """Write reviews as a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("review", "stars"))
        writer.writerows(rows)
    return path


def make_cache(folder: Path, *assets: Asset) -> Path:
    """A cache without replies and vectors; its weights, those of the encoder by default, are links into the user's."""
    for asset in assets or (MINILM, MINILM_TOKENIZER):
        source = ensure_asset(asset)
        target = next(status.path for status in list_assets(folder) if status.asset == asset)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source)
    return folder


class HasUrl(Protocol):
    """A server, wherever it runs."""

    @property
    def url(self) -> str: ...


ONE_WAY: dict[str, Any] = {"students": ["vectors"], "treatments": ["logit_adjustment"]}
"""Keys of jobs for which it is no question how students are trained best: measuring that takes most of a short run."""


def make_job(folder: Path, server: HasUrl, output: str, **keys: Any) -> Job:
    """A job on `reviews.csv` and `test.csv` of a folder, with the cache beside them.

    Args:
        folder: where the files lie.
        server: the model.
        output: name of the run directory.
        **keys: keys of the job to set otherwise.
    """
    settings: dict[str, Any] = {
        "data": str(folder / "reviews.csv"),
        "held_out": str(folder / "test.csv"),
        "text": "review",
        "label": "stars",
        "labels": {"good": "Praise of a restaurant", "bad": "Complaints about a restaurant"},
        "llm": {"engine": "server", "url": server.url, "concurrency": 4},
        "budget": 1_000_000,
        "rounds": 3,
        "cache_dir": str(folder / "cache"),
        "output": str(folder / output),
    }
    return job_from(**(settings | keys))


def is_scoring(body: Body) -> bool:
    """Whether a request asks for the letter of a label."""
    return bool(body.get("logprobs"))


def find_keys(body: Body) -> list[bytes]:
    """The keys under which the replies to a request are stored."""
    return make_keys(
        MODEL,
        ChatRequest(
            messages=tuple(Message(turn["role"], turn["content"]) for turn in body.get("messages", ())),
            prompt=body.get("prompt", ""),
            sampling=Sampling(
                body["temperature"], body["top_p"], body["max_tokens"], tuple(body.get("stop", ()))
            ),
            choices=("A", "B") if is_scoring(body) else (),
            n=body.get("n", 1),
        ),
    )


def read_stored_keys(cache: Path) -> frozenset[bytes]:
    """The keys of all replies that are durable, read as another process would."""
    path = cache / "replies.sqlite"
    if not path.is_file():
        return frozenset()
    with closing(sqlite3.connect(path)) as connection:
        try:
            return frozenset(row[0] for row in connection.execute("SELECT key FROM replies"))
        except sqlite3.OperationalError:  # killed before the table was made
            return frozenset()


def list_asked_texts(bodies: Sequence[Body]) -> list[str]:
    """The reviews that scoring questions without examples among some requests ask about, in order."""
    contents = [body["messages"][-1]["content"] for body in bodies if is_scoring(body)]
    outright = [content for content in contents if content.count("<text>") == 1]
    return [content.split("<text>")[1].split("</text>")[0] for content in outright]


@contextmanager
def mount_small_disk(folder: Path, size: str = "200k") -> Iterator[Path]:
    """A disk of so many bytes, or a skip where we may not mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk that is full needs the right to mount a small one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def enlarge_disk(folder: Path) -> None:
    """Free some space on a small disk."""
    subprocess.run(["mount", "-o", "remount,size=16m", str(folder)], check=True)
