"""Trying a filter on rows of the user's own that had no part in it, and switching off what refuses too many of them.

A filter that says how often it refuses real rows (`alarms()`) has set itself by that. Any other one, a user's own too,
is tried as if the rows were proposals: where it is fitted, on each fold by what was fitted to the others. Nothing is
known of it but its reasons, so those that refuse most are switched off until few enough rows are refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.errors import CounterpoiseError
from counterpoise.core.guards import guard
from counterpoise.core.plans import Cell, PlanItem, Proposal
from counterpoise.core.records import Floats, Integers
from counterpoise.core.splits import sample_by_rank
from counterpoise.filters.alarms import FEWEST_ROWS, MOST_REFUSED, Alarm
from counterpoise.filters.base import FILTERS, Filter, FittedFilter
from counterpoise.filters.batch import KeptTexts, ProposalBatch
from counterpoise.filters.data import FilterData
from counterpoise.filters.own_rows import draw_own_rows

MOST_TRIED = 300
"""Rows that a filter is tried on: of so many, a filter that refuses one in fifty refuses six."""

_ITEM = PlanItem("a_trial", Cell(""), 1, 0, 0)


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it.

    Args:
        off: reasons that are switched off.
        alarms: how often the filter refuses real rows, a line a reason that refused any, else one for all.
    """

    off: frozenset[str] = frozenset()
    alarms: tuple[Alarm, ...] = ()


NO_TRIAL = Trial()


class KnownVectors:
    """The encoder of a run, which has encoded the rows already."""

    def __init__(self, encoder: Any, texts: Sequence[str], vectors: Vectors) -> None:
        self._encoder = encoder
        self._vectors = dict(zip(texts, vectors, strict=True))

    def __getattr__(self, name: str) -> Any:
        """Whatever else the encoder has."""
        return getattr(self._encoder, name)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """(n, d) vectors; of texts that are no rows the encoder's."""
        if all(text in self._vectors for text in texts):
            found = [self._vectors[text] for text in texts]
            return np.array(found, np.float32).reshape(len(texts), self._encoder.dimension)
        return np.asarray(self._encoder.encode(texts), np.float32)


def try_filter(part: Filter, fitted: FittedFilter, data: FilterData) -> Trial:
    """Try a filter that does not measure itself.

    Args:
        part: the registered filter; one whose `is_tried` is False is left as it is.
        fitted: what it became on all rows.
        data: what it was fitted to.
    """
    if hasattr(fitted, "alarms") or not getattr(part, "is_tried", True):
        return NO_TRIAL
    data = take_rows(data, draw_own_rows(data.train.records, data.key))
    tried = sample_by_rank(data.train.records.ids, MOST_TRIED, f"{data.key}:trial")
    refused: Counter[str] = Counter()
    try:
        for inside, outside in _divide(part, data.folds, np.sort(tried)):
            judge = fitted
            if inside is not None:
                judge = guard(FILTERS, part, part.fit, take_rows(data, inside))  # type: ignore[attr-defined]
            refused += guard(FILTERS, part, _count_refused, judge, make_trial_batch(data, outside))
    except CounterpoiseError as error:
        return Trial(alarms=(Alarm(part.name, 0, 0, f"It could not be tried on rows of yours: {error}"),))
    return settle_reasons(part.name, refused, len(tried))


def _count_refused(judge: FittedFilter, batch: ProposalBatch) -> Counter[str]:
    return Counter(verdict.reason for verdict in judge.verdicts(batch) if not verdict.kept)


def settle_reasons(name: str, refused: Counter[str], n: int) -> Trial:
    """Which reasons are switched off, the one that refuses most first.

    Args:
        name: of the filter.
        refused: rows by reason.
        n: rows that it was tried on.
    """
    most = MOST_REFUSED * n if n >= FEWEST_ROWS else 0.0
    off: set[str] = set()
    for reason, _ in refused.most_common():
        if sum(count for other, count in refused.items() if other not in off) <= most:
            break
        off.add(reason)
    few = (
        f", and {n} rows are too few to say how many"
        if n < FEWEST_ROWS
        else f", more than {MOST_REFUSED:.0%}"
    )
    alarms = [
        Alarm(
            reason,
            n,
            0 if reason in off else count,
            f"Weakened: '{name}' refused {count} of {n} unseen rows{few}; this reason is off."
            if reason in off
            else "",
        )
        for reason, count in sorted(refused.items())
    ]
    return Trial(frozenset(off), tuple(alarms or [Alarm(name, n, 0)]))


def take_rows(data: FilterData, rows: Integers) -> FilterData:
    """What a filter may know of some of the rows alone."""
    return replace(
        data,
        train=data.train.take(rows),
        folds=data.folds[rows],
        label_scores=data.label_scores[rows],
        score_blind=lambda texts, vectors, sources: data.score_blind(texts, vectors, rows[sources]),
    )


def _divide(part: Filter, folds: Integers, tried: Integers) -> list[tuple[Integers | None, Integers]]:
    """Rows to fit to, and rows to try on; a filter that is not fitted is tried on all at once."""
    if not hasattr(part, "fit"):
        return [(None, tried)]
    parts: list[tuple[Integers | None, Integers]] = []
    for fold in np.unique(folds[tried]):
        inside = np.flatnonzero(folds != fold)
        if len(inside):
            parts.append((inside, tried[folds[tried] == fold]))
    return parts


def make_trial_batch(data: FilterData, rows: Integers) -> ProposalBatch:
    """Rows as if a model had written them for their labels."""
    records = data.train.records
    texts = [str(records.texts[row]) for row in rows]
    scores: Mapping[str, Floats] = dict(zip(texts, data.label_scores[rows], strict=True))
    proposals = [
        Proposal(
            id=f"{_ITEM.id}-{place:05d}",
            item=replace(_ITEM, cell=Cell(records.label_names[records.labels[row]])),
            text=text,
            label=records.label_names[records.labels[row]],
            content={name: column[row] for name, column in records.columns.items()},
        )
        for place, (row, text) in enumerate(zip(rows, texts, strict=True))
    ]
    return ProposalBatch(
        proposals=proposals,
        label_names=records.label_names,
        parents={},
        earlier=KeptTexts([], data.train.vectors[:0]),
        encoder=KnownVectors(data.encoder, texts, data.train.vectors[rows]),
        score_labels=lambda asked, _: np.array([scores[text] for text in asked]).reshape(len(asked), -1),
    )
