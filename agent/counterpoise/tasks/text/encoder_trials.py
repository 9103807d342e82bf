"""Which encoder to take: each that is at hand under its best simple way, on a sample of the rows.

Where labels are thin, another encoder often gives more than any record that could be written, and it costs no token. A
sample of six hundred rows says which, before all rows and the pool are encoded. Speed is shown and chooses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from time import perf_counter

import numpy as np

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.errors import CounterpoiseError
from counterpoise.core.event_kinds import EncodersCompared
from counterpoise.core.events import tell_event
from counterpoise.core.records import Floats, Integers, Records
from counterpoise.core.splits import sample_by_rank
from counterpoise.data.encoder_choice import ENCODERS, EncoderChoice, is_at_hand, name_encoder
from counterpoise.data.encoders import open_cached
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.base import Treatment
from counterpoise.students.described_ways import find_lines
from counterpoise.students.evidence import NO_EVIDENCE, Evidence
from counterpoise.students.linear_students import VectorsStudent
from counterpoise.students.metrics import METRICS, compute_auroc, compute_macro_f1
from counterpoise.students.rows import view_rows
from counterpoise.students.treatments import TREATMENTS
from counterpoise.students.validation import choose_best, predict_out_of_fold, score_predictions
from counterpoise.tasks.text.few_rows import compare_hits, measure_hits
from counterpoise.tasks.text.job import Job
from counterpoise_retrievers.encoders import Encoder

MOST_SAMPLED = 600
EVIDENT_GAIN = 0.01
"""A gain of less is not worth another encoder, whatever its interval: one point of macro-F1 or AUROC."""

CEILING = 0.95
"""Macro-F1 from which five points are left at most: too few rows err for encoders to be told apart out of fold."""

_N_TIMED = 16
_N_RESAMPLES = 200
_EVIDENCE = 0.05  # of the resamples may show no gain


@dataclass(frozen=True, slots=True)
class EncoderTrial:
    """An encoder under its best simple way on the sample.

    Args:
        encoder: as a job names it.
        treatment: name of the way.
        macro_f1, auroc: out of fold, 0 to 1.
        gain, low: of the metric that counts over the encoder in use, and what 95% of resamples stay above.
        texts_per_second: it encodes here and now; NaN where speed was not asked for.
        seconds: that all rows are expected to take; NaN likewise.
        few_gain, few_low: the gain in recall with five rows a label (`few_rows`), and what 95% of resamples stay above.
        is_near_ceiling: whether that counts instead, because the encoder in use leaves too little to see a gain by.
    """

    encoder: str
    treatment: str
    macro_f1: float
    auroc: float
    gain: float
    low: float
    texts_per_second: float
    seconds: float
    few_gain: float = 0.0
    few_low: float = 0.0
    is_near_ceiling: bool = False

    @property
    def judged_gain(self) -> float:
        """The gain that counts."""
        return self.few_gain if self.is_near_ceiling else self.gain

    @property
    def is_evident(self) -> bool:
        """Whether it is better than the encoder in use by a point or more, and one of the two gains is no luck."""
        is_sure = self.few_low > 0 or (self.low > 0 and not self.is_near_ceiling)
        return self.judged_gain >= EVIDENT_GAIN and is_sure


@dataclass(frozen=True, slots=True)
class EncoderTrials:
    """All encoders at hand, the one in use first, and how many rows were looked at."""

    trials: tuple[EncoderTrial, ...]
    n_rows: int

    @property
    def best(self) -> EncoderTrial:
        """The one with the largest gain among those whose gain is evident; else the one in use."""
        return max(
            (one for one in self.trials if one.is_evident),
            key=lambda one: one.judged_gain,
            default=self.trials[0],
        )


@dataclass(frozen=True, slots=True)
class _Scored:
    """The answers of an encoder's best way, and its figures."""

    treatment: str
    values: dict[str, float]
    table: Floats
    hits: Floats


def list_at_hand(chosen: EncoderChoice, cache_dir: Path) -> list[EncoderChoice]:
    """The encoder in use, and those that ship whose weights are here already; nothing is fetched for a trial."""
    used = name_encoder(chosen)
    return [chosen, *(name for name in ENCODERS.names if name != used and is_at_hand(name, cache_dir))]


def try_encoders(
    records: Records,
    folds: Integers,
    label_texts: tuple[str, ...],
    choices: Sequence[EncoderChoice],
    treatments: Sequence[Treatment],
    metric: str,
    cache_dir: Path,
    n_all: int | None = None,
    evidence: Evidence = NO_EVIDENCE,
) -> EncoderTrials:
    """Measure encoders on a sample.

    Args:
        records: n training rows, in the order of their ids.
        folds: (n,) their folds.
        label_texts: one line a label.
        choices: the encoder in use, and others.
        treatments: the simple ways; those that look at a pool are left out, since no pool is encoded for a trial.
        metric: macro_f1 or auroc: what counts.
        cache_dir: where vectors are kept.
        n_all: rows that would be encoded in all, held-out rows and pool too; None where nobody asks how long that
            takes: then no text is encoded whose vector is kept.
        evidence: what the ways gave on other data sets.

    Raises:
        ServiceError: the encoder in use cannot be had. Another one that fails is left out.
    """
    treatments = [way for way in treatments if not way.uses_pool]
    drawn = draw_sample(records)
    sample, mine = records.take(drawn), folds[drawn]
    scored: list[tuple[EncoderChoice, _Scored, float]] = []
    for number, choice in enumerate(choices):
        try:
            encoder = open_cached(choice, cache_dir)
            rate = nan if n_all is None else _time(encoder.encoder, sample)
            rows = _encode(sample, label_texts, encoder, treatments)
        except CounterpoiseError:
            if number == 0:
                raise
            continue
        scored.append((choice, _score(rows, mine, name_encoder(choice), treatments, metric, evidence), rate))
        if len(choices) > 1:
            tell_event(EncodersCompared(done=number + 1, total=len(choices), what="encoders"))
    baseline, trials = scored[0][1], []
    is_near_ceiling = metric == "macro_f1" and baseline.values[metric] >= CEILING
    for choice, found, rate in scored:
        gains = _resample_gains(found.table, baseline.table, sample.labels, metric)
        few = (0.0, 0.0)
        if metric == "macro_f1":  # recall says nothing of how rows are ranked
            few = compare_hits(found.hits, baseline.hits, sample.labels, _EVIDENCE)
        trials.append(
            EncoderTrial(
                name_encoder(choice),
                found.treatment,
                found.values["macro_f1"],
                found.values["auroc"],
                found.values[metric] - baseline.values[metric],
                float(np.quantile(gains, _EVIDENCE)),
                rate,
                (n_all or 0) / rate,
                *few,
                is_near_ceiling,
            )
        )
    return EncoderTrials(tuple(trials), len(sample))


def try_for_job(
    job: Job,
    records: Records,
    folds: Integers,
    label_texts: tuple[str, ...],
    choices: Sequence[EncoderChoice],
    n_all: int | None = None,
) -> EncoderTrials:
    """Measure encoders as a job has it: its treatments, metric, cache and evidence; see `try_encoders`."""
    return try_encoders(
        records,
        folds,
        label_texts,
        choices,
        TREATMENTS.choose(job.treatments),
        job.scored_by,
        find_cache_dir(job.cache_dir),
        n_all,
        job.open_evidence(),
    )


def draw_sample(records: Records) -> Integers:
    """Positions of at most six hundred rows by keyed hash: rare labels whole, of the others as many each."""
    counts = np.bincount(records.labels, minlength=len(records.label_names))
    most = MOST_SAMPLED
    for n_left, count in zip(range(len(counts), 0, -1), sorted(counts), strict=True):
        share = most // n_left
        if count > share:
            break
        most -= count
    else:
        return np.arange(len(records))
    picked = []
    for label in np.flatnonzero(counts):
        members = np.flatnonzero(records.labels == label)
        picked.append(members[sample_by_rank(records.ids[members], max(share, 1), "encoders")])
    return np.sort(np.concatenate(picked))


def _time(encoder: Encoder, sample: Records) -> float:
    """How many texts an encoder encodes a second."""
    timed = [str(text) for text in sample.texts[:_N_TIMED]]
    encoder.encode(timed[:1])  # what has to be started is started by the first text
    started = perf_counter()
    encoder.encode(timed)
    return len(timed) / max(perf_counter() - started, 1e-9)


def _encode(
    sample: Records, label_texts: tuple[str, ...], encoder: Encoder, treatments: Sequence[Treatment]
) -> EncodedRecords:
    """The sample's rows as an encoder sees them."""
    vectors = encoder.encode([str(text) for text in sample.texts])
    near = SimilarityScorer(encoder, label_texts).score_vectors(vectors)
    return EncodedRecords(sample, vectors, near, lines=find_lines(treatments, encoder.encode, label_texts))


def _score(
    rows: EncodedRecords,
    folds: Integers,
    name: str,
    treatments: Sequence[Treatment],
    metric: str,
    evidence: Evidence,
) -> _Scored:
    student, n_labels = VectorsStudent(name), len(rows.records.label_names)
    tables = predict_out_of_fold(view_rows(rows), folds, n_labels, [student], treatments)
    scores = score_predictions(tables, rows.records.labels, n_labels)
    counts = np.bincount(rows.records.labels, minlength=n_labels)
    best = choose_best(scores, metric, treatments, counts, evidence)[student.name]
    values = next({one: getattr(score, one) for one in METRICS} for score in scores if score.arm == best.name)
    hits = measure_hits(rows.vectors, rows.records.labels)
    return _Scored(best.name, values, tables[best.name, student.name], hits)


def _resample_gains(mine: Floats, other: Floats, truth: Integers, metric: str) -> Floats:
    """(d,) differences of a metric between two tables of scores, rows of each label redrawn."""
    n_labels = mine.shape[1]
    measure: Callable[[Floats, Integers], float] = (
        compute_auroc
        if metric == "auroc"
        else lambda table, labels: compute_macro_f1(table.argmax(axis=1), labels, n_labels, equalise=True)
    )
    members = [np.flatnonzero(truth == label) for label in np.unique(truth)]
    generator = np.random.default_rng(11)
    gains = np.empty(_N_RESAMPLES)
    for draw in range(_N_RESAMPLES):
        rows = np.concatenate([generator.choice(one, len(one)) for one in members])
        gains[draw] = measure(mine[rows], truth[rows]) - measure(other[rows], truth[rows])
    return gains
