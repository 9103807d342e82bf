"""What a run has so far: settled rounds with their verdicts, what actions have cost, and which no longer pay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from counterpoise.actions.base import Costs
from counterpoise.core.encoded_records import Vectors
from counterpoise.core.plans import Cell, Nature, Plan, PlanItem, Proposal, Refusal, Verdict
from counterpoise.core.records import ConceptColumns, Records
from counterpoise.data.patches.values import LabelChange

_FEWEST_TRIED = 50
_LOWEST_ACCEPTANCE = 0.10
NOT_NEEDED = "not_needed"
"""Why a record is not kept that every filter would keep: its cell is full."""


@dataclass(frozen=True, slots=True)
class JudgedProposals:
    """Proposals of settled rounds with their verdicts and vectors, in the order of their ids; and changes of labels."""

    proposals: tuple[Proposal, ...]
    verdicts: tuple[Verdict, ...]
    vectors: Vectors
    concepts: ConceptColumns | None
    changes: tuple[LabelChange, ...] = ()

    def __len__(self) -> int:
        """Number of proposals."""
        return len(self.proposals)

    @property
    def kept(self) -> list[int]:
        """Positions of the accepted ones."""
        return [place for place, verdict in enumerate(self.verdicts) if verdict.kept]


@dataclass(slots=True)
class Ledger:
    """What a run has so far: settled rounds only. The only thing in a run that changes."""

    rounds: list[tuple[Plan, JudgedProposals]] = field(default_factory=list)
    costs: dict[tuple[str, Cell], Costs] = field(default_factory=dict)
    tries: dict[tuple[str, Cell], list[tuple[int, int]]] = field(default_factory=dict)
    """Texts tried and kept by each settled round that tried."""
    fillers: dict[Cell, tuple[str, ...]] = field(default_factory=dict)
    """The actions that could fill a cell when it was last planned for."""

    def settle(self, plan: Plan, judged: JudgedProposals) -> None:
        """Add a round and what its items cost."""
        self.rounds.append((plan, judged))
        self.fillers |= plan.fillers
        for item in plan.items:
            mine = [
                place
                for place, proposal in enumerate(judged.proposals)
                # A request that failed says nothing of how good the texts are.
                if proposal.item.id == item.id and not proposal.failure
            ]
            # One too many was good enough to be kept.
            n_kept = sum(
                judged.verdicts[place].kept or judged.verdicts[place].reason == NOT_NEEDED for place in mine
            )
            tokens = sum(judged.proposals[place].tokens for place in mine)
            n_changed = 0 if mine else count_changes(item, judged.changes)
            key = (item.way, item.cell)
            known = self.costs.get(key, Costs())
            self.costs[key] = known.add(len(mine) + n_changed, n_kept + n_changed, tokens, item.n_requests)
            self.tries.setdefault(key, []).append((len(mine) + n_changed, n_kept + n_changed))

    def list_changes(self) -> list[LabelChange]:
        """All labels that were changed."""
        return [change for _, judged in self.rounds for change in judged.changes]

    def list_accepted(self) -> list[tuple[Proposal, Verdict]]:
        """All accepted proposals, by id."""
        return [
            (judged.proposals[place], judged.verdicts[place])
            for _, judged in self.rounds
            for place in judged.kept
        ]

    def list_rejected(self) -> list[tuple[Proposal, Verdict]]:
        """All others, by id."""
        return [
            (proposal, verdict)
            for _, judged in self.rounds
            for proposal, verdict in zip(judged.proposals, judged.verdicts, strict=True)
            if not verdict.kept
        ]

    def list_mendable(self, instructions: Mapping[str, str]) -> list[Refusal]:
        """Texts of a model that were refused for a reason with an instruction, by id; a text is rewritten once.

        Args:
            instructions: reason -> what a writer is told.
        """
        done = {proposal.rewritten_from for _, judged in self.rounds for proposal in judged.proposals}
        return [
            Refusal(proposal, instructions[verdict.reason])
            for proposal, verdict in self.list_rejected()
            if verdict.reason in instructions
            and proposal.nature is Nature.WRITTEN
            and proposal.text
            and not proposal.rewritten_from
            and proposal.id not in done
        ]

    def list_offered(self) -> frozenset[str]:
        """Ids of the pool rows that were proposed, accepted or not: a filter that refused one would again."""
        return frozenset(
            proposal.source_id
            for _, judged in self.rounds
            for proposal in judged.proposals
            if proposal.source_id
        )

    def stack_vectors(self, dimension: int, *, kept_only: bool = True) -> Vectors:
        """Vectors of the accepted proposals (or of all), in the same order."""
        parts = [
            judged.vectors[judged.kept] if kept_only else judged.vectors
            for _, judged in self.rounds
            if len(judged)
        ]
        return np.concatenate(parts) if parts else np.empty((0, dimension), np.float32)

    def find_exhausted(self) -> frozenset[tuple[str, Cell]]:
        """Actions that no longer pay in a cell: less than a tenth kept of the last fifty tries, or nothing new."""
        return frozenset(
            (action, cell)
            for (action, cell), tries in self.tries.items()
            if _is_vain(tries) or not (self.costs[action, cell].requests or self.costs[action, cell].accepted)
        )

    def find_vain(self) -> frozenset[Cell]:
        """Cells that nothing pays in any more which could fill them at a price."""
        gone = self.find_exhausted()
        return frozenset(
            cell
            for cell, names in self.fillers.items()
            if names and all((name, cell) in gone for name in names)
        )


def count_changes(item: PlanItem, changes: Sequence[LabelChange]) -> int:
    """How many changes of a round are those of a plan item: one that makes no proposals gives labels to its cell."""
    return sum(change.after == item.cell.label for change in changes) if not item.cell.is_named else 0


def _is_vain(tries: Sequence[tuple[int, int]]) -> bool:
    """Whether the last round got no text at all, or the last rounds with fifty texts kept less than a tenth."""
    if tries and not tries[-1][0]:
        return True
    n_tried = n_kept = 0
    for tried, kept in reversed(tries):
        n_tried, n_kept = n_tried + tried, n_kept + kept
        if n_tried >= _FEWEST_TRIED:
            return n_kept < _LOWEST_ACCEPTANCE * n_tried
    return False


def leave_out_surplus(proposals: Sequence[Proposal], verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Refuse what a plan item yields beyond its `most`, the last ids first.

    A cell that outgrows its target would make another one short, and that one the first again.
    """
    kept: Counter[str] = Counter()
    checked = []
    for proposal, verdict in zip(proposals, verdicts, strict=True):
        kept[proposal.item.id] += verdict.kept
        if verdict.kept and 0 < proposal.item.most < kept[proposal.item.id]:
            verdict = replace(verdict, kept=False, reason=NOT_NEEDED)
        checked.append(verdict)
    return checked


def add_accepted(train: Records, ledger: Ledger) -> Records:
    """The training rows and all accepted ones: what is counted."""
    accepted = ledger.list_accepted()
    if not accepted:
        return train
    places = {name: place for place, name in enumerate(train.label_names)}
    attributes = {
        name: np.concatenate(
            [column, np.array([proposal.attributes.get(name, "") for proposal, _ in accepted], dtype=object)]
        )
        for name, column in train.attributes.items()
    }
    concepts = train.concepts
    if concepts is not None:
        added = [
            judged.concepts.take(np.array(judged.kept))
            for _, judged in ledger.rounds
            if judged.concepts and judged.kept
        ]
        concepts = replace(
            concepts,
            states=np.concatenate([concepts.states, *(part.states for part in added)]),
            probabilities=np.concatenate([concepts.probabilities, *(part.probabilities for part in added)]),
        )
    columns = {
        name: np.concatenate(
            [column, np.array([proposal.content.get(name) for proposal, _ in accepted], dtype=object)]
        )
        for name, column in train.columns.items()
    }
    return Records(
        ids=np.concatenate([train.ids, np.array([proposal.id for proposal, _ in accepted], dtype=object)]),
        texts=np.concatenate(
            [train.texts, np.array([proposal.text for proposal, _ in accepted], dtype=object)]
        ),
        labels=np.concatenate([train.labels, np.array([places[proposal.label] for proposal, _ in accepted])]),
        label_names=train.label_names,
        attributes=attributes,
        concepts=concepts,
        columns=columns,
    )
