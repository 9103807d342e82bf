"""Simulated relabellings: do the intervals that the cascade gives for itself hold the truth 95 times in a hundred?

As many candidates, hidden answers, planted passages and gold as in the Cranfield part of `false_negatives`, judges with
the same error rates, but without prompts and replies, so that a thousand draws take a minute. What the estimates are
held against is what was really found in each draw, not the rates that the judges were made with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from counterpoise.actions.relabel.estimates import Estimate, estimate
from counterpoise.actions.relabel.judge_audits import PlantedPassage
from counterpoise.actions.relabel.verdicts import Grade, Judgement
from counterpoise.balance.intervals import wilson_interval
from counterpoise.balance.rates import Rate
from evals.common import Result, Settings
from evals.scripted_judges import FIRST, SECOND, Rates

N_CANDIDATES, N_HIDDEN = 6_750, 415
N_PLANTED, GOLD_SHARE, UNFLAGGED_SHARE = 100, 0.10, 0.05
N_DRAWS = 1_000

_FIRST = {True: Judgement(Grade.RELEVANT), False: Judgement(Grade.NOT_RELEVANT)}
_SECOND = {True: Judgement(Grade.BETTER_OR_EQUAL), False: Judgement(Grade.NOT_RELEVANT)}


def run_coverage(settings: Settings) -> Iterator[Result]:
    """Coverage and mean width of the intervals, with a tenth of the candidates as gold and without any."""
    n_draws = settings.seeds or (100 if settings.quick else N_DRAWS)
    for arm, gold_share in (("with_gold", GOLD_SHARE), ("without_gold", 0.0)):
        covered: dict[str, list[bool]] = {}
        widths: dict[str, list[float]] = {}
        for seed in range(n_draws):
            for metric, (truth, said) in draw(seed, gold_share).items():
                if not np.isnan(said.value):
                    covered.setdefault(metric, []).append(said.low - 1e-9 <= truth <= said.high + 1e-9)
                    widths.setdefault(metric, []).append(said.high - said.low)
        for metric, hits in covered.items():
            low, high = wilson_interval(sum(hits), len(hits))
            yield Result(
                "false_negatives",
                "simulated",
                f"{arm}/estimated",
                f"{metric}_covered_ratio",
                sum(hits) / len(hits),
                low,
                high,
                len(hits),
                extra={"mean_width": round(float(np.mean(widths[metric])), 4)},
            )


def draw(
    seed: int, gold_share: float, first: Rates = FIRST, second: Rates = SECOND
) -> Mapping[str, tuple[float, Estimate]]:
    """One simulated relabelling: the truth of each quantity, and what is said of it."""
    generator = np.random.default_rng(seed)
    is_hidden = np.arange(N_CANDIDATES) < N_HIDDEN
    flags, grades = answer(generator, is_hidden, first), answer(generator, is_hidden, second)
    relabelled = flags & grades
    is_gold = generator.random(N_CANDIDATES) < gold_share
    planted = np.arange(2 * N_PLANTED) < N_PLANTED
    known = [
        PlantedPassage(
            bool(right), "positive" if right else "random", _FIRST[bool(one)], _SECOND[bool(other)]
        )
        for right, one, other in zip(
            planted, answer(generator, planted, first), answer(generator, planted, second), strict=True
        )
    ]
    known += [
        PlantedPassage(
            bool(is_hidden[place]), "gold", _FIRST[bool(flags[place])], _SECOND[bool(grades[place])]
        )
        for place in np.flatnonzero(is_gold)
    ]
    sampled = ~flags & (generator.random(N_CANDIDATES) < UNFLAGGED_SHARE)
    said = estimate(
        known,
        n_judged=N_CANDIDATES,
        n_relabelled=int(relabelled.sum()),
        n_confirmed=int(relabelled.sum()),
        n_unflagged=int((~flags).sum()),
        missed=Rate(int(grades[sampled].sum()), int(sampled.sum())),
    )
    right = relabelled & is_hidden
    return {
        "recall": (right.sum() / N_HIDDEN, said.recall),
        "precision": (right.sum() / relabelled.sum(), said.precision),
        "n_false_negatives": (float(N_HIDDEN), said.n_false_negatives),
        "first_recall": (right.sum() / (grades & is_hidden).sum(), said.first_recall),
    }


def answer(
    generator: np.random.Generator, truth: np.ndarray[tuple[int], np.dtype[np.bool_]], rates: Rates
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """What a judge with these rates says."""
    drawn = generator.random(len(truth))
    return np.asarray(np.where(truth, drawn < rates.sensitivity, drawn >= rates.specificity), dtype=np.bool_)
