"""A filter that refuses what tells how to reach somebody."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

from counterpoise.core.plans import Verdict
from counterpoise.filters.batch import ProposalBatch

_ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w-]{1,64}\.\w+|\+?\d[\d ()/-]{7,20}\d")


class PrivacyFilter:
    """Refuses texts with an e-mail address or a telephone number in them."""

    name = "mine.privacy"
    reasons = ("personal_data",)
    is_tried = False  # a rule: it holds even if rows of the user's own break it
    remedies: ClassVar[Mapping[str, str]] = {
        "personal_data": "a line in the description of the labels that asks for no addresses"
    }

    def verdicts(self, batch: ProposalBatch) -> Sequence[Verdict]:
        """One verdict a proposal, in order."""
        return [
            Verdict(proposal.id, False, "personal_data")
            if _ADDRESS.search(proposal.text)
            else Verdict(proposal.id, True, "kept")
            for proposal in batch.proposals
        ]
