"""The form of RLHN's training sets: as Tevatron's, with shorter names."""

from __future__ import annotations

from counterpoise.data.exporters.passage_lists import PassageLists


class Rlhn(PassageLists):
    """RLHN's lines."""

    def __init__(self) -> None:
        super().__init__("rlhn", "positives", "negatives", "id")
