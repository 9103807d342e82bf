"""What every arm is worth on the sealed rows, scored once, at the end.

The held-out table repeats every arm over seeds; a seed draws which nine tenths of the training rows are used and what
the treatment itself draws. Intervals resample seeds and test rows, the same draws for all arms, so differences are
paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import keyed_hash
from counterpoise.students.base import Student, Treatment
from counterpoise.students.metrics import (
    METRICS,
    compute_auroc,
    compute_drawn_aurocs,
    compute_drawn_macro_f1s,
    compute_macro_f1,
    draw_counts,
)
from counterpoise.students.rows import Rows
from counterpoise.students.training import Tell, Training, run_trainings

N_SEEDS = 5
KEPT_RATIO = 0.9
_MOST_CELLS = 3_000_000  # scores ranked in all resamples of one arm
_N_RESAMPLES = 300


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Arm:
    """One line of the held-out table: the rows that students are trained on, and in which way.

    Args:
        name: how the table calls it.
        train: the rows.
        groups: (n,) group names of these rows; groups are drawn whole.
        ways: student -> how it is trained; a student that is not among them has no such line.
    """

    name: str
    train: Rows
    groups: NDArray[np.object_]
    ways: Mapping[str, Treatment]


@dataclass(frozen=True, slots=True)
class HeldOutScore:
    """An arm with one student on the sealed rows, and its paired difference to the baseline arm.

    Args:
        arm: of the table.
        student: who was trained.
        values: metric -> its mean.
        differences: metric -> the difference to the baseline arm.
        answers: (n_seeds, n) label indices given to the sealed rows.
    """

    arm: str
    student: str
    values: Mapping[str, MeanInterval]
    differences: Mapping[str, MeanInterval]
    answers: Integers = field(default_factory=lambda: np.empty((0, 0), np.int64), compare=False, repr=False)


def score_held_out(
    arms: Sequence[Arm],
    students: Sequence[Student],
    test: Rows,
    n_labels: int,
    baseline: Mapping[str, Mapping[str, str]],
    n_seeds: int = N_SEEDS,
    tell: Tell | None = None,
    pool: Rows | None = None,
) -> list[HeldOutScore]:
    """The held-out table.

    Args:
        arms: its lines.
        students: who is trained.
        test: the sealed rows.
        n_labels: k.
        baseline: metric -> student -> name of the arm that differences are taken from.
        n_seeds: repetitions, 2 or more.
        tell: told how many trainings are done where they take long.
        pool: unlabelled rows, for treatments that use them.

    Returns:
        One row for every arm and each of its students.
    """
    trainings: list[Training] = []
    trained: list[dict[str, str]] = []
    everything = np.ones(len(test), dtype=np.bool_)
    for sharing in _list_sharing(arms):
        train, names = sharing[0].train, sharing[0].groups
        masks = [_keep_rare(_draw_groups(names, seed), train) for seed in range(n_seeds)]
        for student in students:
            mine = {arm.name: arm.ways[student.name] for arm in sharing if student.name in arm.ways}
            unique = tuple({way.name: way for way in mine.values()}.values())
            for seed, mask in enumerate(masks):
                trained.append({arm: way.name for arm, way in mine.items()})
                trainings.append(
                    Training(unique, student, train, mask, test, everything, n_labels, seed, pool)
                )
    drawn: dict[tuple[str, str], list[Floats]] = {}
    for training, named, predicted in zip(trainings, trained, run_trainings(trainings, tell), strict=True):
        for arm, name in named.items():
            drawn.setdefault((arm, training.student.name), []).append(predicted[name])
    scores = {
        (arm.name, student.name): np.stack(drawn[arm.name, student.name])
        for arm in arms
        for student in students
        if student.name in arm.ways
    }
    return _compare(scores, test.labels, n_labels, baseline, n_seeds)


def _list_sharing(arms: Sequence[Arm]) -> list[list[Arm]]:
    """The arms in lists; those of a list have the same training rows, whose features are then made once."""
    lists: dict[tuple[int, int], list[Arm]] = {}
    for arm in arms:
        lists.setdefault((id(arm.train), id(arm.groups)), []).append(arm)
    return list(lists.values())


def _draw_groups(groups: NDArray[np.object_], seed: int) -> NDArray[np.bool_]:
    """(n,) the rows of nine tenths of the groups."""
    limit = int(KEPT_RATIO * 2**64)
    return np.fromiter(
        (keyed_hash(f"seed {seed}", str(group)) < limit for group in groups), np.bool_, len(groups)
    )


def _keep_rare(mask: NDArray[np.bool_], train: Rows) -> NDArray[np.bool_]:
    """The drawn rows; a label of which none was drawn keeps all of its rows."""
    kept = mask.copy()
    for label in np.unique(train.labels):
        members = train.labels == label
        if not kept[members & train.original].any():
            kept |= members
    return kept


def _compare(
    scores: Mapping[tuple[str, str], Floats],
    truth: Integers,
    n_labels: int,
    baseline: Mapping[str, Mapping[str, str]],
    n_seeds: int,
) -> list[HeldOutScore]:
    n = len(truth)
    per_draw = n * n_labels if n_labels > 2 else n
    n_draws = int(np.clip(_MOST_CELLS // max(1, per_draw), 40, _N_RESAMPLES))
    generator = np.random.default_rng(20)
    seeds = generator.integers(0, n_seeds, size=(n_draws, n_seeds))
    counts = draw_counts(truth, n_draws, generator)
    means: dict[tuple[str, str], dict[str, float]] = {}
    given: dict[tuple[str, str], Integers] = {}
    draws: dict[tuple[str, str], dict[str, Floats]] = {}
    for name, table in scores.items():
        comparable = softmax(table, axis=2) if n_labels > 2 else table
        answers = given[name] = table.argmax(axis=2)
        means[name] = {
            "macro_f1": float(np.mean([compute_macro_f1(row, truth, n_labels) for row in answers])),
            "auroc": float(np.mean([compute_auroc(row, truth) for row in comparable])),
        }
        draws[name] = {
            "macro_f1": _average_drawn(
                seeds,
                np.stack([compute_drawn_macro_f1s(row, truth, n_labels, counts) for row in answers]),
            ),
            "auroc": _average_drawn(
                seeds, np.stack([compute_drawn_aurocs(row, truth, counts) for row in comparable])
            ),
        }
    table_rows = []
    for name in scores:
        arm, student = name
        values, differences = {}, {}
        for metric in METRICS:
            values[metric] = _estimate(means[name][metric], draws[name][metric])
            base = (baseline[metric][student], student)
            differences[metric] = _estimate(
                means[name][metric] - means[base][metric], draws[name][metric] - draws[base][metric]
            )
        table_rows.append(HeldOutScore(arm, student, values, differences, given[name]))
    return table_rows


def _average_drawn(seeds: Integers, scores: Floats) -> Floats:
    """(d,) means over the seeds that each resample drew.

    Args:
        seeds: (d, s) drawn seeds, with repetition.
        scores: (s, d) of every seed on the rows of every resample.
    """
    return np.asarray(np.take_along_axis(scores.T, seeds, axis=1).mean(axis=1))


def _estimate(mean: float, draws: Floats) -> MeanInterval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return MeanInterval(mean, float(low), float(high))
