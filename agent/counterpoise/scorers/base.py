"""Scorers: what gives probabilities for a question about a record.

Three kinds: a classifier on sentence vectors (cross-fitted on the user's own labels), the similarity of a text to
a description, and a language model that picks a letter. Whichever it is, it decides nothing before its audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from counterpoise.core.records import Floats, Integers, Records
from counterpoise.llm import ChatClient, ChatRequest
from counterpoise.scorers.letters import LetterChoice
from counterpoise.students.linear import Features, fit_log_probabilities
from counterpoise.students.weights import log_prior
from counterpoise_retrievers.encoders import Encoder

_SIMILARITY_TEMPERATURE = 20.0
_EMPTY_TEXTS = ("N/A", "[MASK]", "...")  # they say nothing, so what a model answers to them is its leaning
_SMALLEST_PRIOR = 1e-3


def cross_fit(vectors: Features, labels: Integers, folds: Integers, n_labels: int) -> tuple[Floats, Floats]:
    """Probabilities from classifiers that never saw the row they score.

    Args:
        vectors: (n, d) sentence vectors, or other features.
        labels: (n,) label indices.
        folds: (n,) fold numbers; near-duplicates share one.
        n_labels: k.

    Returns:
        (n, k) probabilities with the label prior taken out, so that a rare label can win, and the mean of the
        (k,) log priors that were taken out.
    """
    scores = np.zeros((len(labels), n_labels))
    priors = []
    for fold in np.unique(folds):
        inside, outside = folds != fold, folds == fold
        ones = np.ones(int(inside.sum()))
        prior = log_prior(labels[inside], ones, n_labels)
        scores[outside] = (
            fit_log_probabilities(vectors[inside], labels[inside], ones, vectors[outside], n_labels) - prior
        )
        priors.append(prior)
    return np.asarray(softmax(scores, axis=1)), np.mean(priors, axis=0)


@dataclass(frozen=True, slots=True)
class ClassifierScorer:
    """Logistic regression on sentence vectors with the label prior taken out (Menon et al. 2021).

    Args:
        encoder: gives the vectors.
        vectors: (n, d) of the training rows.
        labels: (n,) their label indices.
        n_labels: k.
        name: as the report calls it.
        weights: (n,) of the training rows, by default 1. Where a concept goes with the label they even the cells out,
            else the scorer refuses just what the thin cells need.
    """

    encoder: Encoder
    vectors: NDArray[np.float32]
    labels: Integers
    n_labels: int
    name: str = "classifier"
    weights: Floats | None = None

    async def score(self, records: Records) -> Floats:
        """(n, k) probabilities. Rows it was trained on are flattered: use `cross_fit` to audit it."""
        return self.score_vectors(self.encoder.encode(list(records.texts)))

    def score_vectors(self, vectors: NDArray[np.float32]) -> Floats:
        """The same for (n, d) vectors that are already there."""
        weights = np.ones(len(self.labels)) if self.weights is None else self.weights
        scores = fit_log_probabilities(self.vectors, self.labels, weights, vectors, self.n_labels)
        return np.asarray(softmax(scores - log_prior(self.labels, weights, self.n_labels), axis=1))

    def score_texts(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> Floats:
        """The same for n texts with their vectors; it goes by the vectors alone."""
        return self.score_vectors(vectors)


@dataclass(frozen=True, slots=True)
class SimilarityScorer:
    """Cosine of a text to one description an answer, under a softmax; knows nothing of the data.

    Args:
        encoder: gives the vectors.
        descriptions: one line an answer.
        name: as the report calls it.
    """

    encoder: Encoder
    descriptions: tuple[str, ...]
    name: str = "similarity"

    async def score(self, records: Records) -> Floats:
        """(n, k) probabilities."""
        return self.score_vectors(self.encoder.encode(list(records.texts)))

    def score_vectors(self, vectors: NDArray[np.float32]) -> Floats:
        """The same for (n, d) vectors that are already there."""
        anchors = self.encoder.encode(list(self.descriptions))
        return np.asarray(softmax(_SIMILARITY_TEMPERATURE * (vectors @ anchors.T).astype(np.float64), axis=1))


@dataclass(frozen=True, slots=True)
class LLMScorer:
    """A language model that picks the letter of an answer, by the probabilities of the letters.

    Letters are shown in two orders and the probabilities averaged, because small models prefer a position. With
    contextual calibration (Zhao et al. 2021, Calibrate Before Use) the probabilities are first divided by those the
    model gives the letters for texts that say nothing.

    Args:
        chat: the way to the model.
        question: what is asked of every text.
        answers: one line an answer, at most 20.
        name: as the report calls it.
        prompt_name: a prompt with the variables question, options and text.
        purpose: under which its tokens are counted.
        second_question: another wording, for the reverse order; by default the same.
        is_calibrated: whether to ask about texts that say nothing, and divide by the answers.
    """

    chat: ChatClient
    question: str
    answers: tuple[str, ...]
    name: str = "llm"
    prompt_name: str = "label_choice"
    purpose: str = "label"
    second_question: str = ""
    is_calibrated: bool = False

    def __post_init__(self) -> None:
        """Refuse more answers than there are letters for."""
        self._choose()

    def _choose(self) -> LetterChoice:
        return LetterChoice(self.chat, self.answers, self.prompt_name, self.purpose)

    def make_requests(self, text: str) -> list[ChatRequest]:
        """The questions about one text: the answers in order, and in reverse order."""
        return self._choose().make_requests(text, self.question, self.second_question)

    async def score(self, records: Records) -> Floats:
        """(n, k) probabilities; a row of NaN where the model or the budget failed.

        Raises:
            ServerError: the server is gone.
            StorageError: the reply store cannot be written.
        """
        return np.asarray((await self.score_orders(records)).mean(axis=0))

    async def score_orders(self, records: Records) -> Floats:
        """(2, n, k) probabilities from each order of the answers; NaN where there is no reply.

        Raises:
            ServerError: the server is gone.
            StorageError: the reply store cannot be written.
        """
        k = len(self.answers)
        # A text that stands twice is asked once.
        places: dict[str, list[int]] = {}
        for row, text in enumerate(records.texts):
            places.setdefault(str(text), []).append(row)
        empty = _EMPTY_TEXTS if self.is_calibrated and len(records) else ()
        texts = [*places, *(text for text in empty if text not in places)]
        replies = await self._choose().ask([self.make_requests(text) for text in texts])
        table = np.empty((2, len(records), k))
        for turn, rows in enumerate(places.values()):
            table[:, rows] = replies[:, turn, None]
        if empty:
            prior = replies[:, [texts.index(text) for text in empty]].mean(axis=1)
            if not np.isnan(prior).any():
                table /= np.maximum(prior, _SMALLEST_PRIOR)[:, None]
                table /= table.sum(axis=2, keepdims=True)
        return table

    def estimate_tokens(self, text: str) -> int:
        """Tokens that the questions about one text cost at most."""
        return sum(self.chat.estimate(request) for request in self.make_requests(text))

    def estimate_overhead(self) -> int:
        """Tokens that calibration costs at most, once a question."""
        return sum(self.estimate_tokens(text) for text in _EMPTY_TEXTS) if self.is_calibrated else 0
