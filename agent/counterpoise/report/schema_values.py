"""Values that several sections of a report are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ArmKind = Literal["zero_token", "ours", "reference"]
"""What an arm of the held-out table is: a way without tokens, one of ours, or a bound such as real data."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds and its 95% interval."""

    mean: float | None
    low: float | None
    high: float | None
