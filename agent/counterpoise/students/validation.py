"""What every arm is worth: on inner validation before a token is spent, and on the sealed rows once, at the end.

Inner validation is cross-validation over near-duplicate groups of the training rows: with fifteen rows of a label
a single validation part would hold three. The held-out table repeats every arm over seeds; a seed draws which nine
tenths of the training rows are used and what the arm itself draws. Intervals resample seeds and test rows, the same
draws for all arms, so differences are paired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.core.splits import keyed_hash, sample_by_rank
from counterpoise.students.metrics import (
    METRICS,
    compute_auroc,
    compute_drawn_aurocs,
    compute_drawn_macro_f1s,
    compute_macro_f1,
    draw_counts,
)
from counterpoise.students.training import Tell, Training, run_trainings
from counterpoise.students.treatments import STUDENTS, ZERO_TOKEN_ARMS, Rows, list_students

N_SEEDS = 5
KEPT_RATIO = 0.9
MOST_VALIDATION_ROWS = 5_000
MOST_TRAINING_ROWS = 20_000
_FEWEST_OF_A_LABEL = 50
_N_RESAMPLES = 300
_MOST_CELLS = 3_000_000  # scores ranked in all resamples of one arm


@dataclass(frozen=True, slots=True)
class ArmScore:
    """An arm with one student: both metrics, 0 to 1."""

    arm: str
    student: str
    macro_f1: float
    auroc: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its 95% interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class HeldOutScore:
    """An arm with one student on the sealed rows, and its paired difference to the baseline arm."""

    arm: str
    student: str
    values: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]


def score_arms(
    train: Rows,
    folds: Integers,
    n_labels: int,
    arms: Sequence[str] = ZERO_TOKEN_ARMS,
    parents: Floats | None = None,
    tell: Tell | None = None,
) -> list[ArmScore]:
    """Cross-validated scores of arms on the user's own rows; macro-F1 with the labels equalised.

    Args:
        train: rows; those that are not the user's own are trained on, never scored.
        folds: (n,) fold of each own row; an added row has -1, or is left out of every fold that `parents` marks.
        n_labels: k.
        arms: names of `students.ARMS`.
        parents: (n, n_folds) where 1 marks that a row was made from rows of that fold, which it must not help
            to judge; None where there are no added rows.
        tell: told how many trainings are done where they take long.

    Returns:
        One score for every arm and student, in the order of `arms` and `STUDENTS`.
    """
    own = np.flatnonzero(train.original)
    truth = train.labels[own]
    tables: dict[tuple[str, str], Floats] = {}
    trainings: list[Training] = []
    for student in STUDENTS:
        mine = tuple(arm for arm in arms if student in list_students(arm))
        for arm in mine:
            tables[arm, student] = np.zeros((len(train), n_labels))
        for fold in np.unique(folds[own]) if mine else ():
            outside = train.original & (folds == fold)
            inside = ~outside
            if parents is not None:
                inside &= parents[:, fold] == 0
            trainings.append(Training(mine, student, train, inside, train, outside, n_labels, int(fold)))
    for training, predicted in zip(trainings, run_trainings(trainings, tell), strict=True):
        for arm, scores in predicted.items():
            tables[arm, training.student][training.scored] = scores
    return [
        _score_arm(arm, student, tables[arm, student][own], truth, n_labels)
        for arm in arms
        for student in list_students(arm)
    ]


def _score_arm(arm: str, student: str, scored: Floats, truth: Integers, n_labels: int) -> ArmScore:
    return ArmScore(
        arm,
        student,
        compute_macro_f1(scored.argmax(axis=1), truth, n_labels, equalise=True),
        compute_auroc(softmax(scored, axis=1) if n_labels > 2 else scored, truth),
    )


def draw_rows(ids: Objects, labels: Integers, most: int) -> Integers:
    """Positions of at most `most` rows by keyed hash, in order, and of the first fifty of every label besides.

    The arms are compared on these: a hundred thousand rows would say the same, hours later.

    Args:
        ids: (n,) ids of the rows.
        labels: (n,) label indices.
        most: rows wanted; all of them where there are fewer.
    """
    if len(ids) <= most:
        return np.arange(len(ids))
    parts = [sample_by_rank(ids, most, "measured")]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        parts.append(members[sample_by_rank(ids[members], _FEWEST_OF_A_LABEL, "measured")])
    return np.unique(np.concatenate(parts))


def choose_best(
    scores: Sequence[ArmScore], metric: str, arms: Sequence[str] = ZERO_TOKEN_ARMS
) -> dict[str, str]:
    """For each student the arm with the highest `metric`; the earlier one of equals."""
    best = {}
    for student in STUDENTS:
        mine = [score for score in scores if score.student == student and score.arm in arms]
        best[student] = max(
            mine, key=lambda score: (round(getattr(score, metric), 9), -arms.index(score.arm))
        ).arm
    return best


def estimate_auroc_error(auroc: float, counts: Integers) -> float:
    """Standard error of an AUROC, one against the rest, mean over the labels (Hanley and McNeil, 1982).

    Args:
        auroc: 0 to 1.
        counts: (k,) rows of each label.
    """
    present = counts[counts > 0].astype(np.float64)
    if len(present) < 2:
        return 0.0
    own = present[:1] if len(present) == 2 else present
    rest = present.sum() - own
    of_own, of_rest = auroc / (2 - auroc) - auroc**2, 2 * auroc**2 / (1 + auroc) - auroc**2
    variances = (auroc * (1 - auroc) + (own - 1) * of_own + (rest - 1) * of_rest) / (own * rest)
    return float(np.sqrt(variances.sum()) / len(own))


def estimate_f1_error(macro_f1: float, counts: Integers) -> float:
    """Standard error of a macro-F1 with the labels equalised, as if each label's F1 were a share of its rows.

    Args:
        macro_f1: 0 to 1.
        counts: (k,) rows of each label.
    """
    present = counts[counts > 0]
    return float(np.sqrt((macro_f1 * (1 - macro_f1) / present).sum()) / len(present))


def choose_own_ways(scores: Sequence[ArmScore], counts: Integers) -> dict[str, str]:
    """For each student how it uses added rows: with the zero-shot prior unless that evidently harms.

    Chosen on inner validation, by what the prior does to logit adjustment without added rows: descriptions such as
    `0` and `1` say nothing and only add noise. A dozen rows of a label cannot tell a small harm from chance, so the
    prior goes where it costs more than one standard error, in AUROC or in macro-F1 (with many labels nearly every
    AUROC is close to 1, and it is macro-F1 that shows the harm).

    Args:
        scores: the simple ways on inner validation.
        counts: (k,) rows of each label.
    """
    by_name = {(score.arm, score.student): score for score in scores}
    chosen = {}
    for student in STUDENTS:
        plain, prior = by_name["logit_adjustment", student], by_name.get(("zero_shot_prior", student))
        helps = (
            prior is not None
            and prior.auroc >= plain.auroc - estimate_auroc_error(plain.auroc, counts)
            and prior.macro_f1 >= plain.macro_f1 - estimate_f1_error(plain.macro_f1, counts)
        )
        chosen[student] = "added_rows_prior" if helps else "added_rows"
    return chosen


def recommend(
    scores: Sequence[ArmScore], mine: Sequence[ArmScore], metric: str, counts: Integers
) -> dict[str, str]:
    """For each student the mixture of own and added rows, unless it evidently ranks worse than a simple way.

    Whether rows carry information is asked of the AUROC, which needs no threshold: macro-F1 on a dozen rows of a
    label is mostly noise of the threshold. The mixture is judged on fewer of the added rows than there are (those
    made from a fold cannot judge it), and half of it is a simple way; so it is given the benefit of one standard
    error (the rule of Breiman et al., 1984, Classification and regression trees). Among simple ways `metric` decides,
    by the same rule: logit adjustment unless another is better by more than one standard error.

    Args:
        scores: the simple ways on inner validation.
        mine: the mixture, at most one score a student; its arm is a name of `students.MIXTURES`.
        metric: what simple ways are chosen by.
        counts: (k,) rows of each label.
    """
    chosen = choose_best(scores, metric)
    value = {(score.arm, score.student): getattr(score, metric) for score in scores}
    estimate_error = estimate_f1_error if metric == "macro_f1" else estimate_auroc_error
    for student, arm in chosen.items():
        plain = value["logit_adjustment", student]
        if value[arm, student] <= plain + estimate_error(plain, counts):
            chosen[student] = "logit_adjustment"
    for score in mine:
        best = max(other.auroc for other in scores if other.student == score.student)
        if score.auroc >= best - estimate_auroc_error(best, counts):
            chosen[score.student] = score.arm
    return chosen


def score_held_out(
    trains: Mapping[str, Rows],
    groups: Mapping[str, NDArray[np.object_]],
    test: Rows,
    n_labels: int,
    baseline: Mapping[str, Mapping[str, str]],
    ways: Mapping[str, Mapping[str, str]] | None = None,
    n_seeds: int = N_SEEDS,
    tell: Tell | None = None,
) -> list[HeldOutScore]:
    """The held-out table.

    Args:
        trains: arm -> the rows it is trained on.
        groups: arm -> (n,) group names of these rows; groups are drawn whole.
        test: the sealed rows.
        n_labels: k.
        baseline: metric -> student -> arm that differences are taken from.
        ways: arm -> student -> name of `students.ARMS`, where that is not the arm's own.
        n_seeds: repetitions, 2 or more.
        tell: told how many trainings are done where they take long.

    Returns:
        One row for every arm and student.
    """
    trainings: list[Training] = []
    trained: list[dict[str, str]] = []
    everything = np.ones(len(test), dtype=np.bool_)
    for arms in _list_sharing(trains, groups):
        train, names = trains[arms[0]], groups[arms[0]]
        masks = [_keep_rare(_draw_groups(names, seed), train) for seed in range(n_seeds)]
        for student in STUDENTS:
            mine = {
                arm: (ways or {}).get(arm, {}).get(student, arm)
                for arm in arms
                if student in list_students(arm)
            }
            unique = tuple(dict.fromkeys(mine.values()))
            for seed, mask in enumerate(masks):
                trained.append(mine)
                trainings.append(Training(unique, student, train, mask, test, everything, n_labels, seed))
    drawn: dict[tuple[str, str], list[Floats]] = {}
    for training, mine, predicted in zip(trainings, trained, run_trainings(trainings, tell), strict=True):
        for arm, way in mine.items():
            drawn.setdefault((arm, training.student), []).append(predicted[way])
    scores = {key: np.stack(tables) for key, tables in drawn.items()}
    scores = {(arm, student): scores[arm, student] for arm in trains for student in list_students(arm)}
    return _compare(scores, test.labels, n_labels, baseline, n_seeds)


def _list_sharing(trains: Mapping[str, Rows], groups: Mapping[str, NDArray[np.object_]]) -> list[list[str]]:
    """The arms in lists; those of a list have the same training rows, whose features are then made once."""
    lists: dict[tuple[int, int], list[str]] = {}
    for arm, train in trains.items():
        lists.setdefault((id(train), id(groups[arm])), []).append(arm)
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
    draws: dict[tuple[str, str], dict[str, Floats]] = {}
    for name, table in scores.items():
        comparable = softmax(table, axis=2) if n_labels > 2 else table
        answers = table.argmax(axis=2)
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
        table_rows.append(HeldOutScore(arm, student, values, differences))
    return table_rows


def _average_drawn(seeds: Integers, scores: Floats) -> Floats:
    """(d,) means over the seeds that each resample drew.

    Args:
        seeds: (d, s) drawn seeds, with repetition.
        scores: (s, d) of every seed on the rows of every resample.
    """
    return np.asarray(np.take_along_axis(scores.T, seeds, axis=1).mean(axis=1))


def _estimate(mean: float, draws: Floats) -> Estimate:
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(mean, float(low), float(high))
