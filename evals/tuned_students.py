"""Students that train an encoder beside those on frozen vectors and on words, where a label has few rows.

Skewed data sets are drawn as in `simple_ways` (15 rows of each rare label); each student is trained in those of `WAYS`
that suit it and scored on at most `N_TEST` test rows. `cpu_seconds` are those of the process that trains and scores,
for one training: trainings are kept in the cache, and what is read from there has no such line.
`over_frozen_points` is what a student has more than `vectors:minilm` in the same way, in points of macro-F1. Needs
torch (extras `torch` and `eval`).

    python -m evals tuned_students --data DIR [--only cebab] [--only contrastive] [--seeds N] [--quick]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import psutil
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from counterpoise.core.splits import sample_by_rank
from counterpoise.students.base import Student
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.metrics import compute_auroc, compute_macro_f1
from counterpoise.students.registry import choose_students
from counterpoise.students.treatments import BASELINE, TREATMENTS
from evals.common import Result, Settings, interval, need_packages, resample_means
from evals.further_sets import SETS
from evals.minority_text import open_encoder
from evals.simple_ways import Draw, make_draw

N_SEEDS = 2
N_TEST = 400
PARTS = ("cebab", "sms_spam", "gpt_written_tweets")
FROZEN = "vectors:minilm"
WAYS = tuple(map(TREATMENTS.find, ("nothing", "logit_adjustment", "class_weights", "balanced_bags")))
Values = dict[tuple[str, str], float]
"""(arm, metric) -> value of one draw."""


def run(settings: Settings) -> Iterator[Result]:
    """All sets and students, or those named with `--only`."""
    need_packages("torch", "transformers")
    encoder = open_encoder()
    students = choose_students(("default", "fine_tuned", "contrastive"), "minilm")
    named = [one for one in students if one.name in (*settings.only, FROZEN)]
    students = tuple(named) if len(named) > 1 else students
    for name in [one for one in settings.only if one in SETS] or PARTS:
        found: dict[str, list[Values]] = {}
        for seed in range(1 if settings.quick else settings.seeds or N_SEEDS):
            draw = make_draw(SETS[name](settings.data), encoder, seed, with_pool=False)
            kept = np.sort(sample_by_rank(draw.test.texts, 40 if settings.quick else N_TEST, "tuned"))
            draw = replace(draw, test=draw.test.take(kept))
            for student in students:
                found.setdefault(student.name, []).append(score(student, draw))
                print(f"{name}: draw {seed + 1}, {student.name}", file=sys.stderr, flush=True)
        yield from summarise(name, found)


def score(student: Student, draw: Draw) -> Values:
    """Both metrics of each way on the test rows, and seconds of the child processes."""
    before = _read_child_seconds()
    ways = [way for way in WAYS if way.suits(student)]
    with threadpool_limits(1):
        tables = predict_by_treatments(ways, student, draw.own, draw.test, draw.n_labels)
    values: Values = {(BASELINE.name, "cpu_seconds"): _read_child_seconds() - before}
    for way, table in tables.items():
        ranks = softmax(table, axis=1) if draw.n_labels > 2 else table
        values[way, "macro_f1"] = compute_macro_f1(table.argmax(axis=1), draw.test.labels, draw.n_labels)
        values[way, "auroc"] = compute_auroc(ranks, draw.test.labels)
    return values


def summarise(data: str, found: Mapping[str, Sequence[Values]]) -> Iterator[Result]:
    """Means over the draws, and leads over frozen vectors."""
    for student, draws in found.items():
        for arm, metric in draws[0]:
            values = [draw[arm, metric] for draw in draws]
            if metric != "cpu_seconds" or min(values) > 0:
                yield _make_line(f"{data}/{student}", arm, metric, values)
            if student != FROZEN and metric == "macro_f1":
                theirs = [draw[arm, metric] for draw in found[FROZEN]]
                leads = [100 * (one - other) for one, other in zip(values, theirs, strict=True)]
                yield _make_line(f"{data}/{student}", arm, "over_frozen_points", leads)


def _make_line(data: str, arm: str, metric: str, values: Sequence[float]) -> Result:
    low, high = interval(resample_means(values))
    unit = {"cpu_seconds": "seconds", "over_frozen_points": "points"}.get(metric, "ratio")
    extra = {"draws": [round(value, 5) for value in values]}
    return Result(
        "tuned_students", data, arm, metric, float(np.mean(values)), low, high, len(values), unit, extra
    )


def _read_child_seconds() -> float:
    """Processor time of the processes that this one has started and that still run."""
    times = [child.cpu_times() for child in psutil.Process().children()]
    return sum(one.user + one.system for one in times)
