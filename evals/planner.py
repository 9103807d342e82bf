"""Where the next slice goes: tokens to balance in made worlds whose prices and shares kept are known.

A world has a few labels, an attribute, and ways to fill cells that differ in price and in what is kept, from cell to
cell; some work in named cells only, some have few sources. Planners know none of this and learn it round by round. What
they need until no cell is short is set against the least that anybody needs who knows all rates (an integer program).
Arms: `slices` (the product), `slices_known` (the same, told every rate), `by_need` (the planner before), `equal` (each
short cell the same share of every round, with the first way) and `in_proportion` (shares by what cells lack).
`tokens_to_balance` is in units of that bound; with half the bound's tokens `worst_cell_ratio` is what the worst cell
has of what it should.

    python -m evals planner [--seeds 200]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

from counterpoise.actions.base import Costs, Offer
from counterpoise.balance.deficits import SMALLEST_USEFUL_COUNT, TOLERATED_RATIO, is_short
from counterpoise.core.plans import Cell, Deficit, Plan, PlanItem
from counterpoise.runs.need_planner import plan_by_need
from counterpoise.runs.planner import make_plan
from evals.common import Result, Settings, interval

N_SEEDS = 200
KNOWN = "slices_known"
ARMS = ("slices", KNOWN, "by_need", "equal", "in_proportion")
_SURE = 10**6
_MOST_ROUNDS = 60
_REQUEST_TOKENS = 600
_PER_REQUEST = 6

Planner = Callable[["Play", int, int | None], Plan]


@dataclass(frozen=True)
class World:
    """What is true.

    Args:
        counts: rows of each cell.
        rates: (way, cell) -> share of its proposals that is kept.
        tokens: way -> of one proposal.
        most: way -> proposals that its sources allow in a cell; absent for no limit.
    """

    counts: Mapping[Cell, int]
    rates: Mapping[tuple[str, Cell], float]
    tokens: Mapping[str, float]
    most: Mapping[str, int]

    @property
    def labels(self) -> list[str]:
        """Names of the labels."""
        return sorted({cell.label for cell in self.counts})


def make_world(seed: int) -> World:
    """A made world."""
    generator = np.random.default_rng(seed)
    labels = [f"label {place}" for place in range(int(generator.integers(2, 6)))]
    values = [f"value {place}" for place in range(int(generator.integers(2, 5)))]
    sizes = np.exp(generator.normal(4.5, 1.0, (len(labels), len(values)))).astype(int) + 1
    counts = {
        Cell(label, attribute="source", value=value): int(sizes[row, column])
        for row, label in enumerate(labels)
        for column, value in enumerate(values)
    }
    counts |= {Cell(label): int(sizes[row].sum()) for row, label in enumerate(labels)}
    ways = ("minority_text", "other_writer", "edit")
    quality = dict(zip(ways, generator.beta(2.0, 2.0, len(ways)), strict=True))
    rates = {}
    for way in ways:
        for cell in counts:
            if way != "edit" or cell.is_named:
                rates[way, cell] = float(
                    np.clip(generator.beta(8 * quality[way] + 0.5, 8 * (1 - quality[way]) + 0.5), 0.03, 1.0)
                )
    tokens = dict(zip(ways, np.exp(generator.normal(4.6, 0.4, len(ways))), strict=True))
    return World(counts, rates, tokens, {"edit": int(generator.integers(50, 400))})


class Play:
    """One planner in one world.

    Args:
        world: what is true.
        seed: of what is kept.
        is_told: whether the planner knows every rate, as if it had tried all a million times.
    """

    def __init__(self, world: World, seed: int, *, is_told: bool = False) -> None:
        self.world = world
        self.counts = dict(world.counts)
        self.costs: dict[tuple[str, Cell], Costs] = {}
        if is_told:
            self.costs = {
                (way, cell): Costs(_SURE, int(_SURE * rate), _SURE * world.tokens[way], 0)
                for (way, cell), rate in world.rates.items()
            }
            # What was tried somewhere is no pilot any more; sources are used up by requests.
            self.costs |= {(way, Cell("")): Costs(1, 1, world.tokens[way], _SURE) for way in world.tokens}
        self.spent = 0.0
        self._generator = np.random.default_rng([seed, 1])

    def list_deficits(self) -> list[Deficit]:
        """All cells that have fewer than the most of their family."""
        families: dict[tuple[str, str], int] = {}
        for cell, have in self.counts.items():
            family = cell.attribute, cell.value
            families[family] = max(families.get(family, 0), have)
        return [
            Deficit(cell, float(have), float(families[cell.attribute, cell.value]))
            for cell, have in sorted(self.counts.items())
        ]

    def list_short(self) -> list[Deficit]:
        """Those that lack enough to act."""
        return [one for one in self.list_deficits() if is_short(one)]

    def make_offers(self) -> dict[Cell, dict[str, Offer]]:
        """What each way offers in each cell."""
        return {cell: self._offer(cell) for cell in self.counts}

    def _offer(self, cell: Cell) -> dict[str, Offer]:
        offers = {}
        for way in self.world.tokens:
            if (way, cell) not in self.world.rates:
                continue
            if way in self.world.most:
                left = self.world.most[way] - self.costs.get((way, cell), Costs()).requests
                offers[way] = Offer(int(1.25 * self.world.tokens[way]) + 1, 1, max(0, left), is_probed=True)
            else:
                tokens = int(1.25 * _PER_REQUEST * self.world.tokens[way]) + 1
                offers[way] = Offer(tokens, _PER_REQUEST, is_marked=True)
        return offers

    def carry_out(self, plan: Plan) -> None:
        """Do what a plan says."""
        offers = self.make_offers()
        for item in plan.items:
            n = item.n_requests * offers[item.cell][item.action].per_request
            kept = int(self._generator.binomial(n, self.world.rates[item.action, item.cell]))
            tokens = n * self.world.tokens[item.action]
            self.spent += tokens
            known = self.costs.get((item.action, item.cell), Costs())
            self.costs[item.action, item.cell] = known.add(n, kept, tokens, item.n_requests)
            used = min(kept, item.most) if item.most else kept
            for cell in {item.cell, Cell(item.cell.label)}:
                self.counts[cell] += used

    def run(self, planner: Planner, limit: float | None = None) -> None:
        """Rounds until nothing is short, or the tokens are spent."""
        for number in count(1):
            if not self.list_short() or number > _MOST_ROUNDS:
                return
            left = None if limit is None else int(limit - self.spent)
            if left is not None and left <= 0:
                return
            plan = planner(self, number, left)
            if not plan.items:
                return
            self.carry_out(plan)

    def find_worst(self) -> float:
        """The smallest share that a cell has of what it should."""
        return min(one.have / one.want for one in self.list_deficits())


def _play_by(make: Callable[..., Plan]) -> Planner:
    """A planner of the product in a made world."""

    def plan(play: Play, number: int, left: int | None) -> Plan:
        short, offers = play.list_short(), play.make_offers()
        return make(short, offers, play.costs, round_number=number, n_rounds=None, remaining_tokens=left)

    return plan


_plan_slices = _play_by(partial(make_plan, key="evaluation"))


def _share_out(weigh: Callable[[Deficit], float]) -> Planner:
    """A planner that knows one way and shares out each round, a tenth of what is left, by a weight."""

    def plan(play: Play, number: int, left: int | None) -> Plan:
        short, offers = play.list_short(), play.make_offers()
        wanted = {one.cell: _count_requests(one, play) for one in short}
        prices = {cell: offers[cell]["minority_text"].request_tokens for cell in wanted}
        whole = sum(wanted[cell] * prices[cell] for cell in wanted)
        tokens = whole if left is None else min(left, max(0.1 * left, 2 * max(prices.values())))
        weights = {one.cell: weigh(one) for one in short}
        total = sum(weights.values())
        items: list[PlanItem] = []
        for one in sorted(short, key=lambda one: one.cell):
            paid = int(tokens * weights[one.cell] / total / prices[one.cell])
            n = min(wanted[one.cell], paid)
            if n:
                most = one.need + 2
                items.append(PlanItem("minority_text", one.cell, one.need, number, len(items), n, most=most))
        if not items and left is not None and left >= min(prices.values()):
            cell = max(weights, key=lambda cell: (weights[cell], cell))
            items = [PlanItem("minority_text", cell, 1, number, 0, 1)]
        return Plan(number, tuple(items))

    return plan


def _count_requests(one: Deficit, play: Play) -> int:
    known = play.costs.get(("minority_text", one.cell), Costs())
    ratio = known.acceptance_ratio if known.tried else 0.95
    return int(-(-one.need / ratio // _PER_REQUEST))


PLANNERS: Mapping[str, Planner] = {
    "slices": _plan_slices,
    KNOWN: _plan_slices,
    "by_need": _play_by(plan_by_need),
    "equal": _share_out(lambda one: 1.0),
    "in_proportion": _share_out(lambda one: float(one.need)),
}


def find_bound(world: World) -> float:
    """The least tokens after which no cell is short, where every rate is known: an integer program (HiGHS).

    Variables are records kept of each way in each cell, and the most that a family has in the end.
    """
    cells = sorted(world.counts)
    keys = sorted(world.rates)
    families = sorted({(cell.attribute, cell.value) for cell in cells})
    n, m = len(keys), len(families)
    prices = np.array([world.tokens[way] / world.rates[way, cell] for way, cell in keys] + [0.0] * m)
    upper = np.full(n + m, np.inf)
    for place, (way, cell) in enumerate(keys):
        if way in world.most:
            upper[place] = int(world.most[way] * world.rates[way, cell])
    lines, lows = [], []
    for cell in cells:
        line = np.zeros(n + m)
        family = n + families.index((cell.attribute, cell.value))
        for place, (_, other) in enumerate(keys):
            if other == cell or (not cell.is_named and other.label == cell.label):
                line[place] = 1.0
        over = line.copy()
        over[family] = -1.0  # nobody has more than the most
        lines.append(-over)
        lows.append(float(world.counts[cell]))
        # Not short: a twentieth is missing at most, or less than three.
        enough = line.copy()
        enough[family] = -(1 - TOLERATED_RATIO)
        few = line.copy()
        few[family] = -1.0
        most = max(world.counts[other] for other in cells if other.value == cell.value)
        if TOLERATED_RATIO * most >= SMALLEST_USEFUL_COUNT:
            lines.append(enough)
            lows.append(-float(world.counts[cell]))
        else:
            lines.append(few)
            lows.append(-float(world.counts[cell]) - SMALLEST_USEFUL_COUNT + 1)
    kinds = np.concatenate([np.ones(n), np.zeros(m)])
    found = milp(
        prices,
        constraints=LinearConstraint(np.array(lines), np.array(lows), np.inf),
        integrality=kinds,
        bounds=Bounds(0, upper),
        options={"time_limit": 20.0, "mip_rel_gap": 0.002},
    )
    return float(found.fun or 0.0)


def run(settings: Settings) -> Iterator[Result]:
    """All worlds."""
    n_seeds = settings.seeds or (20 if settings.quick else N_SEEDS)
    found: dict[tuple[str, str], list[float]] = {}
    for seed in range(n_seeds):
        world = make_world(seed)
        bound = find_bound(world)
        if bound <= 0:
            continue
        for arm in ARMS:
            play = Play(world, seed, is_told=arm == KNOWN)
            play.run(PLANNERS[arm])
            ratio = play.spent / bound if not play.list_short() else float("inf")
            found.setdefault((arm, "tokens_to_balance"), []).append(ratio)
            half = Play(world, seed, is_told=arm == KNOWN)
            half.run(PLANNERS[arm], bound / 2)
            found.setdefault((arm, "worst_cell_ratio"), []).append(half.find_worst())
    for (arm, metric), values in found.items():
        yield from _summarise(arm, metric, values)
    ours = np.array(found["slices", "worst_cell_ratio"])
    for arm in ARMS[2:]:
        better = (ours >= np.array(found[arm, "worst_cell_ratio"])).astype(np.float64)
        metric = f"worst_cell_not_below_{arm}"
        yield Result("planner", "made", "slices", metric, float(better.mean()), *interval(better), len(ours))


def _summarise(arm: str, metric: str, values: Sequence[float]) -> Iterator[Result]:
    """Quantiles; a planner that left a cell short needs infinitely many tokens."""
    data = np.array(values)
    for name, level in (("p05", 0.05), ("median", 0.5), ("p95", 0.95)):
        value = float(np.quantile(data, level, method="nearest"))
        yield Result("planner", "made", arm, f"{metric}_{name}", value, value, value, len(data))
    if metric != "tokens_to_balance":
        return
    done = np.isfinite(data).astype(np.float64)
    yield Result("planner", "made", arm, f"{metric}_ended", float(done.mean()), *interval(done), len(data))
