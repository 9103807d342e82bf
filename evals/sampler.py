"""The sampler in a pipeline of imbalanced-learn: `Pipeline([sampler, words, logistic regression])`.

For each draw a training set is made skew (15 rows of a rare label beside 300 of each other), the same pipeline is
fitted with each sampler, and scored in macro-F1 on the same test rows. The sampler is told what the labels are, as a
job would be; it fills every label up to the largest one, as `RandomOverSampler` does. Differences are paired;
intervals resample draws.

    python -m evals sampler --data DIR [--only cebab] [--seeds 5]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from counterpoise import CounterpoiseSampler
from evals.common import Result, Settings, find_file, interval, open_engine, read_jsonl, resample_means
from evals.minority_text import CORPORA, Corpus, divide_draw

N_SEEDS = 5
BUDGET = "5k"
"""Tokens a draw: what the embedded model writes in a minute or so."""

N_TEST = 1000
BASELINES = ("nothing", "class_weights", "random_over_sampler")


def load_tweets(folder: Path) -> Corpus:
    """Real tweets by sentiment, negative ones made rare."""

    def read(name: str) -> list[tuple[str, str]]:
        rows = read_jsonl(find_file(folder, f"gpt_written_tweets/{name}.jsonl.gz"))
        return list(dict.fromkeys((row["text"], row["label"]) for row in rows))

    return Corpus(
        "tweets",
        read("real_validation"),
        read("test_4k")[:N_TEST],
        [],
        frozenset({"negative"}),
        300,
        {
            "positive": "Tweets in a positive mood",
            "neutral": "Tweets that only inform",
            "negative": "Tweets in a negative mood: anger, sadness, complaints",
        },
        N_SEEDS,
    )


SETS = {**{name: CORPORA[name] for name in ("cebab", "sms_spam", "davidson_hate")}, "tweets": load_tweets}


def run(settings: Settings) -> Iterator[Result]:
    """All sets, or those named with `--only`."""
    n_seeds = 1 if settings.quick else settings.seeds or N_SEEDS
    with open_engine(settings.engine) as llm:
        for name, load in SETS.items():
            if settings.only and name not in settings.only:
                continue
            corpus = load(settings.data)
            scores: dict[str, list[float]] = {}
            written: list[float] = []
            for seed in range(n_seeds):
                started = monotonic()
                drawn, n_new = run_draw(corpus, llm, seed)
                for arm, value in drawn.items():
                    scores.setdefault(arm, []).append(value)
                written.append(n_new)
                print(
                    f"{name}: draw {seed + 1} of {n_seeds}, {monotonic() - started:.0f} s, {n_new} new, {drawn}",
                    file=sys.stderr,
                    flush=True,
                )
            yield from summarise(name, scores, written)


def run_draw(corpus: Corpus, llm: Mapping[str, Any], seed: int) -> tuple[dict[str, float], int]:
    """Macro-F1 of every arm, and how many texts were written."""
    train, _, _ = divide_draw(corpus, seed)
    texts, labels = [text for text, _ in train], [label for _, label in train]
    with tempfile.TemporaryDirectory() as folder:
        ours = CounterpoiseSampler(
            model=dict(llm),
            budget=BUDGET,
            labels=dict(corpus.labels),
            random_state=seed,
            output=str(Path(folder) / "run"),
        )
        arms: dict[str, Any] = {
            "nothing": "passthrough",
            "class_weights": "passthrough",
            "random_over_sampler": RandomOverSampler(random_state=seed),
            "counterpoise": ours,
        }
        scores = {}
        n_new = 0
        for arm, sampler in arms.items():
            weights = "balanced" if arm == "class_weights" else None
            steps = [
                ("sampler", sampler),
                ("row", _Flat()),
                ("words", TfidfVectorizer()),
                ("model", LogisticRegression(max_iter=1000, class_weight=weights)),
            ]
            table = np.array(texts, dtype=object)[:, None]
            model = Pipeline(steps).fit(table, labels)
            answers = model.predict(np.array([text for text, _ in corpus.test], dtype=object)[:, None])
            truth = [label for _, label in corpus.test]
            scores[arm] = float(f1_score(truth, answers, average="macro"))
            if arm == "counterpoise":
                n_new = int((model.named_steps["sampler"].sample_indices_ < 0).sum())
    return scores, n_new


class _Flat:
    """One text a row out of a table with one column, which is what oversamplers want."""

    def fit(self, X: Any, y: Any = None) -> _Flat:  # noqa: N803
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        return X[:, 0]


def summarise(name: str, scores: Mapping[str, list[float]], written: list[float]) -> Iterator[Result]:
    """Means, and differences from each baseline in points."""
    for arm, values in scores.items():
        low, high = interval(resample_means(values))
        yield Result(
            "sampler",
            name,
            arm,
            "macro_f1",
            float(np.mean(values)),
            low,
            high,
            len(values),
            extra={"draws": values},
        )
    for baseline in BASELINES:
        gains = 100 * (np.array(scores["counterpoise"]) - np.array(scores[baseline]))
        low, high = interval(resample_means(gains.tolist()))
        metric = f"gain_over_{baseline}_points"
        yield Result(
            "sampler", name, "counterpoise", metric, float(gains.mean()), low, high, len(gains), "points"
        )
    low, high = interval(resample_means(written))
    yield Result(
        "sampler",
        name,
        "counterpoise",
        "written",
        float(np.mean(written)),
        low,
        high,
        len(written),
        "records",
    )
