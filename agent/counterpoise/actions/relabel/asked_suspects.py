"""Rows that a person is asked about because their label may be wrong, drawn with known probabilities.

Of a hundred rows drawn at random five are wrong where 5% of the labels are: ten wrong ones in two hundred answers, of
which no promise can be made. So half of the rows to ask about are drawn at random from all, which audits scorers, and
half from the suspects, twice as many rows as are thought wrong. Within the suspects, and within the others, every row
has one and the same chance: what answers say of suspects is a random draw of suspects, and weighs one over its chance
in what is said of all rows (Horvitz and Thompson, 1952, A generalization of sampling without replacement from a finite
universe). Asked again with more rows, the same rows come first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.relabel.label_queue import QUEUE_RATIO, LabelledRows, guess_wrong
from counterpoise.actions.relabel.suspects import UNKNOWN, Suspects
from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.core.splits import keyed_rank
from counterpoise.scorers.gold import Gold

ERROR_FOLDS = "label-errors:folds"
"""The key of the folds in which suspects are found: whoever finds them in the same rows finds the same."""

_N_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class AskedSuspects:
    """Rows to ask about.

    Args:
        rows: (m,) positions, in the order in which they are drawn.
        is_uniform: (m,) whether a row is one of those that were drawn from all.
        chances: (m,) with what probability it was drawn one way or the other.
    """

    rows: Integers
    is_uniform: NDArray[np.bool_]
    chances: Floats


def draw_suspects(ids: Objects, labels: Integers, suspects: Suspects, n: int, key: str) -> AskedSuspects:
    """Draw rows to ask about: half from all rows, half from the suspects.

    Args:
        ids: (N,) ids of the rows.
        labels: (N,) given label indices.
        suspects: found without any known label, so that the same rows are suspects whenever somebody is asked.
        n: how many; there may be fewer rows.
        key: another one draws other rows.
    """
    n_rows = len(ids)
    n_suspects = min(n_rows, max(1, round(QUEUE_RATIO * guess_wrong(suspects, labels))))
    is_suspect = np.zeros(n_rows, dtype=np.bool_)
    is_suspect[suspects.queue[:n_suspects]] = True
    order = keyed_rank(ids, f"{key}:all")
    of_suspects = keyed_rank(ids, f"{key}:suspects")
    of_suspects = of_suspects[is_suspect[of_suspects]]
    # Where there are fewer suspects than were to be asked about, the others take their place.
    n_uniform = min(n_rows, max(n - n // 2, n - n_suspects))
    uniform = order[:n_uniform]
    more = of_suspects[~np.isin(of_suspects, uniform)][: n - n_uniform]
    rows = np.concatenate([uniform, more]).astype(np.int64)
    chances = np.empty(len(rows))
    for part in (True, False):
        mine = is_suspect[rows] == part
        chances[mine] = mine.sum() / max(1, int((is_suspect == part).sum()))
    return AskedSuspects(rows, np.arange(len(rows)) < n_uniform, chances)


def weigh_answers(gold: Gold, n_rows: int) -> Floats | None:
    """(n,) with what probability answered rows were drawn, 1 elsewhere; None where the file says it not of all."""
    rows = np.concatenate([gold.audit_rows, gold.training_rows])
    if any(int(row) not in gold.chances for row in rows):
        return None
    chances = np.ones(n_rows)
    chances[rows] = [gold.chances[int(row)] for row in rows]
    return chances


def find_part(doubts: Floats, rows: LabelledRows) -> NDArray[np.bool_]:
    """(n,) the rows that known ones with the highest chance are a random draw of.

    They are the most doubtful rows, down to the last known row of that chance, and to before the first one of a lower
    chance: where the rows are those that the draw was made from, a part of its suspects; where some are missing since
    (held out, added), what is surely a part of them.

    Args:
        doubts: (n,) how likely each label is wrong, as the draw had it: without known labels.
        rows: the rows; their `chances` say how known rows were drawn.
    """
    known = rows.gold != UNKNOWN
    chances = np.zeros(len(known)) if rows.chances is None else rows.chances
    highest = known & np.isclose(chances, chances[known].max(initial=0.0))
    if not (known & ~highest).any():
        return np.ones(len(known), dtype=np.bool_)
    last = doubts[highest].min()
    return np.asarray((doubts >= last) & (doubts > doubts[known & ~highest].max()))


def estimate_wrong(rows: LabelledRows, chances: Floats) -> tuple[float, float, float]:
    """The share of all labels that are wrong: value, low and high.

    Each known row weighs one over its chance; the interval (80%) is a bootstrap within the rows of one chance.

    Args:
        rows: the rows, some of them known.
        chances: (n,) with what probability known rows were drawn.
    """
    known = np.flatnonzero(rows.is_known)
    wrong = (rows.gold[known] != rows.labels[known]).astype(np.float64)
    weights = 1.0 / chances[known]
    generator = np.random.default_rng(5)
    total, mass = np.zeros(_N_RESAMPLES), np.zeros(_N_RESAMPLES)
    for chance in np.unique(chances[known]):
        mine = np.flatnonzero(chances[known] == chance)
        drawn = generator.integers(0, len(mine), size=(_N_RESAMPLES, len(mine)))
        total += (weights * wrong)[mine][drawn].sum(axis=1)
        mass += weights[mine][drawn].sum(axis=1)
    low, high = np.quantile(total / mass, [0.1, 0.9])
    return float((weights * wrong).sum() / weights.sum()), float(low), float(high)
