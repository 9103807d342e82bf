"""Cost: how the gain of written records falls with the tokens that may be spent.

The draws, students and arms of `minority_text` (15 rows of the rare label, no pool); each budget is a run of its own.
Gains are differences to the zero-token arm that is best on the mean over the draws, the same arm for every budget, with
intervals that resample draws. `points_per_10k_tokens` is the gain in macro-F1, in points of 100, for each 10,000 tokens
used; `tokens_per_point` its inverse, there only where the interval of the gain lies above zero.

    python -m evals budget_curve --data DIR --engine URL [--only cebab] [--seeds 3]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any

import numpy as np

from evals.common import Result, Settings, describe_spend, interval, open_engine, resample_means
from evals.minority_text import CORPORA, GAPS, QUICK_BUDGET, SIMPLE_ARMS, find_best, open_encoder, run_draw
from evals.students import STUDENTS

BUDGETS = ("5k", "15k", "40k", "120k")
DATA = ("cebab", "sms_spam")
ARMS = ("added_rows", "counterpoise")

Scores = Mapping[tuple[str, str, str], Sequence[float]]
"""(arm, student, metric) -> a value a draw."""


def run(settings: Settings) -> Iterator[Result]:
    """All budgets of all data sets, or of those named with `--only`."""
    encoder = open_encoder()
    names = [name for name in DATA if not settings.only or name in settings.only]
    budgets: Sequence[str] = BUDGETS
    n_seeds = settings.seeds or 3
    if settings.quick:
        names, budgets, n_seeds = names[:1], (QUICK_BUDGET,), 1
    with open_engine(settings.engine) as llm:
        for name in names:
            corpus = CORPORA[name](settings.data)
            for budget in budgets:
                started = monotonic()
                scores: dict[tuple[str, str, str], list[float]] = {}
                facts: list[dict[str, Any]] = []
                for seed in range(n_seeds):
                    drawn = run_draw(replace(corpus, budget=budget), llm, encoder, seed, with_pool=False)
                    for key, value in drawn["scores"].items():
                        scores.setdefault(key, []).append(value)
                    facts.append(drawn["facts"])
                print(f"{name}, {budget}: {monotonic() - started:.0f} s", file=sys.stderr, flush=True)
                used = [float(fact["tokens"]) for fact in facts]
                added = [float(fact["added"]) for fact in facts]
                yield from describe_spend("budget_curve", name, budget, used, added)
                yield from describe_gains(name, budget, scores, used)


def describe_gains(name: str, budget: str, scores: Scores, used: Sequence[float]) -> Iterator[Result]:
    """What our arms gain over the best zero-token arm, and what a point of it costs.

    Args:
        name: data set.
        budget: as the job says it.
        scores: of all arms.
        used: tokens of each draw.
    """
    for student in STUDENTS:
        for metric in GAPS:
            mine = {
                arm: values for (arm, who, what), values in scores.items() if (who, what) == (student, metric)
            }
            best = find_best(mine, SIMPLE_ARMS)
            extra = {"baseline": best}
            for arm in ARMS:
                gains = np.asarray(mine[arm]) - np.asarray(mine[best])
                data, line = f"{name}/{student}", f"{arm}, {budget}"
                low, high = interval(resample_means(list(gains)))
                mean, n = float(gains.mean()), len(gains)
                yield Result("budget_curve", data, line, f"{metric}_gain", mean, low, high, n, extra=extra)
                if metric != "macro_f1":
                    continue
                points, tokens = 100 * resample_means(list(gains)), resample_means(used)
                per_10k = interval(points / tokens * 10_000)
                mean_tokens = float(np.mean(used))
                yield Result(
                    "budget_curve",
                    data,
                    line,
                    "points_per_10k_tokens",
                    100 * mean / mean_tokens * 10_000,
                    *per_10k,
                    n,
                    "points",
                )
                if low > 0:
                    # A resample without a gain needs tokens without end.
                    needed = np.divide(tokens, points, out=np.full_like(tokens, np.inf), where=points > 0)
                    yield Result(
                        "budget_curve",
                        data,
                        line,
                        "tokens_per_point",
                        mean_tokens / (100 * mean),
                        *interval(needed),
                        n,
                        "tokens",
                    )
