"""How many tokens a run may use, what it has used, and what it has really paid for."""

from __future__ import annotations

import math
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from time import monotonic

from counterpoise.llm.chat import ChatRequest, Usage

BYTES_PER_TOKEN = 2.5
"""Of words, cautiously: English has about 4 letters a token."""

_WORDS = (string.ascii_letters + " ").encode()
"""All other bytes may be tokens of their own: digits and marks often are, an emoji is three."""

TOKENS_PER_MESSAGE = 8
"""Marks that a chat template puts around a message, at most."""

TEMPLATE_TOKENS = 32
"""What a chat template may add of its own, such as a default system message."""


def estimate_tokens(texts: Iterable[str]) -> int:
    """Tokens of texts together, rather too many than too few.

    >>> estimate_tokens(["a good day", "42 😀"])
    11
    """
    n_words = n_others = 0
    for text in texts:
        coded = text.encode("utf-8", "surrogatepass")
        others = len(coded.translate(None, _WORDS))
        n_words, n_others = n_words + len(coded) - others, n_others + others
    return math.ceil(n_words / BYTES_PER_TOKEN) + n_others


def estimate_prompt(request: ChatRequest) -> int:
    """Tokens of the texts that a request shows, without the marks of a chat template."""
    return estimate_tokens([request.prompt, *(message.content for message in request.messages)])


def estimate_request(request: ChatRequest) -> int:
    """Tokens that a request may cost at most, prompt and `n` completions together."""
    n_marks = TEMPLATE_TOKENS + TOKENS_PER_MESSAGE * len(request.messages) if request.messages else 1
    return estimate_prompt(request) + n_marks + request.n * request.most_tokens


class BudgetSpent(Exception):  # noqa: N818  (not an error: the run ends as it should)
    """The next request would go over the limit, or the time is up."""


class ThoughtsUnpaid(BudgetSpent):
    """The model thinks, cannot be kept from it, and the budget pays for its thoughts alone."""


@dataclass(frozen=True, slots=True)
class Spend:
    """Totals of one purpose.

    Args:
        requests: completions that were used, cached or not.
        used: tokens of all completions used, as if none had been cached.
        paid: tokens that were sent and received, in all processes of the run; of replies that were lost on the
            way the estimate.
    """

    requests: int = 0
    used: int = 0
    paid: int = 0


class TokenBudget:
    """Counts tokens against a limit; each request reserves its upper estimate before it is sent.

    Replies from the store count as used, so that a run that was resumed stops where an undisturbed one does.
    What is paid for can be more than what is used only where replies are lost on the way, and counts against
    the limit too.

    Args:
        limit: tokens, None for no limit.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        limit: int | None = None,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        if limit is not None and limit < 0:
            raise ValueError(f"a budget of {limit} tokens")
        self.limit = limit
        self.reserved = 0
        self.used = 0
        self.paid = 0
        self._by_purpose: dict[str, Spend] = defaultdict(Spend)
        self._clock = clock
        self._ends_at: float | None = None

    def begin(self, paid: Mapping[str, int]) -> None:
        """Go on from what earlier processes of the run have paid, by purpose."""
        for purpose, tokens in paid.items():
            self.lose(tokens, purpose)

    def end_after(self, seconds: float | None) -> None:
        """From now on nothing is reserved once so many seconds have passed; None for no limit."""
        self._ends_at = None if seconds is None else self._clock() + seconds

    @property
    def is_time_up(self) -> bool:
        """Whether the time is spent."""
        return self._ends_at is not None and self._clock() >= self._ends_at

    @property
    def seconds_left(self) -> float | None:
        """Until the time is up; None without a limit."""
        return None if self._ends_at is None else max(0.0, self._ends_at - self._clock())

    def check_time(self) -> None:
        """Raise where the time is up.

        Raises:
            BudgetSpent: it is.
        """
        if self.is_time_up:
            raise BudgetSpent("the time is up")

    def check_room(self) -> None:
        """Raise where a request that has reserved may not be sent again.

        A reply that was lost is counted as paid while its request keeps what it has reserved, for another attempt.

        Raises:
            BudgetSpent: what is paid and what is reserved go over the limit together.
        """
        if self.limit is not None and max(self.used, self.paid) + self.reserved > self.limit:
            raise BudgetSpent(
                f"replies were lost, and another attempt would go over the budget of {self.limit}: "
                f"{self.used} used, {self.paid} paid, {self.reserved} reserved"
            )

    @property
    def remaining(self) -> int | None:
        """Tokens that can still be reserved, None without a limit."""
        if self.limit is None:
            return None
        return max(0, self.limit - max(self.used, self.paid) - self.reserved)

    @property
    def by_purpose(self) -> dict[str, Spend]:
        """Totals for each purpose."""
        return dict(sorted(self._by_purpose.items()))

    def estimate(self, request: ChatRequest) -> int:
        """Tokens that a request may cost at most, prompt and `n` completions together."""
        return estimate_request(request)

    def reserve(self, tokens: int, *, replay: bool = False) -> int:
        """Set `tokens` aside and return them.

        Args:
            tokens: an upper estimate.
            replay: the reply is stored. It was paid for before, so only what is used counts, and no time.

        Raises:
            BudgetSpent: they would go over the limit, or the time is up; nothing is set aside.
        """
        if not replay:
            self.check_time()
        spent = self.used if replay else max(self.used, self.paid)
        if self.limit is not None and spent + self.reserved + tokens > self.limit:
            raise BudgetSpent(
                f"{tokens} tokens more would go over the budget of {self.limit}: "
                f"{self.used} used, {self.paid} paid, {self.reserved} reserved"
            )
        self.reserved += tokens
        return tokens

    def settle(self, reserved: int, usages: list[Usage], purpose: str = "", *, paid: bool = True) -> None:
        """Give back what was reserved and count what was used.

        Args:
            reserved: what `reserve` gave.
            usages: of the completions that had not been counted in this run.
            purpose: of the request.
            paid: whether they were asked of a server now.
        """
        self.reserved -= reserved
        if not usages:
            return
        tokens = sum(usage.total for usage in usages)
        self.used += tokens
        self.paid += tokens if paid else 0
        before = self._by_purpose[purpose]
        self._by_purpose[purpose] = Spend(
            requests=before.requests + len(usages),
            used=before.used + tokens,
            paid=before.paid + (tokens if paid else 0),
        )

    def lose(self, tokens: int, purpose: str = "") -> None:
        """Count tokens of a reply that a server may have written but that never arrived."""
        self.paid += tokens
        before = self._by_purpose[purpose]
        self._by_purpose[purpose] = replace(before, paid=before.paid + tokens)
