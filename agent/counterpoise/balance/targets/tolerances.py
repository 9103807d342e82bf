"""`tolerances`: concepts as common as they are wanted, and independent of the label, each within a tolerance.

The two constraints of M4: for a concept k with the wanted rate pi and a label r, |E[s_k - pi_k]| <= eps_R and
|E[(s_k - pi_k) y_r]| <= eps_D. Both are linear in the number of rows of each profile, so the fewest additions that meet
them are an integer program.

Paper: Alabdulmohsin et al. (2024) "CLIP the Bias: How Useful is Balancing Data in Multimodal Learning?"; the default
tolerances are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from counterpoise.balance.profiles import Profile
from counterpoise.core.records import Floats

RATE_TOLERANCE = 0.02
ASSOCIATION_TOLERANCE = 0.01
_SLACK_PRICE = 1_000.0
_LEFT = 1e-4


@dataclass(frozen=True, slots=True)
class ToleratedPlan:
    """What is added so that residuals are within their tolerances.

    Args:
        additions: profile -> rows, 1 or more.
        price: of all of them.
        missed: what stays beyond its tolerance -> by how much, in rows: `food` a rate, `food and negative` an
            association.
    """

    additions: Mapping[Profile, int]
    price: float
    missed: Mapping[str, float]


def plan_within_tolerances(
    prices: Mapping[Profile, float],
    counts: Mapping[Profile, int],
    rates: Mapping[str, float] | None = None,
    *,
    rate_tolerance: float = RATE_TOLERANCE,
    association_tolerance: float = ASSOCIATION_TOLERANCE,
    n_errors: float = 2.0,
) -> ToleratedPlan:
    """The cheapest additions under which all residuals are within their tolerances.

    Args:
        prices: profile -> what a row of it costs, above 0: those that can be added.
        counts: profile -> rows now.
        rates: concept, or `attribute=value`, -> wanted share of rows, 0..1; by default the present one.
        rate_tolerance: of |share - wanted|, 0..1.
        association_tolerance: of |mean of (has it - wanted) x (is of the label)|, 0..1.
        n_errors: where so many standard errors of the present rows are more than a tolerance, these are the tolerance.

    Returns:
        The plan; without additions where everything is within its tolerance.
    """
    profiles, now = sorted(prices), sorted(counts)
    marks = sorted({mark for profile in now for mark in _list_marks(profile)})
    labels = sorted({profile.label for profile in [*now, *profiles]})
    n_now = np.array([float(counts[profile]) for profile in now])
    if not n_now.sum() or not profiles:
        return ToleratedPlan({}, 0.0, {})
    rows, least, names = [], [], []
    for mark in marks:
        has = np.array([float(mark in _list_marks(profile)) for profile in now])
        wanted = float(has @ n_now / n_now.sum())
        wanted = wanted if rates is None else rates.get(mark, wanted)
        adds = np.array([float(mark in _list_marks(profile)) for profile in profiles]) - wanted
        for label in [None, *labels]:
            is_mine = np.array([float(label in (None, profile.label)) for profile in profiles])
            was_mine = np.array([float(label in (None, profile.label)) for profile in now])
            most = rate_tolerance if label is None else association_tolerance
            shares, total = (has - wanted) * was_mine, n_now.sum()
            residual, shift = float(shares @ n_now), adds * is_mine
            spread = float(shares**2 @ n_now) / total - (residual / total) ** 2
            most = max(most, n_errors * float(np.sqrt(max(0.0, spread) / total)))
            for sign in (1.0, -1.0):  # sign x (residual + shift x) <= most x (N + sum x)
                rows.append(most - sign * shift)
                least.append(sign * residual - most * n_now.sum())
                names.append(mark if label is None else f"{mark} and {label}")
    return _solve(profiles, np.array([prices[profile] for profile in profiles]), np.array(rows), least, names)


def find_rates(counts: Mapping[Profile, int]) -> dict[str, float]:
    """Share of rows of each concept, and of each `attribute=value`, 0..1."""
    total = max(1, sum(counts.values()))
    rates: dict[str, float] = {}
    for profile, count in counts.items():
        for mark in _list_marks(profile):
            rates[mark] = rates.get(mark, 0.0) + count / total
    return rates


def _solve(
    profiles: list[Profile], prices: Floats, rows: Floats, least: list[float], names: list[str]
) -> ToleratedPlan:
    if not names:
        return ToleratedPlan({}, 0.0, {})
    n_profiles, n_rows = len(profiles), len(rows)
    found = milp(
        np.concatenate([prices / prices.max(), np.full(n_rows, _SLACK_PRICE)]),
        integrality=(np.arange(n_profiles + n_rows) < n_profiles).astype(np.int64),
        bounds=Bounds(0, np.inf),
        constraints=LinearConstraint(np.hstack([rows, np.eye(n_rows)]), np.array(least), np.inf),
        options={"mip_rel_gap": 0.002, "node_limit": 2_000},
    )
    counts = np.zeros(n_profiles) if found.x is None else np.rint(found.x[:n_profiles])
    short = np.array(least) - rows @ counts
    missed: dict[str, float] = {}
    for name, lack in zip(names, short.tolist(), strict=True):
        if lack > _LEFT:
            missed[name] = max(lack, missed.get(name, 0.0))
    additions = {profile: int(count) for profile, count in zip(profiles, counts, strict=True) if count}
    return ToleratedPlan(additions, float(counts @ prices), missed)


def _list_marks(profile: Profile) -> tuple[str, ...]:
    return (*profile.concepts, *(f"{name}={value}" for name, value in profile.attributes))
