"""Encoders at hand: what each gives on sealed rows, and whether the sample of a preview names the right one.

Rare labels have 15 rows. For each draw the encoders are tried as `preview` does (`tasks.text.encoder_trials`), on the
training rows alone; then each is trained in the way that inner validation chose for it and scored on the test rows.
`chosen` is the encoder that the trial names; its regret is counted from the best on the test rows in the mean;
`changed_ratio` is the share of draws in which that is another one than MiniLM. `texts_per_second` is measured in the
trials, `speed_ratio` is that by MiniLM's. Lines of `NAMED_SETS` are means over the sets that the goal names.

    python -m evals encoders --data DIR [--only sms_spam] [--seeds 5]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.records import Records
from counterpoise.core.splits import assign_folds, sample_by_rank
from counterpoise.data.encoders import open_cached
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.evidence import Evidence, parse_evidence, read_shipped
from counterpoise.students.fitting import predict
from counterpoise.students.linear_students import VectorsStudent
from counterpoise.students.metrics import compute_macro_f1
from counterpoise.students.rows import Rows, view_rows
from counterpoise.students.treatments import TREATMENTS
from counterpoise.tasks.text.encoder_trials import EncoderTrials, list_at_hand, try_encoders
from evals.common import Result, Settings, interval, resample_means
from evals.foreign_sets import FOREIGN_SETS
from evals.further_sets import list_kin
from evals.minority_text import CORPORA, Corpus, divide_draw
from evals.sampler import load_tweets

SETS = {**CORPORA, "gpt_written_tweets": load_tweets, **FOREIGN_SETS}
NAMED_SETS = ("cebab", "gpt_written_tweets", "sms_spam", "clinc150")
N_SEEDS = 5
N_TEST = 450


def run(settings: Settings) -> Iterator[Result]:
    """All sets, or those named with `--only`."""
    gains: list[Result] = []
    for name, load in SETS.items():
        if settings.only and name not in settings.only:
            continue
        corpus = load(settings.data)
        evidence = parse_evidence(read_shipped(), list_kin(name))
        draws = [
            run_draw(corpus, evidence, seed)
            for seed in range(1 if settings.quick else settings.seeds or N_SEEDS)
        ]
        for line in summarise(name, draws):
            gains += [line] if line.metric == "encoder_gain_points" and name in NAMED_SETS else []
            yield line
    yield from average_sets(gains)


@dataclass(frozen=True, slots=True)
class Draw:
    """What a draw gave.

    Args:
        scores: encoder -> macro-F1 on the test rows, that of MiniLM first.
        speeds: encoder -> texts a second.
        chosen: the encoder that the trial names.
    """

    scores: dict[str, float]
    speeds: dict[str, float]
    chosen: str


def run_draw(corpus: Corpus, evidence: Evidence, seed: int) -> Draw:
    """Try the encoders on the training rows, and score each on the test rows; `evidence` is of other data sets."""
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
        trials = try_encoders(
            records, folds, lines, choices, ways, "macro_f1", cache_dir, len(records), evidence
        )
        scores = {
            one.encoder: _score(corpus, records, one.encoder, one.treatment, names, lines)
            for one in trials.trials
        }
    print(
        f"{corpus.name}: draw {seed + 1}, {_describe(trials)}; sealed {scores}", file=sys.stderr, flush=True
    )
    speeds = {one.encoder: one.texts_per_second for one in trials.trials}
    return Draw(scores, speeds, trials.best.encoder)


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


def summarise(name: str, draws: Sequence[Draw]) -> Iterator[Result]:
    """Means over draws, the gain of each encoder over the default one, and what the choice falls short of hindsight.

    >>> draws = [Draw({"minilm": 0.5, "other": 0.7}, {"minilm": 9, "other": 3}, "other")] * 2
    >>> [(line.arm, line.metric, round(line.value, 3)) for line in summarise("a", draws)][:3]
    [('minilm', 'macro_f1', 0.5), ('minilm', 'encoder_gain_points', 0.0), ('minilm', 'texts_per_second', 9.0)]
    >>> [(line.metric, round(line.value, 3)) for line in summarise("a", draws) if line.arm == "chosen"]
    [('macro_f1', 0.7), ('encoder_gain_points', 20.0), ('regret_points', 0.0), ('changed_ratio', 1.0)]
    """
    default, *_ = encoders = list(draws[0].scores)
    scores = {arm: [draw.scores[arm] for draw in draws] for arm in encoders}
    scores["chosen"] = [draw.scores[draw.chosen] for draw in draws]
    hindsight = max(encoders, key=lambda arm: np.mean(scores[arm]))
    for arm, values in scores.items():
        gains = [100 * (value - other) for value, other in zip(values, scores[default], strict=True)]
        yield _average(name, arm, "macro_f1", values)
        yield _average(name, arm, "encoder_gain_points", gains)
        if arm != "chosen":
            speeds, defaults = ([draw.speeds[one] for draw in draws] for one in (arm, default))
            yield _average(name, arm, "texts_per_second", speeds)
            ratios = [speed / other for speed, other in zip(speeds, defaults, strict=True)]
            yield _average(name, arm, "speed_ratio", ratios)
    regrets = [100 * (best - value) for best, value in zip(scores[hindsight], scores["chosen"], strict=True)]
    yield _average(name, "chosen", "regret_points", regrets)
    yield _average(name, "chosen", "changed_ratio", [float(draw.chosen != default) for draw in draws])


def average_sets(gains: Sequence[Result]) -> Iterator[Result]:
    """The gain of each encoder over the default one, in the mean over the sets that the goal names: all or none.

    >>> from dataclasses import replace
    >>> line = Result("encoders", "", "nomic", "encoder_gain_points", 4.0, 0, 0, 5, "points")
    >>> lines = [replace(line, data=name) for name in NAMED_SETS]
    >>> [(line.data, line.value, line.n) for line in average_sets(lines)], list(average_sets(lines[:3]))
    ([('named sets', 4.0, 4)], [])
    """
    for arm in dict.fromkeys(line.arm for line in gains):
        values = [line.value for line in gains if line.arm == arm]
        if len(values) == len(NAMED_SETS):
            yield _average("named sets", arm, "encoder_gain_points", values)


def _average(name: str, arm: str, metric: str, values: Sequence[float]) -> Result:
    low, high = interval(resample_means(values))
    unit = "points" if metric.endswith("points") else "texts/s" if metric == "texts_per_second" else "ratio"
    return Result("encoders", name, arm, metric, float(np.mean(values)), low, high, len(values), unit)
