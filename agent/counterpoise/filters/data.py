"""What a filter may know of the user's data when it is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from counterpoise.core.encoded_records import EncodedRecords, Vectors
from counterpoise.core.records import Floats, Integers
from counterpoise.filters.base import FittedFilter
from counterpoise_retrievers.encoder_protocol import Encoder


@dataclass(frozen=True, slots=True)
class FilterData:
    """All that a filter may know of the user's data when it is fitted.

    Args:
        train: n training rows.
        held_out: the sealed rows, which are looked at for copies alone.
        folds: (n,) folds of the training rows; near-duplicates share one.
        encoder: of all vectors.
        headings: what the records of each label are called.
        concepts: name -> definition.
        key: the run's key.
        label_scores: (n, k) of the label scorer for the training rows, cross-fitted.
        is_trusted: whether the label scorer passed its audit.
        score_blind: (m, k) label probabilities of m texts with their vectors, by who never saw the m rows that they
            were made from.
        earlier: the filters that were fitted before, in order.
    """

    train: EncodedRecords
    held_out: EncodedRecords
    folds: Integers
    encoder: Encoder
    headings: tuple[str, ...]
    concepts: Mapping[str, str]
    key: str
    label_scores: Floats
    is_trusted: bool
    score_blind: Callable[[Sequence[str], Vectors, Integers], Floats]
    earlier: tuple[FittedFilter, ...] = ()
