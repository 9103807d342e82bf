"""Counts that allow for a scorer's known errors: how many records a cell really has, with an interval.

A scorer that is wrong on a tenth of the records without a concept makes a rare concept look twice as common as it is,
and errors that depend on the label make an association that is not there. Three ways to correct, each with its needs:

- *rates* (Rogan and Gladen): the scorer's sensitivity and specificity, from records known to have the concept and
  records known not to;
- *prediction-powered*: answers to records drawn at random from those that are counted; right for any scorer;
- *raw*: no answers, no correction, no interval.

Papers: Rogan, Gladen (1978) Estimating prevalence from the results of a screening test. Lang, Reiczigel (2014)
Confidence limits for prevalence of disease adjusted for estimated sensitivity and specificity. Angelopoulos, Duchi,
Zrnic (2023) PPI++: Efficient prediction-powered inference.

Example:
    >>> from counterpoise.balance.corrected_counts import correct_by_rates
    >>> share = correct_by_rates(1200, 10_000, 80, 100, 95, 100)
    >>> print(f"{share.value:.4f} {share.standard_error:.3f}")
    0.0933 0.027
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import t as student_t

from counterpoise.balance.counts import count_cells, resolve_target
from counterpoise.balance.intervals import Z_95
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Floats, Integers, Records, State

FEWEST_ANSWERS = 5
"""Random answers a label needs for a correction of its own; below, those of all labels are taken together."""

WEAKEST_SCORER = 0.3
"""Sensitivity + specificity - 1 below which a count cannot be corrected by rates."""


@dataclass(frozen=True, slots=True)
class CorrectedShare:
    """A share of records, 0..1, before and after correction.

    Args:
        raw: as the scorer counts.
        value: corrected.
        low: lower end of the 95% interval.
        high: its upper end.
        standard_error: of `value`; NaN without a correction.
        method: `rates`, `prediction_powered`, `pooled` (prediction-powered over all labels) or `raw`.
        n_answers: known answers it rests on.
    """

    raw: float
    value: float
    low: float
    high: float
    standard_error: float
    method: str
    n_answers: int


@dataclass(frozen=True, slots=True)
class CorrectedCount:
    """Records of a cell, before and after correction; `low`..`high` is the 95% interval of `value`."""

    cell: Cell
    raw: int
    value: float
    low: float
    high: float
    method: str
    n_answers: int


@dataclass(frozen=True, slots=True)
class KnownAnswers:
    """Known answers to one concept's question, for records drawn at random within each label.

    Args:
        rows: (n,) positions in the records that are counted.
        truth: (n,) 1 where the record has the concept, 0 where not.
    """

    rows: Integers
    truth: Integers


def correct_by_rates(
    n_flagged: int, n: int, n_found: int, n_positive: int, n_cleared: int, n_negative: int
) -> CorrectedShare:
    """Rogan and Gladen's estimate with the interval of Lang and Reiczigel.

    Args:
        n_flagged: records in which the scorer finds the concept.
        n: records it scored.
        n_found: of them with the concept known to be there, those it finds.
        n_positive: records whose concept is known to be there.
        n_cleared: records without the concept in which it finds none.
        n_negative: records known to be without it.

    Returns:
        The share of records with the concept. `raw` without correction where sensitivity + specificity - 1 is
        below 0.3: such a scorer knows too little for its errors to be taken out.

    Raises:
        ValueError: no records, or none that are known.
    """
    if min(n, n_positive, n_negative) < 1:
        raise ValueError(f"{n} records, {n_positive} positive and {n_negative} negative answers")
    raw, found, cleared = n_flagged / n, n_found / n_positive, n_cleared / n_negative
    n_answers = n_positive + n_negative
    if found + cleared - 1 < WEAKEST_SCORER:
        return CorrectedShare(raw, raw, 0.0, 1.0, float("nan"), "raw", n_answers)
    gain = found + cleared - 1
    value = float(np.clip((raw + cleared - 1) / gain, 0.0, 1.0))
    variance = (
        raw * (1 - raw) / n
        + value**2 * found * (1 - found) / n_positive
        + (1 - value) ** 2 * cleared * (1 - cleared) / n_negative
    ) / gain**2
    low, high = _find_limits(n_flagged, n, n_found, n_positive, n_cleared, n_negative)
    return CorrectedShare(raw, value, low, high, float(np.sqrt(variance)), "rates", n_answers)


def _find_limits(
    n_flagged: int, n: int, n_found: int, n_positive: int, n_cleared: int, n_negative: int
) -> tuple[float, float]:
    """Lang and Reiczigel's limits: shares moved towards the middle, and the centre moved by their skewness."""
    z2 = Z_95**2
    share = (n_flagged + z2 / 2) / (n + z2)
    found, cleared = (n_found + 1) / (n_positive + 2), (n_cleared + 1) / (n_negative + 2)
    gain = found + cleared - 1
    value = (share + cleared - 1) / gain
    miss, alarm = found * (1 - found) / (n_positive + 2), cleared * (1 - cleared) / (n_negative + 2)
    shift = 2 * z2 * (value * miss - (1 - value) * alarm)
    half = Z_95 * np.sqrt(share * (1 - share) / (n + z2) + (1 - value) ** 2 * alarm + value**2 * miss) / gain
    low, high = np.clip([value + shift - half, value + shift + half], 0.0, 1.0)
    return float(low), float(high)


def correct_by_prediction(judged: Floats, answered: Floats, truth: Integers) -> CorrectedShare:
    """Prediction-powered share: the scorer's mean, moved by its mean error on random known answers.

    How far the scorer is followed is tuned on the same answers (PPI++), so a scorer that knows nothing costs nothing.
    One error that was not seen is counted in the variance: a handful of right answers is no proof.

    Args:
        judged: (N,) what the scorer says of the records that have no answer, 0..1.
        answered: (n,) what it says of those that have, drawn at random from the same population.
        truth: (n,) 1 with the concept, 0 without.

    Raises:
        ValueError: no answers, or shapes that do not belong together.
    """
    n, n_others = len(truth), len(judged)
    if n < 2 or len(answered) != n:
        raise ValueError(f"{len(answered)} scores for {n} answers")
    everyone = np.concatenate([judged, answered])
    raw = float(everyone.mean())
    spread = float(everyone.var())
    follow = 0.0
    if n_others and spread > 0:
        covariance = float(((answered - answered.mean()) * (truth - truth.mean())).sum() / (n - 1))
        follow = float(np.clip(covariance / spread / (1 + n / n_others), 0.0, 1.0))
    errors = truth - follow * answered
    value = float(errors.mean())
    variance = float((((errors - value) ** 2).sum() + 1.0) / (n + 2)) / n
    if n_others:
        value += follow * float(judged.mean())
        variance += follow**2 * float(judged.var()) / n_others
    half = float(student_t.ppf(0.975, n - 1) * np.sqrt(variance))
    low, high = np.clip([value - half, value + half], 0.0, 1.0)
    value = float(np.clip(value, 0.0, 1.0))
    return CorrectedShare(
        raw, value, float(low), float(high), float(np.sqrt(variance)), "prediction_powered", n
    )


def correct_cells(records: Records, answers: Mapping[str, KnownAnswers]) -> dict[Cell, CorrectedCount]:
    """Corrected counts of the concept cells, each label on its own.

    Args:
        records: with labelled concepts.
        answers: by concept; concepts without an entry keep their raw counts and have no interval.

    Returns:
        One count a cell of a concept that has answers.
    """
    if records.concepts is None:
        return {}
    counts: dict[Cell, CorrectedCount] = {}
    for column, concept in enumerate(records.concepts.names):
        if concept not in answers:
            continue
        states = records.concepts.states[:, column]
        judged = (states == State.PRESENT).astype(np.float64)
        known = answers[concept]
        pooled = _correct_rows(np.arange(len(records)), judged, known, "pooled")
        for label, name in enumerate(records.label_names):
            members = np.flatnonzero(records.labels == label)
            own = _correct_rows(members, judged, known, "prediction_powered")
            share = own if own is not None and own.n_answers >= FEWEST_ANSWERS else None
            cell, n, raw = Cell(name, concept=concept), len(members), int(judged[members].sum())
            if share is None and pooled is not None and n:
                # The scorer's mean error over all labels, on this label's own raw share.
                moved = float(np.clip(raw / n + pooled.value - pooled.raw, 0.0, 1.0))
                half = max(pooled.high - pooled.value, pooled.value - pooled.low)
                share = replace(pooled, value=moved, low=max(0.0, moved - half), high=min(1.0, moved + half))
            if share is None:
                counts[cell] = CorrectedCount(cell, raw, float(raw), 0.0, float(n), "raw", 0)
                continue
            # KnownAnswers that are known bound the count, whatever the estimate says.
            mine = np.isin(known.rows, members)
            least, most = float(known.truth[mine].sum()), float(n - (1 - known.truth[mine]).sum())
            value, low, high = (
                float(np.clip(n * end, least, most)) for end in (share.value, share.low, share.high)
            )
            counts[cell] = CorrectedCount(cell, raw, value, low, high, share.method, share.n_answers)
    return counts


def _correct_rows(
    members: Integers, judged: Floats, known: KnownAnswers, method: str
) -> CorrectedShare | None:
    inside = np.isin(known.rows, members)
    if inside.sum() < 2:
        return None
    rows = known.rows[inside]
    others = np.setdiff1d(members, rows)
    share = correct_by_prediction(judged[others], judged[rows], known.truth[inside])
    return replace(share, method=method)


def find_corrected_deficits(
    records: Records,
    corrected: Mapping[Cell, CorrectedCount],
    target: Literal["equal"] | Mapping[str, float] = "equal",
) -> list[Deficit]:
    """Deficits of the corrected concept cells that are sure: those whose interval leaves out "no deficit".

    The label that has most of a concept sets the scale, as in `find_deficits`; the difference between what a
    cell should have and what it has is taken to be normal, labels independent of one another.

    Args:
        records: what is counted now; records added since the answers were given count in full.
        corrected: counts of the rows the answers belong to.
        target: as in `find_deficits`.

    Returns:
        Deficits with a need of at least 1, largest first, equal ones in the order of their cells.
    """
    if records.concepts is None:
        return []
    ratios = resolve_target(records.label_names, target)
    raw = count_cells(records, ["concept"])
    found = []
    for concept in records.concepts.names:
        cells = [Cell(label, concept=concept) for label in records.label_names]
        if any(cell not in corrected for cell in cells):
            continue
        have = {cell: corrected[cell].value + raw[cell] - corrected[cell].raw for cell in cells}
        fullest = max(cells, key=lambda cell: (have[cell] / ratios.get(cell.label, 1.0), cell.label))
        scale = have[fullest] / ratios.get(fullest.label, 1.0)
        for cell in cells:
            deficit = Deficit(cell, have=have[cell], want=scale * ratios.get(cell.label, 0.0))
            if cell == fullest or deficit.need <= 0:
                continue
            ratio = ratios.get(cell.label, 1.0) / ratios.get(fullest.label, 1.0)
            doubt = np.hypot(
                corrected[cell].high - corrected[cell].value,
                ratio * (corrected[fullest].value - corrected[fullest].low),
            )
            if deficit.want - deficit.have > doubt:
                found.append(deficit)
    return sorted(found, key=lambda deficit: (-deficit.need, deficit.cell))
