"""Twenty answers of a person, by anchors and at random: what they are worth, and what adopting for no token is.

The training set of a draw is skew as in `minority_text` (15 rows of the rare label), with a pool of unlabelled rows.
An oracle gives the true labels of the rows that are asked about. All arms are trained with logit adjustment, or, where
rows are adopted, as a run with a pool is:

- `nothing`: the labelled rows alone;
- `asked_random`: 20 pool rows drawn at random are answered;
- `asked_anchors`: the 20 that `counterpoise label --pool` asks about; ten of these are random too, and count;
- `adopted`: nobody is asked; pool rows are adopted as a run adopts them;
- `asked_anchors_adopted`: answers, then adopting with them, which is what a run with `answers` does without a token;
- `real_data`: real rows of the rare label until it is even;
- `written`: what the 135M model writes for 40,000 tokens, from the lines of `budget_curve`, which has two of the sets,
  other draws, and counts from the best way without tokens: `gain_over_best_points`.

`gain_points` is macro-F1 over `nothing`, with paired intervals over draws; `anchors_over_random` the gain of
`asked_anchors` by that of `asked_random`, for each set and over the sum of all sets. The draws begin with the 10th: the
rule by which rows are chosen was settled on the first five of the same sets, so that these are not quite strangers.

    python -m evals asked --data DIR [--only sms_spam] [--seeds 10]
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.actions.adopt import SURE_FROM
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.records import UNLABELLED, Records
from counterpoise.core.splits import assign_folds, sample_by_rank
from counterpoise.scorers.anchors import choose_pool_rows, score_pool
from counterpoise.scorers.audits import audit
from counterpoise.scorers.base import cross_fit
from counterpoise.students.metrics import compute_macro_f1
from counterpoise.students.old_names import read_old_names
from counterpoise.students.rows import make_rows
from counterpoise_retrievers.encoders import Encoder
from evals.common import Floats, Result, Settings, find_file, interval, read_jsonl, resample_means
from evals.minority_text import CORPORA, Corpus, divide_draw, draw_pool, open_encoder
from evals.students import STUDENTS, predict
from evals.tables import find_results

N_ASKED = 20
N_SEEDS = 10
FIRST_SEED = 10
SETS = ("cebab", "sms_spam", "davidson_hate", "gpt_written_tweets")
ARMS = ("nothing", "asked_random", "asked_anchors", "adopted", "asked_anchors_adopted", "real_data")
COMPARED = {"asked_random": ["asked_anchors"], "adopted": ["asked_anchors", "asked_anchors_adopted"]}
"""What is subtracted -> from which arms."""
WRITTEN = "added_rows, 40k"
"""The arm of `budget_curve`."""

_MOST_TESTED = 500  # test rows a label

Scores = dict[tuple[str, str], list[float]]
"""(arm, student) -> macro-F1 of every draw."""


def load_tweets(folder: Path) -> Corpus:
    """Real tweets by sentiment, negative ones made rare."""

    def read_pairs(name: str) -> list[tuple[str, str]]:
        path = find_file(folder, f"gpt_written_tweets/{name}.jsonl.gz")
        return [(row["text"], row["label"]) for row in read_jsonl(path)]

    rows = list(dict.fromkeys([*read_pairs("real_500"), *read_pairs("real_validation")]))
    known, labels = {text for text, _ in rows}, {label: f"{label.title()} tweets" for _, label in rows}
    new = [pair for pair in read_pairs("test_4k") if pair[0] not in known]
    test = [pair for label in sorted(labels) for pair in [p for p in new if p[1] == label][:_MOST_TESTED]]
    return Corpus("gpt_written_tweets", rows, test, [], frozenset({"negative"}), 300, labels, N_SEEDS)


def run(settings: Settings) -> Iterator[Result]:
    """All sets, or those named with `--only`."""
    encoder = open_encoder()
    found: list[Scores] = []
    names = [name for name in SETS if not settings.only or name in settings.only]
    n_seeds = 1 if settings.quick else settings.seeds or N_SEEDS
    for name in names[:2] if settings.quick else names:
        corpus = load_tweets(settings.data) if name not in CORPORA else CORPORA[name](settings.data)
        scores: Scores = {}
        for seed in range(FIRST_SEED, FIRST_SEED + n_seeds):
            facts = run_draw(corpus, encoder, seed, scores)
            print(f"{name}: draw {seed}, {facts}", file=sys.stderr, flush=True)
        found.append(scores)
        yield from summarise(name, [scores])
    yield from summarise("all", found) if len(found) > 1 else ()
    yield from list_written(find_results(settings.lines, "budget_curve"), names)


def list_written(lines: Iterable[Mapping[str, Any]], names: Sequence[str]) -> Iterator[Result]:
    """What rows written for 40,000 tokens gained, of the sets of which that is known."""
    for line in lines:
        data = read_old_names(str(line["data"]))
        if (line["arm"], line["metric"]) == (WRITTEN, "macro_f1_gain") and data.partition("/")[0] in names:
            value, low, high = (100 * float(line[key]) for key in ("value", "low", "high"))
            yield Result(
                "asked", data, "written", "gain_over_best_points", value, low, high, line["n"], "points"
            )


def run_draw(corpus: Corpus, encoder: Encoder, seed: int, scores: Scores) -> dict[str, int]:
    """One draw: every arm's macro-F1 is added to `scores`; how many rare rows each arm was given."""
    names = tuple(sorted(corpus.labels))
    own, extra, rest = divide_draw(corpus, seed)
    pairs, key = draw_pool(corpus, rest, seed), f"seed {seed}"
    train, pool = encode(own, names, encoder), encode(pairs, names, encoder)
    truth = pool.records.labels
    blind = EncodedRecords(replace(pool.records, labels=np.full(len(pool), UNLABELLED)), pool.vectors)
    folds = assign_folds(train.records, 5, f"{key}:folds")
    nobody = np.empty(0, dtype=np.int64)
    answered = {
        "nothing": nobody,
        "asked_random": sample_by_rank(pool.records.ids, N_ASKED, f"{key}:oracle"),
        "asked_anchors": choose_pool_rows(train, folds, blind, N_ASKED, f"{key}:ask").rows,
    }
    rare = [names.index(label) for label in corpus.rare]
    test = encode(corpus.test, names, encoder)
    facts = {}
    for arm, rows in answered.items():
        known = unite(train, pool.take(rows))
        facts[arm] = int(np.isin(truth[rows], rare).sum())
        score(arm, known, None, test, names, scores)
        if arm != "asked_random":
            left = blind.take(np.setdiff1d(np.arange(len(pool)), rows))
            adopted = adopt(known, left, corpus, key)
            score("adopted" if arm == "nothing" else f"{arm}_adopted", known, adopted, test, names, scores)
    score("real_data", unite(train, encode(extra, names, encoder)), None, test, names, scores)
    return facts


def encode(pairs: Sequence[tuple[str, str]], names: tuple[str, ...], encoder: Encoder) -> EncodedRecords:
    """Texts with labels, named by their text."""
    texts = np.array([text for text, _ in pairs], dtype=object)
    labels = np.array([names.index(label) for _, label in pairs], dtype=np.int64)
    return EncodedRecords(Records(texts, texts, labels, names), encoder.encode(list(texts)))


def unite(one: EncodedRecords, other: EncodedRecords) -> EncodedRecords:
    """Both, one behind the other."""
    a, b = one.records, other.records
    texts = np.concatenate([a.texts, b.texts])
    records = Records(texts, texts, np.concatenate([a.labels, b.labels]), a.label_names)
    return EncodedRecords(records, np.concatenate([one.vectors, other.vectors]))


def adopt(known: EncodedRecords, pool: EncodedRecords, corpus: Corpus, key: str) -> EncodedRecords:
    """The pool rows that a run would adopt for the rare labels, under the labels that it gives them."""
    labels, names = known.records.labels, known.records.label_names
    folds = assign_folds(known.records, 5, f"{key}:folds")
    out_of_fold, _ = cross_fit(known.vectors, labels, folds, len(names))
    posteriors = score_pool(known, folds, pool.vectors)
    given = np.where(posteriors.max(axis=1) >= SURE_FROM, posteriors.argmax(axis=1), UNLABELLED)
    picked: list[int] = []
    for label in () if audit(out_of_fold, labels).is_weak else sorted(corpus.rare):
        sure = np.flatnonzero(given == names.index(label))
        wanted = corpus.full - int((labels == names.index(label)).sum())
        picked += sure[sample_by_rank(pool.records.ids[sure], wanted, f"{key}:adopt")].tolist()
    rows = np.array(picked, dtype=np.int64)
    return EncodedRecords(replace(pool.records.take(rows), labels=given[rows]), pool.vectors[rows])


def score(
    arm: str,
    known: EncodedRecords,
    adopted: EncodedRecords | None,
    test: EncodedRecords,
    names: tuple[str, ...],
    scores: Scores,
) -> None:
    """Train both students and add their macro-F1."""
    whole = known if adopted is None else unite(known, adopted)
    records = whole.records
    original = np.arange(len(whole)) < len(known)
    train = make_rows(records.texts, whole.vectors, records.labels, original=original)
    rows, way = make_rows(test.records.texts, test.vectors, test.records.labels), "logit_adjustment"
    for student in STUDENTS:
        table = predict(way if adopted is None else "added_rows", student, train, rows, len(names))
        value = compute_macro_f1(table.argmax(axis=1), rows.labels, len(names))
        scores.setdefault((arm, student), []).append(value)


def summarise(name: str, sets: Sequence[Mapping[tuple[str, str], Sequence[float]]]) -> Iterator[Result]:
    """Lines of one set, or of the sum over several: draws are resampled within each."""
    for student in STUDENTS:

        def resample(arm: str, base: str = "", who: str = student) -> tuple[float, Floats]:
            """Sum over sets of the mean over draws, and its resamples; less those of `base`."""
            parts = [np.array(one[arm, who]) - (np.array(one[base, who]) if base else 0.0) for one in sets]
            drawn = [resample_means(part.tolist(), seed=place) for place, part in enumerate(parts)]
            return float(sum(part.mean() for part in parts)), np.sum(drawn, axis=0)

        n = len(sets[0]["nothing", student])
        data = f"{name}/{student}"
        for arm in ARMS:
            if len(sets) == 1:
                value, drawn = resample(arm)
                yield Result("asked", data, arm, "macro_f1", value, *interval(drawn), n)
            if arm != "nothing":
                value, drawn = resample(arm, "nothing")
                low, high = interval(100 * drawn)
                yield Result("asked", data, arm, "gain_points", 100 * value, low, high, n, "points")
        for base, arm in ((base, arm) for base, arms in COMPARED.items() for arm in arms):
            value, drawn = resample(arm, base)
            metric = f"points_over_{base}"
            yield Result("asked", data, arm, metric, 100 * value, *interval(100 * drawn), n, "points")
        ours, drawn = resample("asked_anchors", "nothing")
        theirs, others = resample("asked_random", "nothing")
        if theirs > 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                low, high = interval(drawn / np.where(others > 0, others, np.nan))
            yield Result("asked", data, "asked_anchors", "anchors_over_random", ours / theirs, low, high, n)
