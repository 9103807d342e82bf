"""Many trainings of students, each by itself: side by side in processes of their own where that pays.

With many labels one training takes minutes. What comes out is the same either way, since each fit keeps to one
thread (`students.linear.fit_log_probabilities`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray

from counterpoise.core.interrupts import keep_from_children
from counterpoise.core.processes import end_with_parent
from counterpoise.core.records import Floats
from counterpoise.students.base import Student, Treatment
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.rows import Rows

MOST_PROCESSES = 4
"""With 150 labels a process takes up to 1 GB."""

LONG_WORK = 3_000_000
"""Rows x labels x treatments from which starting processes pays: half a minute's work for one core."""

TRAINED = "students trained"
"""What is counted."""

Tell = Callable[[int, int], None]
"""Takes how many trainings are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Training:
    """What `predict_by_treatments` takes, its rows as masks: they are only copied when their turn comes.

    Args:
        treatments: the ways to train in.
        student: who is trained.
        train: rows to train on,
        kept: (n,) those of them that are used.
        test: rows to score,
        scored: (m,) those of them that are.
        n_labels: k.
        seed: of what the treatments draw.
        pool: unlabelled rows, for treatments that use them.
    """

    treatments: tuple[Treatment, ...]
    student: Student
    train: Rows
    kept: NDArray[np.bool_]
    test: Rows
    scored: NDArray[np.bool_]
    n_labels: int
    seed: int
    pool: Rows | None = None

    @property
    def work(self) -> int:
        """Rows x labels x treatments."""
        return int(self.kept.sum()) * self.n_labels * len(self.treatments)


def run_trainings(trainings: Sequence[Training], tell: Tell | None = None) -> Iterator[dict[str, Floats]]:
    """The log-scores of each, name of treatment -> (scored rows, k), in their order.

    Args:
        trainings: independent of each other.
        tell: told after each where all of them together take long, or one does.
    """
    if sum(one.work for one in trainings) < LONG_WORK:
        for done, one in enumerate(trainings, start=1):
            yield _predict(one)
            if tell is not None and one.student.slow_step:
                tell(done, len(trainings))
        return
    n_processes = min(MOST_PROCESSES, cpu_count(), len(trainings))
    side_by_side = Parallel(n_jobs=n_processes, return_as="generator", pre_dispatch=n_processes)
    tasks = (delayed(_predict_for)(os.getpid(), _take(one)) for one in trainings)
    with keep_from_children():
        outcomes = side_by_side(tasks)
    for done, scores in enumerate(outcomes, start=1):
        if tell is not None:
            tell(done, len(trainings))
        yield scores


def _predict_for(parent: int, one: Training) -> dict[str, Floats]:
    """What a training gives, in a process that would else outlive a parent that was killed."""
    _watch_once(parent)
    return _predict(one)


_watch_once = cache(end_with_parent)


def _predict(one: Training) -> dict[str, Floats]:
    return predict_by_treatments(
        one.treatments,
        one.student,
        one.train.take(one.kept),
        one.test.take(one.scored),
        one.n_labels,
        one.seed,
        pool=one.pool,
    )


def _take(one: Training) -> Training:
    """The same with the rows alone that are used: what is sent to another process is small."""
    train, test = one.train.take(one.kept), one.test.take(one.scored)
    return replace(
        one,
        train=train,
        kept=np.ones(len(train), np.bool_),
        test=test,
        scored=np.ones(len(test), np.bool_),
        pool=one.pool if any(treatment.uses_pool for treatment in one.treatments) else None,
    )
