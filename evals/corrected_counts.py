"""Corrected prevalence: do the intervals cover, and how far off is the plain count? Simulated, so the truth is known.

A scorer with sensitivity 0.8 and specificity 0.9 judges 10,000 records with a rare concept; its errors are known from
200 records with the concept and 200 without (`rates`), or from 400 drawn at random (`prediction_powered`).

    python -m evals corrected_counts [--seeds DRAWS]
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from counterpoise.balance.corrected_counts import CorrectedShare, correct_by_prediction, correct_by_rates
from counterpoise.balance.intervals import wilson_interval
from evals.common import Result, Settings

N_RECORDS = 10_000
N_GOLD = 200
SENSITIVITY, SPECIFICITY = 0.8, 0.9
METHODS = ("rates", "prediction_powered")


def run(settings: Settings) -> Iterator[Result]:
    """The lines of this evaluation."""
    n_draws = settings.seeds or (200 if settings.quick else 2000)
    for prevalence in (0.05, 0.10):
        for method in METHODS:
            generator = np.random.default_rng([7, int(prevalence * 100), METHODS.index(method)])
            shares = [_draw(method, prevalence, generator) for _ in range(n_draws)]
            n_covered = sum(share.low <= prevalence <= share.high for share in shares)
            ours = np.array([abs(share.value - prevalence) for share in shares])
            plain = np.array([abs(share.raw - prevalence) for share in shares])
            data, low_high = f"simulated/{prevalence:.2f}", wilson_interval(n_covered, n_draws)
            low, high = (float(end) for end in low_high)
            yield Result(
                "corrected_counts", data, method, "coverage_ratio", n_covered / n_draws, low, high, n_draws
            )
            nothing = float("nan")
            error = float(ours.mean())
            yield Result("corrected_counts", data, method, "mean_error", error, nothing, nothing, n_draws)
            error = float(plain.mean())
            yield Result(
                "corrected_counts", data, "plain_count", "mean_error", error, nothing, nothing, n_draws
            )
            times = float(plain.mean() / ours.mean())
            name = "plain_error_over_corrected"
            yield Result("corrected_counts", data, method, name, times, nothing, nothing, n_draws, "times")


def _draw(method: str, prevalence: float, generator: np.random.Generator) -> CorrectedShare:
    n_with = int(generator.binomial(N_RECORDS, prevalence))
    n_found = int(generator.binomial(n_with, SENSITIVITY))
    n_alarms = int(generator.binomial(N_RECORDS - n_with, 1 - SPECIFICITY))
    if method == "rates":
        found = int(generator.binomial(N_GOLD, SENSITIVITY))
        cleared = int(generator.binomial(N_GOLD, SPECIFICITY))
        return correct_by_rates(n_found + n_alarms, N_RECORDS, found, N_GOLD, cleared, N_GOLD)
    truth = (generator.random(2 * N_GOLD) < prevalence).astype(np.int64)
    chance = np.where(truth == 1, SENSITIVITY, 1 - SPECIFICITY)
    answered = (generator.random(2 * N_GOLD) < chance).astype(np.float64)
    judged = (np.arange(N_RECORDS) < n_found + n_alarms).astype(np.float64)
    return correct_by_prediction(judged, answered, truth)
