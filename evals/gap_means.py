"""Over all data sets: what part of the gap to real data `counterpoise` closes beyond the best way without tokens.

Reads the lines of `minority_text`. The best way without tokens of a set, a student and a measure is the one that is
best on the mean over its draws, chosen on the test rows, with hindsight. `mean_of_ratios` is the mean over the sets of
each one's ratio, as it is usually asked for; where a gap is smaller than a point its ratio says little and can outweigh
all others. `ratio_of_sums` divides the gains of all sets by all gaps, so that a set counts by what there is to gain in
it. Intervals resample the draws of each set.

    python -m evals gap_means
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from evals.common import Floats, Result, Settings, interval
from evals.minority_text import CORPORA, GAPS, N_RARE, SIMPLE_ARMS, find_best
from evals.students import STUDENTS
from evals.tables import find_results

SIZES = (5, N_RARE, 50)
N_RESAMPLES = 4000

Draws = Mapping[tuple[str, str, str, str], Floats]
"""(data, student, metric, arm) -> a value a draw."""


def run(settings: Settings) -> Iterator[Result]:
    """Each number of rare rows, with and without a pool, where all data sets were measured."""
    draws = read_draws(find_results(settings.lines, "minority_text"))
    for size, pool, student, metric in product(SIZES, ("", "+pool"), STUDENTS, GAPS):
        names = [f"{name}{'' if size == N_RARE else f'@{size}'}{pool}" for name in CORPORA]
        if all((name, student, metric, "real_data") in draws for name in names):
            part = f"{size} rows{', pool' if pool else ''}"
            gaps = [find_gap(draws, name, student, metric) for name in names]
            yield from measure(part, student, metric, gaps)


def read_draws(lines: Sequence[Mapping[str, Any]]) -> Draws:
    """The lines that carry the value of every draw."""
    found: dict[tuple[str, str, str, str], Floats] = {}
    for line in lines:
        data, _, student = line["data"].partition("/")
        if "draws" in line:
            found[data, student, line["metric"], line["arm"]] = np.array(line["draws"], dtype=np.float64)
    return found


def find_gap(draws: Draws, data: str, student: str, metric: str) -> tuple[Floats, Floats]:
    """What `counterpoise` and real data have over the best way without tokens, in each draw."""
    scores = {
        arm: values
        for (name, who, what, arm), values in draws.items()
        if (name, who, what) == (data, student, metric)
    }
    base = scores[find_best(scores, SIMPLE_ARMS)]
    return scores["counterpoise"] - base, scores["real_data"] - base


def measure(part: str, student: str, metric: str, gaps: Sequence[tuple[Floats, Floats]]) -> Iterator[Result]:
    """Both means with their intervals.

    Args:
        part: which rows.
        student: who was trained.
        metric: a key of `GAPS`.
        gaps: of each data set, gain and gap in each draw.
    """
    generator = np.random.default_rng(13)
    means = np.array([(gain.mean(), gap.mean()) for gain, gap in gaps])
    drawn = np.empty((N_RESAMPLES, len(gaps), 2))
    for place, pair in enumerate(gaps):
        picks = generator.integers(0, len(pair[0]), (N_RESAMPLES, len(pair[0])))
        drawn[:, place] = np.stack([values[picks].mean(axis=1) for values in pair], axis=1)
    for name, value, values in (
        ("mean_of_ratios", (means[:, 0] / means[:, 1]).mean(), (drawn[..., 0] / drawn[..., 1]).mean(axis=1)),
        (
            "ratio_of_sums",
            means[:, 0].sum() / means[:, 1].sum(),
            drawn[..., 0].sum(axis=1) / drawn[..., 1].sum(axis=1),
        ),
    ):
        low, high = interval(values)
        extra = {"sets": [round(float(gain / gap), 3) for gain, gap in means]}
        yield Result(
            "gap_means", f"{student}/{metric}", part, name, float(value), low, high, len(gaps), extra=extra
        )
