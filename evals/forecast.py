"""Forecast against outcome: does what a run says of an action beforehand rank actions as the test rows do?

Reads the lines of `minority_text`, which carry for each draw what an arm has on the test rows and what inner validation
said of it before. An action is an arm. `over nothing`: its forecast is its value on inner validation less that of doing
nothing, which for the simple ways a preview shows before a token is spent; for written or adopted rows a run knows it
when they are there. `over the best simple way` is the harder question whether added rows are worth using: both
differences are taken from the simple way that inner validation puts first.

`before a token` is what `counterpoise preview` knows: inner validation of the simple ways, and of records the forecast
of `counterpoise.students.forecasts` (what half of the rare rows are worth, followed to as many as the run would add),
here for the first three draws of each part. It is compared with `added_rows` less logit adjustment, which it is counted
from, and with the simple ways in one list, all over doing nothing. `headroom` (one less the best simple AUROC of inner
validation) stands beside it as the plainest forecast there is.

Rank correlations are Spearman's; their intervals resample whole parts (data set, size, pool), since draws of a part
are alike.

    python -m evals forecast --data DIR         the table
    python -m evals.forecast_picture docs/forecast.svg  the picture
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import counterpoise
from counterpoise.students.treatments import BASELINE
from evals.common import Floats, Result, Settings, interval
from evals.minority_text import CORPORA, GAPS, N_RARE, SIMPLE_ARMS, divide_draw, draw_pool, make_job
from evals.tables import find_results

LINES = "minority_text"
ADDED_ARMS = ("added_rows", "averaged")
N_SEEDS = 3
"""Draws of a part that are previewed."""

NO_SERVER = {"engine": "server", "url": "http://127.0.0.1:9/v1"}  # a preview asks none
N_RESAMPLES = 1000
EVERY_ACTION = "before a token, every action over nothing"


@dataclass(frozen=True)
class Point:
    """A forecast and what came out.

    Args:
        part: data set, size and pool, as in the lines.
        student: as there.
        metric: as there.
        arm: the action.
        seed: of the draw.
        forecast: difference on inner validation.
        realised: difference on the test rows.
    """

    part: str
    student: str
    metric: str
    arm: str
    seed: int
    forecast: float
    realised: float

    @property
    def kind(self) -> str:
        """What the action is: a simple way, or rows that were written or adopted."""
        if self.arm in SIMPLE_ARMS:
            return "simple"
        return "adopted" if self.part.endswith("+pool") else "written"


Table = Mapping[tuple[str, str, str, str], tuple[Sequence[float | None], Sequence[float]]]
"""(part, student, metric, arm) -> inner validation and test value of every draw."""

Foreseen = Mapping[tuple[str, str, str, int], float]
"""(part, student, metric, seed) -> gain over logit adjustment that a preview forecasts for its records."""


def run(settings: Settings) -> Iterator[Result]:
    """The table."""
    table = read_table(find_results(settings.lines, LINES))
    over_nothing, over_best = list_points(table, "nothing"), list_points(table, "", ADDED_ARMS)
    for metric in GAPS:
        for title, points, kinds in (
            ("over nothing", over_nothing, ("simple", "written", "adopted")),
            ("over nothing, simple ways", over_nothing, ("simple",)),
            ("over nothing, added rows", over_nothing, ("written", "adopted")),
            ("over the best simple way, added rows", over_best, ("written", "adopted")),
            ("over the best simple way, written rows", over_best, ("written",)),
            ("over the best simple way, adopted rows", over_best, ("adopted",)),
        ):
            yield from correlate(title, metric, select(points, metric, kinds))
    mine = [point for point in over_best if point.metric == "auroc" and point.arm == "added_rows"]
    headroom = [replace(point, forecast=find_headroom(table, point)) for point in mine]
    yield from correlate("before a token, by headroom", "auroc", headroom)
    known = foresee(settings, table, N_SEEDS)
    for metric in GAPS:
        records = list_foreseen(table, known, metric, BASELINE.name)
        for title, points in (
            ("before a token, records over logit adjustment", records),
            ("before a token, written rows", select(records, metric, ("written",))),
            ("before a token, adopted rows", select(records, metric, ("adopted",))),
            (
                EVERY_ACTION,
                [
                    *list_foreseen(table, known, metric, "nothing"),
                    *(point for point in select(over_nothing, metric, ("simple",)) if point.seed < N_SEEDS),
                ],
            ),
        ):
            yield from correlate(title, metric, points, keeps_points=title == EVERY_ACTION)


def read_table(lines: Iterable[Mapping[str, Any]]) -> Table:
    """The draws of the lines that carry them, where inner validation measured the arm."""
    found = {}
    for line in lines:
        if "draws" in line and "validation" in line and "/" in line["data"]:
            part, student = line["data"].split("/")
            key = (part, student, line["metric"], line["arm"])
            found[key] = (line["validation"], line["draws"])
    return found


def list_points(table: Table, base: str, arms: Sequence[str] = (*SIMPLE_ARMS, *ADDED_ARMS)) -> list[Point]:
    """Forecast and realised difference of every arm and draw.

    Args:
        table: of all arms.
        base: the arm that differences are taken from; "" for the simple way with the highest inner validation of the
            draw.
        arms: actions.
    """
    points = []
    for (part, student, metric, arm), (said, came) in table.items():
        if arm not in arms or arm == base:
            continue
        for seed, (forecast, realised) in enumerate(zip(said, came, strict=True)):
            other = base or find_best(table, part, student, metric, seed)
            said_of_other, came_of_other = table[part, student, metric, other]
            before = said_of_other[seed]
            if forecast is not None and before is not None:
                gains = forecast - before, realised - came_of_other[seed]
                points.append(Point(part, student, metric, arm, seed, *gains))
    return points


def find_best(table: Table, part: str, student: str, metric: str, seed: int) -> str:
    """The simple way with the highest inner validation of a draw; the earlier one of equals."""
    known = {
        arm: table[part, student, metric, arm][0][seed]
        for arm in SIMPLE_ARMS
        if (part, student, metric, arm) in table
    }
    return max(known, key=lambda arm: -1.0 if known[arm] is None else float(known[arm] or 0))


def find_headroom(table: Table, point: Point) -> float:
    """What the best simple way of inner validation leaves to gain."""
    best = find_best(table, point.part, point.student, point.metric, point.seed)
    return 1 - float(table[point.part, point.student, point.metric, best][0][point.seed] or 0)


def select(points: Sequence[Point], metric: str, kinds: Sequence[str]) -> list[Point]:
    """The points of a metric and some kinds of action."""
    return [point for point in points if point.metric == metric and point.kind in kinds]


def correlate(
    title: str, metric: str, points: Sequence[Point], *, keeps_points: bool = False
) -> Iterator[Result]:
    """Rank correlation, and the share of points whose sign was foretold; the points too, for the picture."""
    parts = sorted({point.part for point in points})
    if len(parts) < 3:
        return
    pairs = {
        part: np.array([(point.forecast, point.realised) for point in points if point.part == part])
        for part in parts
    }
    generator = np.random.default_rng(11)
    drawn = []
    for _ in range(N_RESAMPLES):
        picked = generator.integers(0, len(parts), len(parts))
        drawn.append(_measure(np.concatenate([pairs[parts[place]] for place in picked])))
    whole = _measure(np.concatenate(list(pairs.values())))
    for place, name in enumerate(("rank_correlation", "sign_foretold_ratio")):
        low, high = interval(np.array([values[place] for values in drawn]))
        extra: dict[str, Any] = {"parts": len(parts)}
        if keeps_points and not place:
            extra["points"] = [
                [point.kind, round(point.forecast, 4), round(point.realised, 4)] for point in points
            ]
        yield Result("forecast", metric, title, name, whole[place], low, high, len(points), extra=extra)


def _measure(pairs: Floats) -> tuple[float, float]:
    forecast, realised = pairs.T
    same = np.sign(forecast) == np.sign(realised)
    if np.ptp(forecast) == 0 or np.ptp(realised) == 0:
        return float("nan"), float(same.mean())
    return float(spearmanr(forecast, realised).statistic), float(same.mean())


def foresee(settings: Settings, table: Table, n_seeds: int) -> Foreseen:
    """What previews of the first draws of every part say; with `quick` of the first draw of the first two parts."""
    parts = list(dict.fromkeys(part for part, *_ in table))
    if settings.quick:
        parts, n_seeds = parts[:2], 1
    found: dict[tuple[str, str, str, int], float] = {}
    for part in parts:
        name, _, size = part.removesuffix("+pool").partition("@")
        corpus = replace(CORPORA[name](settings.data), n_rare=int(size or N_RARE))
        for seed in range(min(n_seeds, count_draws(table, part))):
            train, _, rest = divide_draw(corpus, seed)
            pool = draw_pool(corpus, rest, seed) if part.endswith("+pool") else []
            with tempfile.TemporaryDirectory() as folder:
                preview = counterpoise.preview(make_job(corpus, train, pool, NO_SERVER, seed, folder))
            # The last action of a student counts what the earlier ones add.
            for forecast in preview.forecasts:
                for metric in GAPS:
                    found[part, forecast["student"], metric, seed] = forecast[metric]
        print(f"preview of {part}", file=sys.stderr, flush=True)
    return found


def count_draws(table: Table, part: str) -> int:
    """Draws of a part in the lines."""
    return max(len(came) for (name, *_), (_, came) in table.items() if name == part)


def list_foreseen(table: Table, known: Foreseen, metric: str, base: str) -> list[Point]:
    """Forecasts of records, made before a token was spent, over logit adjustment or over `base`."""
    points = []
    for (part, student, what, seed), gain in known.items():
        if what != metric:
            continue
        said = {arm: table[part, student, metric, arm][0][seed] for arm in {BASELINE.name, base}}
        before, other = said[BASELINE.name], said[base]
        if before is None or other is None:
            continue
        realised = (
            table[part, student, metric, "added_rows"][1][seed] - table[part, student, metric, base][1][seed]
        )
        points.append(Point(part, student, metric, "added_rows", seed, before - other + gain, realised))
    return points
