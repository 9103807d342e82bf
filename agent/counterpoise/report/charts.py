"""Small charts as inline SVG: bars, intervals and their axes.

Every chart is one row high and as wide as the table cell it stands in. Positions are percentages, so
lines and text keep their size on a phone, on a wide screen and on paper. Colours come from the classes of
the page's stylesheet. Whatever is drawn from data goes through `Markup.format`, which escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

DOT_INSET = 3.0
"""Percent kept free at both ends of an axis that carries dots, so that they are not cut in half."""

_MAX_TICKS = 4

AXIS_WIDTHS = (0, 40, 60, 80, 100, 120, 150, 180, 220, 280, 360)
"""Widths of an axis, in pixels, that the stylesheet knows."""

NO_ROOM = 9999
_CHARACTER_PIXELS = 7.0
_GAP_PIXELS = 6.0


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear axis from `low` to `high`.

    Args:
        low: value at the left end.
        high: value at the right end, above `low`.
        ticks: values to mark, all within the ends.
        inset: percent of the width that is kept free at both ends.
    """

    low: float
    high: float
    ticks: tuple[float, ...] = ()
    inset: float = 0.0

    def place(self, value: float) -> float:
        """The position of a value in percent of the width, held within the ends."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.inset + share * (100 - 2 * self.inset)


def is_number(value: object) -> bool:
    """Whether a value can be drawn or printed: a finite number, not None, not a boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def build_scale(
    values: Iterable[float | None], *, include: Sequence[float] = (), inset: float = 0.0
) -> Scale:
    """An axis with round ends and a few ticks around all finite values.

    Args:
        values: what will be drawn; missing and infinite values are left out.
        include: values that must be on the axis, such as 0.
        inset: percent of the width that is kept free at both ends.
    """
    finite = [float(value) for value in (*values, *include) if value is not None and is_number(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if high - low < 1e-9:
        high = low + (abs(low) or 1.0)
    step = _round_up((high - low) / _MAX_TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(position * step, 10) + 0.0 for position in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks, inset)


def build_difference_scale(kept: Sequence[float | None], others: Sequence[float | None]) -> Scale:
    """An axis around zero for differences, on which a few far values do not squeeze the rest.

    Args:
        kept: values that must be on the axis.
        others: values that widen the axis by three quarters of its width at most at either end; what lies
            beyond is drawn as an arrow.
    """
    inner = [float(value) for value in kept if value is not None and is_number(value)] + [0.0]
    low, high = min(inner), max(inner)
    reach = 0.75 * max(high - low, 0.02)
    outer = [float(value) for value in others if value is not None and is_number(value)]
    held = [min(max(value, low - reach), high + reach) for value in outer]
    return build_scale([low, high, *held], inset=DOT_INSET)


def draw_axis(scale: Scale, labels: Sequence[str]) -> Markup:
    """The ticks of a scale with their labels, to stand in the head of the column.

    Args:
        scale: the axis.
        labels: the text of each tick, in the order of `scale.ticks`; "" leaves one without text.
    """
    parts, placed = [], []
    for number, (tick, label) in enumerate(zip(scale.ticks, labels, strict=True)):
        if not label:
            continue
        anchor = "start" if number == 0 else "end" if number == len(scale.ticks) - 1 else "middle"
        # The outer labels begin and end where the axis does, not where the tick is.
        position = 0.0 if anchor == "start" else 100.0 if anchor == "end" else scale.place(tick)
        placed.append((position, anchor, len(label)))
        parts.append(
            Markup('<text class="at-{}" x="{}%" y="11" text-anchor="{}">{}</text>').format(
                anchor, f"{position:.2f}", anchor, label
            )
        )
    outer = [one for one in placed if one[1] != "middle"]
    return Markup(
        '<div class="axis-box"><svg class="axis all-{} ends-{}" height="14" aria-hidden="true">{}</svg></div>'
    ).format(_find_room(placed), _find_room(outer), Markup("").join(parts))


def _find_room(placed: Sequence[tuple[float, str, int]]) -> int:
    """The least of `AXIS_WIDTHS` at which no two labels touch; the stylesheet hides labels below it.

    Args:
        placed: position in percent, anchor and characters of each label, from left to right.
    """
    for width in AXIS_WIDTHS:
        end = -math.inf
        for position, anchor, n_characters in placed:
            length = n_characters * _CHARACTER_PIXELS
            start = position / 100 * width - {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor] * length
            if start < end + _GAP_PIXELS:
                break
            end = start + length
        else:
            return width
    return NO_ROOM


def draw_bar(value: float | None, scale: Scale, *, tone: str, title: str) -> Markup:
    """One horizontal bar from the scale's left end.

    Args:
        value: its length; nothing is drawn where it is missing.
        scale: the axis.
        tone: class that gives the colour: `after`, `before`, `plain`.
        title: what the bar says in words, shown under the pointer and read aloud.
    """
    bar = _rectangle(value, scale, tone, top=5, height=10)
    return _frame(bar, height=20, title=title)


def draw_before_after(
    before: float | None, after: float | None, want: float | None, scale: Scale, *, title: str
) -> Markup:
    """Two bars, before above after, and an upright line at the target.

    Args:
        before: length of the upper bar.
        after: length of the lower bar.
        want: where the line stands.
        scale: the axis, the same for all rows of a table.
        title: the same in words.
    """
    parts = [_rectangle(before, scale, "before", top=4, height=7)]
    parts.append(_rectangle(after, scale, "after", top=13, height=7))
    if want is not None and is_number(want):
        parts.append(_upright(scale.place(want), "target", top=1, bottom=23))
    return _frame(Markup("").join(parts), height=24, title=title)


def draw_interval(
    mean: float | None,
    low: float | None,
    high: float | None,
    scale: Scale,
    *,
    tone: str,
    title: str,
    reference: float | None = None,
) -> Markup:
    """A dot at the mean on a line from low to high, with an upright line at a reference.

    Ends beyond the scale become arrows; a mean beyond it is left out, so that a dot never stands where the
    value is not.

    Args:
        mean: where the dot is.
        low: left end of the line.
        high: right end of the line.
        scale: the axis, the same for all rows of a table.
        tone: class that gives the colour: `plain`, `ours`, `good`, `bad`.
        title: the same in words.
        reference: where the upright line stands, such as chance or no difference.
    """
    parts = []
    if reference is not None:
        parts.append(_upright(scale.place(reference), "reference", top=0, bottom=28))
    if mean is not None and is_number(mean):
        left, right = (
            scale.place(float(end)) if end is not None and is_number(end) else scale.place(mean)
            for end in (low, high)
        )
        parts.append(
            Markup('<line class="{}" x1="{}%" x2="{}%" y1="14" y2="14"/>').format(
                tone, f"{left:.2f}", f"{right:.2f}"
            )
        )
        if min(mean, low if low is not None else mean) < scale.low:
            parts.append(_arrow(tone, position=0, shape="M1 14l7 -5v10z"))
        if max(mean, high if high is not None else mean) > scale.high:
            parts.append(_arrow(tone, position=100, shape="M-1 14l-7 -5v10z"))
        if scale.low <= mean <= scale.high:
            parts.append(
                Markup('<circle class="{}" cx="{}%" cy="14" r="4.5"/>').format(
                    tone, f"{scale.place(mean):.2f}"
                )
            )
    return _frame(Markup("").join(parts), height=28, title=title)


def _frame(content: Markup, *, height: int, title: str) -> Markup:
    """An SVG element as wide as its surroundings."""
    return Markup('<svg class="chart" role="img" height="{}"><title>{}</title>{}</svg>').format(
        height, title, content
    )


def _rectangle(value: float | None, scale: Scale, tone: str, *, top: int, height: int) -> Markup:
    """A bar from the left end of the scale; a hairline where the value is there but too small to be seen."""
    if value is None or not is_number(value):
        return Markup("")
    start = scale.place(scale.low)
    width = max(scale.place(value) - start, 0.3)
    return Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}" rx="1.5"/>').format(
        tone, f"{start:.2f}", top, f"{width:.2f}", height
    )


def _upright(position: float, tone: str, *, top: int, bottom: int) -> Markup:
    """An upright line."""
    return Markup('<line class="{}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(
        tone, f"{position:.2f}", f"{position:.2f}", top, bottom
    )


def _arrow(tone: str, *, position: int, shape: str) -> Markup:
    """The mark of a value that lies beyond an end of the scale; a frame of its own places it by percent."""
    return Markup('<svg class="arrow {}" x="{}%" width="1" height="28"><path d="{}"/></svg>').format(
        tone, position, shape
    )


def _round_up(step: float) -> float:
    """The next number of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))
