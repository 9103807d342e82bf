"""The filter of labels: a row of a pool, or an edit, that the audited label scorer holds for another label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterpoise.core.plans import Nature, Proposal, Verdict
from counterpoise.core.records import Floats
from counterpoise.filters.base import make_verdict

CONTRADICTED_FROM = 0.73
"""Probability of another label from which the label scorer refuses rows of a pool and edits: odds of about e to 1. A
mild filter keeps what the scorer does not know yet; a strict one selects what a student would have guessed anyway.
What new texts need is measured on the user's own rows (`filters.written`)."""


def check_labels(
    proposals: Sequence[Proposal],
    probabilities: Floats,
    label_names: Sequence[str],
    *,
    is_trusted: bool,
    is_measured: bool = False,
) -> list[Verdict]:
    """Refuse proposals that an audited scorer holds for another label.

    Args:
        proposals: in order.
        probabilities: (n, k) from a scorer that does not know what label was asked for.
        label_names: k names.
        is_trusted: whether the scorer passed its audit; if not, it only leaves its score.
        is_measured: whether what new texts need was measured on the user's rows (`filters.written`): they are not
            judged here then.
    """
    verdicts = []
    places = {name: place for place, name in enumerate(label_names)}
    for proposal, row in zip(proposals, probabilities, strict=True):
        wanted = places[proposal.label]
        against = float(np.delete(row, wanted).max() / (np.delete(row, wanted).max() + row[wanted]))
        judged = is_trusted and not (is_measured and proposal.nature is Nature.WRITTEN)
        fault = "label_contradicted" if judged and against >= CONTRADICTED_FROM else ""
        verdicts.append(make_verdict(proposal, fault, {"label_probability": float(row[wanted])}))
    return verdicts
