"""`counterpoise teach` with a scripted judge: how near comes the student that a model taught to one of true labels?

Few rows are known, a pool has none of its labels: `clinc150@100` has 50 labels with two known rows, `clinc150` all 150
labels with five, `davidson_hate` a hundred tweets as they come. The judge (`scripted_labeller`) is right in so many of
a hundred texts, however it is asked. Arms, of one student and all scored on the same texts, which nothing was chosen
on:

- `taught`: the classifier that `teach` saves;
- `true_labels`: the same student on the known rows and the whole pool with their true labels, the label shares taken
  out as `teach` does; `true_labels_best` the better of that and of training on them as they are, in hindsight, by each
  metric;
- `simple_way`: the best way without a token, as the run takes it;
- `ask`, `few_examples`: asking the judge about each text, on at most 300 sealed rows.

`behind_points` is what `true_labels` has more than `taught`, in points. `tokens_per_1000` counts a quarter of a
prompt's characters; `teaching_tokens` is what the run used, once. `adopted_right_ratio` of the pool rows that were
taken in, and `adopted_ratio` of the pool. Rules were tried on draws 0 and 1; those here begin at 100.

    python -m evals teach --data DIR [--only clinc150@100] [--seeds 3]
"""

from __future__ import annotations

import csv
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

import counterpoise
from counterpoise.core.splits import sample_by_rank
from counterpoise.students.metrics import compute_macro_f1
from evals.common import Result, Settings, find_file, interval, read_csv, resample_means
from evals.scripted_labeller import ScriptedLabeller, quote_texts

RIGHT = 0.9
N_SEEDS, N_TESTED, N_SEALED = 3, 3_000, 300
_FIRST = 100
TRUE_WAYS = ("logit_adjustment", "nothing")

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Part:
    """What a set is cut down to.

    Args:
        file: of the set.
        n_labels: labels that are left; 0 for all.
        n_each: known rows of each label; 0 for `n_known` as they come.
        n_known: known rows where they are drawn as they come.
        n_pool: rows of the pool.
    """

    file: str
    n_labels: int = 0
    n_each: int = 0
    n_known: int = 100
    n_pool: int = 4_000


PARTS = {
    "clinc150@100": Part("clinc150/data_full.csv.gz", n_labels=50, n_each=2, n_pool=3_000),
    "davidson_hate": Part("davidson_hate/tweets.csv.gz"),
    "clinc150": Part("clinc150/data_full.csv.gz", n_each=5, n_pool=8_000),
}


@dataclass(frozen=True)
class Draw:
    """Texts with their labels."""

    known: Pairs
    pool: Pairs
    sealed: Pairs
    test: Pairs


def run(settings: Settings) -> Iterator[Result]:
    """All parts, or those named with `--only`."""
    for name, part in PARTS.items():
        if settings.only and name not in settings.only:
            continue
        if settings.quick and name != "davidson_hate":
            continue
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for seed in range(_FIRST, _FIRST + (1 if settings.quick else settings.seeds or N_SEEDS)):
            started = monotonic()
            for key, value in measure_draw(draw_rows(settings, part, seed), seed).items():
                found[key].append(value)
            print(f"{name}: draw {seed}, {monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        for (arm, metric), values in found.items():
            unit = next((one for one in ("points", "tokens", "ratio") if one in metric), "ratio")
            low, high = interval(resample_means(values))
            mean, n = float(np.mean(values)), len(values)
            yield Result(
                "teach", name, arm, metric, mean, low, high, n, unit, {"draws": np.round(values, 4).tolist()}
            )


def draw_rows(settings: Settings, part: Part, seed: int) -> Draw:
    """One draw, by keyed hash of the texts."""
    lines = read_csv(find_file(settings.data, part.file))
    pairs = {row["text"]: row["label"] for row in lines if row["label"] != "oos"}
    names = sorted(set(pairs.values()))
    if part.n_labels:
        names = [names[place] for place in sample_by_rank(names, part.n_labels, f"labels {seed}")]
    texts = [text for text, label in pairs.items() if label in set(names)]
    order = [texts[place] for place in sample_by_rank(texts, len(texts), f"teach {seed}")]
    if part.n_each:
        known = [
            text for name in names for text in [one for one in order if pairs[one] == name][: part.n_each]
        ]
    else:
        known = order[: part.n_known]
    rest = [text for text in order if text not in set(known)]
    sizes = np.cumsum([part.n_pool, N_SEALED, N_TESTED])
    cut = [rest[first:last] for first, last in zip((0, *sizes), sizes, strict=False)]

    def label(chosen: Sequence[str]) -> Pairs:
        return [(text, pairs[text]) for text in chosen]

    return Draw(label(known), label(cut[0]), label(cut[1]), label(cut[2]))


def measure_draw(draw: Draw, seed: int) -> dict[tuple[str, str], float]:
    """Arm, metric -> its value."""
    names = sorted({label for _, label in draw.known})
    lines = {name: name.replace("_", " ") for name in names}
    everything = [*draw.known, *draw.pool, *draw.sealed]
    judge = ScriptedLabeller(quote_texts({text: lines[label] for text, label in everything}), RIGHT, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        taught = counterpoise.teach(
            str(_write(folder / "known.csv", draw.known)),
            text="text",
            label="label",
            model=judge,
            budget="40M",
            pool=str(_write(folder / "pool.csv", [(text, "") for text, _ in draw.pool])),
            held_out=str(_write(folder / "sealed.csv", draw.sealed)),
            labels=lines,
            actions=["adopt"],
            rounds=1,
            seed=seed,
            output=str(folder / "run"),
            progress=False,
        )
        return _score(draw, taught, names)


def _score(draw: Draw, taught: Any, names: Sequence[str]) -> dict[tuple[str, str], float]:
    report, found = taught.run.report_data, dict[tuple[str, str], float]()
    student = str(report["recommendation"]["student"])
    simple = str(report["validation"]["best_zero_token"][student])
    arms = {"taught": [taught.recipe], "simple_way": [taught.run.recipe(student, treatment=simple).fit()]}
    texts, labels = zip(*draw.known, *draw.pool, strict=True)
    encoder = taught.recipe.encoder
    arms["true_labels_best"] = [
        counterpoise.Recipe(student, way, encoder=encoder).fit(list(texts), list(labels)) for way in TRUE_WAYS
    ]
    arms["true_labels"] = arms["true_labels_best"][:1]
    places = {name: place for place, name in enumerate(names)}
    truth = np.array([places[label] for _, label in draw.test])
    for arm, recipes in arms.items():
        said = [recipe.predict([text for text, _ in draw.test]) for recipe in recipes]
        tables = [np.array([places[str(one)] for one in column]) for column in said]
        found[arm, "accuracy"] = max(float((table == truth).mean()) for table in tables)
        found[arm, "macro_f1"] = max(compute_macro_f1(table, truth, len(names)) for table in tables)
    for metric in ("accuracy", "macro_f1"):
        behind = found["true_labels", metric] - found["taught", metric]
        found["taught", f"{metric}_behind_points"] = 100 * behind
    for row in taught.table.rows:
        if row.tokens:
            found[row.way, "accuracy"] = row.accuracy
            found[row.way, "tokens_per_1000"] = row.tokens
    found["taught", "teaching_tokens"] = float(report["spend"]["used"])
    right, rows = dict(draw.pool), taught.run.dataset["train"]
    adopted = [
        right[text] == label
        for text, label, source in zip(rows["text"], rows["label"], rows["provenance"], strict=True)
        if source["kind"] == "adopted"
    ]
    found["taught", "adopted_ratio"] = len(adopted) / len(draw.pool)
    if adopted:
        found["taught", "adopted_right_ratio"] = float(np.mean(adopted))
    return found


def _write(path: Path, pairs: Pairs) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *pairs])
    return path
