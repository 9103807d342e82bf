"""Concept bias of a student whose weights are all trained: all-MiniLM-L6-v2 with a head, as in `concept_bias`.

`wide-CONCEPT` (1,500 texts, one concept skewed) and `thin` (150 texts, all four skewed, concepts as the agent predicts
them) are the draws, metrics and intervals of `concept_bias`; see there. Of the test texts 800 are scored, drawn by
hash. For comparison `vectors:minilm`, the linear student on frozen vectors, has the same rows and the same test texts.

- `biased`, `original`: the draw with and without the skew;
- `published_added`: biased, with all published ChatGPT injections for the thin cell (Zhou et al. 2024; wide only);
- `logit_adjustment`: biased, label shares taken out;
- `downsampling`: one subset in which no label has more texts of a concept than the other;
- `counterpoise`: `cell_downsampling`, the product's way for a student that it does not know: the same subset, label
  shares taken out. (For the linear student it chooses the mean of ten such subsets in the wide setting, `cell_bags`,
  and nearness to the descriptions of the labels, which trains nothing, in the thin one.)
- `pool_all` (thin) is the data that the product makes: texts out of 1,000 unlabelled ones whose label its chosen way
  is sure of, added; trained on all of it as it is.

Rates of learning were compared on original draws of 150 out of one half of the training texts, scored on the other half
(`--only tune`). Training runs are kept in the cache, so that a stopped evaluation goes on. Needs torch (extra `eval`).

    python -m evals fine_tuned --data DIR [--only wide-food|wide-service|...|thin|tune] [--only ARM] [--seeds 5]
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import log_softmax

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.records import Floats
from counterpoise.students.cell_marks import CellMarks, make_marks, shrink_cells
from counterpoise.students.linear import fit_log_probabilities
from counterpoise.students.weights import log_prior
from counterpoise_retrievers.encoders import Encoder
from evals.common import Result, Settings, interval, need_packages, resample_means
from evals.concept_agent import adopt, as_records, draw_pool, predict_concepts
from evals.concept_bias import QUICK, Answers, Right, mark, summarise
from evals.concept_texts import Texts, draw_thin, draw_wide, load_texts
from evals.edit_cases import CONCEPTS, load_cebab
from evals.minilm_weights import find_weights
from evals.minority_text import open_encoder
from evals.students import VECTORS
from evals.trained_runs import train_missing

N_SEEDS = 5
N_TEST = 800
PARTS = ("thin", "wide-food")
RATES = (3e-5, 5e-5)
QUICK_HOW = {"fewest_updates": 1, "epochs": 1}


@dataclass(frozen=True)
class Training:
    """One classifier to train.

    Args:
        train: training texts.
        test: texts to score.
        seed: of the run.
        how: settings other than those of the worker.
    """

    train: Texts
    test: Texts
    seed: int
    how: Mapping[str, Any]

    def describe(self) -> dict[str, Any]:
        """All that the result depends on, test labels being no part of it."""
        return {
            "texts": list(map(str, self.train.texts)),
            "answers": self.train.labels.tolist(),
            "score": list(map(str, self.test.texts)),
            "seed": self.seed,
            "how": dict(self.how),
        }


@dataclass(frozen=True)
class Arm:
    """What an arm of a draw is.

    Args:
        rows: training rows.
        is_balanced: label shares are taken out.
    """

    rows: Texts
    is_balanced: bool = False


def run(settings: Settings) -> Iterator[Result]:
    """The settings, or those named with `--only`."""
    need_packages("torch", "transformers")
    encoder = open_encoder()
    train = load_texts(settings.data, ["train_inclusive"], encoder, QUICK[0] if settings.quick else None)
    if "tune" in settings.only:
        yield from tune(train, encoder)
        return
    n_test = QUICK[1] if settings.quick else N_TEST
    test = load_texts(settings.data, ["dev", "test"], encoder, n_test)
    n_seeds = settings.seeds or (1 if settings.quick else N_SEEDS)
    parts = [part for part in settings.only if part == "thin" or part[5:] in CONCEPTS]
    parts = parts or (["thin"] if settings.quick else list(PARTS))
    for part in parts:
        published = None if part == "thin" else load_injections(settings.data, part[5:], encoder)
        draws = [draw_arms(part, train, encoder, seed, published) for seed in range(n_seeds)]
        names = [name for name in settings.only if name in draws[0]]
        if names or settings.quick:
            kept = {"biased", "downsampling", *names}
            draws = [{name: arm for name, arm in arms.items() if name in kept} for arms in draws]
        concepts = list(CONCEPTS) if part == "thin" else [part[5:]]
        setting = "thin" if part == "thin" else "wide"
        for student, found in (
            ("minilm_fine_tuned", fine_tune(draws, test, QUICK_HOW if settings.quick else {})),
            (VECTORS, fit_linear(draws, test)),
        ):
            for result in summarise(setting, student, dict.fromkeys(concepts, found), test):
                is_mean = "-mean/" in result.data and not result.metric.endswith("difference")
                if len(concepts) == 1 and is_mean:
                    continue  # the mean over one concept
                yield replace(result, eval="fine_tuned", data=result.data.replace("wide-mean", part))


def draw_arms(
    part: str, train: Texts, encoder: Encoder, seed: int, injections: Texts | None
) -> dict[str, Arm]:
    """The training rows of every arm of one draw."""
    if part == "thin":
        draw = draw_thin(train, seed)
        own, pool = train.take(draw.biased), draw_pool(train, draw, seed)
        concepts, pool_concepts = predict_concepts(own, pool, encoder)
        marks = make_marks(as_records(own, concepts))
        adopted = adopt(own, concepts, pool, pool_concepts, encoder, seed)["pool_all"][0]
        more = {"pool_all": own.join(adopted)}
    else:
        column = list(CONCEPTS).index(part[5:])
        draw = draw_wide(train, column, seed)
        own = train.take(draw.biased)
        marks = mark(own, (column,))
        more = {"published_added": own.join(injections)} if injections else {}
    subset = shrink(own, marks, seed)
    return {
        "biased": Arm(own),
        "logit_adjustment": Arm(own, is_balanced=True),
        "downsampling": Arm(subset),
        "counterpoise": Arm(subset, is_balanced=True),
        **{name: Arm(texts) for name, texts in more.items()},
        "original": Arm(train.take(draw.original)),
    }


def shrink(own: Texts, marks: CellMarks, seed: int) -> Texts:
    """The subset that the product's `cell_downsampling` takes."""
    order = np.random.default_rng([seed, 0]).permutation(len(own))
    return own.take(shrink_cells(own.labels, marks, 2, order))


def load_injections(folder: Path, concept: str, encoder: Encoder) -> Texts:
    """All published injections of a concept into negative texts of the training part."""
    cases = [
        case for case in load_cebab(folder).published if case.label == "negative" and case.concept == concept
    ]
    return Texts(
        np.array([case.text for case in cases], dtype=object),
        np.zeros(len(cases), dtype=np.int64),
        np.array([[int(name == concept) for name in CONCEPTS] for _ in cases]).reshape(-1, len(CONCEPTS)),
        np.array([case.group for case in cases], dtype=object),
        encoder.encode([case.text for case in cases]),
    )


def fit_linear(draws: Sequence[Mapping[str, Arm]], test: Texts) -> Answers:
    """The answers of logistic regression on frozen vectors, on the same rows."""
    found: Answers = {}
    for arms in draws:
        for name, arm in arms.items():
            rows = arm.rows
            table = fit_log_probabilities(rows.vectors, rows.labels, np.ones(len(rows)), test.vectors, 2)
            found.setdefault(name, []).append(judge(table, arm, test))
    return found


def fine_tune(draws: Sequence[Mapping[str, Arm]], test: Texts, how: Mapping[str, Any]) -> Answers:
    """The answers of the fine-tuned student."""
    trainings = [
        Training(arm.rows, test, seed, how) for seed, arms in enumerate(draws) for arm in arms.values()
    ]
    logits = iter(train_all(trainings))
    found: Answers = {}
    for arms in draws:
        for name, arm in arms.items():
            found.setdefault(name, []).append(judge(next(logits), arm, test))
    return found


def judge(table: Floats, arm: Arm, test: Texts) -> Right:
    """(n,) whether each test text is answered rightly.

    Args:
        table: (n, 2) logits or log-probabilities.
        arm: what was trained.
        test: the test texts.
    """
    scores = log_softmax(table, axis=1)
    if arm.is_balanced:
        scores = scores - log_prior(arm.rows.labels, np.ones(len(arm.rows)), 2)
    return np.asarray(scores.argmax(axis=1) == test.labels)


def train_all(trainings: Sequence[Training]) -> list[Floats]:
    """(n, 2) logits of each training; what was trained before is read back, the others share one process."""
    cache = find_cache_dir() / "evals" / "fine_tuned"
    cache.mkdir(parents=True, exist_ok=True)
    worker = Path(__file__).with_name("classifier_worker.py")
    code = worker.read_bytes()
    missing: dict[Path, Training] = {}
    paths = []
    for training in trainings:
        digest = hashlib.sha256(code + json.dumps(training.describe()).encode())
        paths.append(cache / f"{digest.hexdigest()[:24]}.json")
        if not paths[-1].is_file():
            missing[paths[-1]] = training
    if missing:
        with tempfile.TemporaryDirectory() as name:
            specs = write_specs(list(missing.values()), Path(name))
            train_missing("classifier_worker", specs, list(missing))
    return [np.array(json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def write_specs(trainings: Sequence[Training], folder: Path) -> Path:
    """The files that the worker reads; the path of the specifications."""
    places: dict[str, int] = {}
    lines = []
    for training in trainings:
        described = training.describe()
        for text in (*described["texts"], *described["score"]):
            places.setdefault(text, len(places))
        lines.append(
            {
                "texts": str(folder / "texts.json"),
                "model": str(find_weights()),
                "train": [
                    [places[text], label]
                    for text, label in zip(described["texts"], described["answers"], strict=True)
                ],
                "score": [places[text] for text in described["score"]],
                "labels": 2,
                "seed": training.seed,
                "how": described["how"],
            }
        )
    (folder / "texts.json").write_text(json.dumps(list(places)), encoding="utf-8")
    path = folder / "specs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


def tune(train: Texts, encoder: Encoder) -> Iterator[Result]:
    """Accuracy of each rate on training texts that are no edits of those that were drawn."""
    names = np.unique(train.originals)
    half = set(names[np.random.default_rng(5).permutation(len(names))[: len(names) // 2]])
    inside = np.array([name in half for name in train.originals])
    own, others = train.take(np.flatnonzero(inside)), train.take(np.flatnonzero(~inside))
    scored = others.take(np.random.default_rng(6).permutation(len(others))[:500])
    arms = [Arm(own.take(draw_thin(own, seed).original)) for seed in (100, 101)]
    for rate in RATES:
        found = fine_tune([{"arm": arm} for arm in arms], scored, {"rate": rate})["arm"]
        means = [100.0 * float(right.mean()) for right in found]
        low, high = interval(resample_means(means))
        mean = float(np.mean(means))
        yield Result("fine_tuned", "tune", f"rate_{rate}", "accuracy", mean, low, high, 2, "percent")
