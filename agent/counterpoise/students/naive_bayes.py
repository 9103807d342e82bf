"""A simple way for words that looks at the pool: naive Bayes, by expectation maximisation."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from counterpoise.core.records import Floats, Integers
from counterpoise.students.base import FitTask, Student, fit_adjusted
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.pool_ways import PoolWay, weigh_by_shares
from counterpoise.students.rows import Rows
from counterpoise.students.weights import balance_weights

_N_TURNS = 5
_POOL_WEIGHT = 0.3  # of a pool row beside an own one: lambda of the paper
_LEAST_PROBABILITY = 0.01


class NaiveBayesEm(PoolWay):
    """Naive Bayes labels the pool and learns from it, in turns (Nigam, McCallum, Thrun and Mitchell, 2000).

    Text classification from labeled and unlabeled documents using EM. Here every label's rows weigh as much together,
    own rows and pool rows apart: with the label shares of a skewed set the rare label is lost in the first turn.
    """

    name = "naive_bayes_em"
    meaning = "naive Bayes on words, which labels the pool and learns from it in turns"

    def suits(self, student: Student) -> bool:
        """Whether the student sees words, and none that it trains an encoder on."""
        return not student.uses_vectors and super().suits(student)

    def score_with(self, task: FitTask, pool: Rows) -> Floats:
        """Log-probabilities of naive Bayes after the last turn, every label as likely."""
        words = CountVectorizer(binary=True, dtype=np.float64)
        analyse = words.build_analyzer()
        if not any(analyse(text) for text in task.train.texts):  # nothing to learn from
            return fit_adjusted(task.student, task.train, task.test, task.n_labels)
        counts = words.fit_transform([*task.train.texts, *pool.texts])
        own, others = counts[: len(task.train)], counts[len(task.train) :]
        weights = balance_weights(task.labels, task.n_labels)
        bayes = MultinomialNB(fit_prior=False).fit(own, task.labels, sample_weight=weights)
        for _ in range(_N_TURNS):
            bayes = _learn(own, task.labels, weights, others, weigh_by_shares(bayes.predict_proba(others)))
        scores = np.full((len(task.test), task.n_labels), np.log(PROBABILITY_FLOOR))
        said = bayes.predict_log_proba(words.transform(task.test.texts))
        scores[:, bayes.classes_] = np.maximum(said, np.log(PROBABILITY_FLOOR))
        return scores


def _learn(
    own: csr_matrix, labels: Integers, weights: Floats, pool: csr_matrix, probabilities: Floats
) -> MultinomialNB:
    """Naive Bayes from own rows and from pool rows; (p, j) probabilities of the labels that have own rows."""
    totals = np.maximum(probabilities.sum(axis=0), 1.0)
    even = _POOL_WEIGHT * probabilities / totals * len(probabilities) / len(totals)
    rows, columns = np.nonzero(probabilities > _LEAST_PROBABILITY)
    return MultinomialNB(fit_prior=False).fit(
        vstack([own, pool[rows]]),
        np.concatenate([labels, np.unique(labels)[columns]]),
        sample_weight=np.concatenate([weights, even[rows, columns]]),
    )
