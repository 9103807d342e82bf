"""The filter of distance: a text that lies farther from every row than rows lie from one another.

Measured by the cosine to the nearest row, in the vectors that the run has; how far rows lie from the nearest row that
is no near-duplicate of theirs sets the bar. Rows of a template lie close together, and whatever is new lies far from
them; so the bar is no lower than where sentences lie that have nothing to do with any data. What lies too near is a
copy (`copies`, whose limits are set likewise).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.plans import Nature, Verdict
from counterpoise.core.records import Floats, Integers
from counterpoise.filters.alarms import Alarm, Bars, settle_bars
from counterpoise.filters.base import make_verdict
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.data import FilterData
from counterpoise.filters.own_rows import draw_own_rows
from counterpoise.filters.task_talk import encode_task
from counterpoise_retrievers.faiss_index import FaissIndex

FAR = "far_from_data"
ALARM = 0.01
"""Share of the user's own rows that may lie farther from the others."""


@dataclass(frozen=True, slots=True)
class DistanceFilter:
    """Judges new texts; an edit is judged beside its source.

    Args:
        index: of the vectors of the rows.
        bars: (k,) distance of each label's texts from which they are refused, 0 to 2.
        counted: how often it refuses real rows.
    """

    index: FaissIndex
    bars: Bars
    counted: Alarm

    def alarms(self) -> tuple[Alarm, ...]:
        """How often it refuses real rows."""
        return (self.counted,)

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order; what does not pass so far is not judged."""
        index = {name: label for label, name in enumerate(batch.label_names)}
        places = [
            place
            for place, proposal in enumerate(batch.proposals)
            if batch.passing[place] and proposal.nature is Nature.WRITTEN
        ]
        distances = dict(zip(places, find_distances(self.index, batch.vectors[places]), strict=True))
        verdicts = []
        for place, proposal in enumerate(batch.proposals):
            is_far = distances.get(place, -np.inf) > self.bars[index[proposal.label]]
            scores = {"distance": float(distances[place])} if place in distances else {}
            verdicts.append(make_verdict(proposal, FAR if is_far else "", scores))
        return verdicts


def find_distances(index: FaissIndex, vectors: Vectors) -> Floats:
    """(n,) one minus the cosine to the nearest row; 0 where there is no row."""
    if not len(index) or not len(vectors):
        return np.zeros(len(vectors))
    return np.asarray(1 - index.search(vectors, 1)[0][:, 0], dtype=np.float64)


def fit_distance(
    vectors: Vectors, labels: Integers, folds: Integers, n_labels: int, unrelated: Vectors
) -> DistanceFilter:
    """Set the bars by the distances of rows to the rows of other folds.

    Args:
        vectors: (n, d) of n rows.
        labels: (n,) their label indices.
        folds: (n,) fold numbers; near-duplicates share one.
        n_labels: k.
        unrelated: (m, d) of sentences that are about something else.
    """
    index = _index(vectors)
    floor = float(np.median(find_distances(index, unrelated))) if len(unrelated) else -np.inf
    distances = np.full(len(vectors), np.nan)
    for fold in np.unique(folds):
        inside, outside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        if len(inside):
            distances[outside] = find_distances(_index(vectors[inside]), vectors[outside])
    settled = settle_bars(FAR, distances, labels, folds, n_labels, ALARM, floor=floor)
    return DistanceFilter(index, settled.bars, settled.alarm)


def _index(vectors: Vectors) -> FaissIndex:
    index = FaissIndex(vectors.shape[1])
    if len(vectors):
        index.add(vectors)
    return index


class DistancePart:
    """The registered filter."""

    name = "distance"
    reasons = (FAR,)
    remedies: ClassVar[Mapping[str, str]] = {
        FAR: "a line for each label under `labels` that says what its records are about"
    }
    instructions: ClassVar[Mapping[str, str]] = {
        FAR: "It is about something else than such records. Stay with what they are about."
    }

    def fit(self, data: FilterData) -> DistanceFilter:
        """Set by the training rows."""
        rows = draw_own_rows(data.train.records, data.key)
        labels, names = data.train.records.labels[rows], data.train.records.label_names
        return fit_distance(
            data.train.vectors[rows], labels, data.folds[rows], len(names), encode_task(data.encoder)
        )
