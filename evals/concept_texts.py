"""The reviews of `concept_bias`, their skewed draws, and the usual ways to treat cells by weights and subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import keyed_rank
from counterpoise_retrievers.encoders import Encoder
from evals.common import find_file, read_jsonl
from evals.edit_cases import CONCEPTS

N_WIDE, N_KEPT = 1500, 15
N_THIN, CAP_THIN = 150, 4
MOST_REPEATS = 20
SKEW = {("food", 0), ("ambiance", 0), ("service", 1), ("noise", 1)}
"""In the thin setting: (concept, label) that is made rare."""


@dataclass(frozen=True)
class Texts:
    """Texts with labels and concepts.

    Args:
        texts: (n,) strings.
        labels: (n,) 0 or 1.
        concepts: (n, 4) 1 present, 0 absent, -1 unknown.
        originals: (n,) what each is an edit of.
        vectors: (n, d).
    """

    texts: NDArray[np.object_]
    labels: Integers
    concepts: Integers
    originals: NDArray[np.object_]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Integers) -> Texts:
        """The texts at `rows`."""
        return Texts(
            self.texts[rows], self.labels[rows], self.concepts[rows], self.originals[rows], self.vectors[rows]
        )

    def join(self, other: Texts) -> Texts:
        """These and others."""
        return Texts(
            *(
                np.concatenate([getattr(self, name), getattr(other, name)])
                for name in ("texts", "labels", "concepts", "originals", "vectors")
            )
        )


def load_texts(folder: Path, names: Sequence[str], encoder: Encoder, most: int | None = None) -> Texts:
    """The texts of some files of CEBaB with 4-5 or 1-2 stars; at most so many, drawn by hash."""
    binary = {"4": 1, "5": 1, "1": 0, "2": 0}
    known = {"Positive": 1, "Negative": 1, "unknown": 0}
    rows = [
        row
        for name in names
        for row in read_jsonl(find_file(folder, f"cebab/{name}.jsonl.gz"))
        if row["review_majority"] in binary
    ]
    if most is not None:
        rows = [rows[place] for place in keyed_rank([row["text"] for row in rows], "quick")[:most]]
    texts = [row["text"] for row in rows]
    return Texts(
        np.array(texts, dtype=object),
        np.array([binary[row["review_majority"]] for row in rows]),
        np.array([[known.get(row[concept], -1) for concept in CONCEPTS] for row in rows]),
        np.array([row["original_id"] for row in rows], dtype=object),
        encoder.encode(texts),
    )


@dataclass(frozen=True)
class Draw:
    """One draw: rows of the training texts.

    Args:
        original: before anything was removed.
        biased: what is left.
        real: `biased` with as many other real texts of the thin cells as were removed.
        columns: the concepts that are skewed.
    """

    original: Integers
    biased: Integers
    real: Integers
    columns: tuple[int, ...]


def draw_wide(train: Texts, column: int, seed: int) -> Draw:
    """1,500 texts; those of label 0 with the concept are removed but 15."""
    valid = np.flatnonzero(train.concepts[:, column] >= 0)
    order = valid[np.random.default_rng([seed, column]).permutation(len(valid))]
    original, rest = order[:N_WIDE], order[N_WIDE:]
    thin = (train.labels == 0) & (train.concepts[:, column] == 1)
    members = original[thin[original]]
    biased = np.concatenate([original[~thin[original]], members[:N_KEPT]])
    more = rest[thin[rest]][: len(members) - N_KEPT]
    return Draw(original, biased, np.concatenate([biased, more]), (column,))


def draw_thin(train: Texts, seed: int) -> Draw:
    """150 texts, 75 a label, all four concepts skewed; the original draw knows no cap."""
    valid = np.flatnonzero((train.concepts >= 0).all(axis=1))
    order = valid[np.random.default_rng([seed, 99]).permutation(len(valid))]
    half = N_THIN // 2
    original = np.concatenate([order[train.labels[order] == label][:half] for label in (0, 1)])
    names = list(CONCEPTS)
    picked: list[int] = []
    counts = dict.fromkeys(SKEW, 0)
    left = {0: half, 1: half}
    for row in order:
        label = int(train.labels[row])
        mine = [key for key in SKEW if key[1] == label and train.concepts[row, names.index(key[0])] == 1]
        if left[label] and all(counts[key] < CAP_THIN for key in mine):
            picked.append(int(row))
            left[label] -= 1
            for key in mine:
                counts[key] += 1
    biased = np.array(picked)
    rest = np.setdiff1d(order, biased, assume_unique=True)
    rest = order[np.isin(order, rest)]
    rare = np.zeros(len(train), dtype=np.bool_)
    for concept, label in SKEW:
        rare |= (train.labels == label) & (train.concepts[:, names.index(concept)] == 1)
    more = rest[rare[rest]]
    real = [more[train.labels[more] == label][:half] for label in (0, 1)]
    return Draw(original, biased, np.concatenate([biased, *real]), tuple(range(len(names))))


def weigh_cells(labels: Integers, concepts: Integers, columns: Sequence[int]) -> Floats:
    """(n,) mean over the concepts of weights that give each (concept, label) cell the same total; mean 1."""
    weights = np.zeros(len(labels))
    for column in columns:
        cells = 2 * concepts[:, column] + labels
        counts = np.bincount(cells, minlength=4)
        weights += len(labels) / ((counts > 0).sum() * counts[cells])
    return weights / len(columns)


def repeat_cells(labels: Integers, concepts: Integers, columns: Sequence[int]) -> Integers:
    """Rows with those of thin cells repeated until they are as many as the other label's with the concept."""
    repeats = np.ones(len(labels), dtype=np.int64)
    for column in columns:
        counts = np.bincount(labels[concepts[:, column] == 1], minlength=2)
        for label in (0, 1):
            rows = (labels == label) & (concepts[:, column] == 1)
            ratio = counts[1 - label] / max(1, counts[label])
            repeats[rows] = np.maximum(repeats[rows], min(MOST_REPEATS, round(ratio)))
    return np.repeat(np.arange(len(labels)), repeats)


def shrink_cells(labels: Integers, concepts: Integers, columns: Sequence[int], order: Integers) -> Integers:
    """Rows in the given order as far as no label has more texts with a concept than the other label has."""
    most = {column: np.bincount(labels[concepts[:, column] == 1], minlength=2).min() for column in columns}
    counts: dict[tuple[int, int], int] = {}
    kept = []
    for row in order:
        keys = [(column, int(labels[row])) for column in columns if concepts[row, column] == 1]
        if all(counts.get(key, 0) < most[key[0]] for key in keys):
            kept.append(int(row))
            for key in keys:
                counts[key] = counts.get(key, 0) + 1
    return np.array(kept)
