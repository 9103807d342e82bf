"""Who may decide about labels: the classifier, a model, both together, or neither, by the same rows of known label.

Both give probabilities p and q of the labels; together they say p^a q^b under the labels' shares, with b = 0 the
classifier alone, a = 0 the model alone. Two numbers are learned from all labels at once, so that a rare label with two
known rows has its say judged by what was seen of the others. What is compared is evidence, the likelihood of the known
labels averaged over a grid of a and b (MacKay, 1992, Bayesian interpolation): it is paired by its nature, prices the
second number in, and with 40 rows decides where intervals of two AUROCs still overlap. The average is weighed by a
prior: probabilities are worth what they say, up to a factor of two, those of a model rather less. What decides does so
with the means of a and b over the grid, so that few rows leave it near that prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from counterpoise.core.records import Floats, Integers, Objects

NOBODY, CLASSIFIER, MODEL, STACK = "nobody", "classifier", "model", "stack"
_POWERS = np.array([0.0, 0.06, 0.12, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0])
"""0, and steps of a factor of 1.4; a classifier with five rows a label of 150 wants 4."""
_USUAL = (1.0, 0.6)
"""Powers of the classifier and of the model before a row is known: a model is surer than it is right."""
_SPREAD = np.log(2.0)
"""Standard deviation of the log of both. Set on sms_spam and davidson_hate, judged on the sets of `evals judges --only
real`; a flat prior trusts 40 rows with powers of 0.1 and of 5 that the next 2,000 rows refute."""
_FLOOR = 1e-6
_PARTS = {NOBODY: np.s_[:1, :1], CLASSIFIER: np.s_[1:, :1], MODEL: np.s_[:1, 1:], STACK: np.s_[1:, 1:]}
"""Where on the grid each of those who may decide lies; on each the prior sums to 1."""
_KNOWS_FROM = np.log(2.0)
"""What a model adds to the classifier and what it knows beside the labels' shares, both above nothing, are twice as
likely together: with 40 rows 75% right are let in where rare labels have four, and answers at random never were."""
_EVIDENT_FROM = (
    1e-6  # a model that says the same of all labels leaves the evidence as it is, but for rounding
)


def _make_prior() -> Floats:
    """Logs of the prior over the grid: log-normal in the powers above 0."""
    sides = []
    for usual in _USUAL:
        logs = -((np.log(_POWERS[1:] / usual) / _SPREAD) ** 2) / 2
        sides.append(np.append(0.0, logs - logsumexp(logs)))
    return np.asarray(sides[0][:, None] + sides[1][None, :])


_PRIOR = _make_prior()


@dataclass(frozen=True, slots=True)
class Weighing:
    """How far a classifier and a model are to be believed.

    Args:
        n: rows of known label.
        powers: powers of the classifier's and of the model's probabilities, 0 and more, under each who may decide.
        evidence: log-likelihood of the known labels, in nats, under each of the four who may decide.
        decides: `CLASSIFIER`, `MODEL` or `STACK`.
    """

    n: int
    powers: Mapping[str, tuple[float, float]]
    evidence: Mapping[str, float]
    decides: str

    @property
    def model(self) -> float:
        """How far the model is believed: the power of its probabilities, 0 where it has no say."""
        return self.powers[self.decides][1]

    @property
    def gain(self) -> float:
        """Nats by which the model, alone or in the stack, explains the known labels better than the classifier."""
        return max(self.evidence[MODEL], self.evidence[STACK]) - self.evidence[CLASSIFIER]

    @property
    def is_earned(self) -> bool:
        """Whether the model has a say."""
        return self.decides != CLASSIFIER

    def unite(self, classifier: Floats, model: Floats) -> Floats:
        """(m, k) probabilities of both together where every label is as likely, rows summing to 1.

        Args:
            classifier: (m, k) probabilities.
            model: (m, k) likewise; rows of NaN where it was not asked, which the classifier has for itself.
        """
        a, b = self.powers[self.decides]
        both = _normalise(a * _take_logs(classifier) + b * _take_logs(model))
        silent = np.isnan(model).any(axis=1, keepdims=True)
        return np.where(silent, self.temper(classifier), both)

    def temper(self, classifier: Floats) -> Floats:
        """(m, k) the classifier's probabilities as sure as its known rows say."""
        return _normalise(self.powers[CLASSIFIER][0] * _take_logs(classifier))


def weigh(classifier: Floats, model: Floats, truth: Integers, groups: Objects | None = None) -> Weighing:
    """Learn how far each is to be believed, and who decides.

    Args:
        classifier: (n, k) probabilities of known rows, cross-fitted, label shares taken out.
        model: (n, k) probabilities of the same rows, by a model that was not shown them.
        truth: (n,) right label indices.
        groups: (n,) near-duplicates share one, and count as one row.

    Raises:
        ValueError: no rows, or a row without an answer.
    """
    n, k = classifier.shape
    if not n or classifier.shape != model.shape or np.isnan(model).any():
        raise ValueError(f"{classifier.shape} and {model.shape} probabilities of {len(truth)} known rows")
    counts = np.bincount(truth, minlength=k)
    shares = np.log((counts + 1.0) / (n + k))
    weights = np.ones(n) if groups is None else _share_groups(groups)
    logs, said = _take_logs(classifier), _take_logs(model)
    table = np.empty((len(_POWERS), len(_POWERS)))
    for row, a in enumerate(_POWERS):
        for column, b in enumerate(_POWERS):
            scores = a * logs + b * said + shares
            found = scores[np.arange(n), truth] - logsumexp(scores, axis=1)
            table[row, column] = float(found @ weights)
    table += _PRIOR
    evidence = {name: float(logsumexp(table[part])) for name, part in _PARTS.items()}
    decides = max((MODEL, STACK), key=lambda name: evidence[name])
    adds, knows = evidence[decides] - evidence[CLASSIFIER], evidence[MODEL] - evidence[NOBODY]
    if min(adds, knows) < _EVIDENT_FROM or adds + knows < _KNOWS_FROM:
        decides = CLASSIFIER
    powers = {name: _mean_powers(table, name) for name in evidence}
    return Weighing(n, powers, evidence, decides)


def _mean_powers(table: Floats, decides: str) -> tuple[float, float]:
    """Means of both powers over that part of the grid in which a decider lies; beside a stack stands the classifier."""
    part = np.full(table.shape, -np.inf)
    columns = np.s_[1:, :] if decides == STACK else _PARTS[decides]
    part[columns] = table[columns]
    share = np.exp(part - logsumexp(part))
    return float(share.sum(axis=1) @ _POWERS), float(share.sum(axis=0) @ _POWERS)


def _share_groups(groups: Objects) -> Floats:
    _, numbers, counts = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    return np.asarray(1.0 / counts[numbers])


def _take_logs(probabilities: Floats) -> Floats:
    return np.log(np.maximum(probabilities, _FLOOR))


def _normalise(logs: Floats) -> Floats:
    return np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
