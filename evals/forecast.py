"""Forecast against outcome: does what a run says of an action beforehand rank actions as the test rows do?

Reads the lines of `minority_text`, which carry for each draw what an arm has on the test rows and what inner validation
said of it before. An action is an arm. `over nothing`: its forecast is its value on inner validation less that of doing
nothing, which for the simple ways a preview shows before a token is spent; for written or adopted rows a run knows it
when they are there. `over the best simple way` is the harder question whether added rows are worth using: both
differences are taken from the simple way that inner validation puts first.

Of what adding rows will bring *before* they are there a run says nothing. Three candidates for that are tried here, all
without a token: `headroom` (one less the best simple AUROC of inner validation); `last doubling`, how much lower the
AUROC of logit adjustment is with half of the rows of the rare labels; and `learning curve`, which takes the fall of
1 - AUROC per doubling as a power law (Hestness et al., 2017, Deep learning scaling is predictable, empirically) and
follows it to as many rows as the largest label has.

Rank correlations are Spearman's; their intervals resample whole parts (data set, size, pool), since draws of a part
are alike.

    python -m evals forecast --data DIR         the table
    python -m evals.forecast_picture docs/forecast.svg  the picture
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import spearmanr

from counterpoise.metrics import compute_auroc
from counterpoise.records import Integers
from counterpoise.splits import keyed_rank
from counterpoise.students import Rows, make_rows, predict
from counterpoise_retrievers.encoders import Encoder
from evals.common import Floats, Result, Settings, interval
from evals.minority_text import CORPORA, GAPS, N_RARE, SIMPLE_ARMS, Corpus, divide_draw, open_encoder
from evals.tables import read_results

LINES = Path(__file__).parent / "results" / "minority_text.jsonl"
ADDED_ARMS = ("added_rows", "averaged")
N_FOLDS = 5
N_HALVES = 3
N_RESAMPLES = 1000


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


def run(settings: Settings) -> Iterator[Result]:
    """The table; with `quick` without the learning curve."""
    table = read_table(read_results(LINES))
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
    yield from correlate("before, by headroom", "auroc", headroom)
    if not settings.quick:
        for name, curves in forecast_by_curves(settings, mine).items():
            yield from correlate(f"before, by {name}", "auroc", curves)
            for kind in ("written", "adopted"):
                chosen = select(curves, "auroc", (kind,))
                yield from correlate(f"before, by {name}, {kind} rows", "auroc", chosen)


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


def correlate(title: str, metric: str, points: Sequence[Point]) -> Iterator[Result]:
    """Rank correlation, and the share of points whose sign was foretold."""
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
        yield Result(
            "forecast", metric, title, name, whole[place], low, high, len(points), extra={"parts": len(parts)}
        )


def _measure(pairs: Floats) -> tuple[float, float]:
    forecast, realised = pairs.T
    same = np.sign(forecast) == np.sign(realised)
    if np.ptp(forecast) == 0 or np.ptp(realised) == 0:
        return float("nan"), float(same.mean())
    return float(spearmanr(forecast, realised).statistic), float(same.mean())


def forecast_by_curves(settings: Settings, points: Sequence[Point]) -> dict[str, list[Point]]:
    """The same points with the gain that the learning curve of the draw's own rows foretells, by either reading."""
    encoder = open_encoder()
    corpora: dict[str, Corpus] = {}
    known: dict[tuple[str, str, int], tuple[float, float]] = {}
    found: dict[str, list[Point]] = {"last doubling": [], "learning curve": []}
    for point in points:
        name, _, size = point.part.removesuffix("+pool").partition("@")
        if name not in corpora:
            corpora[name] = CORPORA[name](settings.data)
        key = (point.part.removesuffix("+pool"), point.student, point.seed)
        if key not in known:
            corpus = replace(corpora[name], n_rare=int(size or N_RARE))
            known[key] = follow_curve(corpus, encoder, point.student, point.seed)
            print(f"learning curve of {key}: {known[key]}", file=sys.stderr, flush=True)
        for gain, curve in zip(known[key], found.values(), strict=True):
            curve.append(replace(point, forecast=gain))
    return found


def follow_curve(corpus: Corpus, encoder: Encoder, student: str, seed: int) -> tuple[float, float]:
    """The gain in AUROC of the last doubling of rare rows, and that of as many of them as the largest label has."""
    names = sorted(corpus.labels)
    train, _, _ = divide_draw(corpus, seed)
    texts = np.array([text for text, _ in train], dtype=object)
    labels = np.array([names.index(label) for _, label in train])
    rows = make_rows(texts, encoder.encode(list(texts)), labels)
    rare = np.array([label in corpus.rare for _, label in train])
    folds = np.empty(len(train), dtype=np.int64)
    for label in range(len(names)):
        members = np.flatnonzero(labels == label)
        folds[members[keyed_rank(texts[members], "folds")]] = np.arange(len(members)) % N_FOLDS
    whole = measure_error(student, rows, folds, np.ones(len(train), dtype=np.bool_), len(names))
    halves = []
    for turn in range(N_HALVES):
        kept = ~rare
        for label in np.unique(labels[rare]):
            members = np.flatnonzero(labels == label)
            order = members[keyed_rank(texts[members], f"half {turn}")]
            kept[order[: (len(order) + 1) // 2]] = True
        halves.append(measure_error(student, rows, folds, kept, len(names)))
    half = float(np.mean(halves))
    ratio = min(1.0, whole / max(half, 1e-9))
    return half - whole, float(whole * (1 - ratio ** np.log2(corpus.full / corpus.n_rare)))


def measure_error(student: str, rows: Rows, folds: Integers, kept: NDArray[np.bool_], n_labels: int) -> float:
    """1 - AUROC of logit adjustment by cross-validation over all rows, trained on those that are `kept`."""
    table = np.zeros((len(rows), n_labels))
    for fold in range(N_FOLDS):
        outside = folds == fold
        table[outside] = predict(
            "logit_adjustment", student, rows.take(~outside & kept), rows.take(outside), n_labels
        )
    return 1 - compute_auroc(softmax(table, axis=1) if n_labels > 2 else table, rows.labels)
