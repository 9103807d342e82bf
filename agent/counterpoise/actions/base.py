"""What can be done for a cell and at what price, and what was done: all that the planner knows of an action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from counterpoise.core.plans import Cell

EDIT_ACTIONS = ("concept_injection", "counterfactual_edit")


@dataclass(frozen=True, slots=True)
class Costs:
    """What an action has cost in a cell so far.

    Args:
        tried: proposals made.
        accepted: of them kept.
        tokens: spent on them.
        requests: sent.
    """

    tried: int = 0
    accepted: int = 0
    tokens: float = 0.0
    requests: int = 0

    def add(self, tried: int, accepted: int, tokens: float, requests: int) -> Costs:
        """The same with one more settled item."""
        return Costs(
            self.tried + tried, self.accepted + accepted, self.tokens + tokens, self.requests + requests
        )

    @property
    def acceptance_ratio(self) -> float:
        """Smoothed share of proposals that are kept: (accepted + 1) / (tried + 2)."""
        return (self.accepted + 1) / (self.tried + 2)


@dataclass(frozen=True, slots=True)
class EditOffer:
    """What one kind of edit can do for a cell.

    Args:
        request_tokens: upper estimate of one request, in tokens.
        n_edits: requests that the sources are still good for.
    """

    request_tokens: int
    n_edits: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What the planner is told of one cell's prospects.

    Args:
        request_tokens: upper estimate of one generation request for the cell, in tokens.
        n_adoptable: pool records that the audited scorer is sure of.
        n_demonstrations: real records that can be shown; without any nothing can be written.
        contrast: the cell of the largest label beside it, which contrast records are written for.
        edits: what each kind of edit can do.
    """

    request_tokens: int
    n_adoptable: int = 0
    n_demonstrations: int = 0
    contrast: Cell | None = None
    edits: Mapping[str, EditOffer] = field(default_factory=dict)


def add_margin(request_tokens: int) -> int:
    """Demonstrations differ in length from request to request; a margin keeps the plan inside the budget."""
    return request_tokens + request_tokens // 4
