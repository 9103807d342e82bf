"""What training without added records gives, measured on inner validation before a token is spent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.event_kinds import Measured, StudentsTrained, TrainingsPriced
from counterpoise.core.events import tell_event, tell_progress
from counterpoise.core.records import Integers
from counterpoise.data.encoder_choice import name_encoder
from counterpoise.runs.slow_students import price_trainings, view_trained
from counterpoise.students.base import Student, Treatment
from counterpoise.students.evidence import NO_EVIDENCE, Evidence
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, view_rows
from counterpoise.students.samples import RowSample, draw_sample
from counterpoise.students.training import TRAINED
from counterpoise.students.treatments import TREATMENTS
from counterpoise.students.validation import ArmScore, choose_best, score_arms
from counterpoise.tasks.text.inputs import Inputs
from counterpoise.tasks.text.job import Job


@dataclass(frozen=True, slots=True)
class SimpleWays:
    """The students and simple treatments of a run, and what each gives.

    Args:
        students: who data is judged by.
        treatments: the ways that cost no token.
        scores: of each treatment with each student that it suits.
        best: name of student -> the best treatment by the job's metric.
        counts: (k,) rows of each label that were scored.
        sample: the training rows that were scored; whatever is compared with these scores is measured on the same.
        prices: what students that take minutes were expected to take.
        evidence: what the ways gave on other data sets.
    """

    students: tuple[Student, ...]
    treatments: tuple[Treatment, ...]
    scores: tuple[ArmScore, ...]
    best: dict[str, Treatment]
    counts: Integers
    sample: RowSample
    prices: tuple[TrainingsPriced, ...] = ()
    evidence: Evidence = NO_EVIDENCE

    def choose_best(self, metric: str) -> dict[str, str]:
        """Name of student -> name of the best treatment by a metric."""
        best = choose_best(self.scores, metric, self.treatments, self.counts, self.evidence)
        return {student: treatment.name for student, treatment in best.items()}


def measure_simple_ways(job: Job, inputs: Inputs, evidence: Evidence) -> SimpleWays:
    """Score simple treatments on inner validation, and choose the best for each student.

    Args:
        job: which students and treatments, and what counts.
        inputs: the data.
        evidence: what the ways gave on other data sets.

    Raises:
        JobError: a student needs another encoder, or a classifier of the user's cannot be trained.
    """
    students = choose_students(job.students, name_encoder(job.encoder), find_cache_dir(job.cache_dir))
    pool = view_pool(inputs)
    treatments = tuple(
        way for way in TREATMENTS.choose(job.treatments) if pool is not None or not way.uses_pool
    )
    records = inputs.train.records
    sample = leave_out_doubtful(draw_sample(records), inputs)
    drawn = sample.rows
    trained = view_trained(inputs, drawn)
    prices = price_trainings(students, trained)
    scores = score_arms(
        trained.sample,
        inputs.folds[drawn],
        len(records.label_names),
        students,
        treatments,
        tell=tell_progress(partial(StudentsTrained, what=TRAINED)),
        pool=pool,
    )
    counts = np.bincount(records.labels[drawn], minlength=len(records.label_names))
    best = choose_best(scores, job.scored_by, treatments, counts, evidence)
    ways = SimpleWays(students, treatments, tuple(scores), best, counts, sample, prices, evidence)
    tell_event(Measured([score.as_dict() for score in scores], ways.choose_best(job.scored_by)))
    return ways


def leave_out_doubtful(sample: RowSample, inputs: Inputs) -> RowSample:
    """A sample without rows whose label is in doubt: they judge no way of training."""
    if inputs.doubtful is None:
        return sample
    return replace(sample, rows=inputs.leave_out_doubtful(sample.rows))


def view_pool(inputs: Inputs) -> Rows | None:
    """The unlabelled rows as students see them; None where there are none."""
    return view_rows(inputs.pool) if len(inputs.pool) else None
