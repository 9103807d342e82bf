"""How many rows a label is to gain: `sampling_strategy` as imbalanced-learn's oversamplers take it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from counterpoise.core.errors import JobError

Strategy = str | float | Mapping[Any, int] | Callable[[Any], Mapping[Any, int]]
KINDS = ("auto", "all", "minority", "not majority", "not minority")


class SampleError(JobError, ValueError):
    """An argument of a sampler; a `ValueError` too, as scikit-learn has it."""


def count_missing(strategy: Strategy, labels: Sequence[Hashable], y: Any) -> dict[Any, int]:
    """Rows that each label is to gain.

    Args:
        strategy: `auto` and `not majority` bring all labels but the largest to its size, `minority` only the smallest
            one, `not minority` all but the smallest one, `all` all of them; a number in (0, 1] is the wanted ratio of
            the smaller of two labels to the larger one; a mapping has the wanted rows of each label; a function gives
            such a mapping from y.
        labels: the label of each row.
        y: what a function is called with.

    Returns:
        Label -> rows to add, for each label that the strategy speaks of; in the order of the labels' names.

    Raises:
        SampleError: one label only, or a strategy that cannot be followed; a `ValueError`.
    """
    counts = Counter(labels)
    if len(counts) < 2:
        raise SampleError(
            f"the target 'y' needs to have more than 1 class, got {len(counts)} class", where="fit_resample"
        )
    wanted = _find_wanted(strategy, counts, y)
    for label, n in wanted.items():
        if n < counts[label]:
            found = f"{n} rows are asked for {label!r}, which has {counts[label]}"
            raise SampleError(
                found, where="sampling_strategy", hint="a sampler that adds cannot take rows away"
            )
    return {
        label: wanted[label] - counts[label]
        for label in sorted(wanted, key=lambda one: (str(one), repr(one)))
    }


def _find_wanted(strategy: Strategy, counts: Counter[Any], y: Any) -> dict[Any, int]:
    """Label -> rows that it is to have."""
    if callable(strategy):
        return _read_mapping(strategy(y), counts)
    if isinstance(strategy, Mapping):
        return _read_mapping(strategy, counts)
    if isinstance(strategy, str):
        return _read_kind(strategy, counts)
    if isinstance(strategy, bool) or not isinstance(strategy, int | float) or not 0 < strategy <= 1:
        hint = (
            f"write {', '.join(KINDS)}, a ratio above 0 and up to 1, a mapping label -> rows, or a function"
        )
        raise SampleError(f"found {strategy!r:.60}", where="sampling_strategy", hint=hint)
    if len(counts) > 2:
        hint = "give a mapping label -> rows"
        raise SampleError(f"a ratio with {len(counts)} labels", where="sampling_strategy", hint=hint)
    (_, n_most), (smallest, n_least) = counts.most_common()
    if int(n_most * strategy) <= n_least and n_least < n_most:
        found = f"a ratio of {strategy} where {smallest!r} has {n_least / n_most:.3f} already"
        raise SampleError(found, where="sampling_strategy", hint="a larger ratio adds rows")
    return {smallest: max(n_least, int(n_most * strategy))}


def _read_kind(kind: str, counts: Counter[Any]) -> dict[Any, int]:
    largest, smallest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    chosen = {
        "auto": [label for label in counts if label != largest],
        "not majority": [label for label in counts if label != largest],
        "not minority": [label for label in counts if label != smallest],
        "minority": [smallest],
        "all": list(counts),
    }
    if kind not in chosen:
        raise SampleError(
            f"found '{kind}'", where="sampling_strategy", hint=f"write one of {', '.join(KINDS)}"
        )
    return dict.fromkeys(chosen[kind], counts[largest])


def _read_mapping(wanted: Any, counts: Counter[Any]) -> dict[Any, int]:
    if not isinstance(wanted, Mapping):
        hint = "a function gives a mapping label -> rows"
        raise SampleError(f"found {wanted!r:.60}", where="sampling_strategy", hint=hint)
    unknown = [label for label in wanted if label not in counts]
    if unknown:
        names = ", ".join(repr(label) for label in sorted(counts, key=str)[:8])
        raise SampleError(
            f"label {unknown[0]!r} is not present in y", where="sampling_strategy", hint=f"y has {names}"
        )
    for label, n in wanted.items():
        if isinstance(n, bool) or int(n) != n or n < 0:
            raise SampleError(
                f"{n!r} rows for {label!r}", where="sampling_strategy", hint="give a whole number"
            )
    return {label: int(n) for label, n in wanted.items()}
