"""Lines about the labels as rows to train on, beside the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.label_lines import LabelLines, encode_lines
from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Student, Treatment
from counterpoise.students.rows import make_rows
from counterpoise.students.weights import adjust

_CODE = """
from counterpoise.core.label_lines import write_lines

descriptions = {descriptions}  # label: one line about it
written = write_lines(list(descriptions.values()))
lines = pd.DataFrame(zip(descriptions, written), columns=[{label}, "content"])
lines = lines[lines[{label}].isin(own[{label}])].explode("content", ignore_index=True)
each = 1 / lines[{label}].map(lines[{label}].value_counts())
both = pd.concat([own, lines], ignore_index=True)
"""
_ROWS_WORTH = 5.0
_SHARE = 0.1
"""What the lines of a label weigh: so many rows under vectors, such a share of the label's rows under words. Of 2, 5,
7, 10 and of 0.1, 0.3, 1 the best on draws of CEBaB and text messages, which `evals/simple_ways.py` reports on too."""


class DescriptionRows(Treatment):
    """Logit adjustment, trained on lines about the labels as well (Gao et al., 2023, label-description training).

    A line's vector lies where texts of its label lie: the lines of each label weigh as much as five rows, and count
    among the label's rows. The words of a line are seldom those of texts, so that under words as many would move the
    label shares and no score: there the lines take a tenth of the weight of their label's rows.
    """

    name = "description_rows"
    meaning = "logit adjustment, with lines made of each label's description as further rows"
    uses_lines = True

    def write_code(self, student: Student) -> str:
        """Its lines of the recipe: what a line weighs goes by what the student sees."""
        rows, total = str(_ROWS_WORTH), ""
        if not student.uses_vectors:
            rows, total = (
                f"{_SHARE} * lines[{{label}}].map(own[{{label}}].value_counts())",
                f" / {1 + _SHARE}",
            )
        weights = f"pd.concat([ones(own), each], ignore_index=True){total}"
        return f"{_CODE}each *= {rows}\nweights = {weights}\nscore = fit(both, weights, 1)\n"

    def score(self, task: FitTask) -> Floats:
        """Log-probabilities less the logs of the label shares; without lines those of logit adjustment."""
        own, lines, n_labels = task.train, task.train.lines, task.n_labels
        counts = np.bincount(own.labels, minlength=n_labels)
        if lines is None:
            return adjust(task.plain, own.labels, n_labels)
        known = counts[lines.labels] > 0  # a label without a row is never the answer
        about = lines.labels[known]
        rows = make_rows(
            np.concatenate([own.texts, lines.texts[known]]),
            np.concatenate([own.vectors, lines.vectors[known]]),
            np.concatenate([own.labels, about]),
        )
        each = 1 / np.bincount(about)[about]
        if task.student.uses_vectors:
            weights = np.concatenate([np.ones(len(own)), _ROWS_WORTH * each])
        else:
            weights = np.concatenate([np.ones(len(own)), _SHARE * counts[about] * each]) / (1 + _SHARE)
        features, test = task.student.features(rows, task.test)
        plain = task.student.fit_log_probabilities(features, rows.labels, weights, test, n_labels)
        return adjust(plain, rows.labels, n_labels, weights)


def find_lines(
    treatments: Iterable[Treatment],
    encode: Callable[[Sequence[str]], NDArray[np.float32]],
    descriptions: Sequence[str],
) -> LabelLines | None:
    """The lines about the labels where one of some ways trains on them, else None.

    Args:
        treatments: the ways.
        encode: gives the vectors of texts.
        descriptions: one line a label.
    """
    if not any(way.uses_lines for way in treatments):
        return None
    return encode_lines(encode, descriptions)
