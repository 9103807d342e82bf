"""The picture of `forecast`: what was said of every action before a token was spent, and what the test rows say.

python -m evals.forecast_picture docs/forecast.svg
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from evals.forecast import ADDED_ARMS, LINES, list_points, read_table
from evals.minority_text import GAPS
from evals.suite import RESULTS
from evals.tables import HEADINGS, find_results

SIDE = 300
GAP = 70
COLOURS = {"simple": "#8a8f98", "written": "#1f6feb", "adopted": "#d9730d"}

Points = Sequence[tuple[str, float, float]]
"""Kind of action, forecast, outcome."""


def draw(panels: Sequence[tuple[str, Points]]) -> str:
    """An SVG of two columns: forecast across, outcome upwards, in points of 100, with the diagonal."""
    n_rows = (len(panels) + 1) // 2
    width, height = 2 * SIDE + 3 * GAP, n_rows * (SIDE + GAP) + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12" fill="#333"><rect width="{width}" height="{height}" fill="#fff"/>'
    ]
    for place, (kind, colour) in enumerate(COLOURS.items()):
        left = GAP + 130 * place
        name = "simple way" if kind == "simple" else f"{kind} rows"
        parts.append(
            f'<circle cx="{left}" cy="18" r="5" fill="{colour}"/><text x="{left + 10}" y="22">{name}</text>'
        )
    for place, (title, points) in enumerate(panels):
        row, column = divmod(place, 2)
        left, top = GAP + column * (SIDE + GAP), GAP + row * (SIDE + GAP)
        parts.append(f'<g transform="translate({left} {top})">')
        parts += _draw_panel(title, points)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _draw_panel(title: str, points: Points) -> Iterator[str]:
    values = [100 * value for _, *pair in points for value in pair]
    low, high = min([*values, 0.0]), max([*values, 1.0])
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if (high - low) / step <= 8)

    def go(value: float) -> float:
        return SIDE * (value - low) / (high - low)

    yield f'<text x="0" y="-10" font-weight="bold">{title}</text>'
    yield f'<rect width="{SIDE}" height="{SIDE}" fill="none" stroke="#bbb"/>'
    for tick in range(int(low // step) * step, int(high) + 1, step):
        if tick < low:
            continue
        colour = "#888" if tick == 0 else "#e8e8e8"
        x, y = go(tick), SIDE - go(tick)
        yield f'<path d="M{x:.1f} 0V{SIDE}M0 {y:.1f}H{SIDE}" stroke="{colour}"/>'
        yield f'<text x="{x:.1f}" y="{SIDE + 15}" text-anchor="middle">{tick}</text>'
        yield f'<text x="-6" y="{y + 4:.1f}" text-anchor="end">{tick}</text>'
    yield f'<path d="M0 {SIDE}L{SIDE} 0" stroke="#888" stroke-dasharray="4 4"/>'
    for kind, forecast, realised in sorted(points, key=lambda point: list(COLOURS).index(point[0])):
        x, y = go(100 * forecast), SIDE - go(100 * realised)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{COLOURS[kind]}" fill-opacity="0.6"/>'
    yield f'<text x="{SIDE / 2}" y="{SIDE + 33}" text-anchor="middle">forecast, points</text>'
    yield f'<text transform="translate(-38 {SIDE / 2}) rotate(-90)" text-anchor="middle">test rows, points</text>'


def main(path: Path) -> None:
    """Write the picture: before a token over doing nothing, and with the rows at hand over the best simple way."""
    told = {line["data"]: line["points"] for line in find_results(RESULTS, "forecast") if "points" in line}
    table = read_table(find_results(RESULTS, LINES))
    panels: list[tuple[str, Points]] = [
        (f"{HEADINGS[metric]}, before a token, over doing nothing", told[metric]) for metric in GAPS
    ]
    for metric in GAPS:
        mine = [
            (point.kind, point.forecast, point.realised)
            for point in list_points(table, "", ADDED_ARMS)
            if point.metric == metric
        ]
        panels.append((f"{HEADINGS[metric]}, with the rows at hand, over the best simple way", mine))
    path.write_text(draw(panels), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
