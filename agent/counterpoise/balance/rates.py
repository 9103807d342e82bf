"""Shares of passages whose intervals go by query.

Passages of one query are alike to a judge: one that takes the query for another one is wrong about all of them. So a
share's interval goes by the variance between queries: the passages count for as many as would say as much if each came
from a query of its own (Korn and Graubard's effective sample size, never more than there are).

Paper: Korn, Graubard (1998) "Confidence intervals for proportions with small expected number of positive counts
estimated from survey data".

>>> print(count_rate([("query 1", True), ("query 2", False)] * 50))
0.50 (0.05 to 0.95, n = 100 of 2 queries)
>>> print(count_rate((f"query {number}", number % 2 == 0) for number in range(100)))
0.50 (0.40 to 0.60, n = 100)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from counterpoise.balance.intervals import Z_95, wilson_interval


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95% interval by Wilson's method; NaN of nothing.

    Args:
        k: hits.
        n: passages.
        n_effective: for how many the passages count; 0 means for `n`, which they do where no two share a query.
        n_queries: queries that they come from; 0 where each has one of its own.
    """

    k: int
    n: int
    n_effective: float = 0.0
    n_queries: int = 0

    @property
    def value(self) -> float:
        """The share, 0..1."""
        return self.k / self.n if self.n else float("nan")

    @property
    def weight(self) -> float:
        """The passages that it rests on, as if each came from a query of its own."""
        return self.n_effective or float(self.n)

    @property
    def interval(self) -> tuple[float, float]:
        """Its lower and upper ends."""
        low, high = wilson_interval(self.k / max(self.n, 1) * self.weight, self.weight)
        return float(low), float(high)

    def as_dict(self) -> dict[str, Any] | None:
        """Plain values; None (unknown) where nothing was measured."""
        if not self.n:
            return None
        low, high = self.interval
        return {
            "value": self.value,
            "low": low,
            "high": high,
            "k": self.k,
            "n": self.n,
            "queries": self.n_queries or self.n,
        }

    def __str__(self) -> str:
        """`0.85 (0.78 to 0.90, n = 120)`, or `unknown`; `n = 120 of 40 queries` where some share one."""
        if not self.n:
            return "unknown"
        low, high = self.interval
        queries = f" of {self.n_queries:,} queries" if 0 < self.n_queries < self.n else ""
        return f"{self.value:.2f} ({low:.2f} to {high:.2f}, n = {self.n:,}{queries})"


@dataclass
class Tally:
    """Hits and passages of queries, added up query by query."""

    k: int = 0
    n: int = 0
    n_queries: int = 0
    _squares: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    def add(self, k: int, n: int) -> None:
        """Add a query with `n` passages, `k` of them hits; one without passages says nothing."""
        if not n:
            return
        self.k, self.n, self.n_queries = self.k + k, self.n + n, self.n_queries + 1
        for place, product in enumerate((k * k, k * n, n * n)):
            self._squares[place] += product

    @property
    def rate(self) -> Rate:
        """The share so far."""
        if self.n_queries == self.n or not self.n:
            return Rate(self.k, self.n)
        share = self.k / self.n
        spread = share * (1 - share)
        if not spread or self.n_queries < 2:
            # All alike: nothing tells how much the passages of a query have in common.
            weight = float(self.n if self.n_queries > 1 else 1)
        else:
            kk, kn, nn = self._squares
            scatter = max(kk - 2 * share * kn + share * share * nn, 0.0)
            variance = scatter / self.n**2 * self.n_queries / (self.n_queries - 1)
            weight = spread / variance * _slack(self.n_queries) if variance else float(self.n)
        return Rate(self.k, self.n, min(max(weight, 1.0), float(self.n)), self.n_queries)


def count_rate(answers: Iterable[tuple[str, bool]]) -> Rate:
    """The share of hits among (query, whether it is a hit); "" is a query of its own each time."""
    by_query: dict[str, list[int]] = {}
    tally = Tally()
    for query, is_hit in answers:
        if not query:
            tally.add(int(is_hit), 1)
            continue
        counts = by_query.setdefault(query, [0, 0])
        counts[0] += is_hit
        counts[1] += 1
    for k, n in by_query.values():
        tally.add(k, n)
    return tally.rate


def _slack(n_queries: int) -> float:
    """What a variance that is itself measured on few queries takes off, 0..1: Student's t in place of the normal."""
    from scipy.stats import t

    return float((Z_95 / t.ppf(0.975, n_queries - 1)) ** 2)
