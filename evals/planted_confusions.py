"""Few wrong labels among many labels: 3% and 5% planted between labels that are easily confused, and 100 answers.

A planted label is the one that a classifier, cross-fitted on the true labels, holds for likeliest beside the right
one. Of the answers half are about rows drawn at random and half about suspects, drawn with known probabilities as
`counterpoise label --ask 100 --about errors` draws them; the arm `counterpoise_at_random` has 100 rows at random
instead. Every figure is a mean over draws of the answers; `residual_wrong_ratio` and `fixed_ratio` are of the whole
data, the answered rows mended and dropped rows gone, `change_precision` and `promise_broken_ratio` of changes that
nobody answered for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.relabel.asked_suspects import AskedSuspects, draw_suspects
from counterpoise.actions.relabel.label_promises import LabelSettings
from counterpoise.actions.relabel.label_queue import LabelledRows
from counterpoise.actions.relabel.labels import Decisions, decide_labels
from counterpoise.actions.relabel.suspects import UNKNOWN, Suspects, find_suspects
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.encoded_records import Vectors
from counterpoise.core.events import ignore
from counterpoise.core.records import Floats, Integers, Objects, Records
from counterpoise.core.splits import assign_folds, keyed_hash, sample_by_rank
from counterpoise.data.encoders import make_encoder
from counterpoise.scorers.base import cross_fit
from counterpoise_retrievers.encoders import CachedEncoder
from evals.common import Settings, find_file, read_csv
from evals.scripted_labels import ScriptedJudge

N_ANSWERS = 100
N_DRAWS = 200
RATIOS = (0.05, 0.03)
PROMISED = 0.8
JUDGES = (None, 0.9)
SIZES = {"clinc150_60_labels": (60, 100), "clinc150_150_labels": (150, 40)}
"""Labels, and rows of each."""

Lines = dict[tuple[str, str, str], list[float]]


@dataclass(frozen=True)
class Planted:
    """Texts with true labels, and with labels of which some are wrong.

    Args:
        records: n rows with the labels that are given.
        truth: (n,) right label indices.
        vectors: (n, d).
        folds: (n,).
        bare: suspects without an answer.
    """

    records: Records
    truth: Integers
    vectors: Vectors
    folds: Integers
    bare: Suspects


def run_confusions(settings: Settings) -> Iterator[tuple[str, str, str, list[float]]]:
    """Data set, arm, metric and the values of all draws."""
    n_draws = settings.seeds or (4 if settings.quick else N_DRAWS)
    for name, (n_labels, n_rows) in SIZES.items():
        for ratio in RATIOS[:1] if settings.quick else RATIOS:
            planted = plant(settings.data, n_labels, n_rows // 2 if settings.quick else n_rows, ratio)
            lines: Lines = {}
            for draw in range(n_draws):
                _measure_draw(planted, draw, lines, f"{name}_{ratio}")
            for (data, arm, metric), values in lines.items():
                yield data, arm, metric, values


def plant(folder: Path, n_labels: int, n_rows: int, ratio: float, key: str = "planted") -> Planted:
    """Clinc150's training part with labels drawn by hash, and wrong ones planted."""
    texts, labels, names = read_clinc(folder, n_labels, n_rows)
    cache_dir = find_cache_dir()
    encoder = CachedEncoder(make_encoder("", cache_dir, ignore), cache_dir / "vectors")
    vectors = encoder.encode([str(text) for text in texts])
    ids = np.array([f"{keyed_hash('row', str(text)):016x}" for text in texts], dtype=object)
    true = Records(ids, texts, labels, names, groups=ids)
    given = confuse(labels, vectors, assign_folds(true, 5, "folds"), ids, ratio, key)
    records = Records(ids, texts, given, names, groups=ids)
    folds = assign_folds(records, 5, "folds")
    bare = find_suspects(vectors, given, ids, folds, len(names), texts=texts)
    return Planted(records, labels, vectors, folds, bare)


def read_clinc(folder: Path, n_labels: int, n_rows: int) -> tuple[Objects, Integers, tuple[str, ...]]:
    """Texts, label indices and names."""
    rows = [
        row for row in read_csv(find_file(folder / "clinc150", "data_full.csv.gz")) if row["split"] == "train"
    ]
    known = sorted({row["label"] for row in rows})
    names = tuple(sorted(known[place] for place in sample_by_rank(known, n_labels, "labels")))
    of_label = {name: [row["text"] for row in rows if row["label"] == name] for name in names}
    picked = [
        (texts[place], label)
        for label, texts in enumerate(of_label.values())
        for place in sample_by_rank(texts, n_rows, "rows")
    ]
    return (
        np.array([text for text, _ in picked], dtype=object),
        np.array([label for _, label in picked], dtype=np.int64),
        names,
    )


def confuse(
    truth: Integers, vectors: Vectors, folds: Integers, ids: Objects, ratio: float, key: str
) -> Integers:
    """(n,) labels of which a share is the one that a classifier finds likeliest beside the right one."""
    likely, _ = cross_fit(vectors, truth, folds, int(truth.max()) + 1)
    likely[np.arange(len(truth)), truth] = -1.0
    hit = sample_by_rank(ids, round(ratio * len(truth)), key)
    given = truth.copy()
    given[hit] = likely[hit].argmax(axis=1)
    return given


def _measure_draw(planted: Planted, draw: int, lines: Lines, data: str) -> None:
    records, truth, bare = planted.records, planted.truth, planted.bare
    given, n = records.labels, len(records)

    def note(arm: str, found: dict[str, float]) -> None:
        for metric, value in found.items():
            lines.setdefault((data, arm, metric), []).append(value)

    if not draw:
        replaced = replace_by_cleanlab(given, bare.views["classifier"])
        nobody = np.full(n, UNKNOWN)
        note("nothing", score(given, given, truth, nobody))
        note("cleanlab", score(given, replaced, truth, nobody))
    asked = draw_suspects(records.ids, given, bare, N_ANSWERS, f"answers {draw}")
    uniform = sample_by_rank(records.ids, N_ANSWERS, f"answers {draw}:all")
    judge = dict(zip(records.texts, truth, strict=True))
    for accuracy in JUDGES:
        scripted = accuracy and ScriptedJudge(judge, len(records.label_names), accuracy, f"judge {draw}")
        said = f"_judge_{100 * accuracy:.0f}" if accuracy else ""
        for arm, rows, chances in (
            ("counterpoise", asked.rows, asked),
            ("counterpoise_at_random", uniform, None),
        ):
            decisions, gold = decide(planted, rows, chances, scripted or None)
            kept = decisions.outcomes != "drop"
            labels = np.where(decisions.outcomes == "relabel", decisions.after, given)
            note(f"{arm}{said}_at_{PROMISED}", score(given, labels, truth, gold, kept))


def decide(
    planted: Planted, rows: Integers, asked: AskedSuspects | None, judge: ScriptedJudge | None
) -> tuple[Decisions, Integers]:
    """What the product makes of these answers."""
    n = len(planted.records)
    gold, chances = np.full(n, UNKNOWN), np.ones(n)
    gold[rows] = planted.truth[rows]
    if asked is not None:
        chances[rows] = asked.chances
    suspects = find_suspects(
        planted.vectors,
        planted.records.labels,
        planted.records.groups,
        planted.folds,
        len(planted.records.label_names),
        gold,
        views=planted.bare.views,
    )
    known = LabelledRows(
        planted.records, planted.vectors, planted.folds, gold, chances=None if asked is None else chances
    )
    settings = LabelSettings(PROMISED)
    return asyncio.run(decide_labels(known, settings=settings, judge=judge, suspects=suspects)), gold


def score(
    given: Integers, labels: Integers, truth: Integers, gold: Integers, kept: NDArray[np.bool_] | None = None
) -> dict[str, float]:
    """What labels are worth."""
    wrong, right = given != truth, labels == truth
    stays = np.ones(len(given), dtype=np.bool_) if kept is None else kept
    changed = (labels != given) & (gold == UNKNOWN) & stays
    precision = float(right[changed].mean()) if changed.any() else float("nan")
    return {
        "residual_wrong_ratio": float(1.0 - right[stays].mean()),
        "fixed_ratio": float((right & stays)[wrong].mean()),
        "changed_labels": float(changed.sum()),
        "dropped_rows": float((~stays).sum()),
        "change_precision": precision,
        "promise_broken_ratio": float(precision < PROMISED),
    }


def replace_by_cleanlab(labels: Integers, probabilities: Floats) -> Integers:
    """Labels that cleanlab flags, replaced by the likeliest other one."""
    from cleanlab.filter import find_label_issues

    issues = find_label_issues(labels, probabilities, filter_by="both", n_jobs=1)
    replaced = labels.copy()
    replaced[issues] = probabilities[issues].argmax(axis=1)
    return np.asarray(replaced)
