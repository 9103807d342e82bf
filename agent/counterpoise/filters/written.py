"""Filters of what a model wrote, set by the user's own rows: language, script, gibberish, repetition, talk, support.

| reason | refused is a text that |
|---|---|
| cut_off | ends because the tokens ended, and has no whole sentence to cut back to |
| chat_leftover | has marks of a chat template or of a model's thoughts in it, or is a preamble with nothing behind it |
| says_too_little | has fewer letters in its different words than the rows of its label |
| other_script | has letters of scripts that hardly a row has |
| other_language | is likelier in a language that hardly a row is in than in any of theirs, or one too many in its own |
| gibberish | is made of letters in an order that surprises who has read the rows as much as any order would |
| repetitive | says its words, or its phrases, again more than rows do |
| about_the_task | is nearer to talk about writing a record than to any record |
| label_unsupported | has less of its label, says the audited scorer, than rows of that label have |

None has a threshold of its own: each is a measure with a bar that a hundredth of the user's rows may pass (of label
support: a fiftieth), each row measured by a model that has not seen it. Floors only make a filter milder. What
cannot be set, for too few rows or a scorer that failed its audit, refuses nothing and says so in the table of alarms.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.languages import SURE_FROM, score_languages
from counterpoise.core.letters import strip_marks
from counterpoise.core.plans import Nature, Proposal, Verdict
from counterpoise.core.records import Floats, Integers, Records
from counterpoise.filters.alarms import FEWEST_ROWS, MOST_REFUSED, Alarm, Bars, settle_bars
from counterpoise.filters.base import CUT_OFF, KEPT
from counterpoise.filters.batch import ProposalBatch
from counterpoise.filters.char_model import CharModel, Spread, blend_spreads, fit_char_model, fit_spread
from counterpoise.filters.copy_limits import CopyLimits, fit_copy_limits
from counterpoise.filters.data import FilterData
from counterpoise.filters.languages import LanguageShares, fit_languages
from counterpoise.filters.own_rows import draw_own_rows
from counterpoise.filters.task_talk import encode_task, find_leftover, measure_task_talk
from counterpoise.filters.text_measures import (
    count_said,
    fold_symbols,
    measure_loop,
    measure_repetition,
    share_scripts,
    split_units,
)
from counterpoise_retrievers.encoders import Encoder
from counterpoise_retrievers.faiss_index import FaissIndex

Vectors = NDArray[np.float32]

ALARM = 0.01
"""Share of the user's own rows that each filter of the text may refuse."""

_ALARMS = {"says_too_little": 0.002}
"""Shares of their own. How long rows are differs by label, so each label has its own bar there, and that of a rare one
is foreseen from a handful of rows with a long tail."""

JUMBLED_LET_THROUGH = 0.05
"""Share of the rows with jumbled letters that a bar of gibberish may let through."""

SAYS_ENOUGH = 0.25
"""Share of the letters of a middling row with which a text says enough in any data."""

_FLOORS = {
    "other_script": 0.1,
    "other_language": SURE_FROM,
    "about_the_task": 0.0,
    "repetitive": 0.25,
    "repetitive_phrases": 0.2,
    "repetitive_loop": 0.25,
    "repetitive_symbols": 0.25,
}
"""Heights below which a measure is no reason in any data: a tenth of the letters; odds of 20 to 1 (in nats); nearer to
the task than to a record; a quarter of the words, a fifth in phrases, a quarter in a loop, without and with handles and
emoji: rows that are full of these do not make room for words without end."""

MEASURES = (
    "chat_leftover",
    "other_script",
    "other_language",
    "repetitive",
    "repetitive_phrases",
    "repetitive_loop",
    "repetitive_symbols",
    "says_too_little",
    "gibberish",
    "about_the_task",
)
SUPPORT = "label_unsupported"
_FOREIGN = ("other_language", "other_script")
_NAMES_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Readers:
    """What texts are read with, learned from some of the user's rows.

    Args:
        chars: for gibberish.
        spreads: main script ("" for all) -> how the surprise of rows in it is spread.
        scripts: script -> share of rows that have letters of it.
        languages: of the rows.
        task: (m, d) vectors of talk about the task.
        index: of the vectors of the rows.
    """

    chars: CharModel
    spreads: Mapping[str, Spread]
    scripts: Mapping[str, float]
    languages: LanguageShares
    task: Vectors
    index: FaissIndex

    def measure(self, texts: Sequence[str], vectors: Vectors, languages: Floats) -> dict[str, Floats]:
        """Measure -> (n,) values, the higher the odder; NaN where a text has not enough to be measured.

        Args:
            texts: n.
            vectors: (n, d) of them.
            languages: (n, m) of `score_languages`.
        """
        units = [split_units(text) for text in texts]
        repetition = np.array([measure_repetition(one) for one in units]).reshape(len(texts), 2)
        shares = [share_scripts(text) for text in texts]
        odd = [
            sum(part for name, part in share.items() if self.scripts.get(name, 0.0) <= ALARM)
            for share in shares
        ]
        return {
            "chat_leftover": np.array([float(find_leftover(text)) for text in texts]),
            "says_too_little": -np.log1p([float(count_said(text)) for text in texts]),
            "other_script": np.array(
                [value if share else np.nan for value, share in zip(odd, shares, strict=True)]
            ),
            "other_language": self.languages.measure(languages),
            "gibberish": self.measure_surprise(texts),
            "repetitive": repetition[:, 0],
            "repetitive_phrases": repetition[:, 1],
            "repetitive_loop": np.array([measure_loop(fold_symbols(strip_marks(text))) for text in texts]),
            "repetitive_symbols": np.array([measure_loop(text) for text in texts]),
            "about_the_task": measure_task_talk(vectors, self.task, self._find_nearest(vectors)),
        }

    def measure_surprise(self, texts: Sequence[str]) -> Floats:
        """(n,) how surprising the letters of texts are, in standard deviations of rows of their length and script."""
        surprise, signs = self.chars.measure_disorder(texts)
        standard = np.zeros(len(texts))
        for row, text in enumerate(texts):
            parts = [
                (self.spreads.get(name, self.spreads[""]), part)
                for name, part in (share_scripts(text) or {"none": 1.0}).items()
            ]
            standard[row] = blend_spreads(parts).standardise(surprise[row : row + 1], signs[row : row + 1])[0]
        return standard

    def _find_nearest(self, vectors: Vectors) -> Floats:
        if not len(self.index) or not len(vectors):
            return np.ones(len(vectors))
        return np.asarray(self.index.search(vectors, 1)[0][:, 0], dtype=np.float64)


@dataclass(frozen=True, slots=True)
class WrittenFilters:
    """The readers, the bars, and how often they refuse real rows.

    Args:
        readers: learned from all rows that were drawn.
        bars: measure -> (k,) bar of each label.
        support: (k,) log-odds that a label needs at least; minus infinity where the scorer cannot support it.
        copies: from where on a text is a copy.
        counted: one alarm a measure, and of all together under `any`.
    """

    readers: Readers
    bars: Mapping[str, Bars]
    support: Floats
    copies: CopyLimits
    counted: tuple[Alarm, ...]

    def verdicts(self, batch: ProposalBatch) -> list[Verdict]:
        """One verdict a proposal, in order; what does not pass so far is not measured."""
        return self.check(
            batch.proposals,
            batch.vectors,
            batch.probabilities,
            batch.label_names,
            batch.passing,
            batch.parents,
        )

    def alarms(self) -> tuple[Alarm, ...]:
        """How often each of the measures refuses real rows, and all together under `any`."""
        return self.counted

    def languages(self) -> dict[str, float]:
        """The languages of the user's rows, with their shares."""
        return self.readers.languages.describe()

    def notes(self, refused: Counter[str], n_proposals: int) -> list[str]:
        """Sentences on the language of the data and of what was written, where there is something to say.

        Args:
            refused: refusals of what a model wrote, by reason.
            n_proposals: of the run, kept and refused.
        """
        shares, notes = self.languages(), []
        if shares and list(shares) != ["en"]:
            told = ", ".join(f"{code} {share:.0%}" for code, share in list(shares.items())[:_NAMES_SHOWN])
            notes.append(
                f"Languages of the rows, as py3langid names them: {told}. Written texts may use each at its "
                "share; others are refused."
            )
        if n_foreign := sum(refused[reason] for reason in _FOREIGN):
            notes.append(
                f"{n_foreign} of {n_proposals} proposals were refused because they are in another language or "
                "script than the rows: where they are many, the model does not write the language of the data."
            )
        return notes

    def check(
        self,
        proposals: Sequence[Proposal],
        vectors: Vectors,
        probabilities: Floats,
        label_names: Sequence[str],
        passing: Sequence[bool],
        parents: Mapping[str, str],
    ) -> list[Verdict]:
        """One verdict a proposal, in order; records that were adopted pass, edits answer for their text alone.

        Args:
            proposals: n.
            vectors: (n, d) of their texts.
            probabilities: (n, k) of the label scorer.
            label_names: k.
            passing: (n,) whether what was looked at before lets it through; others are not measured.
            parents: id -> text of the records that were shown.
        """
        faults, scores = [""] * len(proposals), [dict[str, float]() for _ in proposals]
        places = [
            place
            for place, proposal in enumerate(proposals)
            if passing[place] and not proposal.nature.is_real
        ]
        texts = [proposals[place].text for place in places]
        languages = score_languages(texts)
        values = self.readers.measure(texts, vectors[places], languages)
        index = {name: label for label, name in enumerate(label_names)}
        for row, place in enumerate(places):
            proposal = proposals[place]
            label = index[proposal.label]
            if proposal.finish_reason == "length":
                faults[place] = CUT_OFF
                continue
            for name in MEASURES:
                if not faults[place] and values[name][row] > self.bars[name][label]:
                    faults[place] = name_reason(name)
            if proposal.nature is Nature.WRITTEN:
                odds = measure_support(probabilities[place : place + 1], label)[0]
                scores[place]["label_log_odds"] = float(odds)
                if not faults[place] and odds < self.support[label]:
                    faults[place] = SUPPORT
        kept = [row for row, place in enumerate(places) if not faults[place]]
        shown = [
            [parents[parent] for parent in proposals[places[row]].parents if parent in parents]
            for row in kept
        ]
        for row, surplus in zip(
            kept, self.readers.languages.find_surplus(languages[kept], shown, ALARM), strict=True
        ):
            if surplus:
                faults[places[row]] = "other_language"
        return [
            Verdict(proposal.id, not fault, fault or KEPT, score)
            for proposal, fault, score in zip(proposals, faults, scores, strict=True)
        ]

    @property
    def has_support(self) -> bool:
        """Whether what a label needs could be measured."""
        return bool(np.isfinite(self.support).any())

    def list_mildest(self) -> list[float]:
        """For each label the likeliest other one's share of the probability of both, from which it lacks support.

        Empty where that could not be measured.
        """
        return [float(value) for value in 1 / (1 + np.exp(self.support))] if self.has_support else []


def jumble_words(text: str) -> str:
    """A text whose letters stand in an order of no meaning within each word, the same at each call."""
    source = random.Random(text.encode("utf-8", "surrogatepass"))  # noqa: S311  (no secret)
    return " ".join("".join(source.sample(word, len(word))) for word in text.split())


def _find_floors(texts: Sequence[str], readers: Readers) -> dict[str, float]:
    """Heights that rows which are all alike make no bar lower than: nothing new could be written to such data else.

    Gibberish is told from words by the rows themselves with their letters jumbled, nearly all of which have to be
    refused; and what says a good part of what rows say does not say too little.
    """
    if not texts:
        return {}
    jumbled = readers.measure_surprise([jumble_words(text) for text in texts])
    return {
        "gibberish": float(np.quantile(jumbled, JUMBLED_LET_THROUGH)),
        "says_too_little": -float(np.log1p(SAYS_ENOUGH * np.median([count_said(text) for text in texts]))),
    }


def name_reason(measure: str) -> str:
    """The reason that a measure refuses with: several tell the same."""
    return "repetitive" if measure.startswith("repetitive") else measure


def measure_support(probabilities: Floats, label: int) -> Floats:
    """(n,) log-odds of a label against the likeliest other one, from (n, k) probabilities."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    others = np.delete(probabilities, label, axis=1).max(axis=1)
    return np.asarray(np.log(np.maximum(probabilities[:, label], 1e-12)) - np.log(np.maximum(others, 1e-12)))


def fit_written_filters(
    records: Records,
    vectors: Vectors,
    folds: Integers,
    out_of_fold: Floats,
    encoder: Encoder,
    headings: Sequence[str],
    key: str,
    *,
    is_trusted: bool,
) -> WrittenFilters:
    """Learn the readers and set the bars from the training rows.

    Args:
        records: n training rows.
        vectors: (n, d) of their texts.
        folds: (n,) fold numbers; near-duplicates share one.
        out_of_fold: (n, k) of the label scorer, cross-fitted.
        encoder: of the vectors.
        headings: what the records of each label are called.
        key: the run's key.
        is_trusted: whether the label scorer passed its audit.
    """
    rows = draw_own_rows(records, key)
    texts = [str(records.texts[row]) for row in rows]
    labels, parts = records.labels[rows], folds[rows]
    n_labels = len(records.label_names)
    task = encode_task(encoder, headings)
    languages = score_languages(texts)
    values = {name: np.full(len(rows), np.nan) for name in MEASURES}
    readers = _fit_readers(texts, vectors[rows], languages, task)
    floors = _FLOORS | _find_floors(texts, readers)
    for fold in np.unique(parts):
        inside, outside = np.flatnonzero(parts != fold), np.flatnonzero(parts == fold)
        if not len(inside):
            continue
        reader = _fit_readers([texts[row] for row in inside], vectors[rows[inside]], languages[inside], task)
        found = reader.measure([texts[row] for row in outside], vectors[rows[outside]], languages[outside])
        for name in MEASURES:
            values[name][outside] = found[name]
    settled = {
        name: settle_bars(
            name,
            values[name],
            labels,
            parts,
            n_labels,
            _ALARMS.get(name, ALARM),
            floor=floors.get(name, -np.inf),
            pooled=name not in _ALARMS,
        )
        for name in MEASURES
    }
    bars, support = {name: one.bars for name, one in settled.items()}, np.full(n_labels, -np.inf)
    alarms = [one.alarm for one in settled.values()]
    if is_trusted and n_labels > 1:
        lacking = -np.array(
            [measure_support(out_of_fold[row : row + 1], int(records.labels[row]))[0] for row in rows]
        )
        settled[SUPPORT] = settle_bars(SUPPORT, lacking, labels, parts, n_labels, MOST_REFUSED, pooled=False)
        support = -settled[SUPPORT].bars
        alarms.append(settled[SUPPORT].alarm)
    else:
        alarms.append(Alarm(SUPPORT, 0, 0, "The label scorer failed its audit: it refuses nothing."))
    copies, of_copies = fit_copy_limits(texts, vectors[rows], labels, parts, n_labels, ALARM)
    alarms += of_copies
    together = np.any([one.refused for one in settled.values()], axis=0)
    alarms.append(Alarm("any", len(rows) if len(rows) >= FEWEST_ROWS else 0, int(together.sum())))
    return WrittenFilters(readers, bars, support, copies, tuple(alarms))


def _fit_readers(texts: Sequence[str], vectors: Vectors, languages: Floats, task: Vectors) -> Readers:
    chars = fit_char_model(texts)
    shares = [share_scripts(text) for text in texts]
    names = sorted({name for share in shares for name in share})
    scripts = {name: float(np.mean([name in share for share in shares])) for name in names}
    index = FaissIndex(vectors.shape[1])
    if len(vectors):
        index.add(vectors)
    return Readers(chars, _fit_spreads(texts, shares), scripts, fit_languages(languages, texts), task, index)


def _fit_spreads(texts: Sequence[str], shares: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Spread of the surprise of rows to a model of the other rows, for all and for each script with enough of them."""
    surprise, signs = np.zeros(len(texts)), np.zeros(len(texts), dtype=np.int64)
    halves = np.arange(len(texts)) % 5
    for part in range(5):
        outside = np.flatnonzero(halves == part)
        if len(outside):
            model = fit_char_model([text for text, half in zip(texts, halves, strict=True) if half != part])
            surprise[outside], signs[outside] = model.measure_disorder([texts[int(row)] for row in outside])
    mains = np.array([_name_main(share) for share in shares])
    spreads = {"": fit_spread(surprise, signs)}
    for name in sorted(set(mains)):
        if (mains == name).sum() >= FEWEST_ROWS // 2:
            spreads[str(name) or "none"] = fit_spread(surprise[mains == name], signs[mains == name])
    return spreads


def _name_main(share: Mapping[str, float]) -> str:
    return max(share, key=lambda name: (share[name], name)) if share else "none"


class WrittenPart:
    """The registered filter."""

    name = "written"
    reasons = (CUT_OFF, *dict.fromkeys(map(name_reason, MEASURES)), SUPPORT)
    instructions: ClassVar[Mapping[str, str]] = {
        CUT_OFF: "It breaks off. Write it to its end, and no longer than the records above.",
        "chat_leftover": "Remarks stand in it that are no part of a record. Leave them out.",
        "says_too_little": "It says too little. Write as much as the records above do.",
        **dict.fromkeys(_FOREIGN, "It is in another language or script. Write in that of the records above."),
        "repetitive": "It repeats itself. Say each thing once.",
        "about_the_task": "It speaks of records, and is none. Write what such a record would say.",
        SUPPORT: "It does not show clearly enough that it is such a record. Make that plain.",
    }

    def fit(self, data: FilterData) -> WrittenFilters:
        """Set by the training rows and what the label scorer says of them."""
        return fit_written_filters(
            data.train.records,
            data.train.vectors,
            data.folds,
            data.label_scores,
            data.encoder,
            data.headings,
            data.key,
            is_trusted=data.is_trusted,
        )
