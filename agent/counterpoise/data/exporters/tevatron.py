"""The form that Tevatron trains on: passages with docid, title and text."""

from __future__ import annotations

from counterpoise.core.instances import Row
from counterpoise.data.exporters.passage_lists import PassageLists


class Tevatron(PassageLists):
    """Tevatron's lines."""

    def __init__(self) -> None:
        super().__init__("tevatron", "positive_passages", "negative_passages", "docid")

    def recognises(self, row: Row) -> bool:
        """Whether there is the field of the positives, whatever is in it: nobody else has it."""
        return self.positives in row
