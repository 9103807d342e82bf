"""Adopting: unlabelled records of a pool that surely belong to a thin cell.

A real text costs no token and is truer than a written one. Three steps make the choice safe:

1. the cross-fitted scores of the user's own rows are calibrated against their labels, because a classifier
   trained on fifteen rows of a label is far too timid;
2. the shares of the labels in the pool are estimated from its scores alone (Saerens, Latinne and Decaestecker 2002,
   Adjusting the outputs of a classifier to new a priori probabilities), because a pool is rarely skewed as the
   data is;
3. of the rows whose label is then sure, those to adopt are drawn by keyed hash, not surest first: the surest rows
   are the most typical ones, move the decision boundary and teach little. A trial on four
   draws of restaurant reviews pointed this way; no evaluation isolates it yet.

A pool row of a label that the data does not know (a neutral review among positive and negative ones) cannot be told
from its scores; the report says how many rows were adopted so that a few can be looked at.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.base import ActionData, Offer, PoolScores
from counterpoise.actions.demonstrations import find_rows
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, Kind, Nature, PlanItem, Proposal
from counterpoise.core.records import Floats, Integers, Records, State
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm.models import Models
from counterpoise.students.calibration import calibrate_labels, estimate_shares
from counterpoise_retrievers.faiss_index import FaissIndex

SURE_FROM = 0.8
_N_NEIGHBOURS = 200
_WORTH = 0.5
"""Explains, by `forecasts.compute_factor`, the gap that adopted rows closed on cebab."""


class Adopt:
    """Takes sure rows of the pool in."""

    name: ClassVar = "adopt"
    effect: ClassVar = "adopted from the pool"

    def offer(self, cell: Cell, data: ActionData, models: Models) -> Offer | None:
        """As many records as there are sure rows for the cell."""
        n_sure = len(self._list_sure(cell, data))
        return Offer(most=n_sure, worth=_WORTH) if n_sure else None

    async def act(self, item: PlanItem, data: ActionData, models: Models) -> AsyncIterator[Proposal]:
        """Rows of the pool, drawn by hash."""
        if data.pool is not None:
            for proposal in propose_adoptions(
                item, data.pool.records, self._list_sure(item.cell, data), data.key
            ):
                yield proposal

    def _list_sure(self, cell: Cell, data: ActionData) -> Integers:
        """Rows of the pool that may be adopted for a cell."""
        pool, scores = data.pool, data.pool_scores
        is_told = len(data.train) and len(data.train.records.label_names) > 1
        if pool is None or scores is None or not is_told:
            return np.empty(0, dtype=np.int64)
        if not data.is_trusted and scores.united is None:
            return np.empty(0, dtype=np.int64)
        adoptable = data.recall(self.name, lambda: _find_sure(scores))
        index = data.recall((self.name, "index"), lambda: _index(pool))
        thin = data.train.vectors[find_rows(data.train.records, cell)]
        return list_candidates(cell, pool.records, adoptable, data.taken, thin, index)


def _find_sure(scores: PoolScores) -> Adoptable:
    if scores.united is not None:
        return weigh_by_shares(scores.united)
    return find_adoptable(scores.own, scores.labels, scores.pool)


def _index(pool: EncodedRecords) -> FaissIndex:
    index = FaissIndex(pool.vectors.shape[1])
    index.add(pool.vectors)
    return index


@dataclass(frozen=True, slots=True)
class Adoptable:
    """What a pool offers.

    Args:
        posteriors: (m, k) calibrated probabilities of the labels of each pool row.
        shares: (k,) estimated shares of the labels in the pool.
        sure: (m,) label index a row surely has, -1 where none.
    """

    posteriors: Floats
    shares: Floats
    sure: Integers


def find_adoptable(out_of_fold: Floats, labels: Integers, pool: Floats) -> Adoptable:
    """Find pool rows whose label is sure.

    Args:
        out_of_fold: (n, k) probabilities of the user's rows, cross-fitted, label prior taken out.
        labels: (n,) their labels.
        pool: (m, k) probabilities of the pool rows from the same kind of scorer.

    Returns:
        Posteriors, estimated shares, and the sure label of each row.
    """
    return weigh_by_shares(calibrate_labels(out_of_fold, labels, pool))


def weigh_by_shares(likelihoods: Floats) -> Adoptable:
    """The same from (m, k) calibrated probabilities under equal label shares."""
    shares = estimate_shares(likelihoods)
    posteriors = likelihoods * shares
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    best = posteriors.argmax(axis=1)
    sure = np.where(posteriors.max(axis=1) >= SURE_FROM, best, -1)
    return Adoptable(posteriors, shares, sure.astype(np.int64))


def list_candidates(
    cell: Cell,
    pool: Records,
    adoptable: Adoptable,
    taken: frozenset[str],
    thin: NDArray[np.float32],
    index: FaissIndex,
) -> Integers:
    """Positions of pool rows that may be adopted for a cell, in pool order.

    Where the pool is large only the rows near the cell's own rows are looked at (FAISS), so that the cost does not
    grow with pool times labels.

    Args:
        cell: the thin cell.
        pool: the pool.
        adoptable: what its scores say.
        taken: ids that were proposed before.
        thin: (t, d) vectors of the cell's rows, to search around; may be empty.
        index: of the pool's vectors.
    """
    label = pool.label_names.index(cell.label)
    fits = adoptable.sure == label
    if cell.attribute:
        column = pool.attributes.get(cell.attribute)
        fits &= np.zeros(len(pool), dtype=np.bool_) if column is None else column == cell.value
    if cell.concept:
        if pool.concepts is None:
            return np.empty(0, dtype=np.int64)
        column_number = pool.concepts.names.index(cell.concept)
        fits &= pool.concepts.states[:, column_number] == State.PRESENT
    if len(pool) > _N_NEIGHBOURS * max(1, len(thin)) and len(thin):
        _, near = index.search(thin, _N_NEIGHBOURS)
        reached = np.zeros(len(pool), dtype=np.bool_)
        reached[np.unique(near[near >= 0])] = True
        fits &= reached
    found = np.flatnonzero(fits).astype(np.int64)
    is_free = np.fromiter((identity not in taken for identity in pool.ids[found]), np.bool_, len(found))
    return found[is_free]


def propose_adoptions(item: PlanItem, pool: Records, candidates: Integers, key: str) -> list[Proposal]:
    """Draw pool rows for a plan item by keyed hash of their ids.

    Args:
        item: what is wanted.
        pool: the pool.
        candidates: positions that may be adopted.
        key: the run's key.

    Returns:
        At most `item.count` proposals, without parents: nothing was made from the user's rows.
    """
    ranked = sample_by_rank(pool.ids[candidates], item.count, f"{key}:adopt")
    return [
        Proposal(
            id=f"{item.id}-{place:05d}",
            item=item,
            text=str(pool.texts[candidates[row]]),
            label=item.cell.label,
            kind=Kind.ADOPTED,
            nature=Nature.REAL,
            attributes={name: str(column[candidates[row]]) for name, column in pool.attributes.items()},
            source_id=str(pool.ids[candidates[row]]),
            content=pool.content(int(candidates[row])),
        )
        for place, row in enumerate(ranked)
    ]
