"""The scorers of a concept as lines of the report: each with its audit, the one that decides, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterpoise.scorers.audits import describe_audit

if TYPE_CHECKING:
    from counterpoise.scorers.concepts.labeller import ConceptScorer


def list_lines(scorer: ConceptScorer) -> list[dict[str, Any]]:
    """A line for every scorer of a concept, as the report shows it (`report.schema.ScorerAudit`)."""
    question = f"Does the text mention {scorer.name}?"
    if not scorer.candidates and scorer.judged is None:
        role = "reported" if scorer.mixture is not None else "refused"
        return [describe_audit("similarity", question, None, role=role, price=0.0, note=scorer.note)]
    lines = []
    if scorer.judged is not None and scorer.chosen is None:
        price = max((one.price for one in scorer.candidates), default=0.0)
        lines.append(describe_audit("llm", question, None, role="used", price=price, note=scorer.note))
    for candidate in scorer.candidates:
        is_chosen = candidate is scorer.chosen
        note = scorer.note if scorer.chosen is None or len(scorer.candidates) == 1 else ""
        if is_chosen and not note:
            weights = {
                name: round(weight, 2) for name, weight in candidate.stack.weights.items() if weight > 0.005
            }
            parts = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
            note = f"It decides; its parts: {parts}." if len(weights) > 1 else "It decides."
        role = "used" if is_chosen else "refused" if scorer.chosen is None else "reported"
        lines.append(
            describe_audit(
                candidate.name, question, candidate.result, role=role, price=candidate.price, note=note
            )
        )
    return lines
