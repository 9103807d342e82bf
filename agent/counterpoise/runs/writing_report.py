"""What a report says of the writing itself: who wrote how much, and what requests had to leave out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from counterpoise.actions import ACTIONS
from counterpoise.actions.writers import take_turns
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.guards import guard
from counterpoise.core.plans import Cell, PlanItem
from counterpoise.llm.masking import Masker
from counterpoise.report.schema import MaskedKind, WriterShare
from counterpoise.runs.ledger import Ledger
from counterpoise.tasks.text.parts import RunContext

_CELLS_NAMED = 3


def note_writing(context: RunContext, items: Iterable[PlanItem], capabilities: Capabilities) -> list[str]:
    """A sentence on each thing that requests leave out, with the cells it holds for.

    Args:
        context: the data.
        items: of the plans.
        capabilities: of the model.

    Raises:
        PartError: an action of the user's own raised.
    """
    actions = {action.name: action for action in context.actions}
    cells: dict[tuple[str, str], list[Cell]] = {}
    for name, cell in dict.fromkeys((item.action, item.cell) for item in items if item.n_requests):
        action = actions[name]
        said = getattr(action, "note", None)
        for note in guard(ACTIONS, action, said, cell, context.data, capabilities) if said else ():
            cells.setdefault((name, note), []).append(cell)
    return [f"requests of {name} for {_name_cells(found)} {note}" for (name, note), found in cells.items()]


def _name_cells(cells: Sequence[Cell]) -> str:
    named = ", ".join(f"'{cell}'" for cell in cells[:_CELLS_NAMED])
    more = len(cells) - _CELLS_NAMED
    return f"{named} and {more} other cells" if more > 0 else named


def describe_writers(context: RunContext, ledger: Ledger) -> list[WriterShare]:
    """What each writer of the job was planned for and what came of it; empty where the job names none."""
    writers = context.data.writers
    if not any(writer.name for writer in writers):
        return []
    n_planned = dict.fromkeys((writer.name for writer in writers), 0)
    taking_turns = {action.name for action in context.actions if getattr(action, "has_writers", False)}
    for plan, _ in ledger.rounds:
        for item in plan.items:
            if item.action in taking_turns:
                if item.writer:
                    n_planned[item.writer] += item.n_requests
                    continue
                for writer in take_turns(writers, item.first_source, item.n_requests):
                    n_planned[writer.name] += 1
    accepted = [one for one, _ in ledger.list_accepted() if one.writer]
    written = [*accepted, *(one for one, _ in ledger.list_rejected() if one.writer)]
    return [
        WriterShare(
            name=writer.name,
            instructions=writer.instructions,
            temperature=writer.temperature,
            requests=n_planned[writer.name],
            share=n_planned[writer.name] / total if (total := sum(n_planned.values())) else None,
            proposed=sum(one.writer == writer.name for one in written),
            accepted=sum(one.writer == writer.name for one in accepted),
            tokens=sum(one.tokens for one in written if one.writer == writer.name),
        )
        for writer in writers
    ]


def describe_masked(masker: Masker | None) -> list[MaskedKind]:
    """What was masked of each kind that the job names; empty where it names none."""
    return [MaskedKind(kind, *counts) for kind, counts in masker.count().items()] if masker else []
