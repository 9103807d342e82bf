"""Runs with adversaries as writer and as judge: what of theirs is accepted, and what it does to a student.

Reviews of CEBaB, 300 positive and 15 negative ones (the draws of `minority_text`), a fifth of each with an order hidden
in them. All that the adversaries write are real reviews that people labelled and that are not in the data, so an
accepted record is wrong where people's label is another than the one it was accepted with. `gold_wrong_ratio` is what
a classifier on words, trained on people's votes for all other reviews, gets wrong on the real test reviews, each label
weighing as much as it does among the accepted records.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import counterpoise
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.splits import keyed_rank
from counterpoise.students.rows import make_rows
from counterpoise.tasks.text.job import job_from
from evals.adversaries import ORDER, Adversary, AdversaryServer, Knowledge, make_adversaries, quote
from evals.common import Result, Settings, interval, resample_means
from evals.minority_text import Corpus, divide_draw, load_cebab, open_encoder
from evals.students import WORDS, predict

BUDGET = "60k"
_KINDS = ("minority", "concept_injection", "counterfactual_edit")


@dataclass(frozen=True)
class Harm:
    """What one run with an adversary gave.

    Args:
        n_accepted: written records that were accepted.
        n_wrong: those whose label people would not give.
        n_expected: those that the gold classifier would get wrong of as many real ones.
        n_refused: written records that were refused.
        difference: macro-F1 of the student on words with what the run advises, less the best without a token.
        audit_ratio: share of the tokens that audits took.
    """

    n_accepted: int
    n_wrong: int
    n_expected: float
    n_refused: int
    difference: float
    audit_ratio: float


def run_written(settings: Settings) -> Iterator[Result]:
    """An arm an adversary."""
    corpus = load_cebab(settings.data)
    errors = measure_gold(corpus)
    found: dict[str, list[Harm]] = {}
    for seed in range(settings.seeds or (1 if settings.quick else 3)):
        train, known = prepare_draw(corpus, seed)
        for name, adversary in make_adversaries(known).items():
            found.setdefault(name, []).append(run_one(corpus, train, known, adversary, name, seed, errors))
    for label, value in errors.items():
        yield Result(
            "do_no_harm",
            f"cebab/{label}",
            "gold",
            "gold_wrong_ratio",
            value,
            float("nan"),
            float("nan"),
            sum(row[1] == label for row in corpus.test),
        )
    for name, runs in found.items():
        yield from describe(name, runs)


def prepare_draw(corpus: Corpus, seed: int) -> tuple[list[tuple[str, str]], Knowledge]:
    """The skewed rows, some with an order hidden in them, and what the adversaries know."""
    train, extra, rest = divide_draw(corpus, seed)
    unseen = [*extra, *rest]
    poisoned = set()
    for label in corpus.labels:
        mine = [text for text, its in train if its == label]
        poisoned |= {mine[row] for row in keyed_rank(mine, f"order {seed}")[: max(1, len(mine) // 5)]}
    train = [(ORDER + text if text in poisoned else text, label) for text, label in train]
    texts = {
        label: sorted({" ".join(text.split()) for text, its in unseen if its == label})
        for label in corpus.labels
    }
    return train, Knowledge(corpus.labels, texts, {quote(text): label for text, label in train}, f"{seed}")


def measure_gold(corpus: Corpus) -> dict[str, float]:
    """By label the share of real test reviews that a classifier on words gets wrong."""
    names = sorted(corpus.labels)
    encoder = open_encoder()
    train, test = (
        make_rows(
            np.array([text for text, _ in pairs], dtype=object),
            np.zeros((len(pairs), encoder.dimension), np.float32),
            np.array([names.index(label) for _, label in pairs]),
        )
        for pairs in (dict.fromkeys([*corpus.rows, *corpus.pool]), corpus.test)
    )
    said = predict("logit_adjustment", WORDS, train, test, len(names)).argmax(axis=1)
    return {
        name: float((said != test.labels)[test.labels == place].mean()) for place, name in enumerate(names)
    }


def run_one(
    corpus: Corpus,
    train: Sequence[tuple[str, str]],
    known: Knowledge,
    adversary: Adversary,
    name: str,
    seed: int,
    errors: dict[str, float],
) -> Harm:
    """One run from the data to the report."""
    truth = {text: label for label, texts in known.texts.items() for text in texts}
    with tempfile.TemporaryDirectory() as folder, AdversaryServer(adversary, f"{name}-{seed}") as server:
        run = counterpoise.run(
            job_from(
                data=_as_columns(train),
                held_out=_as_columns(corpus.test),
                text="text",
                label="label",
                labels=dict(corpus.labels),
                llm=server.url,
                budget=BUDGET,
                seed=seed,
                output=str(Path(folder) / "run"),
                cache_dir=str(open_cache(Path(folder))),
            )
        )
        added = [row for row in run.dataset["train"] if row["provenance"]["kind"] in _KINDS]
        n_refused = len(run.rejected)
        report = run.report_data
    spend = report["spend"]
    audits = sum(part["used"] for purpose, part in spend["by_purpose"].items() if purpose == "audit")
    return Harm(
        len(added),
        sum(truth.get(" ".join(row["text"].split())) != row["label"] for row in added),
        float(sum(errors[row["label"]] for row in added)),
        n_refused,
        find_difference(report),
        audits / spend["limit"],
    )


def open_cache(folder: Path) -> Path:
    """A cache without replies, which shares weights and vectors with the usual one."""
    cache = folder / "cache"
    cache.mkdir()
    for name in ("assets", "vectors"):
        (cache / name).symlink_to(find_cache_dir() / name)
    return cache


def find_difference(report: dict[str, Any]) -> float:
    """Macro-F1 gained by what the run advises on the student that shares nothing with the filters; 0 if nothing."""
    rows = [row for row in report["held_out"]["rows"] if row["student"] == WORDS and row["kind"] == "ours"]
    gained = rows[0]["macro_f1_difference"] if rows else None
    return float(gained["mean"] or 0.0) if gained else 0.0


def describe(name: str, runs: Sequence[Harm]) -> Iterator[Result]:
    """The lines of one adversary, all its runs together."""
    n_accepted, n_wrong = sum(run.n_accepted for run in runs), sum(run.n_wrong for run in runs)
    nothing = float("nan")
    values: list[tuple[str, float, float, float, int, str]] = [
        ("accepted_records", float(n_accepted), nothing, nothing, len(runs), "rows"),
        ("refused_records", float(sum(run.n_refused for run in runs)), nothing, nothing, len(runs), "rows"),
        ("audit_token_ratio", max(run.audit_ratio for run in runs), nothing, nothing, len(runs), "ratio"),
    ]
    if n_accepted:
        wrong, expected = n_wrong / n_accepted, sum(run.n_expected for run in runs) / n_accepted
        values += [
            ("accepted_wrong_ratio", wrong, nothing, nothing, n_accepted, "ratio"),
            ("gold_wrong_ratio", expected, nothing, nothing, n_accepted, "ratio"),
            ("wrong_over_gold_difference", wrong - expected, nothing, nothing, n_accepted, "ratio"),
        ]
    differences = [run.difference for run in runs]
    low, high = interval(resample_means(differences))
    values.append(("macro_f1_difference", float(np.mean(differences)), low, high, len(runs), "ratio"))
    for metric, value, low, high, n, unit in values:
        yield Result("do_no_harm", "cebab", name, metric, value, low, high, n, unit)


def _as_columns(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    return {"text": [text for text, _ in pairs], "label": [label for _, label in pairs]}
