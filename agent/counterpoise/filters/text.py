"""The filter of the text alone: nothing, too short or too long a text, a refusal, an echo of the prompt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.records import Objects
from counterpoise.filters.base import make_verdict
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.data import FilterData

_REFUSAL = re.compile(
    r"^\W*(?:i(?:'m| am) (?:sorry|unable|not able),? (?:but )?(?:i |to (?:help|write|assist))"
    r"|i can(?:not|'t|’t) (?:help(?! but)|write|assist|provide|generate|comply)|as an? (?:ai|language model)"
    r"|(?:sure|of course|certainly)[,!] here|here (?:is|are) (?:a|an|one|some|the|your|another)\b[^.]*:)",
    re.IGNORECASE,
)


_SEEN_IN_DATA = 0.01
"""Share of the user's rows from which something is no fault: there, rows are like that."""


@dataclass(frozen=True, slots=True)
class TextFilter:
    """Checks that look at the text alone.

    Args:
        shortest, longest: characters, from the lengths of real rows.
        headings: lines of the prompts, which must not come back.
        usual: faults that the user's own rows have, and that are none therefore.
    """

    shortest: int
    longest: int
    headings: tuple[str, ...] = ()
    usual: frozenset[str] = frozenset()

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order."""
        return self.check(batch.proposals)

    def check(self, proposals: Sequence[Proposal]) -> list[Verdict]:
        """The same for proposals alone: no vector is needed."""
        return [make_verdict(proposal, self._find_fault(proposal.text)) for proposal in proposals]

    def _find_fault(self, text: str) -> str:
        stripped = text.strip()
        if not stripped:
            return "empty"
        for fault in _list_word_faults(stripped, self.headings):
            if fault not in self.usual:
                return fault
        if len(stripped) < self.shortest:
            return "too_short"
        if len(stripped) > self.longest:
            return "too_long"
        return ""


def _list_word_faults(stripped: str, headings: Sequence[str]) -> list[str]:
    faults = []
    if not any(letter.isalnum() for letter in stripped):
        faults.append("empty")
    if _REFUSAL.search(stripped):
        faults.append("refusal")
    folded = stripped.casefold()
    if any(heading and heading.casefold() in folded for heading in headings):
        faults.append("prompt_echo")
    return faults


def make_text_filter(texts: Objects, headings: Iterable[str] = ()) -> TextFilter:
    """A text filter from real rows: half the shortest length to twice the 98th percentile, and faults they lack."""
    lengths = np.array([len(str(text)) for text in texts])
    low, high = np.quantile(lengths, [0.002, 0.98]) if len(lengths) else (1.0, 10_000.0)
    told = tuple(heading for heading in headings if len(heading) > 12)
    counts = Counter(fault for text in texts for fault in _list_word_faults(str(text).strip(), told))
    return TextFilter(
        shortest=max(1, int(low / 2)),
        longest=int(high * 2) + 1,
        headings=told,
        usual=frozenset(fault for fault, count in counts.items() if count > _SEEN_IN_DATA * len(texts)),
    )


class TextPart:
    """The registered filter: its bounds come from the training rows."""

    name = "text"
    reasons = ("empty", "refusal", "prompt_echo", "too_short", "too_long")
    instructions: ClassVar[Mapping[str, str]] = {
        "too_short": "It is too short. Write it as long as the records above.",
        "too_long": "It is too long. Write it as short as the records above.",
    }

    def fit(self, data: FilterData) -> TextFilter:
        """Bounds and usual faults from the training rows."""
        return make_text_filter(data.train.records.texts, data.headings)
