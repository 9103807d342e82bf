"""What a filter of proposals is: it gives a verdict on each, with a reason, and drops nothing silently.

What ships, in its order, cheap ones first (`tasks.filters` registers it):

| filter | says no to |
|---|---|
| `text` | nothing, too short or too long a text, a refusal, an echo of the prompt |
| `written` | what a model wrote and rows are not like: language, script, gibberish, repetition, talk, support |
| `fluency` | words in an order that surprises as much as any |
| `distance` | a text farther from all rows than rows are from one another |
| `labels` | a row of a pool that the audited label scorer holds for another label |
| `writers` | more of the texts of a writer that misses the label it was asked for |
| `concepts` | a text that lacks the concept its cell is for |
| `attributes` | a text that a classifier holds for another value of the attribute its cell is for |
| `edits` | an edit that changed nothing, too much, or something else than it was to change |
| `copies` | a text that is, or nearly is, one of the data, of the held-out rows, or an earlier proposal |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.registry import NamedPart, Registry
from counterpoise.filters.batch import ProposalBatch

KEPT = "kept"

CUT_OFF = "cut_off"
"""The reason of a text whose tokens ended within it; reports count it apart."""


class FittedFilter(Protocol):
    """A filter that knows all that it needs of the user's data.

    It may offer more: `alarms()`, how often it refuses real rows, which it is not tried for then; `audits()`, the lines
    of its judges in the report; `languages()`, the shares of the languages of the data; `notes(refused, n_proposals)`,
    sentences on what it refused.
    """

    def verdicts(self, batch: ProposalBatch) -> Sequence[Verdict]:
        """One verdict a proposal, in order; it never raises for a bad proposal."""
        ...


class Filter(NamedPart, Protocol):
    """A registered filter: what it is called, and why it may refuse.

    It has `verdicts(batch)`, as a `FittedFilter` has, or where it needs the user's rows `fit(data)`, which gives one
    (see `chain.FilterData`). It may have `remedies`, what helps where many are refused for a reason (half a sentence);
    `instructions`, what a model is told that is to write a refused text once more (whole sentences, by reason);
    `off_target`, those of its reasons that say: a sound text, but not what was asked for; `is_last`, for one that
    looks at what all others keep; and `is_tried = False`, for one that is not to be weakened, whatever share of the
    user's own rows it would refuse (`trials`): what it refuses is a rule, and no guess.
    """

    @property
    def reasons(self) -> tuple[str, ...]:
        """All reasons that it refuses with."""
        ...


FILTERS: Registry[Filter] = Registry("filters", needs=("reasons",), either=("verdicts", "fit"))
"""All that a job may name under `filters`."""


def list_remedies(filters: Sequence[Any]) -> dict[str, str]:
    """Reason -> what helps against it, as the filters say; the first one's word counts."""
    return _unite(getattr(one, "remedies", {}) for one in filters)


def list_instructions(filters: Sequence[Any]) -> dict[str, str]:
    """Reason -> what a writer is told whose text was refused for it; reasons that a writer cannot mend have none."""
    return _unite(getattr(one, "instructions", {}) for one in filters)


def _unite(told: Iterable[Mapping[str, str]]) -> dict[str, str]:
    united: dict[str, str] = {}
    for one in told:
        united |= {reason: said for reason, said in one.items() if reason not in united}
    return united


def combine_verdicts(*layers: Sequence[Verdict]) -> list[Verdict]:
    """The first no of each proposal, else yes; scores of all layers together."""
    combined = []
    for verdicts in zip(*layers, strict=True):
        scores = {name: value for verdict in verdicts for name, value in verdict.scores.items()}
        first = next((verdict for verdict in verdicts if not verdict.kept), verdicts[0])
        combined.append(Verdict(first.proposal_id, first.kept, first.reason, scores))
    return combined


def make_verdict(proposal: Proposal, fault: str, scores: Mapping[str, float] | None = None) -> Verdict:
    """No for a fault, yes for ""; with the scores that were looked at."""
    return Verdict(proposal.id, not fault, fault or KEPT, dict(scores or {}))
