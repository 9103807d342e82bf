"""How much of its source an edit has changed, and how much it may."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.plans import Nature

_FEW_WORDS = 30
_MOST_WORDS = 20_000
"""Words of both texts that are compared; the comparison takes their product in time, and no edit is so long."""
_PAIRS = 200
"""Pairs of rows that show what rows share which have nothing to do with each other."""

_WORD = re.compile(r"\w+(?:['’]\w+)*")


SIZE_FAULTS = ("nothing_changed", "length_changed", "too_much_changed", "outside_similarity_band")
"""All that `find_size_fault` may say."""


@dataclass(frozen=True, slots=True)
class EditBand:
    """What an edit may look like beside its source.

    Args:
        shortest_ratio, longest_ratio: words of the edit for each word of the source.
        most_added_words: for sources under 30 words this many more are allowed instead of `longest_ratio`.
        most_edit_share: words that are not the source's, of all.
        lowest_cosine, highest_cosine: similarity to the source.
    """

    shortest_ratio: float = 0.7
    longest_ratio: float = 1.6
    most_added_words: int = 16
    most_edit_share: float = 1.0
    lowest_cosine: float = 0.6
    highest_cosine: float = 1.0


BANDS = {
    Nature.INSERTED: EditBand(highest_cosine=0.995, lowest_cosine=0.5),
    Nature.REWRITTEN: EditBand(most_edit_share=0.5, lowest_cosine=0.5),
}
"""Where nothing could be measured; rows make those of rewritten texts wider (`fit_bands`)."""


@dataclass(frozen=True, slots=True)
class EditSize:
    """How a text differs from its source.

    Args:
        edit_share: share of words changed, 0 to 1: 1 - (words in common, in order) / (words of the longer one).
        length_ratio: words of the edit for each word of the source.
        n_before: words of the source.
        n_after: words of the edit.
        inserted: the words that are new, in order.
    """

    edit_share: float
    length_ratio: float
    n_before: int
    n_after: int
    inserted: str


def measure_edit(source: str, edited: str) -> EditSize:
    """Compare two texts word by word, case apart.

    Example:
        >>> measure_edit("The soup was cold", "The soup was not cold").edit_share
        0.19999999999999996
    """
    before, after = _WORD.findall(source), _WORD.findall(edited)
    if len(before) + len(after) > _MOST_WORDS and before != after:
        ratio = len(after) / max(1, len(before))
        return EditSize(1.0, ratio, len(before), len(after), " ".join(after))
    matcher = SequenceMatcher(
        None, [word.casefold() for word in before], [word.casefold() for word in after], autojunk=False
    )
    n_common = 0
    inserted: list[str] = []
    for tag, start, end, new_start, new_end in matcher.get_opcodes():
        if tag == "equal":
            n_common += end - start
        else:
            inserted += after[new_start:new_end]
    longest = max(len(before), len(after), 1)
    return EditSize(
        edit_share=1 - n_common / longest,
        length_ratio=len(after) / max(1, len(before)),
        n_before=len(before),
        n_after=len(after),
        inserted=" ".join(inserted),
    )


def fit_bands(texts: Sequence[str], vectors: Vectors) -> dict[Nature, EditBand]:
    """Bands in which a rewritten text is one of its source: nearer to it than rows that have nothing to do with it.

    People rewrite half of a short text to turn it round, and cut or add clauses; how long a text may be is for the
    filter of lengths. What an insertion looks like follows from its being one.

    Args:
        texts: n rows of the user's.
        vectors: (n, d) of them.
    """
    if len(texts) < 2:
        return dict(BANDS)
    rows = np.random.default_rng(0).permutation(len(texts))[:_PAIRS]
    others = np.roll(rows, 1)
    pairs = list(zip(rows.tolist(), others.tolist(), strict=True))
    shares = [measure_edit(texts[row], texts[other]).edit_share for row, other in pairs]
    cosines = (vectors[rows] * vectors[others]).sum(axis=1)
    rewritten = EditBand(
        shortest_ratio=0.0,
        longest_ratio=np.inf,
        most_edit_share=max(BANDS[Nature.REWRITTEN].most_edit_share, float(np.median(shares))),
        lowest_cosine=min(BANDS[Nature.REWRITTEN].lowest_cosine, float(np.median(cosines))),
    )
    return {**BANDS, Nature.REWRITTEN: rewritten}


def find_size_fault(
    nature: Nature, size: EditSize, cosine: float, bands: Mapping[Nature, EditBand] = BANDS
) -> str:
    """The reason why something is not an edit of its source, "" where it is one."""
    band = bands[nature]
    if size.edit_share == 0:
        return "nothing_changed"
    few = size.n_before < _FEW_WORDS
    n_added = size.n_after - size.n_before
    too_long = (
        n_added > band.most_added_words
        if few and np.isfinite(band.longest_ratio)
        else size.length_ratio > band.longest_ratio
    )
    if size.length_ratio < band.shortest_ratio or (size.length_ratio > 1 and too_long):
        return "length_changed"
    if size.edit_share > band.most_edit_share:
        return "too_much_changed"
    if not band.lowest_cosine <= cosine <= band.highest_cosine:
        return "outside_similarity_band"
    return ""
