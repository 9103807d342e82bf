"""An audit of whoever edits: do its edits, with the labels they claim, help with rows that nobody has trained on?

A label scorer of a few hundred rows gets many good edits wrong. They are the ones that a student has most to learn
from: of people's edits of restaurant reviews, the tenth that the scorer contradicts carries a third of the gain. Bad
edits look no worse to it one by one. Together they do: a classifier that learns from edits with wrong labels, or from
texts that nobody would write, knows the user's own unseen rows less well. So edits are judged together, and one by one
only where that speaks against them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from counterpoise.core.encoded_records import Vectors
from counterpoise.core.records import Floats, Integers
from counterpoise.filters.alarms import MOST_REFUSED
from counterpoise.filters.edits import CONTRADICTED, NOT_CONFIRMED, LabelNeed
from counterpoise.students.linear import fit_log_probabilities
from counterpoise.students.weights import log_prior

FEWEST_EDITS = 20
"""Edits that are judged together; fewer move a classifier too little to tell."""

CONFIRMED_RIGHT = 0.9
"""Share of its claims about unseen rows that the scorer has to get right from the probability on that confirms an edit
(METHODS 6: a label judge is believed at nine in ten)."""


@dataclass(frozen=True, slots=True)
class Help:
    """What edits add to the log-likelihood of a row that a classifier has not seen.

    Args:
        mean: nats, labels weighed alike; below 0 they do harm.
        error: its standard error.
    """

    mean: float
    error: float

    @property
    def is_harm(self) -> bool:
        """Whether they do harm by more than a standard error."""
        return self.mean < -self.error


def measure_help(
    vectors: Vectors,
    labels: Integers,
    folds: Integers,
    n_labels: int,
    edits: tuple[Vectors, Integers, Integers],
) -> Help:
    """What edits add to the log-likelihood of rows that a classifier has not seen, labels weighed alike.

    Args:
        vectors: (n, d) of the user's rows.
        labels: (n,) their label indices.
        folds: (n,) fold numbers; near-duplicates share one.
        n_labels: k.
        edits: (m, d) vectors, (m,) labels that they claim, (m,) folds of their sources: edits of rows of a fold have no
            part in what judges it.
    """
    texts, claims, of_sources = edits
    gains = np.zeros(len(labels))
    for fold in np.unique(folds):
        inside, outside, known = folds != fold, np.flatnonzero(folds == fold), of_sources != fold
        own = _score(vectors[inside], labels[inside], vectors[outside], n_labels)
        both = _score(
            np.concatenate([vectors[inside], texts[known]]),
            np.concatenate([labels[inside], claims[known]]),
            vectors[outside],
            n_labels,
        )
        gains[outside] = (both - own)[np.arange(len(outside)), labels[outside]]
    groups = [gains[labels == label] for label in np.unique(labels)]
    spread = sum(float(group.var(ddof=1)) / len(group) for group in groups if len(group) > 1)
    return Help(float(np.mean([group.mean() for group in groups])), float(np.sqrt(spread)) / len(groups))


def _score(vectors: Vectors, labels: Integers, test: Vectors, n_labels: int) -> Floats:
    """(m, k) log-probabilities of equally likely labels."""
    ones = np.ones(len(labels))
    logs = fit_log_probabilities(vectors, labels, ones, test, n_labels) - log_prior(labels, ones, n_labels)
    return np.asarray(log_softmax(logs, axis=1))


def choose_need(helped: Help | None, known: Floats, labels: Integers) -> LabelNeed:
    """What an edit needs of its label.

    Args:
        helped: see `measure_help`; None where the edits are too few to tell.
        known: (n, k) probabilities of the user's rows by the blind scorer, which has not seen them.
        labels: (n,) their label indices.

    Returns:
        Nothing where edits help. Where nobody can tell, as much as the scorer gives nearly all of the user's own rows;
        where they do harm, as much as makes its word good.
    """
    if helped is not None and helped.is_harm:
        return LabelNeed(find_confirmed_from(known, labels), NOT_CONFIRMED)
    if helped is not None and helped.mean >= 0:
        return LabelNeed(0.0, CONTRADICTED)
    own = known[np.arange(len(labels)), labels]
    return LabelNeed(float(np.quantile(own, MOST_REFUSED)) if len(own) else 0.0, CONTRADICTED)


def find_confirmed_from(known: Floats, labels: Integers) -> float:
    """The least probability from which on the scorer's claims about unseen rows are right often enough.

    Args:
        known: (n, k) of the rows by who has not seen them.
        labels: (n,) their label indices; all weigh alike.

    Returns:
        0 to 1, or infinity where it never is.
    """
    if not len(labels):
        return float("inf")
    counts = np.bincount(labels, minlength=known.shape[1])
    weights = np.repeat(1.0 / counts[labels], known.shape[1])
    is_right = (np.arange(known.shape[1]) == labels[:, None]).ravel()
    order = np.argsort(-known.ravel(), kind="stable")
    values = known.ravel()[order]
    right = np.cumsum((weights * is_right)[order]) / np.cumsum(weights[order])
    # Equal values stand or fall together.
    is_last = np.append(values[1:] != values[:-1], True)
    able = np.flatnonzero(is_last & (right >= CONFIRMED_RIGHT))
    return float(values[able[-1]]) if len(able) else float("inf")


def describe_needs(helps: Sequence[Help | None]) -> str:
    """A sentence on how edits were judged, for the report."""
    n_harmful = sum(one is not None and one.is_harm for one in helps)
    if not n_harmful:
        return ""
    return (
        f"{n_harmful} of {len(helps)} batches of edits made a classifier worse on unseen rows of yours: their edits "
        "were kept only where the label scorer confirms them."
    )
