"""The joint plan: how many rows of each profile to add so that all cells reach their targets at the least price.

One concept at a time, what is added for food unbalances service, and is paid for again. Here additions are counted by
profile and found together by integer programming (HiGHS, Huangfu and Hall, 2018, Parallelizing the dual revised simplex
method), because the target of a cell moves with what others get. Each comparison has a scale of its own, as small as
the additions allow: no cell stands above its ratio of it, none more than the tolerance below.

Above a hundred profiles whole numbers take long: there the program is solved in fractions, rounded, and what rounding
left short is filled greedily; with hundreds of rows in a profile that is next to the same plan.

A cell that no profile fills, or that would cost others without end, stays short and is named. The same figures give the
same plan in whatever order profiles come; no clock ends the search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix, hstack, vstack
from scipy.sparse import eye as identity

from counterpoise.balance.comparisons import ComparedCells
from counterpoise.balance.deficits import TOLERATED_RATIO
from counterpoise.balance.greedy import add_greedily
from counterpoise.balance.profiles import Profile, make_membership
from counterpoise.core.plans import Cell
from counterpoise.core.records import Floats

MOST_PROFILES = 4_000
"""Above so many profiles the plan is made greedily."""

MOST_WHOLE = 100
"""Above so many profiles the program is solved in fractions, and rounded."""

_KEPT_RATIO = 0.8
_GAP = 0.002
_NODES = 2_000
_SLACK_PRICE = 1_000.0
"""Price of a row that stays missing, in units of the dearest profile: a row is added wherever that is possible."""


@dataclass(frozen=True, slots=True)
class JointPlan:
    """What is added, and what cannot be.

    Args:
        additions: profile -> rows, 1 or more, in the order of profiles.
        price: of all of them, in the unit of `prices`.
        after: cell -> rows with the additions.
        wants: cell -> rows that it should have then.
        missing: cell -> rows that it still lacks beyond the tolerance, and why.
        is_exact: whether it was found by the program, and not greedily.
    """

    additions: Mapping[Profile, int]
    price: float
    after: Mapping[Cell, float]
    wants: Mapping[Cell, float]
    missing: Mapping[Cell, tuple[int, str]] = field(default_factory=dict)
    is_exact: bool = True

    @property
    def n_additions(self) -> int:
        """Rows that are added."""
        return sum(self.additions.values())


def plan_jointly(
    prices: Mapping[Profile, float],
    have: Mapping[Cell, float],
    comparisons: Sequence[ComparedCells],
    *,
    available: Mapping[Profile, int] | None = None,
    at_least: Mapping[Cell, float] | None = None,
    tolerance: float = TOLERATED_RATIO,
    most_profiles: int = MOST_PROFILES,
) -> JointPlan:
    """How many rows of each profile to add.

    Args:
        prices: profile -> what a row of it costs (tokens a kept record), above 0: those that can be added.
        have: cell -> rows now; none where it is not named.
        comparisons: cells that are to stand in ratios to one another.
        available: profile -> rows of it that there are, 0 where it is not named; None where any number can be written.
        at_least: cell -> rows that it should have whatever the others have.
        tolerance: share of its target that a cell may lack, 0..1.
        most_profiles: above so many the plan is greedy.

    Returns:
        The plan; without any addition where every cell is within the tolerance.
    """
    profiles = sorted(prices)
    fixed = {} if at_least is None else at_least
    named = {cell for comparison in comparisons for cell in comparison.ratios} | set(fixed)
    problem = Problem(
        profiles,
        np.array([prices[profile] for profile in profiles]),
        sorted(named),
        np.array([float(have.get(cell, 0.0)) for cell in sorted(named)]),
        comparisons,
        fixed,
        np.array([np.inf if available is None else available.get(profile, 0) for profile in profiles]),
        tolerance,
    )
    counts = solve(problem) if len(profiles) <= most_profiles else None
    if counts is None:
        return problem.describe(problem.fill(np.zeros(len(profiles), np.int64)), is_exact=False)
    return problem.describe(problem.fill(counts) if len(profiles) > MOST_WHOLE else counts, is_exact=True)


@dataclass(frozen=True)
class Problem:
    """The figures of a joint plan as arrays; see `plan_jointly`."""

    profiles: Sequence[Profile]
    prices: Floats
    cells: Sequence[Cell]
    have: Floats
    comparisons: Sequence[ComparedCells]
    at_least: Mapping[Cell, float]
    room: Floats
    tolerance: float

    @property
    def membership(self) -> Floats:
        """(c, p) which profile stands in which cell."""
        return make_membership(self.profiles, self.cells)

    def place(self, comparison: ComparedCells) -> NDArray[np.int64]:
        """Places of its cells."""
        places = {cell: place for place, cell in enumerate(self.cells)}
        return np.array([places[cell] for cell in comparison.ratios], np.int64)

    def fill(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of each profile, with what is still short added greedily."""
        table, ratios = self.membership, [np.array(list(one.ratios.values())) for one in self.comparisons]
        more = add_greedily(
            table,
            self.prices,
            self.have + table @ counts,
            list(zip(map(self.place, self.comparisons), ratios, strict=True)),
            {self.cells.index(cell): want for cell, want in self.at_least.items()},
            self.room - counts,
            self.tolerance,
        )
        return counts + more

    def describe(self, counts: NDArray[np.int64], *, is_exact: bool) -> JointPlan:
        """The plan of so many rows of each profile."""
        totals = self.have + self.membership @ counts
        after = dict(zip(self.cells, totals.tolist(), strict=True))
        wants = dict(self.at_least)
        for comparison in self.comparisons:
            for cell, want in comparison.find_wants(after).items():
                wants[cell] = max(want, wants.get(cell, 0.0))
        missing = {}
        for cell, want in sorted(wants.items()):
            lacking = int(np.ceil((1 - self.tolerance) * want - after[cell] - 1e-6))
            if lacking > 0:
                missing[cell] = lacking, self._explain(cell, counts)
        return JointPlan(
            {profile: int(count) for profile, count in zip(self.profiles, counts, strict=True) if count},
            float(counts @ self.prices),
            after,
            wants,
            missing,
            is_exact,
        )

    def _explain(self, cell: Cell, counts: NDArray[np.int64]) -> str:
        mine = [place for place, profile in enumerate(self.profiles) if cell in profile.cells]
        if not mine:
            return "no profile that can be added stands in it"
        if all(counts[place] >= self.room[place] for place in mine):
            return "all rows that there are of it are added"
        return "whatever fills it makes another cell short by as much"


def solve(problem: Problem) -> NDArray[np.int64] | None:
    """(p,) rows of each profile at the least price; None where the search ends without a plan.

    Above `MOST_WHOLE` profiles fractions are rounded, so that some cells may lack a few rows.
    """
    n_profiles, n_cells, n_scales = len(problem.profiles), len(problem.cells), len(problem.comparisons)
    if not n_profiles or not n_cells:
        return np.zeros(n_profiles, np.int64)
    # Rounding moves a cell by a few rows, which part of the tolerance is kept for.
    is_whole = n_profiles <= MOST_WHOLE
    margin = problem.tolerance * (1.0 if is_whole else _KEPT_RATIO)
    stands = csr_matrix(problem.membership)
    rows, lower = [], []

    def require(
        cells: NDArray[np.int64], scales: csr_matrix, least: Floats, *, sign: float, slack: bool
    ) -> None:
        """Add sign x (rows added to cells) + slack + scales >= least."""
        slacks = identity(n_cells, format="csr")[cells] * float(slack)
        rows.append(hstack([sign * stands[cells], slacks, scales], format="csr"))
        lower.append(least)

    for number, comparison in enumerate(problem.comparisons):
        cells, ratios = problem.place(comparison), np.array(list(comparison.ratios.values()))
        above = _column(np.where(ratios > 0, ratios, 1.0), number, n_scales)
        require(cells, above, problem.have[cells], sign=-1.0, slack=False)
        below = _column(-(1 - margin) * ratios, number, n_scales)
        require(cells, below, -problem.have[cells], sign=1.0, slack=True)
    for cell, want in sorted(problem.at_least.items()):
        place = np.array([problem.cells.index(cell)])
        least = np.array([(1 - margin) * want]) - problem.have[place]
        require(place, csr_matrix((1, n_scales)), least, sign=1.0, slack=True)
    dearest = float(problem.prices.max())
    prices = np.concatenate([problem.prices / dearest, np.full(n_cells, _SLACK_PRICE), np.zeros(n_scales)])
    n_columns = len(prices)
    found = milp(
        prices,
        integrality=(np.arange(n_columns) < n_profiles * is_whole).astype(np.int64),
        bounds=Bounds(
            np.zeros(n_columns), np.concatenate([problem.room, np.full(n_cells + n_scales, np.inf)])
        ),
        constraints=LinearConstraint(vstack(rows, format="csc"), np.concatenate(lower), np.inf),
        options={"mip_rel_gap": _GAP, "node_limit": _NODES},
    )
    if found.x is None:
        return None
    return np.maximum(0, np.rint(found.x[:n_profiles])).astype(np.int64)


def _column(values: Floats, number: int, n_columns: int) -> csr_matrix:
    """(r, n_columns) with values in one column."""
    return csr_matrix(
        (values, (np.arange(len(values)), np.full(len(values), number))), (len(values), n_columns)
    )
