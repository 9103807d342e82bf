"""What a sampler is given, read as texts and labels, and given back as it came: a frame for a frame, a list for a list.

Every row that is added stands after a row of the user's: it is that row again, or a written text in that row's place.
So the other columns and the label of an added row are those of its source, and every type stays what it was.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.sampling_strategies import SampleError

_WHERE = "fit_resample"


@dataclass(frozen=True, slots=True)
class TextTable:
    """A sampler's X.

    Args:
        given: as it came: a list or tuple, an array of one or two dimensions, a pandas Series or frame.
        texts: the text of each row.
        column: position of the text column; None where a row is a text.
        n_features: columns.
        names: of the columns of a frame, where all of them are texts.
    """

    given: Any
    texts: list[str]
    column: int | None
    n_features: int
    names: list[str] | None = None

    def extend(self, sources: Sequence[int], texts: Sequence[str | None]) -> Any:
        """The rows as they came, and behind them rows after `sources`, with another text where one is given."""
        rows = np.concatenate([np.arange(len(self.texts)), np.asarray(sources, dtype=np.int64)])
        more = [self.texts[row] if text is None else text for row, text in zip(sources, texts, strict=True)]
        column = [*self.texts, *more]
        given = self.given
        if _is_frame(given):
            frame = given.iloc[rows].reset_index(drop=True)
            frame.isetitem(self.column, _make_series(column, given.iloc[:, self.column or 0]))
            return frame
        if _is_series(given):
            return _make_series(column, given)
        if isinstance(given, np.ndarray):
            return self._extend_array(rows, column)
        listed = (
            column
            if self.column is None
            else [self._replace(given[row], column[place]) for place, row in enumerate(rows)]
        )
        return tuple(listed) if isinstance(given, tuple) else listed

    def _extend_array(self, rows: NDArray[np.int64], column: list[str]) -> NDArray[Any]:
        taken: NDArray[Any] = self.given[rows]
        if taken.dtype.kind == "U":  # as wide as the longest text
            taken = taken.astype(object)
        if self.column is None:
            taken[:] = column
        else:
            taken[:, self.column] = column
        return taken.astype(str) if self.given.dtype.kind == "U" else taken

    def _replace(self, row: Any, text: str) -> Any:
        values = list(row)
        values[self.column or 0] = text
        return tuple(values) if isinstance(row, tuple) else values


def read_texts(X: Any, column: Any = None) -> TextTable:  # noqa: N803
    """Read a sampler's X.

    Args:
        X: one text a row, or rows of several columns.
        column: name or position of the text column; None finds the only one that holds texts.

    Raises:
        SampleError: no texts, or several columns of them and none named.
    """
    if _is_frame(X):
        names = [str(name) for name in X.columns]
        place = _find_column([list(X.iloc[:, one]) for one in range(X.shape[1])], list(X.columns), column)
        texts = _check_texts(list(X.iloc[:, place]))
        all_texts = all(isinstance(name, str) for name in X.columns)
        return TextTable(X, texts, place, X.shape[1], names if all_texts else None)
    if _is_series(X):
        return TextTable(X, _check_texts(list(X)), None, 1)
    given = X if isinstance(X, np.ndarray | list | tuple) else _list_rows(X)
    if isinstance(given, np.ndarray) and given.ndim != 1 and given.ndim != 2:
        raise SampleError(f"X has {given.ndim} dimensions", where=_WHERE, hint="give rows and columns")
    rows = given.tolist() if isinstance(given, np.ndarray) else given
    if not any(isinstance(row, list | tuple) for row in rows):
        return TextTable(given, _check_texts(rows), None, 1)
    widths = {len(row) if isinstance(row, list | tuple) else 0 for row in rows}
    if len(widths) != 1:
        raise SampleError(
            f"X has rows of {len(widths)} lengths", where=_WHERE, hint="give rows of one length"
        )
    n_columns = widths.pop()
    columns = [[row[one] for row in rows] for one in range(n_columns)]
    place = _find_column(columns, list(range(n_columns)), column)
    return TextTable(given, _check_texts(columns[place]), place, n_columns)


def _list_rows(X: Any) -> list[Any]:  # noqa: N803
    """The rows of any other sequence, such as a column of `datasets`."""
    if hasattr(X, "toarray"):
        raise SampleError(
            "X is sparse", where=_WHERE, hint="texts are no sparse numbers; give a list or a frame"
        )
    if isinstance(X, str | bytes | dict) or not hasattr(X, "__iter__"):
        found = f"X is a {type(X).__name__}"
        raise SampleError(found, where=_WHERE, hint="give a list, an array, a Series or a frame of texts")
    return list(X)


def _find_column(columns: list[list[Any]], names: list[Any], wanted: Any) -> int:
    """The position of the text column."""
    if wanted is not None:
        if wanted not in names:
            known = ", ".join(repr(name) for name in names[:8])
            raise SampleError(f"X has no column {wanted!r}", where="text", hint=f"its columns are {known}")
        return names.index(wanted)
    if len(columns) == 1:
        return 0
    found = [
        place
        for place, values in enumerate(columns)
        if values and all(isinstance(value, str) for value in values)
    ]
    if len(found) != 1:
        which = ", ".join(repr(names[place]) for place in found[:8])
        said = f"X has {len(columns)} columns, and {len(found)} of them hold texts" + (
            f": {which}" if which else ""
        )
        raise SampleError(said, where=_WHERE, hint="name the text column, such as text='review'")
    return found[0]


def _check_texts(values: Sequence[Any]) -> list[str]:
    for place, value in enumerate(values, 1):
        if not isinstance(value, str):
            found = f"row {place} of X is {value!r:.40}, no text"
            raise SampleError(found, where=_WHERE, hint="give one text a row")
    return [str(value) for value in values]


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """A sampler's y.

    Args:
        given: as it came.
        values: the label of each row, as plain values.
        names: the same as text, as a job has them.
    """

    given: Any
    values: list[Hashable]
    names: list[str]

    def extend(self, sources: Sequence[int]) -> Any:
        """The labels as they came, and behind them those of the rows `sources`."""
        given = self.given
        if _is_frame(given) or _is_series(given):
            rows = np.concatenate([np.arange(len(given)), np.asarray(sources, dtype=np.int64)])
            return given.iloc[rows].reset_index(drop=True)
        if isinstance(given, np.ndarray):
            return np.concatenate([given, given[np.asarray(sources, dtype=np.int64)]])
        more = [given[row] for row in sources]
        return (*given, *more) if isinstance(given, tuple) else [*given, *more]


def read_labels(y: Any) -> LabelColumn:
    """Read a sampler's y: n labels, one column of them, or n rows of 0 with a single 1.

    Raises:
        SampleError: a label is missing, numbers that are no classes, or several labels a row.
    """
    if y is None:
        raise SampleError("a sampler requires y to be passed, but the target y is None", where=_WHERE)
    given: Any = (
        y if _is_frame(y) or _is_series(y) or isinstance(y, np.ndarray | list | tuple) else _list_rows(y)
    )
    rows = given.to_numpy().tolist() if _is_frame(given) else list(given)
    rows = [row.tolist() if isinstance(row, np.ndarray | np.generic) else row for row in rows]
    if rows and all(isinstance(row, list | tuple) and len(row) > 1 for row in rows):
        values: list[Any] = [_find_one(row) for row in rows]
    else:
        values = [row[0] if isinstance(row, list | tuple) and len(row) == 1 else row for row in rows]
    spelt: dict[str, Any] = {}
    names = []
    for place, value in enumerate(values, 1):
        if value is None or value != value or type(value).__name__ in ("NAType", "NaTType"):
            raise SampleError(f"row {place} of y is missing", where=_WHERE, hint="give every row a label")
        if isinstance(value, list | tuple):
            raise SampleError(f"row {place} of y has several labels", where=_WHERE, hint="give one a row")
        if isinstance(value, float) and not value.is_integer():
            found = f"Unknown label type: row {place} of y is the number {value:g}"
            raise SampleError(found, where=_WHERE, hint="give classes, not measurements")
        name = spell_label(value)
        if spelt.setdefault(name, value) != value:
            found = f"y has two labels that are written '{name}', {spelt[name]!r} and {value!r}"
            raise SampleError(found, where=_WHERE, hint="spell them differently")
        names.append(name)
    return LabelColumn(given, values, names)


def spell_label(value: Any) -> str:
    """A label as text: whole numbers are written as such, whatever their type."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _find_one(row: Sequence[Any]) -> int:
    if sorted(row)[:-1] != [0] * (len(row) - 1) or max(row) != 1:
        found = "Multilabel and multioutput targets are not supported"
        raise SampleError(found, where=_WHERE, hint="give one label a row")
    return list(row).index(1)


def _is_frame(value: Any) -> bool:
    return hasattr(value, "iloc") and hasattr(value, "columns")


def _is_series(value: Any) -> bool:
    return hasattr(value, "iloc") and not hasattr(value, "columns")


def _make_series(values: list[str], like: Any) -> Any:
    """Texts as a Series with the name and type of another."""
    import pandas as pd

    if isinstance(like.dtype, pd.CategoricalDtype):
        known = list(like.cat.categories)
        more = [value for value in dict.fromkeys(values) if value not in set(known)]
        kind: Any = pd.CategoricalDtype([*known, *more], ordered=like.cat.ordered)
    else:
        kind = like.dtype
    return pd.Series(values, dtype=kind, name=like.name)
