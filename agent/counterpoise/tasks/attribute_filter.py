"""Does a text written for `label with attribute=value` have that value? A classifier says so where its audit lets it.

A cell of an attribute is filled with texts that were asked for with the value in their heading. Whether a text took it
up can often be seen: a dialect, a topic, who is spoken of. So for each attribute that a short cell names, a logistic
regression on sentence vectors is fitted to the user's own rows and audited on those it did not see, value by value. It
refuses texts that it holds for another value, stricter where the writer misses the value more often (as
`filters.writers` does).
A value that it cannot tell (a source, a date) is left to the writer's word, and the report says so.

The language of a text (`core.languages.LANGUAGE`) is no guess of a classifier: it is found as that of the rows was.

Every cell of label and value weighs alike when it is fitted. Otherwise it would take the label for the value, as the
data has it, and refuse just what the thin cells need.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from scipy.special import softmax

from counterpoise.balance.counts import MOST_VALUES, encode_values
from counterpoise.core.encoded_records import Vectors
from counterpoise.core.languages import LANGUAGE, list_languages, tell_languages
from counterpoise.core.plans import Proposal, Verdict
from counterpoise.core.records import Floats, Integers
from counterpoise.filters.base import KEPT
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.data import FilterData
from counterpoise.filters.writers import LIMITS, choose_limit, measure_against
from counterpoise.scorers.audits import Audit, audit, describe_audit
from counterpoise.students.linear import fit_log_probabilities
from counterpoise.students.samples import draw_rows
from counterpoise.students.weights import log_prior

CONTRADICTED = "attribute_contradicted"
MOST_ROWS = 2_000
"""Rows that a judge of an attribute is fitted to, and fifty of every value besides: more would say the same, later."""

_LARGEST_WEIGHT = 10.0
_FEWEST_ROWS = 10


@dataclass(frozen=True, slots=True)
class AttributeJudge:
    """What tells the values of one attribute.

    Args:
        name: of the column.
        values: its v values.
        vectors: (n, d) of the rows it is fitted to.
        codes: (n,) their values.
        weights: (n,) their weights.
        out_of_fold: (n, v) probabilities, cross-fitted.
        able: whether each value can be told, (v,).
        result: the audit over all values.
    """

    name: str
    values: tuple[str, ...]
    vectors: Vectors
    codes: Integers
    weights: Floats
    out_of_fold: Floats
    able: tuple[bool, ...]
    result: Audit

    def score(self, vectors: Vectors) -> Floats:
        """(m, v) probabilities of the values for (m, d) vectors."""
        return _fit(self.vectors, self.codes, self.weights, vectors, len(self.values))

    def describe(self) -> dict[str, Any]:
        """A line of the report."""
        told = [value for value, is_able in zip(self.values, self.able, strict=True) if is_able]
        note = (
            f"It refuses texts that it holds for another value; it can tell {len(told)} of {len(self.values)} values."
            if told
            else "It cannot tell the values apart, so texts are taken for what they were asked for."
        )
        return describe_audit(
            "classifier",
            f"Which {self.name} has the text? Logistic regression on sentence vectors, cross-fitted",
            self.result,
            role="used" if told else "refused",
            price=0.0,
            note=note,
        )


@dataclass(slots=True)
class AttributeFilter:
    """The judges of all attributes; each is fitted when it is first asked, and the same whenever that is.

    Args:
        data: the training rows with their folds.
    """

    data: FilterData
    _judges: dict[str, AttributeJudge | None] = field(default_factory=dict)

    def find(self, attribute: str) -> AttributeJudge | None:
        """The judge of an attribute; None where there are too few rows or too many values."""
        if attribute not in self._judges:
            self._judges[attribute] = fit_judge(self.data, attribute)
        return self._judges[attribute]

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order; a sound text is judged, whatever its label and concept."""
        return self.check(batch.proposals, batch.sound, batch.vectors)

    def check(
        self, proposals: Sequence[Proposal], passing: Sequence[bool], vectors: Vectors
    ) -> list[Verdict]:
        """One verdict a proposal, in order; edits keep what their source has, and are not judged.

        Args:
            proposals: in order.
            passing: (n,) whether the checks of the text alone let it through.
            vectors: (n, d) of their texts.
        """
        groups: dict[tuple[str, str], list[int]] = {}
        for place, proposal in enumerate(proposals):
            cell = proposal.item.cell
            if cell.attribute and passing[place] and not proposal.nature.is_edit and not proposal.source_id:
                groups.setdefault((cell.attribute, cell.value), []).append(place)
        verdicts = [Verdict(proposal.id, True, KEPT) for proposal in proposals]
        for (attribute, value), places in sorted(groups.items()):
            if codes := self._list_languages(attribute):
                told = tell_languages([proposals[place].text for place in places], codes)
                for place, code in zip(places, told, strict=True):
                    if code not in ("", value):
                        verdicts[place] = Verdict(proposals[place].id, False, CONTRADICTED)
                continue
            judge = self.find(attribute)
            if judge is None or value not in judge.values:
                continue
            code = judge.values.index(value)
            probabilities = judge.score(vectors[places])
            against = measure_against(probabilities, code)
            limit = 2.0  # above every share: nothing is refused
            if judge.able[code]:
                known = measure_against(judge.out_of_fold, code)
                limit = choose_limit(against, known, judge.codes, code) or LIMITS[-1]
            for place, row, share in zip(places, probabilities, against, strict=True):
                fault = CONTRADICTED if share >= limit else KEPT
                scores = {f"attribute_{attribute}": float(row[code])}
                verdicts[place] = Verdict(proposals[place].id, fault == KEPT, fault, scores)
        return verdicts

    def _list_languages(self, attribute: str) -> list[str]:
        """The languages of the rows, the commonest first, where that is what an attribute is; else none."""
        if attribute != LANGUAGE:
            return []
        counts = Counter(self.data.train.records.attributes[attribute])
        codes = [str(code) for code, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0])) if code]
        return codes if set(codes) <= set(list_languages()) else []  # else it is a column of the user's

    def audits(self) -> list[dict[str, Any]]:
        """A line of the report for each attribute that was asked about."""
        return [judge.describe() for _, judge in sorted(self._judges.items()) if judge is not None]


def fit_judge(data: FilterData, attribute: str) -> AttributeJudge | None:
    """Fit and audit a judge on the training rows that have a value of the attribute.

    Args:
        data: the training rows with their folds.
        attribute: one of its attribute columns.

    Returns:
        The judge; None with fewer than two values that have ten rows in all, or more values than make cells.
    """
    records = data.train.records
    known = np.flatnonzero(records.attributes[attribute] != "")
    if len(known) < _FEWEST_ROWS:
        return None
    codes, values = encode_values(records.attributes[attribute][known])
    if not 2 <= len(values) <= MOST_VALUES:
        return None
    drawn = draw_rows(records.ids[known], codes, MOST_ROWS)
    rows, codes = known[drawn], codes[drawn]
    n_values = len(values)
    cells = codes * len(records.label_names) + records.labels[rows]
    counts = np.bincount(cells)
    weights = np.minimum(len(rows) / ((counts > 0).sum() * counts[cells]), _LARGEST_WEIGHT)
    vectors, folds = data.train.vectors[rows], data.folds[rows]
    out_of_fold = np.full((len(rows), n_values), 1.0 / n_values)
    for fold in np.unique(folds):
        inside = folds != fold
        if inside.any():
            out_of_fold[~inside] = _fit(
                vectors[inside], codes[inside], weights[inside], vectors[~inside], n_values
            )
    able = []
    for code in range(n_values):
        truth = (codes == code).astype(np.int64)
        share = out_of_fold[:, code]
        enough = truth.sum() >= _FEWEST_ROWS and (1 - truth).sum() >= _FEWEST_ROWS
        able.append(enough and not audit(np.stack([1 - share, share], axis=1), truth).is_weak)
    result = audit(out_of_fold, codes, names=values)
    return AttributeJudge(
        attribute, values, vectors, codes, weights, out_of_fold, tuple(map(bool, able)), result
    )


def _fit(vectors: Vectors, codes: Integers, weights: Floats, others: Vectors, n_values: int) -> Floats:
    """(m, v) probabilities of the values of other rows, the shares of the values taken out."""
    scores = fit_log_probabilities(vectors, codes, weights, others, n_values)
    return np.asarray(softmax(scores - log_prior(codes, weights, n_values), axis=1))


class AttributePart:
    """The registered filter."""

    name = "attributes"
    is_tried = False  # its judges are audited value by value
    reasons = (CONTRADICTED,)
    remedies: ClassVar[Mapping[str, str]] = {
        CONTRADICTED: "a model that writes what it is asked for, or more real rows of these cells to show it"
    }
    instructions: ClassVar[Mapping[str, str]] = {
        CONTRADICTED: "It reads like a record of another group. Make plain that it is one of these."
    }

    def fit(self, data: FilterData) -> AttributeFilter:
        """Its judges are fitted when they are first asked."""
        return AttributeFilter(data)
