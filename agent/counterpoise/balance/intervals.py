"""Intervals of shares.

Example:
    >>> low, high = wilson_interval(180, 200)
    >>> print(f"{low:.3f} {high:.3f}")
    0.851 0.934
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Z_95 = 1.959963984540054


def wilson_interval(k: ArrayLike, n: ArrayLike) -> tuple[Any, Any]:
    """The 95% interval of a share by Wilson's score method.

    Args:
        k: successes, a number or an array.
        n: trials, of the same shape; 0 gives the interval 0 to 1.

    Returns:
        Lower and upper ends in 0..1, floats for numbers and arrays for arrays.
    """
    successes, trials = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    counted = np.maximum(trials, 1.0)
    share = successes / counted
    square = Z_95**2
    centre = (share + square / (2 * counted)) / (1 + square / counted)
    half = Z_95 / (1 + square / counted) * np.sqrt(share * (1 - share) / counted + square / (4 * counted**2))
    low = np.where(trials > 0, np.clip(centre - half, 0.0, 1.0), 0.0)
    high = np.where(trials > 0, np.clip(centre + half, 0.0, 1.0), 1.0)
    return (float(low), float(high)) if low.ndim == 0 else (low, high)
