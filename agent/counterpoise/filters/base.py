"""The filters of proposals, cheap ones first; each gives a verdict with a reason, none drops anything silently.

| filter | says no to |
|---|---|
| `text` | nothing, too short or too long a text, a refusal, an echo of the prompt |
| `copies` | a text that is, or nearly is, one of the data, of the held-out rows, or an earlier proposal |
| `labels` | a row of a pool, or an edit, that the audited label scorer holds for another label |
| `concepts` | a text that lacks the concept its cell is for |

What else is asked of a text that a model wrote is set by the user's own rows: see `written`; of an edit: see `edits`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from counterpoise.core.plans import Proposal, Verdict

KEPT = "kept"


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
