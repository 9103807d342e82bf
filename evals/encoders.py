"""Encoders at hand: what each gives on sealed rows, and whether the sample of a preview names the right one.

Rare labels have 15 rows. For each draw the encoders are tried as `preview` does (`tasks.text.encoder_trials`), on the
training rows alone; then each is trained in the way that inner validation chose for it and scored on the test rows.
`chosen` is the encoder that the trial names; its regret is counted from the best on the test rows in the mean. No rule
of the trial was set on these figures.

    python -m evals encoders --data DIR [--only sms_spam] [--seeds 3]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.records import Records
from counterpoise.core.splits import assign_folds, sample_by_rank
from counterpoise.data.encoders import open_cached
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.fitting import predict
from counterpoise.students.linear_students import VectorsStudent
from counterpoise.students.metrics import compute_macro_f1
from counterpoise.students.rows import Rows, view_rows
from counterpoise.students.treatments import TREATMENTS
from counterpoise.tasks.text.encoder_trials import EncoderTrials, list_at_hand, try_encoders
from evals.common import Result, Settings, interval, resample_means
from evals.foreign_sets import FOREIGN_SETS
from evals.minority_text import CORPORA, Corpus, divide_draw
from evals.sampler import load_tweets

SETS = {**CORPORA, "gpt_written_tweets": load_tweets, **FOREIGN_SETS}
N_SEEDS = 5
N_TEST = 450


def run(settings: Settings) -> Iterator[Result]:
    """All sets, or those named with `--only`."""
    for name, load in SETS.items():
        if settings.only and name not in settings.only:
            continue
        corpus = load(settings.data)
        draws = [run_draw(corpus, seed) for seed in range(1 if settings.quick else settings.seeds or N_SEEDS)]
        yield from summarise(name, draws)


def run_draw(corpus: Corpus, seed: int) -> dict[str, float]:
    """Encoder -> macro-F1 on the test rows; `chosen` is that of the encoder that the trial names."""
    names = tuple(sorted(corpus.labels))
    train, _, _ = divide_draw(corpus, seed)
    records = _as_records(train, names)
    order = np.argsort(records.ids.astype(str), kind="stable")
    records = records.take(order)
    folds = assign_folds(records, 5, f"seed {seed}:folds")
    lines = tuple(corpus.labels[name] for name in names)
    cache_dir = find_cache_dir()
    choices, ways = list_at_hand("", cache_dir), TREATMENTS.choose(["default"])
    with threadpool_limits(1):
        trials = try_encoders(records, folds, lines, choices, ways, "macro_f1", cache_dir, len(records))
        scores = {
            one.encoder: _score(corpus, records, one.encoder, one.treatment, names, lines)
            for one in trials.trials
        }
    print(
        f"{corpus.name}: draw {seed + 1}, {_describe(trials)}; sealed {scores}", file=sys.stderr, flush=True
    )
    return {**scores, "chosen": scores[trials.best.encoder]}


def _describe(trials: EncoderTrials) -> str:
    tried = ", ".join(f"{one.encoder} {one.macro_f1:.3f} ({one.treatment})" for one in trials.trials)
    return f"tried {tried}, took {trials.best.encoder}"


def _score(
    corpus: Corpus,
    train: Records,
    encoder_name: str,
    treatment: str,
    names: tuple[str, ...],
    lines: tuple[str, ...],
) -> float:
    encoder = open_cached(encoder_name, find_cache_dir())

    def view(records: Records) -> Rows:
        vectors = encoder.encode([str(text) for text in records.texts])
        return view_rows(
            EncodedRecords(records, vectors, SimilarityScorer(encoder, lines).score_vectors(vectors))
        )

    drawn = sample_by_rank([text for text, _ in corpus.test], N_TEST, "sealed")
    test = _as_records([corpus.test[row] for row in drawn], names)
    way, student = TREATMENTS.find(treatment), VectorsStudent(encoder_name)
    scores = predict(way, student, view(train), view(test), len(names))
    return compute_macro_f1(scores.argmax(axis=1), test.labels, len(names), equalise=True)


def _as_records(pairs: Sequence[tuple[str, str]], names: tuple[str, ...]) -> Records:
    return Records(
        ids=np.array([f"{text[:40]} {place}" for place, (text, _) in enumerate(pairs)], dtype=object),
        texts=np.array([text for text, _ in pairs], dtype=object),
        labels=np.array([names.index(label) for _, label in pairs]),
        label_names=names,
    )


def summarise(name: str, draws: Sequence[dict[str, float]]) -> Iterator[Result]:
    """Means over draws, the gain of each encoder over the default one, and what the choice falls short of hindsight.

    >>> draws = [{"minilm": 0.5, "other": 0.7, "chosen": 0.7}, {"minilm": 0.6, "other": 0.6, "chosen": 0.6}]
    >>> [(line.arm, line.metric, round(line.value, 3)) for line in summarise("a", draws)][:2]
    [('minilm', 'macro_f1', 0.55), ('minilm', 'encoder_gain_points', 0.0)]
    """
    encoders = [arm for arm in draws[0] if arm != "chosen"]
    means = {arm: float(np.mean([draw[arm] for draw in draws])) for arm in draws[0]}
    hindsight = max(encoders, key=lambda arm: means[arm])
    for arm in (*encoders, "chosen"):
        gains = [100 * (draw[arm] - draw[encoders[0]]) for draw in draws]
        yield _average(name, arm, "macro_f1", [draw[arm] for draw in draws])
        yield _average(name, arm, "encoder_gain_points", gains)
    yield _average(
        name, "chosen", "regret_points", [100 * (draw[hindsight] - draw["chosen"]) for draw in draws]
    )


def _average(name: str, arm: str, metric: str, values: Sequence[float]) -> Result:
    low, high = interval(resample_means(values))
    unit = "points" if metric.endswith("points") else "ratio"
    return Result("encoders", name, arm, metric, float(np.mean(values)), low, high, len(values), unit)
