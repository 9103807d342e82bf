"""The filter of fluency: words in an order that no row has, told text by text and writer by writer.

How surprising the letters are is judged elsewhere (`written`, reason `gibberish`); this looks at the order of words
(`word_model`). Its bar is set by what unseen rows of the user's own gain by their order, and one text of a few words
may gain little. So the writer is audited too, as for its labels (`writers`): the user's own rows with their words in
random order show how often such texts pass, and where more of a writer's are refused than chance explains, fewer of
them pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from counterpoise.core.plans import Nature, Verdict
from counterpoise.core.records import Floats, Integers
from counterpoise.filters.alarms import MOST_REFUSED, Alarm, Bars, settle_bars
from counterpoise.filters.base import make_verdict
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.char_model import Spread, fit_spread
from counterpoise.filters.data import FilterData
from counterpoise.filters.own_rows import draw_own_rows
from counterpoise.filters.word_model import WordModel, fit_word_model, shuffle_words
from counterpoise.filters.writers import choose_limit

DISORDER = "words_in_disorder"
_LET_THROUGH = 0.05
"""Share of the rows with their words shuffled that a bar may let through: rows that are all alike would else set one
that nothing new could pass."""


@dataclass(frozen=True, slots=True)
class OrderReader:
    """What the order of words is read with.

    Args:
        model: of the rows' words.
        spread: of what their order gains.
        least_known: share of frequent words of the rows below which nothing is known of a text's order.
        slope, start: of the logistic regression that tells rows from the same with their words shuffled.
    """

    model: WordModel
    spread: Spread
    least_known: float
    slope: float
    start: float

    def measure(self, texts: Sequence[str]) -> Floats:
        """(n,) disorder of n texts in standard deviations of rows of their length; NaN where it cannot be told.

        That is of texts of a few words, and of those with fewer words of the rows than nearly all rows have: about
        something else, and in order or not.
        """
        gains, words = self.model.measure_gain(texts)
        is_told = (words > 0) & (self.model.measure_known(texts) >= self.least_known)
        return np.where(is_told, self.spread.standardise(-gains, words), np.nan)

    def rate(self, disorder: Floats) -> Floats:
        """(n,) probabilities that words are in a random order, where half of the texts are such."""
        return np.asarray(expit(self.slope * disorder + self.start))


@dataclass(frozen=True, slots=True)
class FluencyFilter:
    """Judges new texts and edits.

    Args:
        reader: of the order of words.
        bars: (k,) disorder of each label's texts from which they are refused.
        known: (m,) how likely rows, unseen and with their words shuffled, are to be in no order.
        kinds: (m,) their label indices; k for shuffled ones.
        counted: how often it refuses real rows.
    """

    reader: OrderReader
    bars: Bars
    known: Floats
    kinds: Integers
    counted: Alarm

    def alarms(self) -> tuple[Alarm, ...]:
        """How often it refuses real rows."""
        return (self.counted,)

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order; adopted rows are not judged, nor is what does not pass so far."""
        places = [
            place
            for place, proposal in enumerate(batch.proposals)
            if batch.passing[place] and not proposal.nature.is_real
        ]
        index = {name: label for label, name in enumerate(batch.label_names)}
        disorder, labels = np.full(len(batch), np.nan), [index[one.label] for one in batch.proposals]
        disorder[places] = self.reader.measure([batch.texts[place] for place in places])
        faults = [""] * len(batch)
        groups: dict[int, list[int]] = {}
        for place in places:
            proposal, label = batch.proposals[place], labels[place]
            if proposal.nature is Nature.WRITTEN:
                groups.setdefault(label, []).append(place)
            elif disorder[place] > self.bars[label] and not self._is_odd(batch, place):
                faults[place] = DISORDER
        for label, members in groups.items():
            measured = [place for place in members if not np.isnan(disorder[place])]
            if np.isinf(self.bars[label]) or not measured:
                continue
            against, mildest = (
                self.reader.rate(disorder[measured]),
                float(self.reader.rate(self.bars[label : label + 1])[0]),
            )
            # Labels differ in how they order words: a writer is held to rows of its own.
            mine = (self.kinds == label) | (self.kinds == len(self.bars))
            limit = choose_limit(against, self.known[mine], self.kinds[mine], label, mildest)
            for place, share in zip(measured, against, strict=True):
                if disorder[place] > self.bars[label] or (limit < mildest and share >= limit):
                    faults[place] = DISORDER
        return [
            make_verdict(
                proposal,
                faults[place],
                {} if np.isnan(disorder[place]) else {"disorder": float(disorder[place])},
            )
            for place, proposal in enumerate(batch.proposals)
        ]

    def _is_odd(self, batch: ProposalBatch, place: int) -> bool:
        """Whether what an edit was made from is in disorder itself."""
        proposal = batch.proposals[place]
        source = batch.parents.get(proposal.parents[0], "") if proposal.parents else ""
        label = list(batch.label_names).index(proposal.label)
        return bool(self.reader.measure([source])[0] > self.bars[label])


def fit_fluency(texts: Sequence[str], labels: Integers, folds: Integers, n_labels: int) -> FluencyFilter:
    """Learn the order of words from rows, and set the bars on rows that the model has not seen.

    Args:
        texts: n rows.
        labels: (n,) their label indices.
        folds: (n,) fold numbers; near-duplicates share one.
        n_labels: k.
    """
    gains, words = np.zeros(2 * len(texts)), np.zeros(2 * len(texts), dtype=np.int64)
    shares = np.zeros(len(texts))
    both = [*texts, *(shuffle_words(text) for text in texts)]
    parts = np.concatenate([folds, folds])
    for fold in np.unique(folds):
        outside = np.flatnonzero(parts == fold)
        inside = np.flatnonzero(folds != fold)
        if len(inside):
            model = fit_word_model([texts[int(row)] for row in inside])
            gains[outside], words[outside] = model.measure_gain([both[int(row)] for row in outside])
            mine = np.flatnonzero(folds == fold)
            shares[mine] = model.measure_known([texts[int(row)] for row in mine])
    spread = fit_spread(-gains[: len(texts)], words[: len(texts)])
    scores = np.where(words > 0, spread.standardise(-gains, words), np.nan)
    least = float(np.quantile(shares, MOST_REFUSED)) if len(texts) else 0.0
    own, shuffled = scores[: len(texts)], scores[len(texts) :]
    known = ~np.isnan(scores)
    floor = float(np.nanquantile(shuffled, _LET_THROUGH)) if known.any() else np.inf
    settled = settle_bars(DISORDER, own, labels, folds, n_labels, MOST_REFUSED, floor=floor)
    kinds = np.concatenate([labels, np.full(len(texts), n_labels)])[known]
    slope, start = 0.0, 0.0
    if known.any():
        regression = LogisticRegression(class_weight="balanced").fit(scores[known, None], kinds == n_labels)
        slope, start = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    reader = OrderReader(fit_word_model(texts), spread, least, slope, start)
    return FluencyFilter(reader, settled.bars, reader.rate(scores[known]), kinds, settled.alarm)


class FluencyPart:
    """The registered filter."""

    name = "fluency"
    reasons = (DISORDER,)
    remedies: ClassVar[Mapping[str, str]] = {
        DISORDER: "a model that writes sentences, or a lower temperature"
    }
    instructions: ClassVar[Mapping[str, str]] = {
        DISORDER: "Its words make no sentences. Write as people who know the language do."
    }

    def fit(self, data: FilterData) -> FluencyFilter:
        """Set by the training rows."""
        rows = draw_own_rows(data.train.records, data.key)
        texts = [str(data.train.records.texts[row]) for row in rows]
        labels = data.train.records.labels[rows]
        return fit_fluency(texts, labels, data.folds[rows], len(data.train.records.label_names))
