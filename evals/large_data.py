"""Data sets of any size for `scaling`: made texts with many labels of very unequal size, and clinc150.

A made text is what somebody asks an assistant (a sentence of clinc150, which gives the label) beside a sentence of a
restaurant review (CEBaB), which tells of food, of service or of neither and has nothing to do with the label. Training
rows are made of the sentences of clinc150's training part, sealed rows of its test part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.core.splits import keyed_rank
from evals.common import find_file, read_csv, read_jsonl

Columns = Mapping[str, list[str]]

FEWEST, MOST = 12, 6_000
CONCEPTS = {"food": "what was eaten or drunk, and how it tasted", "service": "waiters and staff"}
SOURCES = ("app", "web", "phone")
_FOOD = re.compile(r"\b(food|meal|dish|delicious|tast\w+|steak|chicken|fish|dessert|menu|salad|wine)\b", re.I)
_SERVICE = re.compile(r"\b(service|serv\w+|waiter\w*|waitress\w*|staff|hostess|manager)\b", re.I)
_LONGEST = 70


@dataclass(frozen=True)
class LargeData:
    """What a job reads.

    Args:
        train, held_out, pool: columns.
        keys: of the job, besides data and text columns.
        n_labels: k.
    """

    train: Columns
    held_out: Columns
    pool: Columns
    keys: Mapping[str, Any]
    n_labels: int


def make_texts(data: Path, n_rows: int, n_labels: int, fewest: int = FEWEST, most: int = MOST) -> LargeData:
    """Made texts; concepts and a source go with the label in some labels.

    Args:
        data: folder that holds clinc150 and cebab.
        n_rows: training rows, all labels together.
        n_labels: k, at most 150.
        fewest: rows of the smallest label.
        most: rows of the largest label.
    """
    parts = _read_clinc(data, "data_full.csv.gz")
    labels = sorted(parts["train"])[:: 150 // n_labels][:n_labels]
    beside = _read_sentences(data)
    sizes = share_out(n_rows, n_labels, fewest, most)
    n_test = max(4, min(40, n_rows // (5 * n_labels)))
    return LargeData(
        _compose({label: parts["train"][label] for label in labels}, sizes, beside, "train"),
        _compose({label: parts["test"][label] for label in labels}, [n_test] * n_labels, beside, "test"),
        _compose({label: parts["val"][label] for label in labels}, [n_test] * n_labels, beside, "val"),
        {"attributes": ["source"], "concepts": CONCEPTS},
        n_labels,
    )


def take_clinc(
    data: Path, file: str, n_labels: int = 150, sizes: Mapping[int, int] | None = None
) -> LargeData:
    """Rows of clinc150, with its test part as sealed rows and its validation part as pool.

    Args:
        data: folder that holds it.
        file: `data_full.csv.gz` or `data_imbalanced.csv.gz`.
        n_labels: the first of them by name.
        sizes: place of a label among them -> rows that are kept of it; all of them where it is not named.
    """
    parts = _read_clinc(data, file)
    labels = sorted(parts["train"])[:n_labels]
    kept = sizes or {}

    def gather(part: str, most: Mapping[int, int]) -> Columns:
        rows = [
            (text, label)
            for place, label in enumerate(labels)
            for text in draw(parts[part][label], most.get(place), part)
        ]
        return {"text": [text for text, _ in rows], "label": [label for _, label in rows]}

    return LargeData(gather("train", kept), gather("test", {}), gather("val", {}), {}, len(labels))


def draw(texts: Sequence[str], n: int | None, key: str) -> list[str]:
    """So many texts by keyed hash, all where None."""
    return [texts[row] for row in keyed_rank(texts, f"scaling:{key}")[:n]]


def share_out(n_rows: int, n_labels: int, fewest: int, most: int) -> list[int]:
    """Rows of each label, the largest first: `fewest` to `most`, in all `n_rows`, falling by a power.

    >>> share_out(100, 4, 5, 60)
    [60, 26, 9, 5]
    """
    steps = np.linspace(1, 0, n_labels)
    low, high = 0.01, 100.0
    for _ in range(60):
        power = (low + high) / 2
        sizes = np.round(fewest + (most - fewest) * steps**power).astype(int)
        low, high = (power, high) if sizes.sum() > n_rows else (low, power)
    sizes[1] += n_rows - sizes.sum()
    return [int(size) for size in sizes]


def _read_clinc(data: Path, file: str) -> dict[str, dict[str, list[str]]]:
    """Part -> label -> texts, without out-of-scope ones."""
    parts: dict[str, dict[str, list[str]]] = {}
    for row in read_csv(find_file(data / "clinc150", file)):
        if row["label"] != "oos":
            parts.setdefault(row["split"], {}).setdefault(row["label"], []).append(row["text"])
    return parts


def _read_sentences(data: Path) -> tuple[list[str], ...]:
    """Short sentences of restaurant reviews: of food, of service, of neither."""
    found: dict[str, None] = {}
    for row in read_jsonl(find_file(data / "cebab", "train_exclusive.jsonl.gz")):
        for sentence in re.split(r"(?<=[.!?])\s+", str(row["text"])):
            if 15 <= len(sentence) <= _LONGEST:
                found[sentence.strip()] = None
    kinds: tuple[list[str], ...] = ([], [], [])
    for sentence in found:
        food, service = bool(_FOOD.search(sentence)), bool(_SERVICE.search(sentence))
        if not (food and service):
            kinds[0 if food else 1 if service else 2].append(sentence)
    return kinds


def _compose(
    texts: Mapping[str, Sequence[str]], sizes: Sequence[int], beside: Sequence[Sequence[str]], key: str
) -> Columns:
    """So many different texts a label, by a generator of each label's own."""
    columns: dict[str, list[str]] = {"text": [], "label": [], "source": []}
    for place, ((label, mine), size) in enumerate(zip(texts.items(), sizes, strict=True)):
        generator = np.random.default_rng([place, *key.encode()])
        # Every third label tells of food in most texts, the next one of service; one in four comes from the app.
        shares = [0.2, 0.2, 0.6] if place % 3 == 2 else np.roll([0.7, 0.1, 0.2], place % 3)
        sources = [0.8, 0.1, 0.1] if place % 4 == 0 else [0.2, 0.4, 0.4]
        made: dict[str, None] = {}
        while len(made) < size:
            others = beside[int(generator.choice(3, p=shares))]
            pair = [mine[int(generator.integers(len(mine)))], others[int(generator.integers(len(others)))]]
            made[
                f"{pair[0].capitalize()}. {pair[1]}"
                if len(made) % 2
                else f"{pair[1]} {pair[0].capitalize()}."
            ] = None
        columns["text"] += made
        columns["label"] += [label] * size
        columns["source"] += [SOURCES[int(one)] for one in generator.choice(3, size, p=sources)]
    return columns
