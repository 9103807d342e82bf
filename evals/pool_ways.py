"""Ways that look at the pool and cost no token, and what adopting its rows adds to them.

Skewed data sets are drawn as in `simple_ways` (15 rows of each rare label) with a pool of unlabelled rows; both
students are scored in macro-F1 on the test rows:

- every way of the default list, and every registered one that looks at the pool;
- `chosen`: what the product chooses of the default list on inner validation, with the evidence of other sets only;
  `chosen_blind`: the same without the ways that look at the pool;
- `adopted`: rows of the pool adopted for the rare labels as a run adopts them, added up with what the way that is
  chosen (by the table of evidence that ships, less the set and its kin) says, in tuned shares, as it recommends;
  `adopted_pool`: the way `labelled_pool` on own and adopted rows alike, and the rest of the pool;
- `real_data`: real rows of the rare labels until they are even; `answered_pool`: every row of the pool with its true
  label. Both with logit adjustment.

`gain_points` is what an arm has over the best simple way, `gap_closed_ratio` that by what `real_data` has over it,
where it has more (`extra`: `gap_points`); the best one is `chosen`, and with `_hindsight` the single way that is best
in the mean over the draws of a set. Lines of `all` are of sums over the sets. Intervals resample draws within sets.

Parts `NAME@5` and `NAME@50` have another number of rare rows, and the two ways that the table of evidence needs alone.

    python -m evals pool_ways --data DIR [--only cebab] [--only cebab@50] [--seeds 5]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.records import UNLABELLED, Integers, Records
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.added_ways import find_mixture
from counterpoise.students.base import Student, Treatment
from counterpoise.students.evidence import Evidence, parse_evidence, read_shipped
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.metrics import compute_macro_f1
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import BASELINE, TREATMENTS
from counterpoise.students.validation import ArmScore, choose_best, score_predictions
from counterpoise_retrievers.encoders import Encoder
from evals.asked import adopt
from evals.common import Floats, Result, Settings, interval, resample_means
from evals.further_sets import SETS, list_kin
from evals.minority_text import N_RARE, Corpus, divide_draw, find_best, open_encoder
from evals.simple_ways import Draw, list_ways, make_draw, train_all

SETS_WITH_POOL = ("cebab", "davidson_hate", "sms_spam", "clinc150", "gpt_written_tweets", "noisy_ag_news")
N_SEEDS = 5
OTHER_SIZES = (5, 50)
REAL = "real_data"
CHOICES = ("chosen", "chosen_blind")
ADOPTING = ("adopted", "adopted_pool")
POOL_WAY = TREATMENTS.find("labelled_pool")
OTHERS = (*CHOICES, *ADOPTING, REAL, "answered_pool")
_HINDSIGHT = "hindsight"

Scores = dict[tuple[str, str], list[float]]
"""(arm, student) -> macro-F1 of every draw."""


@dataclass(frozen=True)
class Measured:
    """One draw.

    Args:
        inner: inner validation of the default list.
        scores: (arm, student) -> macro-F1 on the test rows.
        counts: (k,) own rows of each label.
    """

    inner: tuple[ArmScore, ...]
    scores: dict[tuple[str, str], float]
    counts: Integers


def run(settings: Settings) -> Iterator[Result]:
    """All parts, or those named with `--only`."""
    encoder = open_encoder()
    measured: dict[str, list[Measured]] = {}
    n_seeds = 1 if settings.quick else settings.seeds or N_SEEDS
    parts = settings.only or (SETS_WITH_POOL[:2] if settings.quick else list_parts())
    for part in parts:
        name, _, size = part.partition("@")
        corpus = SETS[name](settings.data)
        drawn: dict[tuple[str, str], list[float]] = {}
        for seed in range(n_seeds):
            if size:
                for key, value in run_size(replace(corpus, n_rare=int(size)), encoder, seed).items():
                    drawn.setdefault(key, []).append(value)
            else:
                measured.setdefault(name, []).append(run_draw(corpus, encoder, seed))
            print(f"{part}: draw {seed + 1}", file=sys.stderr, flush=True)
        for (arm, who), values in drawn.items():
            yield _make_line(f"{part}/{who}", arm, values)
    yield from describe(measured)


def list_parts() -> list[str]:
    """Every set, then every set with other numbers of rare rows."""
    return [*SETS_WITH_POOL, *(f"{name}@{size}" for name in SETS_WITH_POOL for size in OTHER_SIZES)]


def run_size(corpus: Corpus, encoder: Encoder, seed: int) -> dict[tuple[str, str], float]:
    """The baseline and `labelled_pool` on the test rows of one draw."""
    draw = make_draw(corpus, encoder, seed, with_pool=True)
    found: dict[tuple[str, str], float] = {}
    with threadpool_limits(1):
        for student in choose_students(("default",), "minilm"):
            tables = predict_by_treatments(
                [BASELINE, POOL_WAY], student, draw.own, draw.test, draw.n_labels, seed, pool=draw.pool
            )
            found |= {(way, student.name): _score(table, draw) for way, table in tables.items()}
    return found


def describe(measured: Mapping[str, Sequence[Measured]]) -> Iterator[Result]:
    """The lines of some sets and of their sums, once a way is chosen in every draw."""
    found: dict[str, Scores] = {}
    for name, draws in measured.items():
        evidence = make_evidence(measured, name)
        for draw in draws:
            for key, value in (draw.scores | choose(draw, evidence)).items():
                found.setdefault(name, {}).setdefault(key, []).append(value)
        yield from summarise(name, [found[name]])
    yield from summarise("all", list(found.values())) if len(found) > 1 else ()


def run_draw(corpus: Corpus, encoder: Encoder, seed: int) -> Measured:
    """One draw, before a way is chosen."""
    draw, students = make_draw(corpus, encoder, seed, with_pool=True), choose_students(("default",), "minilm")
    ways = list_ways(with_pool=True)
    usual = [way for way in ways if way.name in TREATMENTS.defaults]
    tables = train_all(draw, students, usual, seed)
    found = {key: _score(table, draw) for key, table in tables.outer.items()}
    said = score_predictions(tables.inner, draw.own.labels, draw.n_labels)
    counts = np.bincount(draw.own.labels, minlength=draw.n_labels)
    evidence = parse_evidence(read_shipped(), list_kin(corpus.name))
    simple = choose_best(said, "macro_f1", usual, counts, evidence)
    extra = _encode(divide_draw(corpus, seed)[1], corpus, encoder)
    adopted, rest = divide_pool(draw, corpus, seed)
    whole = _join(draw.own, adopted)
    is_own = np.arange(len(whole)) < len(draw.own)
    with threadpool_limits(1):
        for student in students:

            def add(arm: str, way: Treatment, rows: Rows, pool: Rows | None, who: Student = student) -> None:
                table = predict_by_treatments([way], who, rows, draw.test, draw.n_labels, seed, pool=pool)
                found[arm, who.name] = _score(table[way.name], draw)

            for way in ways:
                if way.uses_pool and way not in usual and way.suits(student):
                    add(way.name, way, draw.own, draw.pool)
            mixed = find_mixture(student, simple[student.name])
            add("adopted", mixed, replace(whole, original=is_own), draw.pool if mixed.uses_pool else None)
            add("adopted_pool", POOL_WAY, whole, rest)
            add(REAL, BASELINE, _join(draw.own, extra), None)
            add("answered_pool", BASELINE, _join(draw.own, _pool_of(draw)), None)
    return Measured(tuple(said), found, counts)


def make_evidence(measured: Mapping[str, Sequence[Measured]], name: str) -> Evidence:
    """The table that ships less a set and its kin; of ways that see the pool the gains on the others of this run."""
    kin = list_kin(name)
    others = {other: draws for other, draws in measured.items() if other not in kin}
    if not others:
        return parse_evidence(read_shipped(), kin)
    kept = [
        line
        for line in read_shipped().splitlines()
        if line.split(",")[3] not in TREATMENTS.names or not TREATMENTS.find(line.split(",")[3]).uses_pool
    ]
    lines = [
        f"{other},{who.partition(':')[0]},{N_RARE},{way},{100 * gain:.2f}"
        for other, draws in others.items()
        for (way, who), gain in list_gains(draws)
    ]
    return parse_evidence("\n".join([*kept, *lines]), kin)


def list_gains(draws: Sequence[Measured]) -> Iterator[tuple[tuple[str, str], float]]:
    """Of each default way that sees the pool, and student, the mean gain over the baseline."""
    for way, who in draws[0].scores:
        if way in TREATMENTS.defaults and TREATMENTS.find(way).uses_pool:
            gains = [draw.scores[way, who] - draw.scores[BASELINE.name, who] for draw in draws]
            yield (way, who), float(np.mean(gains))


def choose(draw: Measured, evidence: Evidence) -> dict[tuple[str, str], float]:
    """What is chosen of the default list, and of those of it that do not see the pool."""
    ways = [TREATMENTS.find(name) for name in dict.fromkeys(score.arm for score in draw.inner)]
    lists = (ways, [way for way in ways if not way.uses_pool])
    found = {}
    for arm, mine in zip(CHOICES, lists, strict=True):
        for who, way in choose_best(draw.inner, "macro_f1", mine, draw.counts, evidence).items():
            found[arm, who] = draw.scores[way.name, who]
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
        if len(sets) == 1:
            for (arm, who), values in sets[0].items():
                if who == student:
                    yield _make_line(data, arm, values, draws=[round(value, 5) for value in values])
                    if arm == best[0]:
                        yield _make_line(data, _HINDSIGHT, values, way=arm)
        for ending, bases in (("", ["chosen"] * len(sets)), (f"_{_HINDSIGHT}", best)):
            for arm in ADOPTING:
                yield from _compare(data, student, arm, ending, list(zip(sets, bases, strict=True)))


def _make_line(data: str, arm: str, values: Sequence[float], **extra: object) -> Result:
    low, high = interval(resample_means(values))
    mean = float(np.mean(values))
    return Result("pool_ways", data, arm, "macro_f1", mean, low, high, len(values), extra=extra)


def _compare(
    data: str,
    student: str,
    arm: str,
    ending: str,
    parts: Sequence[tuple[Mapping[tuple[str, str], Sequence[float]], str]],
) -> Iterator[Result]:
    """What an arm gains, and the share that this is of the gap to real data, where there is a gap."""
    n = len(parts[0][0][REAL, student])
    sums: dict[str, float] = {}
    drawn: dict[str, Floats] = {}
    for other in (arm, REAL):
        gains = [np.subtract(scores[other, student], scores[base, student]) for scores, base in parts]
        sums[other] = 100 * float(sum(gain.mean() for gain in gains))
        parts_drawn = [resample_means(gain.tolist(), seed=place) for place, gain in enumerate(gains)]
        drawn[other] = 100 * np.sum(parts_drawn, axis=0)
    extra = {"gap_points": round(sums[REAL], 2)}
    low, high = interval(drawn[arm])
    yield Result("pool_ways", data, arm, f"gain_points{ending}", sums[arm], low, high, n, "points", extra)
    if sums[REAL] > 0:
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = interval(drawn[arm] / np.where(drawn[REAL] > 0, drawn[REAL], np.nan))
        ratio = sums[arm] / sums[REAL]
        yield Result("pool_ways", data, arm, f"gap_closed_ratio{ending}", ratio, low, high, n, extra=extra)
