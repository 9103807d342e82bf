"""The constants that are left in the use of added rows: how much the recommendation hangs on each.

Each is halved and doubled (shares by their odds), one at a time; nothing else changes. On draws of the bank (15 own
rows of each rare label) of two sets and three writers (real rows, the 135M model, gibberish) the recommended use is
scored in macro-F1 on the sealed rows. `change_points` is what it has more than with the constant as it is, in the mean
over sets, writers and students; intervals resample these means.

    python -m evals priors [--only cebab] [--seeds 3]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from counterpoise.students import left_out, source_folds, tuned_added, worth
from evals.bank_store import Bank, read_bank
from evals.common import Result, Settings, interval, resample_means
from evals.kept_students import KeptWords
from evals.writers import Ground, measure_uses, prepare_ground

SETS, WRITERS, N_SEEDS = ("cebab", "sms_spam"), ("real_rows", "smol_continue", "gibberish"), 3


@dataclass(frozen=True)
class Prior:
    """A constant.

    Args:
        module: where it stands.
        name: what it is called there.
        is_share: whether it is a share, whose odds are halved and doubled.
    """

    module: ModuleType
    name: str
    is_share: bool = False

    def scale(self, factor: float) -> float:
        """Its value, or its odds, times a factor."""
        value = float(getattr(self.module, self.name))
        if not self.is_share:
            return value * factor
        odds = factor * value / (1 - value)
        return odds / (1 + odds)


PRIORS = (
    Prior(tuned_added, "SIMPLE_SHARE", is_share=True),
    Prior(tuned_added, "ADDED_SHARE", is_share=True),
    Prior(tuned_added, "NEAR_SHARE", is_share=True),
    Prior(tuned_added, "OFFSET_SPREAD"),
    Prior(left_out, "SHARE_SPREAD"),
    Prior(source_folds, "LARGEST_PART", is_share=True),
    Prior(worth, "LEARNABLE", is_share=True),
    Prior(worth, "LEARNABLE_SPREAD"),
    Prior(worth, "NOISE"),
)


def run(settings: Settings) -> Iterator[Result]:
    """All constants on all sets, or those named with `--only`."""
    usual: dict[tuple[str, str, str, int], float] = {}
    changed: dict[tuple[str, str], dict[tuple[str, str, str, int], float]] = {}
    for name in [part for part in settings.only if part in SETS] or SETS:
        bank, words = read_bank(settings, name), KeptWords()
        for seed in range(1 if settings.quick else settings.seeds or N_SEEDS):
            ground = prepare_ground(bank, bank.draw(seed), seed, words)
            usual |= measure(bank, ground, seed)
            for prior in PRIORS:
                for word, factor in (("halved", 0.5), ("doubled", 2.0)):
                    with set_prior(prior, prior.scale(factor)):
                        found = measure(bank, ground, seed)
                    changed.setdefault((prior.name, word), {}).update(found)
            print(f"{name}: draw {seed + 1}", file=sys.stderr, flush=True)
    for (prior_name, word), found in changed.items():
        keys = dict.fromkeys(key[:3] for key in found)
        means = [
            100 * float(np.mean([found[key] - usual[key] for key in found if key[:3] == one])) for one in keys
        ]
        mean = float(np.mean(means))
        arm = f"{prior_name} {word}"
        yield Result(
            "priors", "all", arm, "change_points", mean, *interval(resample_means(means)), len(means)
        )


def measure(bank: Bank, ground: Ground, seed: int) -> dict[tuple[str, str, str, int], float]:
    """(set, writer, student, draw) -> macro-F1 of the recommended use."""
    found = {}
    for writer in WRITERS:
        for (student, use), value in measure_uses(ground, bank.buy(writer, ground.draw)).items():
            if use == "recommended":
                found[bank.name, writer, student, seed] = value
    return found


@contextmanager
def set_prior(prior: Prior, value: float) -> Iterator[None]:
    """Let a constant have another value for a while."""
    before = getattr(prior.module, prior.name)
    setattr(prior.module, prior.name, value)
    try:
        yield
    finally:
        setattr(prior.module, prior.name, before)
