"""Accuracies of all arms in all cells of the sealed rows, on these rows and on resamples of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.records import Floats, Integers
from counterpoise.report.schema_values import Interval
from counterpoise.runs.sealed_cells import PRESENT, SealedCell, stack_members
from counterpoise.students.concept_bias import BiasFigures, measure_bias, score_cells

MOST_RESAMPLES, FEWEST_RESAMPLES = 300, 100
_MOST_DRAWN = 3_000_000  # rows in all resamples: with more rows there are fewer of them


@dataclass(frozen=True, slots=True)
class Sides:
    """The cells of a concept that are compared.

    Args:
        present, absent: (k,) positions of the cells of the same labels with and without it, in the order of the labels.
        labels: (k,) these labels; fewer than two tell nothing.
    """

    present: Integers
    absent: Integers
    labels: Integers


@dataclass(frozen=True, slots=True)
class CellDraws:
    """What one student's arms are worth; the first of the r rows are the sealed rows, the others are resamples.

    Args:
        cells: c of them, all with enough rows.
        accuracies: (r, a, c) means over repetitions.
        biases: concept -> name of a figure (`BiasFigures`) -> (r, a) means over repetitions.
        rights: (a, s, n) whether a repetition of an arm answers a row rightly.
    """

    cells: Sequence[SealedCell]
    accuracies: Floats
    biases: Mapping[str, Mapping[str, Floats]]
    rights: NDArray[np.bool_]


def find_sides(
    cells: Sequence[SealedCell], concepts: Sequence[str], order: Sequence[int]
) -> dict[str, Sides]:
    """Concept -> its cells, of labels of which both have enough rows.

    Args:
        cells: those with enough rows.
        concepts: names.
        order: labels in their order.
    """
    places = {
        (cell.column, cell.label, cell.value == PRESENT): place
        for place, cell in enumerate(cells)
        if cell.kind == "concept"
    }
    found = {}
    for name in concepts:
        both = [label for label in order if (name, label, True) in places and (name, label, False) in places]
        present, absent = (
            np.array([places[name, label, has] for label in both], np.int64) for has in (True, False)
        )
        found[name] = Sides(present, absent, np.array(both, np.int64))
    return found


def draw_accuracies(
    rights: NDArray[np.bool_], cells: Sequence[SealedCell], groups: Integers, sides: Mapping[str, Sides]
) -> CellDraws:
    """Accuracies and figures of concepts, bootstrapped over repetitions and groups of near-duplicates.

    Args:
        rights: (a, s, n) whether a repetition of an arm answers a row rightly.
        cells: those with enough rows.
        groups: (n,) number of each row's group.
        sides: of each concept.
    """
    n_arms, n_seeds, n = rights.shape
    members = stack_members(cells, n)
    # Laid out row by row, as it is summed (`score_cells`).
    flat = np.asfortranarray(rights.reshape(n_arms * n_seeds, n).astype(np.float64))
    told = {name: one for name, one in sides.items() if len(one.labels) > 1}
    accuracies: list[Floats] = []
    figures: dict[str, dict[str, list[Floats]]] = {
        name: {field.name: [] for field in fields(BiasFigures)} for name in told
    }
    for seeds, weights in _draw(n_seeds, groups) if cells else ():
        table = score_cells(flat, members, weights).reshape(n_arms, n_seeds, -1)[:, seeds]
        accuracies.append(table.mean(axis=1))
        for name, one in told.items():
            found = measure_bias(table[..., one.present], table[..., one.absent])
            for figure, values in figures[name].items():
                values.append(getattr(found, figure).mean(axis=1))
    return CellDraws(
        cells,
        np.stack(accuracies) if accuracies else np.empty((1, n_arms, 0)),
        {
            name: {figure: np.stack(values) for figure, values in mine.items()}
            for name, mine in figures.items()
        },
        rights,
    )


def _draw(n_seeds: int, groups: Integers) -> Iterator[tuple[Integers, Floats]]:
    """The rows as they are, then resamples: which repetitions, and how often each row counts."""
    yield np.arange(n_seeds), np.ones(len(groups))
    generator = np.random.default_rng(21)
    n_groups = int(groups.max()) + 1
    n_resamples = int(np.clip(_MOST_DRAWN // len(groups), FEWEST_RESAMPLES, MOST_RESAMPLES))
    for _ in range(n_resamples):
        seeds = generator.integers(0, n_seeds, n_seeds)
        drawn = np.bincount(generator.integers(0, n_groups, n_groups), minlength=n_groups)
        yield seeds, drawn[groups].astype(np.float64)


def bound(values: Floats) -> Interval:
    """What the sealed rows say, and the interval of the resamples.

    Args:
        values: (r,) as in `CellDraws`.
    """
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Interval(float(values[0]), float(low), float(high))
