"""What the table by cell says of one arm: its cells, concepts, groups and changed rows, beside the arm before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from counterpoise.balance.intervals import wilson_interval
from counterpoise.core.records import Floats, Objects, Records, State
from counterpoise.report.cell_schema import CellAccuracy, ChangedRows, ConceptFigures, GroupGap
from counterpoise.report.schema_values import Interval
from counterpoise.runs.cell_draws import CellDraws, Sides, bound
from counterpoise.runs.sealed_cells import ALL_LABELS


def order_labels(names: Sequence[str]) -> tuple[list[int], bool]:
    """Labels in their order, and whether they have one: two labels do, and numbers do.

    >>> order_labels(["10", "9", "8"]), order_labels(["bad", "good"]), order_labels(["cat", "dog", "fox"])
    (([2, 1, 0], True), ([0, 1], True), ([0, 1, 2], False))
    """
    try:
        return sorted(range(len(names)), key=lambda label: float(names[label])), True
    except ValueError:
        return list(range(len(names))), len(names) == 2


def describe_all(draws: CellDraws, arm: int, before: int) -> tuple[Interval, Interval] | tuple[None, None]:
    """Accuracy over all rows and its difference from the arm before; None where there are too few rows."""
    for place, cell in enumerate(draws.cells):
        if cell.kind == "all":
            return _measure(draws, arm, place), bound(
                draws.accuracies[:, arm, place] - draws.accuracies[:, before, place]
            )
    return None, None


def describe_cells_of(draws: CellDraws, arm: int, before: int, names: tuple[str, ...]) -> list[CellAccuracy]:
    """The cells with enough rows, those of least accuracy first.

    Args:
        draws: of the student.
        arm: which one.
        before: the one that differences are taken from.
        names: of the labels.
    """
    found = [
        CellAccuracy(
            cell=cell.describe(names),
            kind=cell.kind,
            label=names[cell.label],
            column=cell.column,
            value=cell.value,
            rows=len(cell.rows),
            accuracy=_measure(draws, arm, place),
            difference=bound(draws.accuracies[:, arm, place] - draws.accuracies[:, before, place]),
        )
        for place, cell in enumerate(draws.cells)
        if cell.label != ALL_LABELS
    ]
    return sorted(found, key=lambda one: (one.accuracy.mean, one.cell))


def compare_worst(draws: CellDraws, arm: int, before: int) -> Interval | None:
    """The accuracy of the worst cell minus that of the worst cell of the arm before; None without cells."""
    places = [place for place, cell in enumerate(draws.cells) if cell.label != ALL_LABELS]
    if not places:
        return None
    worst = draws.accuracies[:, :, places].min(axis=2)
    return bound(worst[:, arm] - worst[:, before])


def describe_concepts(
    draws: CellDraws, arm: int, before: int, records: Records, sides: Mapping[str, Sides]
) -> list[ConceptFigures]:
    """Bias@C and what goes with it of each concept.

    Args:
        draws: of the student.
        arm: which one.
        before: the one that differences are taken from.
        records: the sealed rows.
        sides: concept -> its cells that have enough rows.
    """
    if records.concepts is None:
        return []
    is_ordered = order_labels(records.label_names)[1]
    n_labels = len(np.unique(records.labels))
    found = []
    for column, name in enumerate(records.concepts.names):
        labels, values = sides[name].labels, draws.biases.get(name)
        compared = None
        if values is not None:
            compared = np.abs(values["bias_at_c"]) if is_ordered else values["spread"]

        def show(figure: str, values: Mapping[str, NDArray[np.float64]] | None = values) -> Interval | None:
            return None if values is None else bound(values[figure][:, arm])

        found.append(
            ConceptFigures(
                concept=name,
                labels=len(labels),
                left_out=n_labels - len(labels),
                unknown=int((records.concepts.states[:, column] == State.UNKNOWN).sum()),
                towards=records.label_names[labels[-1]] if is_ordered and values is not None else "",
                bias_at_c=show("bias_at_c") if is_ordered else None,
                spread=show("spread"),
                mean_difference=show("mean_difference"),
                acc_at_c=show("acc_at_c"),
                acc_at_noc=show("acc_at_noc"),
                worst_group_accuracy=show("worst_group_accuracy"),
                difference=None if compared is None else bound(compared[:, arm] - compared[:, before]),
            )
        )
    return found


def describe_gaps(draws: CellDraws, arm: int, before: int, records: Records) -> list[GroupGap]:
    """The gaps between the values of each attribute, over all labels and, where there are two, within each.

    The two values are those that are furthest apart on the sealed rows, in resamples too, so that an interval can reach
    zero; of many values some two are far apart by chance.
    """
    names = records.label_names
    wanted = [ALL_LABELS, 0, 1] if len(names) == 2 else [ALL_LABELS]
    placed = sorted(
        (cell.column, cell.label, cell.value, place)
        for place, cell in enumerate(draws.cells)
        if cell.kind == "attribute" and cell.label in wanted
    )
    found = []
    for (column, label), members in groupby(placed, key=lambda one: one[:2]):
        values, places = zip(*((value, place) for _, _, value, place in members), strict=True)
        if len(places) < 2:
            continue
        mine, its = (draws.accuracies[:, one][:, list(places)] for one in (arm, before))
        (lowest, highest), gap = _span(mine)
        found.append(
            GroupGap(
                attribute=column,
                label="" if label == ALL_LABELS else names[label],
                highest=values[highest],
                highest_accuracy=float(mine[0, highest]),
                lowest=values[lowest],
                lowest_accuracy=float(mine[0, lowest]),
                gap=bound(gap),
                difference=bound(gap - _span(its)[1]),
                values=len(values),
            )
        )
    return found


def _span(accuracies: Floats) -> tuple[tuple[int, int], Floats]:
    """The two values that are furthest apart on the sealed rows, the worse one first, and (r,) how far they are.

    Args:
        accuracies: (r, v) of two values or more.
    """
    order = accuracies[0].argsort(kind="stable")
    lowest, highest = int(order[0]), int(order[-1])
    return (lowest, highest), accuracies[:, highest] - accuracies[:, lowest]


def describe_changes(
    draws: CellDraws, arm: int, before: int, ids: Objects
) -> tuple[ChangedRows, ChangedRows]:
    """Rows that were right before and are wrong now, and the other way round.

    Args:
        draws: of the student.
        arm: which one.
        before: the one before.
        ids: (n,) of the sealed rows.
    """
    now, then = (2 * draws.rights[one].sum(axis=0) > draws.rights.shape[1] for one in (arm, before))
    return _list_rows(then & ~now, ids), _list_rows(now & ~then, ids)


def _list_rows(changed: NDArray[np.bool_], ids: Objects) -> ChangedRows:
    count = int(changed.sum())
    low, high = wilson_interval(count, len(changed))
    ratio = Interval(count / len(changed) if len(changed) else None, low, high)
    return ChangedRows(count, ratio, sorted(map(str, ids[changed])))


def _measure(draws: CellDraws, arm: int, place: int) -> Interval:
    """The mean accuracy in a cell with Wilson's interval, copies counted once."""
    accuracy, n = float(draws.accuracies[0, arm, place]), draws.cells[place].n_apart
    low, high = wilson_interval(accuracy * n, n)
    return Interval(accuracy, low, high)
