"""What the pages share: the template environment, how figures are written, files that appear whole.

The environment escapes everything; only the charts, which escape for themselves, hand over markup.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from counterpoise.report.charts import AXIS_WIDTHS, NO_ROOM, is_number

if TYPE_CHECKING:
    from jinja2 import Environment

DASH = "–"
"""Stands for a figure that is missing, infinite or undefined."""

EXCERPT_CHARACTERS = 420


def format_count(value: float | None) -> str:
    """A count with thin thousands: `12,480`, `87.5`, or a dash."""
    if value is None or not is_number(value):
        return DASH
    return f"{value:,.0f}" if abs(value - round(value)) < 0.05 or abs(value) >= 1000 else f"{value:,.1f}"


def format_decimal(value: float | None, digits: int = 3) -> str:
    """A score with a fixed number of digits and a true minus sign, or a dash."""
    if value is None or not is_number(value):
        return DASH
    return f"{_without_negative_zero(value, digits):.{digits}f}".replace("-", "−")


def format_signed(value: float | None, digits: int = 3) -> str:
    """A difference with its sign, or a dash."""
    if value is None or not is_number(value):
        return DASH
    rounded = _without_negative_zero(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def format_percent(value: float | None) -> str:
    """A ratio as a percentage: `31%`, `0.4%`, or a dash."""
    if value is None or not is_number(value):
        return DASH
    return f"{100 * value:.0f}%" if value == 0 or abs(value) >= 0.0095 else f"{100 * value:.1f}%"


def format_name(value: str) -> str:
    """A name of ours in plain words; one of a user's part, which has a dot in it, as it is.

    >>> format_name("logit_adjustment"), format_name("mine.half_adjusted")
    ('logit adjustment', 'mine.half_adjusted')
    """
    return value if re.fullmatch(r"[\w-]+(?:\.[\w-]+)+", value) else value.replace("_", " ")


def capitalise(words: str) -> str:
    """The words as the beginning of a line."""
    return words[:1].upper() + words[1:]


def write_prose(text: str) -> Markup:
    """A sentence of ours for a page: what stands between backticks as code, and no break inside a name.

    >>> write_prose("macro-F1 rose; name a pool under `pool` <b>")
    Markup('<span class="whole">macro-F1</span> rose; name a pool under <code>pool</code> &lt;b&gt;')
    """
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\b[Mm]acro-F1\b", r'<span class="whole">\g<0></span>', marked))  # noqa: S704  (escaped)


def cut_text(text: str) -> str:
    """The beginning of a long text, up to a word's end; a short text as it is."""
    if len(text) <= EXCERPT_CHARACTERS:
        return text
    head = text[:EXCERPT_CHARACTERS]
    return (head[: head.rfind(" ")] if " " in head[EXCERPT_CHARACTERS // 2 :] else head) + " …"


def clean_numbers(value: Any) -> Any:
    """A copy with every infinite or undefined number replaced by None and every sequence by a list.

    The result is strict JSON: `json.dumps(..., allow_nan=False)` takes it.
    """
    if isinstance(value, Mapping):
        return {str(key): clean_numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_numbers(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def render_template(name: str, **values: Any) -> str:
    """A page from a template of the package.

    Args:
        name: file name below `templates`.
        values: what the template is given; a name it asks for and does not get is an error.
    """
    return _environment().get_template(name).render(**values)


@functools.cache
def _environment() -> Environment:
    """The template environment; jinja2 is imported here, for the command line loads this module at start."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("counterpoise.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": format_count,
        "decimal": format_decimal,
        "signed": format_signed,
        "percent": format_percent,
        "name": format_name,
        "cut": cut_text,
        "prose": write_prose,
    }
    environment.globals |= {"axis_widths": AXIS_WIDTHS[1:], "no_room": NO_ROOM}
    return environment


def _without_negative_zero(value: float, digits: int) -> float:
    """The value rounded, with -0.0 as 0.0."""
    return round(value, digits) + 0.0
