"""What more records are expected to be worth, before a token is spent.

How much did the last doubling of a thin label help? Half of its rows are left out of training and the loss is measured
on inner validation, with logit adjustment, the simple way that everything here is counted from. Errors of a classifier
fall about with the root of the number of rows (Hestness et al., 2017, find exponents of up to 0.5; Viering and Loog,
2023, survey where such curves fail), so the next rows are worth a known multiple of that loss. A record that is
adopted or written is not worth a real one: it counts as the share of one that evaluations found.

Ten rows make a rough forecast. It says in which data sets more records are worth trying, not the third digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.core.splits import sample_by_rank
from counterpoise.students.base import Student
from counterpoise.students.metrics import METRICS
from counterpoise.students.rows import Rows
from counterpoise.students.training import Tell
from counterpoise.students.treatments import BASELINE
from counterpoise.students.validation import ArmScore, score_arms

N_HALVES = 5
_FEWEST_ROWS = 4


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an action is expected to add to the baseline on even test rows.

    Args:
        action: name of the action; what is carried out before it counts too.
        student: who is trained.
        n_records: that would be added to the thin labels.
        macro_f1, auroc: gains, 0 or more, on scales of 0 to 1.
    """

    action: str
    student: str
    n_records: int
    macro_f1: float
    auroc: float


@dataclass(frozen=True, slots=True)
class ForecastRange:
    """How far a forecast can be believed.

    Args:
        student: who is trained.
        metric: a key of `METRICS`.
        low, high: the least and the largest gain that a draw of halves speaks for; None where one speaks for none.
    """

    student: str
    metric: str
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class ThinLoss:
    """What the last doubling of the thin labels was worth.

    Args:
        have: (k,) rows of each label in the data.
        losses: (student, metric) -> what the baseline loses without half of the rows of the thin labels.
        measured: (k,) rows of each label that this was measured on: fewer than it has, where that was a sample.
        draws: the same as `losses`, of each draw of halves.
    """

    have: Integers
    losses: Mapping[tuple[str, str], float]
    measured: Integers
    draws: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict)

    def find_factor(self, label: int, n_more: float) -> float:
        """Worth of so many rows more of a label, in units of the loss that was measured; see `compute_factor`.

        The errors that a sample shows are those of fewer rows, by the root of how many fewer.
        """
        n_rows, n_measured = int(self.have[label]), int(self.measured[label])
        return compute_factor(n_rows, n_more) * float(np.sqrt(n_measured / n_rows))


def measure_thin_loss(
    rows: Rows,
    ids: Objects,
    folds: Integers,
    n_labels: int,
    students: Sequence[Student],
    simple: Sequence[ArmScore],
    thin: Sequence[int],
    tell: Tell | None = None,
) -> ThinLoss | None:
    """Measure what half of the rows of some labels are worth.

    Args:
        rows: n rows, all of them the user's own.
        ids: (n,) their ids; halves are drawn by them.
        folds: (n,) their folds.
        n_labels: k.
        students: who is trained.
        simple: what the ways that cost no token have on the same rows and folds, the baseline among them.
        thin: label indices.
        tell: told how many halves are measured.

    Returns:
        None where a thin label has fewer than four rows, which cannot be halved, or there is none.
    """
    have = np.bincount(rows.labels, minlength=n_labels)
    if not len(thin) or have[list(thin)].min() < _FEWEST_ROWS:
        return None
    draws = _measure_losses(rows, ids, folds, n_labels, students, simple, thin, tell)
    return ThinLoss(have, {key: float(np.mean(mine)) for key, mine in draws.items()}, have, draws)


def forecast_gains(
    loss: ThinLoss, counts: Mapping[str, Mapping[int, int]], worth: Mapping[str, float]
) -> list[Forecast]:
    """Forecast what records are worth.

    Args:
        loss: what the last doubling of their labels was worth.
        counts: action -> label index -> records that it would add, in the order in which they are carried out.
        worth: action -> how many real rows one of its records is expected to be worth, 0 to 1.

    Returns:
        For each action with records and each student a forecast.
    """
    thin = list_filled(counts)
    effective = np.zeros(len(loss.have))
    n_records = 0
    forecasts = []
    for action, mine in counts.items():
        if not sum(mine.values()):
            continue
        for label, count in mine.items():
            effective[label] += worth[action] * count
            n_records += count
        factor = float(np.mean([loss.find_factor(label, float(effective[label])) for label in thin]))
        forecasts += [
            Forecast(
                action,
                student,
                n_records,
                *(max(0.0, factor * loss.losses[student, metric]) for metric in METRICS),
            )
            for student in dict.fromkeys(student for student, _ in loss.losses)
        ]
    return forecasts


def find_ranges(loss: ThinLoss, counts: Mapping[int, int]) -> list[ForecastRange]:
    """How far the forecast of some real rows can be believed, of each student and metric.

    Args:
        loss: what the last doubling of their labels was worth.
        counts: label index -> rows, one or more in all.
    """
    filled = [label for label, count in counts.items() if count]
    factor = float(np.mean([loss.find_factor(label, float(counts[label])) for label in filled]))
    return [
        ForecastRange(student, metric, factor * min(mine), factor * max(mine))
        if min(mine) > 0
        else ForecastRange(student, metric, None, None)
        for (student, metric), mine in loss.draws.items()
    ]


def list_filled(counts: Mapping[str, Mapping[int, int]]) -> list[int]:
    """The labels that would get records."""
    return sorted({label for mine in counts.values() for label, count in mine.items() if count})


def compute_factor(n_rows: int, n_more: float) -> float:
    """Worth of `n_more` rows beside `n_rows`, in units of what the last doubling was worth; at most 2.41.

    With errors that fall with the root of the rows this is (1 - sqrt(n / (n + m))) / (sqrt(2) - 1).

    >>> round(compute_factor(15, 15), 2), round(compute_factor(15, 1e9), 2)
    (0.71, 2.41)
    """
    return float((1 - np.sqrt(n_rows / (n_rows + n_more))) / (np.sqrt(2) - 1))


def leave_out_half(labels: Integers, ids: Objects, folds: Integers, thin: Iterable[int], draw: int) -> Floats:
    """Marks that take half of the rows of some labels from all training sets, as `validation.score_arms` takes them.

    A row that is left out everywhere is still scored in its own fold, so both sides answer the same rows.

    Args:
        labels: (n,) label indices.
        ids: (n,) what halves are drawn by.
        folds: (n,) of the rows.
        thin: the labels.
        draw: another number draws another half.

    Returns:
        (n, n_folds) of 0 and 1.
    """
    marks = np.zeros((len(labels), int(folds.max()) + 1))
    for label in thin:
        members = np.flatnonzero(labels == label)
        marks[members[sample_by_rank(ids[members], len(members) // 2, f"half {draw}")]] = 1
    return marks


def _measure_losses(
    rows: Rows,
    ids: Objects,
    folds: Integers,
    n_labels: int,
    students: Sequence[Student],
    simple: Sequence[ArmScore],
    thin: Sequence[int],
    tell: Tell | None,
) -> dict[tuple[str, str], tuple[float, ...]]:
    """What the baseline loses when half of the rows of the thin labels are taken from its training rows, five times."""
    whole = {score.student: score for score in simple if score.arm == BASELINE.name}
    halves = []
    for draw in range(N_HALVES):
        left_out = leave_out_half(rows.labels, ids, folds, thin, draw)
        scores = score_arms(rows, folds, n_labels, students, [BASELINE], left_out)
        halves.append({score.student: score for score in scores})
        if tell is not None:
            tell(draw + 1, N_HALVES)
    return {
        (student.name, metric): tuple(
            getattr(whole[student.name], metric) - getattr(half[student.name], metric) for half in halves
        )
        for student in students
        for metric in METRICS
    }
