"""Logit adjustment corrected by what is said of rows that were left out.

Label shares say where the threshold of a perfectly calibrated student would lie. One trained on a dozen rows of a label
is not. So on five folds shares and offsets are found under which the log-loss is least, labels weighed alike.
"""

from __future__ import annotations

import numpy as np

from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Treatment
from counterpoise.students.left_out import N_FOLDS, OFFSET_SPREAD, SHARE_SPREAD, leave_out, tune
from counterpoise.students.recipe_lines import SCORE
from counterpoise.students.similarity import compare_descriptions
from counterpoise.students.weights import adjust

PRIOR_SHARE = 0.7
"""Share of the descriptions before a row is seen: of 0.3, 0.5 and 0.7 the best on draws of CEBaB and of text messages,
sets that `evals/simple_ways.py` reports on too."""
_CODE = """
from scipy.optimize import minimize
from scipy.special import softmax

names, left_out, expected = sorted(set(own[{label}])), [], np.array(EXPECTED)


def look(part, texts):
    logs = [pd.DataFrame(fit(part, ones(part), 1)(texts), columns=sorted(set(part[{label}])))]MORE
    filled = [one.reindex(columns=names).fillna(np.log(1e-9)) for one in logs]
    return np.stack([np.maximum(log_softmax(one, axis=1), np.log(1e-9)) for one in filled])


folds = own.groupby({label})["content"].rank(method="dense") % FOLDS
for fold in folds.unique():
    part, others = own[folds != fold], own[folds == fold]
    others = others[others[{label}].isin(part[{label}])]
    if len(others):
        left_out.append((look(part, others["content"]), others[{label}]))
logs, truth = np.concatenate([one[0] for one in left_out], axis=1), pd.concat([one[1] for one in left_out])
alike = (1 / truth.map(truth.value_counts())).to_numpy()[:, None]
alike = alike / alike.sum()
hits = alike * (truth.to_numpy()[:, None] == np.array(names))
firm = (alike**2).sum() / np.array([SHARE_SPREAD] * len(expected) + [OFFSET_SPREAD] * len(names)) ** 2
start = np.concatenate([expected, np.zeros(len(names))])


def lose(values):
    mixed = np.tensordot(values[: len(expected)], logs, axes=1) + values[len(expected) :]
    errors, moved = alike * softmax(mixed, axis=1) - hits, values - start
    slope = np.concatenate([np.tensordot(logs, errors, axes=2), errors.sum(axis=0)])
    return firm @ moved**2 / 2 - (hits * log_softmax(mixed, axis=1)).sum(), slope + firm * moved


bounds = [(0, None)] * len(expected) + [(None, None)] * len(names)
found = minimize(lose, start, jac=True, method="L-BFGS-B", bounds=bounds).x
"""
_NEAR = """
    near, labels = compare(part["content"]), part[{label}].to_numpy()
    centre = np.mean([near[labels == name].mean(axis=0) for name in sorted(set(labels))], axis=0)
    logs.append(pd.DataFrame(compare(texts) - centre, columns=names))"""
_MIX = f"{SCORE}np.tensordot(found[: len(expected)], look(own, texts), axes=1) + found[len(expected) :]\n\n"


def _write(expected: list[float], more: str = "") -> str:
    settings = {
        "EXPECTED": str(expected),
        "MORE": more,
        "FOLDS": str(N_FOLDS),
        "SHARE_SPREAD": str(SHARE_SPREAD),
        "OFFSET_SPREAD": str(OFFSET_SPREAD),
    }
    code = _CODE
    for name, value in settings.items():
        code = code.replace(name, value)
    return code + _MIX


class TunedOffsets(Treatment):
    """Logit adjustment, and an offset a label that is tuned on rows left out (thresholds, for two labels)."""

    name = "tuned_offsets"
    meaning = "logit adjustment, with thresholds tuned on rows that are left out"
    code = _write([1.0])

    def score(self, task: FitTask) -> Floats:
        """Adjusted log-probabilities plus offsets, where there are five rows a label."""
        scores, known = task.left_out
        own = adjust(task.plain, task.labels, task.n_labels)
        if len(np.unique(task.labels[known])) < 2:
            return own
        return tune([scores[known]], task.labels[known], [1.0]).apply([own])


class TunedPrior(Treatment):
    """The same with nearness to the descriptions of the labels, whose share is tuned too (stacking: Wolpert, 1992)."""

    name = "tuned_prior"
    meaning = (
        "logit adjustment and the nearest description, shares and thresholds tuned on rows that are left out"
    )
    needs_zero_shot = True
    code = _write([1.0, PRIOR_SHARE], _NEAR)

    def score(self, task: FitTask) -> Floats:
        """Both log-probabilities in their shares plus offsets; in the expected shares where no row can be left out."""
        scores, known = task.left_out
        both = [adjust(task.plain, task.labels, task.n_labels), compare_descriptions(task.train, task.test)]
        if len(np.unique(task.labels[known])) < 2:
            return both[0] + PRIOR_SHARE * both[1]
        near, _ = leave_out(task.train, compare_descriptions, task.n_labels)
        tuning = tune([scores[known], near[known]], task.labels[known], [1.0, PRIOR_SHARE])
        return tuning.apply(both)
