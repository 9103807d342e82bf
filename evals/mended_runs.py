"""Runs on rows of which a tenth have a wrong label: mended inside the run, before it, or not at all.

The labels are skew (fifteen rows of a rare label) and a tenth of all rows have the label that is easily confused with
theirs (`planted_confusions`); 100 answers about errors are given to whoever takes them. Nothing is written and nothing
adopted, so that what differs between the arms is the labels alone:

- `nothing`: a run without the action that relabels;
- `cleanlab`: what cleanlab flags is replaced by the likeliest other label, then a run;
- `label_errors`: `label-errors --answers`, then `apply`, then a run;
- `counterpoise`: a run that is given the answers as `gold`;
- `suspects`: a run that is given no answer, so that suspects are only kept out of prompts, audits and validation;
- `true_labels`: a run on the labels as they are right.

`clean_test_macro_f1` is that of the way that the run recommends, on sealed rows with right labels; `recovered_ratio`
the share of what the noise cost (`true_labels` less `nothing`, sums over draws) that an arm wins back.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import counterpoise
from counterpoise.actions.relabel.asked_suspects import draw_suspects
from counterpoise.actions.relabel.suspects import find_suspects
from counterpoise.core.records import Records
from counterpoise.core.splits import assign_folds, keyed_hash
from counterpoise.data.patches.apply import apply_patch
from counterpoise.llm.chat import ChatRequest, Completion
from counterpoise.runs.label_errors import find_label_errors
from counterpoise.tasks.text.job import job_from
from evals.common import Settings
from evals.minority_text import CORPORA, Corpus, divide_draw, open_encoder
from evals.planted_confusions import N_ANSWERS, PROMISED, confuse, replace_by_cleanlab

SETS = ("clinc150", "sms_spam")
RATIO = 0.1
N_SEEDS = 5
STUDENTS = ("vectors",)
TREATMENTS = ("nothing", "class_weights", "logit_adjustment")
ACTIONS = ("relabel_records", "adopt")

Pairs = Sequence[tuple[str, str]]


class NoModel:
    """A model that nobody asks: the budget pays for no question."""

    name = "nobody"

    async def generate(self, request: ChatRequest) -> list[Completion]:
        """Never called."""
        raise AssertionError("a question was asked")


@dataclass(frozen=True)
class Draw:
    """Rows of a draw: as they are given, their right labels, sealed rows, and the answers about them."""

    given: Pairs
    right: Pairs
    test: Pairs
    answers: Sequence[Mapping[str, str]]
    cleaned: Pairs


def run_mended(settings: Settings) -> Iterator[tuple[str, str, str, list[float]]]:
    """Data set, arm, metric and the values of all draws."""
    for name in SETS:
        corpus = CORPORA[name](settings.data)
        lines: dict[tuple[str, str], list[float]] = {}
        for seed in range(settings.seeds or (1 if settings.quick else N_SEEDS)):
            for arm, found in _run_arms(corpus, seed).items():
                for metric, value in found.items():
                    lines.setdefault((arm, metric), []).append(value)
        cost = sum(lines["true_labels", "clean_test_macro_f1"]) - sum(lines["nothing", "clean_test_macro_f1"])
        for arm in ("cleanlab", "label_errors", "counterpoise", "suspects"):
            won = sum(lines[arm, "clean_test_macro_f1"]) - sum(lines["nothing", "clean_test_macro_f1"])
            lines[arm, "recovered_ratio"] = [won / cost] if cost > 0 else [float("nan")]
        for (arm, metric), values in lines.items():
            yield f"{name}_planted_{RATIO}", arm, metric, values


def draw_rows(corpus: Corpus, seed: int, ratio: float = RATIO) -> Draw:
    """One draw."""
    train, _, _ = divide_draw(corpus, seed)
    names = tuple(sorted(corpus.labels))
    texts = np.array([text for text, _ in train], dtype=object)
    truth = np.array([names.index(label) for _, label in train], dtype=np.int64)
    vectors = open_encoder().encode([str(text) for text in texts])
    ids = np.array([f"{keyed_hash('row', str(text)):016x}" for text in texts], dtype=object)
    folds = assign_folds(Records(ids, texts, truth, names, groups=ids), 5, "folds")
    given = confuse(truth, vectors, folds, ids, ratio, f"planted {seed}")
    records = Records(ids, texts, given, names, groups=ids)
    folds = assign_folds(records, 5, "folds")
    bare = find_suspects(vectors, given, ids, folds, len(names), texts=texts)
    asked = draw_suspects(ids, given, bare, N_ANSWERS, f"answers {seed}")
    answers = [
        {
            "ask": "audit" if is_uniform else "training",
            "probability": f"{chance:.6g}",
            "text": str(texts[row]),
            "label": names[truth[row]],
        }
        for row, is_uniform, chance in zip(asked.rows, asked.is_uniform, asked.chances, strict=True)
    ]
    cleaned = replace_by_cleanlab(given, bare.views["classifier"])

    def pair(labels: Any) -> Pairs:
        return [(str(text), names[label]) for text, label in zip(texts, labels, strict=True)]

    return Draw(pair(given), pair(truth), corpus.test, answers, pair(cleaned))


def _run_arms(corpus: Corpus, seed: int) -> dict[str, dict[str, float]]:
    draw = draw_rows(corpus, seed)
    right = dict(draw.right)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answers = folder / "answers.csv"
        with answers.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(draw.answers[0]))
            writer.writeheader()
            writer.writerows(draw.answers)
        given = _write(folder / "given.csv", draw.given)
        mended = folder / "mended.csv"
        found = find_label_errors(
            str(given), "text", "label", answers=answers, min_precision=PROMISED, progress=False
        )
        if len(found.patch):
            apply_patch(found.patch, given, mended)
        else:
            _write(mended, draw.given)
        _write(folder / "test.csv", draw.test)
        arms: dict[str, tuple[Path, dict[str, Any]]] = {
            "nothing": (given, {"actions": ACTIONS[1:]}),
            "cleanlab": (_write(folder / "cleaned.csv", draw.cleaned), {"actions": ACTIONS[1:]}),
            "label_errors": (mended, {"actions": ACTIONS[1:]}),
            "counterpoise": (given, {"actions": ACTIONS, "gold": str(answers)}),
            "suspects": (given, {"actions": ACTIONS}),
            "true_labels": (_write(folder / "right.csv", draw.right), {"actions": ACTIONS[1:]}),
        }
        return {arm: _run(folder, arm, data, seed, right, keys) for arm, (data, keys) in arms.items()}


def _run(
    folder: Path, arm: str, data: Path, seed: int, right: Mapping[str, str], keys: Mapping[str, Any]
) -> dict[str, float]:
    """What the recommended way of a run gives, and how many of the labels that it trains on are wrong."""
    job = job_from(
        data=str(data),
        held_out=str(folder / "test.csv"),
        text="text",
        label="label",
        llm=NoModel(),
        budget=1,
        rounds=1,
        seed=seed,
        students=list(STUDENTS),
        treatments=list(TREATMENTS),
        output=str(folder / arm),
        **keys,
    )
    run = counterpoise.run(job, progress=False)
    ((_, way),) = run.report_data["ways"].items()
    chosen = way["chosen"]
    rows = run.report_data["held_out"]["rows"]
    value = next(row["macro_f1"]["mean"] for row in rows if row["arm"] == chosen)
    train = run.dataset["train"]
    wrong = [right[text] != label for text, label in zip(train["text"], train["label"], strict=True)]
    return {"clean_test_macro_f1": float(value), "residual_wrong_ratio": float(np.mean(wrong))}


def _write(path: Path, pairs: Pairs) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *pairs])
    return path
