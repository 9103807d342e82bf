"""What a run says that an added record is worth, against what the sealed rows say.

On draws of the bank (15 own rows of each rare label) a run would state, for each writer and student, how many real rows
one of its records stands for, with an interval (`students.worth`). What it is in truth the sealed rows say: the
log-loss of the mixture that the product recommends with the writer's records, read off the curve of the same mixture
with 5, 15, 45, 135 and all real rows in their place. Nothing is filtered.

- `worth`, `worth_sealed`: means over the draws, from 0 to 1;
- `covered_ratio`: how often the interval holds what the sealed rows say (wanted: 0.90 to 0.98);
- `width_median`: of the intervals;
- `rank_correlation` (`all`): Spearman's, over writers x sets x students.

CEBaB and text messages set the priors; the other sets judge.

    python -m evals worth [--only cebab] [--seeds 5]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax
from scipy.stats import spearmanr
from threadpoolctl import threadpool_limits

from counterpoise.core.records import Floats, Integers
from counterpoise.runs.worth import measure_origins
from counterpoise.students.added_ways import find_mixture
from counterpoise.students.base import Student, Treatment
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.rows import Rows
from counterpoise.students.source_folds import assign_own_folds, mark_made
from counterpoise.students.tuned_added import TunedAdded
from counterpoise.students.validation import choose_best, predict_out_of_fold
from counterpoise.students.worth import Worth
from evals.bank_sets import BANK_SETS
from evals.bank_store import REAL, Texts, read_bank
from evals.common import Result, Settings, interval, resample_means
from evals.kept_students import KeptWords
from evals.writers import Ground, prepare_ground

N_SEEDS = 5
SIZES = (5, 15, 45, 135)
_FLOOR = 9.2
"""Log-loss of a row at most, as that of the floor of the students' probabilities."""


@dataclass(frozen=True)
class Stated:
    """One writer with one student in one draw.

    Args:
        writer: its name.
        student: who was trained.
        n_records: of each rare label, in the mean.
        worth: what a run says; None where it cannot tell.
        taken: part of the log-loss on the sealed rows that the records take away.
    """

    writer: str
    student: str
    n_records: float
    worth: Worth | None
    taken: float


def run(settings: Settings) -> Iterator[Result]:
    """All sets, or those named with `--only`."""
    pairs: list[tuple[float, float]] = []
    covered: list[float] = []
    widths: list[float] = []
    for name in [part for part in settings.only if part in BANK_SETS] or BANK_SETS:
        bank, words, found = (
            read_bank(settings, name),
            KeptWords(),
            list[tuple[list[Stated], dict[str, list[Stated]]]](),
        )
        for seed in range(1 if settings.quick else settings.seeds or N_SEEDS):
            ground = prepare_ground(bank, bank.draw(seed), seed, words)
            found.append(measure_draw(ground))
            print(f"{name}: draw {seed + 1}", file=sys.stderr, flush=True)
        for result in describe(name, found):
            yield result
            if result.metric == "worth":
                pairs.append((result.value, float(result.extra["worth_sealed"])))
        for _, _, inside, width in judge(found):
            covered.append(inside)
            widths.append(width)
    if len(pairs) > 2:
        n = len(covered)
        yield Result(
            "worth",
            "all",
            "stated",
            "covered_ratio",
            float(np.mean(covered)),
            *interval(resample_means(covered)),
            n,
        )
        median = float(np.median(widths))
        yield Result(
            "worth",
            "all",
            "stated",
            "width_median",
            median,
            float(np.quantile(widths, 0.25)),
            float(np.quantile(widths, 0.75)),
            n,
        )
        ranks = _correlate(np.array(pairs))
        yield Result("worth", "all", "stated", "rank_correlation", ranks, *_resample_ranks(pairs), len(pairs))


def measure_draw(ground: Ground) -> tuple[list[Stated], dict[str, list[Stated]]]:
    """What is said of all writers, and by student what so many real rows take away."""
    bank, draw = ground.bank, ground.draw
    counts = np.bincount(draw.own.labels, minlength=draw.n_labels)
    simple = choose_best(ground.scores, "macro_f1", ground.ways, counts, ground.evidence)
    stated: list[Stated] = []
    curve: dict[str, list[Stated]] = {}
    with threadpool_limits(1):
        for student in ground.students:
            alone = _score_alone(ground, student, simple[student.name])
            for writer in bank.list_writers():
                texts = bank.buy(writer, draw)
                if len(texts):
                    stated.append(state(ground, student, simple[student.name], texts, alone))
            curve[student.name] = [one for one in stated if (one.writer, one.student) == (REAL, student.name)]
            curve[student.name] += [
                state(ground, student, simple[student.name], bank.buy(REAL, draw, size), alone)
                for size in SIZES
            ]
    return stated, curve


def state(ground: Ground, student: Student, simple: Treatment, texts: Texts, alone: float) -> Stated:
    """What a run says of some texts, and what the sealed rows say.

    Args:
        ground: the draw.
        student: who is trained.
        simple: the best way without added rows.
        texts: the added ones.
        alone: log-loss on the sealed rows without them.
    """
    bank, draw = ground.bank, ground.draw
    rows = bank.join(draw, texts)[0]
    folds, mixture = assign_own_folds(rows), find_mixture(student, simple)
    made, parts = mark_made(rows, folds), mixture.list_parts(student, rows)
    tables = predict_out_of_fold(rows, folds, draw.n_labels, [student], [*parts], made)
    said = {name: table[rows.original] for (name, _), table in tables.items()}
    worth = measure_origins(student, mixture, rows, [texts.writer] * len(texts), folds, made, said)[0].worth
    scores = predict_by_treatments([mixture], student, rows, draw.test, draw.n_labels, ground.seed)[
        mixture.name
    ]
    taken = 1 - _lose(scores, draw.test.labels) / alone
    return Stated(texts.writer, student.name, len(texts) / len(bank.rare), worth, taken)


def judge(
    found: Sequence[tuple[Sequence[Stated], dict[str, list[Stated]]]],
) -> Iterator[tuple[Stated, float, float, float]]:
    """Each statement with its truth, whether its interval holds it (1 or 0), and how wide that is."""
    for stated, _ in found:
        for one in stated:
            truth = find_truth(one, [point for _, curve in found for point in curve[one.student]])
            worth = one.worth or Worth(0.5, 0.0, 1.0)
            inside = worth.low - 1e-6 <= truth <= worth.high + 1e-6
            yield one, truth, float(inside), worth.high - worth.low


def find_truth(one: Stated, curve: Sequence[Stated]) -> float:
    """Real rows that a record stands for, read off what so many real rows take away in the mean over the draws."""
    if one.taken <= 0:
        return 0.0
    sizes = sorted({point.n_records for point in curve})
    means = [float(np.mean([point.taken for point in curve if point.n_records == size])) for size in sizes]
    rising = np.maximum.accumulate([0.0, *(max(mean, 1e-4) for mean in means)]) + 1e-9 * np.arange(
        len(means) + 1
    )
    if one.taken >= rising[-1]:
        return min(1.0, sizes[-1] / one.n_records)
    stands = np.expm1(np.interp(one.taken, rising, np.log1p([0.0, *sizes])))
    return min(1.0, float(stands) / one.n_records)


def describe(
    name: str, found: Sequence[tuple[Sequence[Stated], dict[str, list[Stated]]]]
) -> Iterator[Result]:
    """Lines of one set."""
    judged = list(judge(found))
    for student, writer in dict.fromkeys((one.student, one.writer) for one, *_ in judged):
        mine = [row for row in judged if (row[0].student, row[0].writer) == (student, writer)]
        values = [(row[0].worth or Worth(0.5, 0.0, 1.0)).value for row in mine]
        truths, data = [row[1] for row in mine], f"{name}/{student}"
        mean = float(np.mean(values))
        extra = {"worth_sealed": float(np.mean(truths))}
        yield Result(
            "worth", data, writer, "worth", mean, *interval(resample_means(values)), len(mine), extra=extra
        )
        inside = float(np.mean([row[2] for row in mine]))
        yield Result("worth", data, writer, "covered_ratio", inside, inside, inside, len(mine))


class _Alone(TunedAdded):
    """The mixture without its part of added rows."""

    uses_added = False

    def list_parts(self, student: Student, train: Rows) -> dict[Treatment, float]:
        """The parts that are left."""
        return TunedAdded(self.simple).list_parts_alone(student, train)


def _score_alone(ground: Ground, student: Student, simple: Treatment) -> float:
    """Log-loss on the sealed rows of the mixture without its part of added rows."""
    draw, way = ground.draw, _Alone(simple)
    scores = predict_by_treatments([way], student, draw.own, draw.test, draw.n_labels, ground.seed)
    return _lose(scores[way.name], draw.test.labels)


def _lose(scores: Floats, labels: Integers) -> float:
    """Log-loss, labels weighed alike."""
    losses = np.minimum(-log_softmax(scores, axis=1)[np.arange(len(labels)), labels], _FLOOR)
    return float(np.mean([losses[labels == label].mean() for label in np.unique(labels)]))


def _correlate(pairs: Floats) -> float:
    """Spearman's rank correlation of two columns."""
    return float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic)


def _resample_ranks(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    generator, column = np.random.default_rng(0), np.array(pairs)
    drawn = [_correlate(column[generator.integers(0, len(column), len(column))]) for _ in range(500)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return float(low), float(high)
