"""Cells that the user named by an attribute: are they served within a budget that does not reach for everything?

Two sets (`attribute_sets`) in which label and attribute go together, and a server that does as it is told but for every
fifth text. Arms at equal tokens: `original`, the rows as they are; `labels_only`, a run that is told of no attribute;
`named`, a run that is; and `named_real`, the same with a server that is always right, which hands out real rows.

`thinnest_cell` counts the rows of the cell of label and value that was thinnest (as the rows really are),
`thinnest_growth` is what it has times what it had, `least_after` the thinnest cell then. `label_right_ratio`,
`attribute_right_ratio` and `both_right_ratio` are of the texts that were written for a cell and accepted: the value by
word list or by the maker, the label by what is known of the row; `label_by_classifier_ratio` is what a classifier on
words says that was trained on the test rows only. Students are trained on the rows with their weights (the way
`added_rows`; `logit_adjustment` without added rows) and scored on as many test rows of every cell: `worst_cell` and
`macro_f1`, in percent. Differences to `original` and to `labels_only` are paired over draws.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import counterpoise
from counterpoise.students.metrics import compute_macro_f1
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.weights import weigh_rows
from counterpoise.tasks.text.job import job_from
from evals.adversaries import AdversaryServer
from evals.attribute_sets import AttributeSet, CellWriter, Draw, Row, load_toxicity, make_up
from evals.common import Result, Settings, interval, resample_means
from evals.harm_runs import open_cache
from evals.minority_text import open_encoder
from evals.students import STUDENTS, WORDS, predict

EVERY = 5
ARMS = ("original", "labels_only", "named", "named_real")


def run(settings: Settings) -> Iterator[Result]:
    """Both sets, five draws each; two draws with `quick`."""
    for data in (make_up(), load_toxicity(settings.data)):
        if settings.only and data.name not in settings.only:
            continue
        found: dict[tuple[str, str], list[float]] = {}
        n_seeds = settings.seeds or (2 if settings.quick else 5)
        for seed in range(n_seeds):
            for key, value in run_draw(data, seed).items():
                found.setdefault(key, []).append(value)
            print(f"{data.name}: draw {seed + 1} of {n_seeds}", file=sys.stderr, flush=True)
        yield from summarise(data.name, found)


def run_draw(data: AttributeSet, seed: int) -> dict[tuple[str, str], float]:
    """(arm, metric) -> value of one draw."""
    draw = data.draw(seed)
    scores: dict[tuple[str, str], float] = {}
    truth = {" ".join(text.split()): (label, value) for text, label, value in draw.unseen}
    for arm in ARMS:
        added: list[dict[str, Any]] = []
        if arm != "original":
            every = 0 if arm == "named_real" else EVERY
            added, spent, left = write(data, draw, seed, every, is_named=arm != "labels_only")
            scores[arm, "tokens"] = spent
            scores[arm, "cells_short"] = left
            scores[arm, "accepted"] = len(added)
        scores |= {(arm, name): value for name, value in count(data, draw, added, truth).items()}
        scores |= {(arm, name): value for name, value in score(data, draw, added).items()}
    return scores


def write(
    data: AttributeSet, draw: Draw, seed: int, every: int, *, is_named: bool
) -> tuple[list[dict[str, Any]], float, float]:
    """The records that a run adds, the tokens it used, and how many cells are short at its end."""
    shown = {row[0]: row for row in draw.train}
    writer = CellWriter(data.labels, shown, draw.unseen, every, f"{data.name} {seed}")
    with (
        tempfile.TemporaryDirectory() as folder,
        AdversaryServer(writer, f"writer-{every}-{seed}") as server,  # type: ignore[arg-type]
    ):
        job = job_from(
            data=as_columns(draw.train, data.attribute),
            held_out=as_columns(draw.test[::8], data.attribute),  # read by the report only
            text="text",
            label="label",
            labels=dict(data.labels),
            attributes=[data.attribute] if is_named else [],
            llm=server.url,
            budget=data.budget,
            seed=seed,
            output=str(Path(folder) / "run"),
            cache_dir=str(open_cache(Path(folder))),
        )
        finished = counterpoise.run(job)
        added = [row for row in finished.dataset["train"] if row["provenance"]["kind"] != "original"]
        report = finished.report_data
        print(finished.stopped, dict(Counter(finished.rejected["reason"])), file=sys.stderr)
    return added, float(report["spend"]["used"]), float(len(report["ending"]["short"]))


def count(
    data: AttributeSet, draw: Draw, added: Sequence[Mapping[str, Any]], truth: Mapping[str, tuple[str, str]]
) -> dict[str, float]:
    """The thinnest cell, and what is right in the records that were written for cells."""
    before = Counter((label, value) for _, label, value in draw.train if value)
    after = before.copy()
    right = {"label": 0, "attribute": 0, "both": 0}
    n_named = 0
    for row in added:
        label, value = truth[" ".join(row["text"].split())]
        if label == row["label"] and value:  # a record counts where it really belongs
            after[label, value] += 1
        if row.get(data.attribute):
            n_named += 1
            right["label"] += label == row["label"]
            right["attribute"] += value == row[data.attribute]
            right["both"] += (label, value) == (row["label"], row[data.attribute])
    thinnest = min(before, key=lambda cell: (before[cell], cell))
    found = {
        "thinnest_cell": float(after[thinnest]),
        "thinnest_growth": after[thinnest] / before[thinnest],
        "least_after": float(min(after.values())),
    }
    if n_named:
        found |= {f"{name}_right_ratio": n / n_named for name, n in right.items()}
        found["label_by_classifier_ratio"] = judge_labels(data, draw, added)
    return found


def judge_labels(data: AttributeSet, draw: Draw, added: Sequence[Mapping[str, Any]]) -> float:
    """Share of the records for cells whose label a classifier on words gives them that knows the test rows only."""
    named = [row for row in added if row.get(data.attribute)]
    test = as_rows(data, [(text, label) for text, label, _ in draw.test])
    said = predict("nothing", WORDS, test, as_rows(data, [(row["text"], row["label"]) for row in named]), 2)
    names = sorted(data.labels)
    return float(
        np.mean([names[place] == row["label"] for place, row in zip(said.argmax(axis=1), named, strict=True)])
    )


def score(data: AttributeSet, draw: Draw, added: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Worst cell and macro-F1 of both students, in percent."""
    own = [(text, label) for text, label, _ in draw.train]
    train = as_rows(data, [*own, *((row["text"], row["label"]) for row in added)], n_own=len(own))
    test = as_rows(data, [(text, label) for text, label, _ in draw.test])
    cells = np.array([f"{label}/{value}" for _, label, value in draw.test])
    found = {}
    for student in STUDENTS:
        way = "added_rows" if added else "logit_adjustment"
        said = predict(way, student, train, test, len(data.labels)).argmax(axis=1)
        right = said == test.labels
        found[f"worst_cell, {student}"] = 100 * min(float(right[cells == cell].mean()) for cell in set(cells))
        found[f"macro_f1, {student}"] = 100 * compute_macro_f1(said, test.labels, len(data.labels))
    return found


def as_rows(data: AttributeSet, pairs: Sequence[tuple[str, str]], n_own: int | None = None) -> Rows:
    """Texts and labels as students see them, weighted as a run's result is."""
    names = sorted(data.labels)
    labels = np.array([names.index(label) for _, label in pairs], dtype=np.int64)
    written = np.arange(len(pairs)) >= (len(pairs) if n_own is None else n_own)
    texts = np.array([text for text, _ in pairs], dtype=object)
    return make_rows(
        texts,
        open_encoder().encode(list(texts)),
        labels,
        weights=weigh_rows(labels, written, len(names)),
        original=~written,
    )


def as_columns(rows: Sequence[Row], attribute: str) -> dict[str, list[str]]:
    """Rows as a table."""
    return {
        "text": [text for text, _, _ in rows],
        "label": [label for _, label, _ in rows],
        attribute: [value for _, _, value in rows],
    }


def summarise(name: str, found: Mapping[tuple[str, str], Sequence[float]]) -> Iterator[Result]:
    """Every metric of every arm, then the paired differences."""
    for (arm, metric), values in found.items():
        low, high = interval(resample_means(values))
        yield Result(
            "attributes", name, arm, metric, float(np.mean(values)), low, high, len(values), name_unit(metric)
        )
    for arm, other in (
        ("named", "original"),
        ("named", "labels_only"),
        ("named_real", "original"),
        ("named_real", "labels_only"),
    ):
        for metric in (key[1] for key in found if key[0] == arm and key[1].startswith(("worst", "macro"))):
            differences = np.array(found[arm, metric]) - np.array(found[other, metric])
            low, high = interval(resample_means(differences))
            yield Result(
                "attributes",
                name,
                f"{arm} less {other}",
                metric,
                float(differences.mean()),
                low,
                high,
                len(differences),
                "points",
            )


def name_unit(metric: str) -> str:
    """The unit of a metric."""
    if metric.startswith(("worst", "macro")):
        return "percent"
    return {
        "tokens": "tokens",
        "accepted": "records",
        "thinnest_cell": "records",
        "least_after": "records",
    }.get(metric, "cells" if metric == "cells_short" else "ratio")
