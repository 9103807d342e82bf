"""Ways that look at the pool and cost no token, and what adopting its rows adds to them.

Skewed data sets are drawn as in `simple_ways` (15 rows of each rare label) with a pool of unlabelled rows; both
students are scored in macro-F1 on the test rows:

- every way of the default list, and every registered one that looks at the pool;
- `chosen`: what the product chooses of the default list on inner validation; `chosen_all`: of all that are measured;
  `chosen_blind`: of the default list without those that look at the pool;
- `adopted`: rows of the pool adopted for the rare labels as a run adopts them, averaged with the own rows as it
  recommends; `adopted_chosen`: the way that was chosen, on own and adopted rows alike;
- `real_data`: real rows of the rare labels until they are even; `answered_pool`: every row of the pool with its true
  label. Both with logit adjustment.

`gap_closed_ratio` is what an arm has over the best simple way, by what `real_data` has over it; the best one is that of
`chosen`, and with `_hindsight` the single way that is best in the mean over the draws of a set. Lines of `all` are sums
of gains by sums of gaps over the sets; `extra` has both sums in points. Intervals resample draws within sets.

    python -m evals pool_ways --data DIR [--only cebab] [--seeds 5]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.records import UNLABELLED, Records
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.base import Student, Treatment
from counterpoise.students.evidence import parse_evidence, read_shipped
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.metrics import compute_macro_f1
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import BASELINE, TREATMENTS
from counterpoise.students.validation import choose_added_ways, choose_best, score_predictions
from counterpoise_retrievers.encoders import Encoder
from evals.asked import adopt
from evals.common import Floats, Result, Settings, interval, resample_means
from evals.further_sets import SETS, list_kin
from evals.minority_text import Corpus, divide_draw, find_best, open_encoder
from evals.simple_ways import Draw, list_ways, make_draw, train_all

SETS_WITH_POOL = ("cebab", "davidson_hate", "sms_spam", "clinc150", "gpt_written_tweets", "noisy_ag_news")
N_SEEDS = 5
REAL = "real_data"
CHOICES = ("chosen", "chosen_all", "chosen_blind")
ADOPTING = ("adopted", "adopted_chosen")
OTHERS = (*CHOICES, *ADOPTING, REAL, "answered_pool")
_HINDSIGHT = "hindsight"

Scores = dict[tuple[str, str], list[float]]
"""(arm, student) -> macro-F1 of every draw."""


def run(settings: Settings) -> Iterator[Result]:
    """All sets, or those named with `--only`."""
    encoder = open_encoder()
    found: list[Scores] = []
    names = [name for name in SETS_WITH_POOL if not settings.only or name in settings.only]
    for name in names[:2] if settings.quick else names:
        scores: Scores = {}
        for seed in range(1 if settings.quick else settings.seeds or N_SEEDS):
            for key, value in run_draw(SETS[name](settings.data), encoder, seed).items():
                scores.setdefault(key, []).append(value)
            print(f"{name}: draw {seed + 1}", file=sys.stderr, flush=True)
        found.append(scores)
        yield from summarise(name, [scores])
    yield from summarise("all", found) if len(found) > 1 else ()


def run_draw(corpus: Corpus, encoder: Encoder, seed: int) -> dict[tuple[str, str], float]:
    """One draw: (arm, student) -> macro-F1."""
    draw, students = make_draw(corpus, encoder, seed, with_pool=True), choose_students(("default",), "minilm")
    ways = [way for way in list_ways(with_pool=True) if way.uses_pool or way.name in TREATMENTS.defaults]
    tables = train_all(draw, students, ways, seed)
    found = {key: _score(table, draw) for key, table in tables.outer.items()}
    counts = np.bincount(draw.own.labels, minlength=draw.n_labels)
    said = score_predictions(tables.inner, draw.own.labels, draw.n_labels)
    usual = [way for way in ways if way.name in TREATMENTS.defaults]
    lists = (usual, ways, [way for way in usual if not way.uses_pool])
    evidence = parse_evidence(read_shipped(), list_kin(corpus.name))
    chosen = [choose_best(said, "macro_f1", ways, counts, evidence) for ways in lists]
    for arm, best in zip(CHOICES, chosen, strict=True):
        found |= {(arm, who): found[way.name, who] for who, way in best.items()}
    added = choose_added_ways(said, counts)
    extra = _encode(divide_draw(corpus, seed)[1], corpus, encoder)
    adopted, rest = divide_pool(draw, corpus, seed)
    is_own = np.arange(len(draw.own) + len(adopted)) < len(draw.own)
    with threadpool_limits(1):
        for student in students:
            who = student.name
            whole = _join(draw.own, adopted)

            def add(arm: str, way: Treatment, rows: Rows, pool: Rows, who: Student = student) -> None:
                table = predict_by_treatments([way], who, rows, draw.test, draw.n_labels, seed, pool=pool)
                found[arm, who.name] = _score(table[way.name], draw)

            add("adopted", added[who].mixed, replace(whole, original=is_own), rest)
            add("adopted_chosen", chosen[0][who], whole, rest)
            add(REAL, BASELINE, _join(draw.own, extra), rest)
            add("answered_pool", BASELINE, _join(draw.own, _pool_of(draw)), rest)
    return found


def _pool_of(draw: Draw) -> Rows:
    """The pool, which every draw of this evaluation has."""
    if draw.pool is None:
        raise ValueError("the draw has no pool")
    return draw.pool


def divide_pool(draw: Draw, corpus: Corpus, seed: int) -> tuple[Rows, Rows]:
    """The pool's rows that a run would adopt, under the labels that it gives them, and the others."""
    names, pool = tuple(sorted(corpus.labels)), _pool_of(draw)

    def view(rows: Rows) -> EncodedRecords:
        return EncodedRecords(Records(rows.texts, rows.texts, rows.labels, names), rows.vectors)

    blind = view(replace(pool, labels=np.full(len(pool), UNLABELLED)))
    adopted = adopt(view(draw.own), blind, corpus, f"seed {seed}").records
    place = {text: row for row, text in enumerate(pool.texts)}
    rows = np.array([place[text] for text in adopted.texts], dtype=np.int64)
    return replace(pool.take(rows), labels=adopted.labels), pool.take(
        np.setdiff1d(np.arange(len(pool)), rows)
    )


def _encode(pairs: Sequence[tuple[str, str]], corpus: Corpus, encoder: Encoder) -> Rows:
    names = sorted(corpus.labels)
    texts = np.array([text for text, _ in pairs], dtype=object)
    vectors = encoder.encode(list(texts))
    labels = np.array([names.index(label) for _, label in pairs], dtype=np.int64)
    scorer = SimilarityScorer(encoder, tuple(corpus.labels[name] for name in names))
    return make_rows(texts, vectors, labels, zero_shot=scorer.score_vectors(vectors))


def _join(one: Rows, other: Rows) -> Rows:
    """The rows of both, all of them own ones."""
    return make_rows(
        np.concatenate([one.texts, other.texts]),
        np.concatenate([one.vectors, other.vectors]),
        np.concatenate([one.labels, other.labels]),
        zero_shot=np.concatenate([one.zero_shot, other.zero_shot]),
    )


def _score(table: Floats, draw: Draw) -> float:
    return float(compute_macro_f1(table.argmax(axis=1), draw.test.labels, draw.n_labels))


def find_hindsight(scores: Mapping[tuple[str, str], Sequence[float]], student: str) -> str:
    """The simple way that is best in the mean over the draws of a set."""
    mine = {arm: values for (arm, who), values in scores.items() if who == student}
    return find_best(mine, [arm for arm in mine if arm not in OTHERS])


def summarise(name: str, sets: Sequence[Mapping[tuple[str, str], Sequence[float]]]) -> Iterator[Result]:
    """Lines of one set, or of the sums over several."""
    for student in dict.fromkeys(who for _, who in sets[0]):
        data = f"{name}/{student}"
        best = [find_hindsight(scores, student) for scores in sets]
        n = len(sets[0][REAL, student])
        if len(sets) == 1:
            for (arm, who), values in sets[0].items():
                if who == student:
                    low, high = interval(resample_means(values))
                    extra = {"draws": [round(value, 5) for value in values]}
                    yield Result(
                        "pool_ways", data, arm, "macro_f1", float(np.mean(values)), low, high, n, extra=extra
                    )
                    if arm == best[0]:
                        yield Result(
                            "pool_ways",
                            data,
                            _HINDSIGHT,
                            "macro_f1",
                            float(np.mean(values)),
                            low,
                            high,
                            n,
                            extra={"way": arm},
                        )
        for ending, bases in (("", ["chosen"] * len(sets)), (f"_{_HINDSIGHT}", best)):
            for arm in ADOPTING:
                yield _compare(data, student, arm, ending, list(zip(sets, bases, strict=True)))


def _compare(
    data: str,
    student: str,
    arm: str,
    ending: str,
    parts: Sequence[tuple[Mapping[tuple[str, str], Sequence[float]], str]],
) -> Result:
    """The gap to real data that an arm closes: sum of gains by sum of gaps."""
    sums: dict[str, float] = {}
    drawn: dict[str, Floats] = {}
    for other in (arm, REAL):
        gains = [np.subtract(scores[other, student], scores[base, student]) for scores, base in parts]
        sums[other] = float(sum(gain.mean() for gain in gains))
        drawn[other] = np.sum(
            [resample_means(gain.tolist(), seed=place) for place, gain in enumerate(gains)], axis=0
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.divide(sums[arm], sums[REAL]))
        low, high = interval(drawn[arm] / drawn[REAL])
    extra = {"gain_points": round(100 * sums[arm], 2), "gap_points": round(100 * sums[REAL], 2)}
    n = len(parts[0][0][REAL, student])
    return Result("pool_ways", data, arm, f"gap_closed_ratio{ending}", ratio, low, high, n, extra=extra)
