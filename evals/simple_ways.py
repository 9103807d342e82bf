"""Ways without a token: what each gives with few rows, and how good the one is that the product chooses of them.

Skewed data sets are drawn as in `minority_text` (15 rows of each rare label, `NAME@5` another number); every
registered way trains both students and is scored on the test rows. `chosen` is what the product chooses on inner
validation from its default list, `chosen_all` from all that are registered, `highest` the way of the default list
with the highest macro-F1 there, `hindsight` the single way that is best
in the mean over the draws of a set and student. `regret_points` is what the choice has less than that, and
`over_logit_adjustment_points` what it has more than the baseline, in points of macro-F1. Lines of `all` are means
over sets and students, and `worst`: the largest regret of one, the largest loss to the baseline. Ways that look at
a pool are in the parts with `+pool` only.

    python -m evals simple_ways --data DIR [--only cebab] [--only sms_spam@5+pool] [--seeds N] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from counterpoise.core.label_lines import encode_lines
from counterpoise.core.records import Integers, Records
from counterpoise.core.splits import assign_folds
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.base import Student, Treatment
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.metrics import compute_auroc, compute_macro_f1
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import BASELINE, TREATMENTS
from counterpoise.students.validation import choose_best, predict_out_of_fold, score_predictions
from counterpoise.tasks.text.preparation import N_FOLDS
from counterpoise_retrievers.encoders import Encoder
from evals.common import Floats, Result, Settings, find_file, interval, read_csv, resample_means
from evals.minority_text import CORPORA, N_RARE, Corpus, divide_draw, draw_pool, find_best, open_encoder
from evals.sampler import load_tweets

N_SEEDS = 5
METRICS = ("macro_f1", "auroc")
CHOICES = ("chosen", "chosen_all", "highest")
Scores = dict[tuple[str, str, str], float]
"""(arm, student, metric) -> value on the test rows."""


def load_news(folder: Path) -> Corpus:
    """News by topic with their true labels, those of science made rare."""

    def read(name: str) -> list[tuple[str, str]]:
        rows = read_csv(find_file(folder, f"noisy_ag_news/{name}.csv.gz"))
        return list(dict.fromkeys((row["text"], row["true_label"]) for row in rows))

    labels = {
        "World": "News about politics and conflicts in the world",
        "Sports": "News about sports",
        "Business": "News about business and markets",
        "Sci/Tech": "News about science and technology",
    }
    test = read("clean_test_2k")[:800]
    return Corpus("noisy_ag_news", read("noisy_5k"), test, [], frozenset({"Sci/Tech"}), 300, labels, N_SEEDS)


SETS: dict[str, Callable[[Path], Corpus]] = {
    **CORPORA,
    "gpt_written_tweets": load_tweets,
    "noisy_ag_news": load_news,
}


@dataclass(frozen=True)
class Draw:
    """A skewed data set as students see it.

    Args:
        own: training rows, by text.
        folds: (n,) folds of these.
        test: rows to score.
        pool: unlabelled rows; None without.
        n_labels: k.
    """

    own: Rows
    folds: Integers
    test: Rows
    pool: Rows | None
    n_labels: int


@dataclass(frozen=True)
class Tables:
    """Log-scores by treatment and student: of the own rows out of fold, and of the test rows."""

    inner: Mapping[tuple[str, str], Floats]
    outer: Mapping[tuple[str, str], Floats]


def run(settings: Settings) -> Iterator[Result]:
    """All parts, or those named with `--only`."""
    encoder = open_encoder()
    students = choose_students(("default",), "minilm")
    found: dict[str, list[Scores]] = {}
    for name, n_rare, with_pool in list_parts(settings.only, quick=settings.quick):
        corpus = replace(SETS[name](settings.data), n_rare=n_rare)
        data = name + (f"@{n_rare}" if n_rare != N_RARE else "") + ("+pool" if with_pool else "")
        for seed in range(1 if settings.quick else settings.seeds or N_SEEDS):
            draw = make_draw(corpus, encoder, seed, with_pool=with_pool)
            tables = train_all(draw, students, list_ways(with_pool=with_pool), seed)
            found.setdefault(data, []).append(score_draw(draw, tables, students))
            print(f"{data}: draw {seed + 1}", file=sys.stderr, flush=True)
        yield from summarise(data, found[data])
    yield from summarise_all(found)


def list_parts(only: Sequence[str], *, quick: bool) -> list[tuple[str, int, bool]]:
    """Data set, rows of a rare label, and whether there is a pool, of each part.

    >>> list_parts(["cebab@5+pool", "sms_spam"], quick=False)
    [('cebab', 5, True), ('sms_spam', 15, False), ('sms_spam', 15, True)]
    """
    parts = []
    for wanted in only or (("cebab", "sms_spam") if quick else tuple(SETS)):
        name, _, size = wanted.removesuffix("+pool").partition("@")
        pools = (True,) if wanted.endswith("+pool") else (False,) if size else (False, True)
        if name in SETS:
            parts += [(name, int(size or N_RARE), pool) for pool in pools]
    return parts


def list_ways(*, with_pool: bool) -> list[Treatment]:
    """Every registered way that trains on own rows alone."""
    ways = [TREATMENTS.find(name) for name in TREATMENTS.names]
    return [way for way in ways if not way.uses_added and (with_pool or not way.uses_pool)]


def make_draw(corpus: Corpus, encoder: Encoder, seed: int, *, with_pool: bool) -> Draw:
    """Draw and encode; own rows are divided into folds as a run divides them."""
    names = sorted(corpus.labels)
    train, _, rest = divide_draw(corpus, seed)
    described = tuple(corpus.labels[name] for name in names)
    scorer, lines = SimilarityScorer(encoder, described), encode_lines(encoder.encode, described)

    def make(pairs: Sequence[tuple[str, str]]) -> Rows:
        texts = np.array([text for text, _ in pairs], dtype=object)
        vectors = encoder.encode(list(texts))
        labels = np.array([names.index(label) for _, label in pairs])
        return make_rows(texts, vectors, labels, zero_shot=scorer.score_vectors(vectors), lines=lines)

    own = make(sorted(train))
    folds = assign_folds(Records(own.texts, own.texts, own.labels, tuple(names)), N_FOLDS, f"draw {seed}")
    pool = make(draw_pool(corpus, rest, seed)) if with_pool else None
    return Draw(own, folds, make(corpus.test), pool, len(names))


def train_all(draw: Draw, students: Sequence[Student], ways: Sequence[Treatment], seed: int) -> Tables:
    """Each student in each way that suits it, out of fold and on all own rows."""
    outer: dict[tuple[str, str], Floats] = {}
    with threadpool_limits(1):
        inner = predict_out_of_fold(draw.own, draw.folds, draw.n_labels, students, ways, pool=draw.pool)
        for student in students:
            mine = [way for way in ways if way.suits(student)]
            scored = predict_by_treatments(
                mine, student, draw.own, draw.test, draw.n_labels, seed, pool=draw.pool
            )
            outer |= {(name, student.name): table for name, table in scored.items()}
    return Tables(inner, outer)


def score_draw(draw: Draw, tables: Tables, students: Sequence[Student]) -> Scores:
    """Both metrics of every way, and of what is chosen from each list."""
    scores: Scores = {}
    for (way, who), table in tables.outer.items():
        ranks = softmax(table, axis=1) if draw.n_labels > 2 else table
        scores[way, who, "macro_f1"] = compute_macro_f1(table.argmax(axis=1), draw.test.labels, draw.n_labels)
        scores[way, who, "auroc"] = compute_auroc(ranks, draw.test.labels)
    said = score_predictions(tables.inner, draw.own.labels, draw.n_labels)
    counts = np.bincount(draw.own.labels, minlength=draw.n_labels)
    measured = [TREATMENTS.find(name) for name in dict.fromkeys(way for way, _ in tables.inner)]
    usual = [way for way in measured if way.name in TREATMENTS.defaults]
    by_f1 = [replace(score, log_loss=-score.macro_f1) for score in said]
    chosen = (
        choose_best(said, "macro_f1", usual, counts),
        choose_best(said, "macro_f1", measured, counts),
        choose_best(by_f1, "macro_f1", usual, counts),
    )
    for arm, best in zip(CHOICES, chosen, strict=True):
        for student in students:
            for metric in METRICS:
                scores[arm, student.name, metric] = scores[best[student.name].name, student.name, metric]
    return scores


def compare(draws: Sequence[Scores], student: str) -> dict[str, tuple[str, Floats, Floats]]:
    """By choice the best single way, and in points of each draw: its lead, and the choice's over the baseline."""
    arms = {
        arm: np.array([draw[arm, student, "macro_f1"] for draw in draws])
        for arm, who, metric in draws[0]
        if (who, metric) == (student, "macro_f1")
    }
    best = find_best(arms, [arm for arm in arms if arm not in CHOICES])
    return {
        choice: (best, 100 * (arms[best] - arms[choice]), 100 * (arms[choice] - arms[BASELINE.name]))
        for choice in CHOICES
    }


def summarise(data: str, draws: Sequence[Scores]) -> Iterator[Result]:
    """Means over the draws of one part."""
    for student in dict.fromkeys(who for _, who, _ in draws[0]):
        name, compared = f"{data}/{student}", compare(draws, student)
        best = compared[CHOICES[0]][0]
        for arm, who, metric in draws[0]:
            if who == student:
                values = [draw[arm, who, metric] for draw in draws]
                yield _make_line(name, arm, metric, values)
                if arm == best:
                    yield _make_line(name, "hindsight", metric, values, way=best)
        for choice, (_, regret, gain) in compared.items():
            yield _make_line(name, choice, "regret_points", regret)
            yield _make_line(name, choice, "over_logit_adjustment_points", gain)


def summarise_all(found: Mapping[str, Sequence[Scores]]) -> Iterator[Result]:
    """Mean and worst over parts and students; of the parts with a pool and of those without apart."""
    for is_pool in (False, True):
        parts = [draws for data, draws in found.items() if data.endswith("+pool") == is_pool]
        compared = [
            compare(draws, who) for draws in parts for who in dict.fromkeys(key[1] for key in draws[0])
        ]
        for choice in CHOICES if compared else ():
            data = "all+pool" if is_pool else "all"
            regrets = [float(one[choice][1].mean()) for one in compared]
            gains = [float(one[choice][2].mean()) for one in compared]
            yield _make_line(data, choice, "regret_points", regrets)
            yield _make_line(data, choice, "over_logit_adjustment_points", gains)
            yield _make_line(f"{data}/worst", choice, "regret_points", [max(regrets)])
            yield _make_line(f"{data}/worst", choice, "over_logit_adjustment_points", [min(gains)])


def _make_line(data: str, arm: str, metric: str, values: Sequence[float] | Floats, way: str = "") -> Result:
    low, high = interval(resample_means(list(values)))
    extra = {"draws": [round(float(value), 5) for value in values]} | ({"way": way} if way else {})
    unit = "points" if metric.endswith("points") else "ratio"
    mean = float(np.mean(values))
    return Result("simple_ways", data, arm, metric, mean, low, high, len(values), unit, extra)
