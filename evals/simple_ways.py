"""Ways without a token: what each gives with few rows, and how good the one is that the product chooses of them.

Skewed data sets are drawn as in `minority_text` (15 rows of each rare label, `NAME@5` another number); every
registered way trains both students and is scored on the test rows. What is chosen sees inner validation only:

- `chosen`: what the product chooses of its default list. The evidence of other data sets that its choice begins with
  is that of the other sets of the same run, without those that are kin (`further_sets.KIN`); of the table that ships,
  less the set and its kin, where fewer than six others took part;
- `chosen_all`: the same of all registered ways;
- `no_evidence`: of the default list without evidence;
- `before`: of the first eight ways the one with the highest macro-F1, which is how it was chosen before;
- `hindsight`, `hindsight_before`: the single way of all, or of these eight, that is best in the mean over the draws.

`regret_points` is what a choice has less than `hindsight`, `over_logit_adjustment_points` what it has more than the
baseline, `over_before_points` more than `before`, in points of macro-F1. Lines of `all` are means over sets, sizes and
students, and `worst`: the largest regret of one, the largest loss to the baseline. Ways that look at a pool are in
`pool_ways`. Draws are kept in the cache folder: a stopped evaluation goes on, parts may run side by side.

    python -m evals simple_ways --data DIR [--only cebab] [--only sms_spam@5] [--seeds N] [--quick]
    python -m evals.evidence        # makes of its results the table that ships
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.special import softmax
from threadpoolctl import threadpool_limits

import counterpoise.students
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.files import write_whole
from counterpoise.core.label_lines import encode_lines
from counterpoise.core.records import Integers, Records
from counterpoise.core.splits import assign_folds
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.base import Student, Treatment
from counterpoise.students.evidence import FIELDS, NO_EVIDENCE, Evidence, parse_evidence, read_shipped
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.metrics import compute_auroc, compute_macro_f1
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import BASELINE, TREATMENTS
from counterpoise.students.validation import (
    ArmScore,
    choose_best,
    predict_out_of_fold,
    score_predictions,
)
from counterpoise.tasks.text.preparation import N_FOLDS
from counterpoise_retrievers.encoders import Encoder
from evals.common import Floats, Result, Settings, interval, resample_means
from evals.further_sets import SETS, list_kin
from evals.minority_text import N_RARE, Corpus, divide_draw, draw_pool, find_best, open_encoder

METRICS = ("macro_f1", "auroc")
CHOICES = ("chosen", "chosen_all", "no_evidence", "before")
WAYS_BEFORE = TREATMENTS.defaults[:8]
N_DRAWS = {N_RARE: 5, 5: 5, 50: 3}
"""Rows of a rare label -> draws."""
_FEWEST_SETS = 6
_CODE_OF_CHOICE = ("cell_choice", "evidence", "forecasts", "held_out", "recipe_code", "registry")
"""Files of students that say nothing of what a draw measures."""
_POINTS = ("regret_points", "over_logit_adjustment_points", "over_before_points")
Scores = dict[tuple[str, str, str], float]
"""(arm, student, metric) -> value on the test rows."""


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


@dataclass(frozen=True)
class Measured:
    """What a choice may know of a draw, and what it is judged by.

    Args:
        inner: every way with each student on inner validation.
        outer: the same on the test rows.
        counts: (k,) own rows of each label.
    """

    inner: tuple[ArmScore, ...]
    outer: Scores
    counts: Integers


def run(settings: Settings) -> Iterator[Result]:
    """All parts, or those named with `--only`."""
    measured = {
        part: measure_part(*part, settings) for part in list_parts(settings.only, quick=settings.quick)
    }
    found: dict[str, list[Scores]] = {}
    for (name, size), draws in measured.items():
        evidence = make_evidence(measured, name)
        data = name + (f"@{size}" if size != N_RARE else "")
        found[data] = [add_choices(draw, evidence) for draw in draws]
        yield from summarise(data, found[data])
    yield from summarise_all(found)


def list_parts(only: Sequence[str], *, quick: bool) -> list[tuple[str, int]]:
    """Data set and rows of a rare label of each part.

    >>> list_parts(["cebab@5", "sms_spam"], quick=False)
    [('cebab', 5), ('sms_spam', 15)]
    """
    if not only and not quick:
        return [(name, size) for size in N_DRAWS for name in SETS]
    parts = [wanted.partition("@") for wanted in only or ("cebab", "sms_spam")]
    return [(name, int(size or N_RARE)) for name, _, size in parts if name in SETS]


def measure_part(name: str, n_rare: int, settings: Settings) -> list[Measured]:
    """All draws of one part."""
    encoder, students = open_encoder(), choose_students(("default",), "minilm")
    corpus = replace(SETS[name](settings.data), n_rare=n_rare)
    ways, draws = list_ways(with_pool=False), []
    for seed in range(1 if settings.quick else settings.seeds or N_DRAWS.get(n_rare, min(N_DRAWS.values()))):
        draw = make_draw(corpus, encoder, seed, with_pool=False)
        place = find_cache_dir() / "evals" / "simple_ways" / f"{hash_draw(draw, ways)}.json"
        if not place.exists():
            tables = train_all(draw, students, ways, seed)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_whole(place, write_measured(score_draw(draw, tables)))
            print(f"{name}@{n_rare}: draw {seed + 1}", file=sys.stderr, flush=True)
        draws.append(read_measured(place.read_text(encoding="utf-8")))
    return draws


def hash_draw(draw: Draw, ways: Sequence[Treatment]) -> str:
    """Of everything that decides what is measured: the rows, the ways and the code of the students."""
    digest = hashlib.sha256(repr([way.name for way in ways]).encode())
    for rows in (draw.own, draw.test):
        digest.update(repr([*zip(rows.texts.tolist(), rows.labels.tolist(), strict=True)]).encode())
        digest.update(rows.zero_shot.tobytes())
    digest.update(draw.folds.tobytes())
    for path in sorted(Path(counterpoise.students.__file__).parent.glob("*.py")):
        if path.stem not in _CODE_OF_CHOICE:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def write_measured(measured: Measured) -> str:
    """One draw as JSON."""
    inner = [{**asdict(score), "drawn": score.drawn.round(6).tolist()} for score in measured.inner]
    outer = [[*key, value] for key, value in measured.outer.items()]
    return json.dumps({"inner": inner, "outer": outer, "counts": measured.counts.tolist()})


def read_measured(text: str) -> Measured:
    """The same read again."""
    kept = json.loads(text)
    inner = tuple(ArmScore(**{**one, "drawn": np.array(one["drawn"])}) for one in kept["inner"])
    outer = {(arm, student, metric): value for arm, student, metric, value in kept["outer"]}
    return Measured(inner, outer, np.array(kept["counts"]))


def make_evidence(measured: Mapping[tuple[str, int], Sequence[Measured]], name: str) -> Evidence:
    """What ways gave on the other sets of this run, or in the table that ships where these are few."""
    kin = list_kin(name)
    lines = [
        line
        for (other, size), draws in measured.items()
        if other not in kin
        for line in list_gains(other, size, draws)
    ]
    if len({line[0] for line in lines}) < _FEWEST_SETS:
        return parse_evidence(read_shipped(), kin)
    return parse_evidence("\n".join(",".join(map(str, line)) for line in (FIELDS, *lines)))


def list_gains(name: str, size: int, draws: Sequence[Measured]) -> Iterator[tuple[str, str, int, str, float]]:
    """Lines of a table of evidence: the default ways, in points over the baseline."""
    for way, student, metric in draws[0].outer:
        if metric == "macro_f1" and way in TREATMENTS.defaults:
            gains = [
                draw.outer[way, student, metric] - draw.outer[BASELINE.name, student, metric]
                for draw in draws
            ]
            yield name, student.partition(":")[0], size, way, round(100 * float(np.mean(gains)), 2)


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


def score_draw(draw: Draw, tables: Tables) -> Measured:
    """Both metrics of every way, on inner validation and on the test rows."""
    outer: Scores = {}
    for (way, who), table in tables.outer.items():
        ranks = softmax(table, axis=1) if draw.n_labels > 2 else table
        outer[way, who, "macro_f1"] = compute_macro_f1(table.argmax(axis=1), draw.test.labels, draw.n_labels)
        outer[way, who, "auroc"] = compute_auroc(ranks, draw.test.labels)
    inner = score_predictions(tables.inner, draw.own.labels, draw.n_labels)
    return Measured(tuple(inner), outer, np.bincount(draw.own.labels, minlength=draw.n_labels))


def add_choices(measured: Measured, evidence: Evidence) -> Scores:
    """The scores on the test rows, and beside those of the ways those of what is chosen of each list."""
    said, counts = measured.inner, measured.counts
    ways = [TREATMENTS.find(name) for name in dict.fromkeys(score.arm for score in said)]
    usual = [way for way in ways if way.name in TREATMENTS.defaults]
    chosen = {
        "chosen": choose_best(said, "macro_f1", usual, counts, evidence),
        "chosen_all": choose_best(said, "macro_f1", ways, counts, evidence),
        "no_evidence": choose_best(said, "macro_f1", usual, counts, NO_EVIDENCE),
    }
    scores = dict(measured.outer)
    for who in dict.fromkeys(score.student for score in said):
        old = [score for score in said if score.student == who and score.arm in WAYS_BEFORE]
        taken = {choice: best[who].name for choice, best in chosen.items()}
        taken["before"] = max(old, key=lambda score: score.macro_f1).arm
        for choice, way in taken.items():
            for metric in METRICS:
                scores[choice, who, metric] = scores[way, who, metric]
    return scores


def compare(draws: Sequence[Scores], student: str) -> dict[str, tuple[str, dict[str, Floats]]]:
    """By choice the best single way, and by figure what the choice has in points of each draw."""
    arms = {
        arm: np.array([draw[arm, who, metric] for draw in draws])
        for arm, who, metric in draws[0]
        if (who, metric) == (student, "macro_f1")
    }
    best = find_best(arms, [arm for arm in arms if arm not in CHOICES])
    figures = {
        choice: (
            100 * (arms[best] - arms[choice]),
            100 * (arms[choice] - arms[BASELINE.name]),
            100 * (arms[choice] - arms["before"]),
        )
        for choice in CHOICES
    }
    return {choice: (best, dict(zip(_POINTS, values, strict=True))) for choice, values in figures.items()}


def summarise(data: str, draws: Sequence[Scores]) -> Iterator[Result]:
    """Means over the draws of one part."""
    for student in dict.fromkeys(who for _, who, _ in draws[0]):
        name, compared = f"{data}/{student}", compare(draws, student)
        best = {"hindsight": compared[CHOICES[0]][0]}
        of_eight = {
            way: np.array([draw[way, student, "macro_f1"] for draw in draws])
            for way in WAYS_BEFORE
            if (way, student, "macro_f1") in draws[0]
        }
        best["hindsight_before"] = find_best(of_eight, list(of_eight))
        for arm, who, metric in draws[0]:
            if who == student:
                values = [draw[arm, who, metric] for draw in draws]
                yield _make_line(name, arm, metric, values)
                for hindsight, way in best.items():
                    if arm == way:
                        yield _make_line(name, hindsight, metric, values, way=way)
        for choice, (_, figures) in compared.items():
            for metric, points in figures.items():
                yield _make_line(name, choice, metric, points)


def summarise_all(found: Mapping[str, Sequence[Scores]]) -> Iterator[Result]:
    """Mean and worst over parts and students, and the same of the parts with 15 rows or fewer."""
    few = {data: draws for data, draws in found.items() if not data.endswith("@50")}
    for name, parts in {"all": found, "few_rows": few}.items():
        compared = [
            compare(draws, who)
            for draws in parts.values()
            for who in dict.fromkeys(key[1] for key in draws[0])
        ]
        for choice in CHOICES if compared else ():
            for metric in _POINTS:
                means = [float(one[choice][1][metric].mean()) for one in compared]
                worst = max(means) if metric == "regret_points" else min(means)
                yield _make_line(name, choice, metric, means)
                yield _make_line(f"{name}/worst", choice, metric, [worst])


def _make_line(data: str, arm: str, metric: str, values: Sequence[float] | Floats, way: str = "") -> Result:
    low, high = interval(resample_means(list(values)))
    extra = {"draws": [round(float(value), 5) for value in values]} | ({"way": way} if way else {})
    unit = "points" if metric.endswith("points") else "ratio"
    mean = float(np.mean(values))
    return Result("simple_ways", data, arm, metric, mean, low, high, len(values), unit, extra)
