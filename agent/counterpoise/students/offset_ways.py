"""Logit adjustment corrected by what rows that were left out say: an offset for the score of each label."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.students.base import FitTask, Treatment
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.recipe_lines import ADJUSTED, SCORE
from counterpoise.students.weights import log_prior

_N_FOLDS = 5
_SPREAD = 0.5
"""Standard deviation of offsets, in units of calibrated log-scores, before a row is seen: of 0.5, 0.7, 1 and 2 the best
on draws of CEBaB and of text messages, sets that `evals/simple_ways.py` reports on too; 2 was 0.3 points worse."""
_LOG_SHARPNESS = (-1.0, 3.0)
_CODE = """
from scipy.optimize import minimize

names, left_out = sorted(set(own[{label}])), []
folds = own.groupby({label})["content"].rank(method="dense") % FOLDS
for fold in folds.unique():
    part, others = own[folds != fold], own[folds == fold]
    others = others[others[{label}].isin(part[{label}])]
    if len(others):
        logs = fit(part, ones(part), 1)(others["content"])
        left_out.append(pd.DataFrame(logs, others.index, sorted(set(part[{label}]))))
left_out = pd.concat(left_out).reindex(columns=names).fillna(np.log(1e-9)).clip(np.log(1e-9))
truth = own[{label}].loc[left_out.index]
alike = (1 / truth.map(truth.value_counts())).to_numpy()[:, None]
alike = alike / alike.sum()
hits = alike * (truth.to_numpy()[:, None] == np.array(names))


def lose(values):
    scaled = log_softmax(np.exp(values[0]) * left_out.to_numpy() + values[1:], axis=1)
    return (alike**2).sum() / SPREAD**2 * (values[1:] ** 2).sum() / 2 - (hits * scaled).sum()


start, bounds = np.zeros(len(names) + 1), [BOUNDS] + [(None, None)] * len(names)
found = minimize(lose, start, method="L-BFGS-B", bounds=bounds).x
"""


class TunedOffsets(Treatment):
    """Logit adjustment, and an offset a label that is tuned on rows left out (thresholds, for two labels).

    Label shares say where the threshold of a perfectly calibrated student would lie. One trained on a dozen rows of a
    label is not: on five folds the offsets are found under which log-loss is least, labels weighed alike.
    """

    name = "tuned_offsets"
    meaning = "logit adjustment, with thresholds tuned on rows that are left out"
    code = (
        _CODE.replace("FOLDS", str(_N_FOLDS))
        .replace("SPREAD", str(_SPREAD))
        .replace("BOUNDS", str(_LOG_SHARPNESS))
        + f"{ADJUSTED}{SCORE}plain(texts) + found[1:] / np.exp(found[0])\n\n"
    )

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities less the logs of the label shares, plus offsets where there are five rows a label."""
        scores = _adjust(task.plain, task.labels, task.n_labels)
        if len(task.labels) < _N_FOLDS * len(np.unique(task.labels)):
            return scores
        folds = _divide(task.train.texts, task.labels)
        left_out, known = np.zeros((len(task.labels), task.n_labels)), np.zeros(len(task.labels), np.bool_)
        for fold in np.unique(folds):
            inside, outside = folds != fold, folds == fold
            # A label of which no row is left to learn from has a floor for its score, which says nothing of offsets.
            outside &= np.isin(task.labels, np.unique(task.labels[inside]))
            if outside.any():
                train, rest = task.train.take(inside), task.train.take(outside)
                features, others = task.student.features(train, rest)
                plain = task.student.fit_log_probabilities(
                    features, train.labels, np.ones(len(train)), others, task.n_labels
                )
                left_out[outside] = _adjust(plain, train.labels, task.n_labels)
                known |= outside
        if len(np.unique(task.labels[known])) < 2:
            return scores
        return scores + find_offsets(left_out[known], task.labels[known])


def find_offsets(scores: Floats, labels: Integers) -> Floats:
    """Offsets under which the log-loss of log-scores is least, labels weighed alike, at the best temperature.

    Args:
        scores: (n, k) log-scores of rows that nothing was learned from.
        labels: (n,) label indices, two or more of them different.

    Returns:
        (k,) what to add to log-scores; near 0 where there are few rows.
    """
    logs = np.maximum(log_softmax(scores, axis=1), np.log(PROBABILITY_FLOOR))
    weights = 1 / np.bincount(labels)[labels]
    weights /= weights.sum()
    ridge = (weights**2).sum() / _SPREAD**2  # a mean over as many rows as the weights are worth
    rows = np.arange(len(labels))

    def measure(values: Floats) -> tuple[float, Floats]:
        sharpness, offsets = np.exp(values[0]), values[1:]
        scaled = sharpness * logs + offsets
        loss = -weights @ log_softmax(scaled, axis=1)[rows, labels] + ridge / 2 * offsets @ offsets
        errors = softmax(scaled, axis=1)
        errors[rows, labels] -= 1
        errors *= weights[:, None]
        slope = np.concatenate([[sharpness * (errors * logs).sum()], errors.sum(axis=0) + ridge * offsets])
        return float(loss), slope

    n_labels = scores.shape[1]
    bounds = [_LOG_SHARPNESS, *[(None, None)] * n_labels]
    found = minimize(measure, np.zeros(n_labels + 1), jac=True, method="L-BFGS-B", bounds=bounds).x
    return np.asarray(found[1:] / np.exp(found[0]))


def _adjust(plain: Floats, labels: Integers, n_labels: int) -> Floats:
    return plain - log_prior(labels, np.ones(len(labels)), n_labels)


def _divide(texts: Objects, labels: Integers) -> Integers:
    """(n,) folds: equal texts in one, the texts of every label spread over all of them."""
    folds = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        folds[members] = np.unique(texts[members].astype(str), return_inverse=True)[1] % _N_FOLDS
    return folds
