"""A pool that a model has labelled is read again, by a classifier that has learned from the first reading.

With few known rows the classifier beside the model is poor, and of a rare label hardly any row of the pool is sure.
What both say of thousands of rows teaches a much better one, each row an example of every label that it may have; it
scores the half of the pool that it has not learned from, and speaks beside the model instead of the first one
(Blum and Mitchell, 1998, Combining labeled and unlabeled data with co-training). How far each is believed is learned on
known rows that neither the first nor the second classifier has seen; where that explains their labels no better than
the first reading does, that one stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.records import Floats, Integers
from counterpoise.scorers.base import ClassifierScorer
from counterpoise.scorers.model_labels import HeardRows, ModelSay
from counterpoise.scorers.weighing import Weighing, weigh
from counterpoise.students.linear import fit_log_probabilities
from counterpoise.students.pool_ways import list_examples, weigh_by_shares
from counterpoise.students.weights import log_prior

MOST_TURNS = 5
SETTLED = 0.005
"""Share of rows that may still change their label at the end: those of a rare label come in turn by turn."""

_CLEARLY = np.log(2.0)  # nats: it has to hold the known labels for twice as likely

MOST_LEARNED = 10_000  # rows of the pool that are learned from: the first ones, which are a draw


@dataclass(frozen=True, slots=True)
class PoolReading:
    """What is held of a pool's labels.

    Args:
        weighing: how far the classifier that learned from the pool, and the model, are believed.
        united: (m, k) probabilities by both where every label is as likely.
    """

    weighing: Weighing
    united: Floats


def read_again(
    say: ModelSay,
    train: EncodedRecords,
    folds: Integers,
    pool: EncodedRecords,
    scores: Floats,
    said: Mapping[str, Floats],
) -> PoolReading | None:
    """Read a pool again.

    Args:
        say: the model, with the known rows that it was measured on.
        train: rows that may be learned from.
        folds: (n,) of these.
        pool: m rows, in the order of hashes.
        scores: (m, k) of the classifier on the pool.
        said: text -> (k,) what the model said of it.

    Returns:
        None where the first reading stands.
    """
    heard, first = say.heard, say.weighing
    factors = np.full(scores.shape, np.nan)
    for row, text in enumerate(pool.records.texts):
        if str(text) in said:
            factors[row] = said[str(text)]
    asked = np.flatnonzero(~np.isnan(factors).any(axis=1))[:MOST_LEARNED]
    if heard is None or not len(asked):
        return None
    taught = _score_known(heard, first, train, folds, pool.take(asked), factors[asked])
    weighing = weigh(taught, heard.factors, heard.truth, heard.groups)
    if weighing.evidence[weighing.decides] < first.evidence[first.decides] + _CLEARLY:
        return None
    half, is_asked = np.arange(len(pool)) % 2, np.isin(np.arange(len(pool)), asked)
    united = first.unite(scores, factors)
    for _ in range(MOST_TURNS):
        before = weigh_by_shares(united).argmax(axis=1)
        likely, read = weigh_by_shares(united), np.zeros(scores.shape)
        for side in (0, 1):
            learned = np.flatnonzero(is_asked & (half != side))
            scored = half == side
            read[scored] = _learn(
                train, np.arange(len(train)), pool.vectors[learned], likely[learned], pool.vectors[scored]
            )
        united = weighing.unite(read, factors)
        if (weigh_by_shares(united).argmax(axis=1) != before).mean() <= SETTLED:
            break
    return PoolReading(weighing, united)


def _score_known(
    heard: HeardRows,
    first: Weighing,
    train: EncodedRecords,
    folds: Integers,
    pool: EncodedRecords,
    factors: Floats,
) -> Floats:
    """(h, k) what a classifier that learned from the pool says of known rows, which nobody has seen for it."""
    n_labels = factors.shape[1]
    taught = np.zeros((len(heard.truth), n_labels))
    for fold in np.unique(heard.folds):
        inside, asked = np.flatnonzero(folds != fold), heard.folds == fold
        own = ClassifierScorer(
            None,  # type: ignore[arg-type]  # vectors are given
            train.vectors[inside],
            train.records.labels[inside],
            n_labels,
        )
        likely = weigh_by_shares(first.unite(own.score_vectors(pool.vectors), factors))
        taught[asked] = _learn(train, inside, pool.vectors, likely, heard.vectors[asked])
    return taught


def _learn(
    train: EncodedRecords,
    inside: Integers,
    pool: NDArray[np.float32],
    likely: Floats,
    scored: NDArray[np.float32],
) -> Floats:
    """(s, k) probabilities of vectors, label shares taken out, by own rows and a pool with probable labels."""
    rows, labels = list_examples(likely)
    everything = np.concatenate([train.records.labels[inside], labels])
    weights = np.concatenate([np.ones(len(inside)), likely[rows, labels]])
    vectors = np.concatenate([train.vectors[inside], pool[rows]])
    n_labels = likely.shape[1]
    logs = fit_log_probabilities(vectors, everything, weights, scored, n_labels)
    return np.asarray(softmax(logs - log_prior(everything, weights, n_labels), axis=1))
