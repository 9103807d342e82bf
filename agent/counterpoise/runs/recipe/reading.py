"""What `fit` and `predict` of a recipe are given: texts, a data set, a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from counterpoise.core.errors import DataError, JobError
from counterpoise.core.label_spellings import spell_value
from counterpoise.core.records import Objects
from counterpoise.core.schema import LINE_END
from counterpoise.runs.recipe.data import RecipeData, as_objects

_OWN = ("original", "relabelled", "answered")


def read_texts(given: Any, columns: Sequence[str]) -> list[str]:
    """Texts of a list, an array or a Series, or of the text columns of a data set or frame.

    Args:
        given: it.
        columns: the text columns; several are joined by a line end.

    Raises:
        DataError: it holds something else.
    """
    table = _read_columns(given, columns)
    if table is not None:
        joined = zip(*(table[name] for name in columns), strict=True)
        return [LINE_END.join(map(spell_value, parts)) for parts in joined]
    if isinstance(given, str):
        raise DataError("found one text", where="X", hint="give a list of texts")
    listed = np.asarray(given, dtype=object)
    if listed.ndim == 2 and listed.shape[1] == 1:
        listed = listed[:, 0]
    wrong = next((value for value in listed.tolist() if not isinstance(value, str)), None)
    if listed.ndim != 1 or wrong is not None:
        found = f"found {wrong!r:.60}" if listed.ndim == 1 else f"found {listed.ndim} dimensions"
        raise DataError(
            found, where="X", hint="give a list of texts, or a data set or frame with the text columns"
        )
    return [str(text) for text in listed]


def read_training(given: Any, labels: Any, known: RecipeData | None) -> RecipeData:
    """The rows to fit on.

    Args:
        given: as `Recipe.fit` takes it.
        labels: likewise.
        known: the rows of a run, or None.

    Raises:
        UserError: there are none, or texts and labels do not fit together.
    """
    if given is None:
        if known is None:
            raise JobError("fit() has no rows", where="recipe", hint="give texts and labels: fit(X, y)")
        return known
    columns = known.text_columns if known else ("text",)
    label = known.label_column if known else "label"
    texts = read_texts(given, columns)
    table = _read_columns(given, (*columns, label)) if labels is None else None
    if labels is None and table is None:
        raise DataError("found texts without labels", where="y", hint="give a label for each text")
    values = list(table[label]) if table is not None else np.asarray(labels, dtype=object).tolist()
    if len(values) != len(texts):
        raise DataError(f"found {len(values):,} labels for {len(texts):,} texts", where="y")
    missing = sum(spell_value(value) == "" for value in values)
    if missing or not values:
        raise DataError(f"found {missing:,} rows without a label" if values else "found no rows", where="y")
    classes, described = _list_classes(values, known)
    places = {spell_value(value): place for place, value in enumerate(classes)}
    rows = RecipeData(
        texts=as_objects(texts),
        labels=np.array([places[spell_value(value)] for value in values], dtype=np.int64),
        weights=np.ones(len(texts)),
        original=np.ones(len(texts), np.bool_),
        classes=classes,
        descriptions=described,
        text_columns=columns,
        label_column=label,
        pool=known.pool if known else as_objects([]),
        has_lines=known.has_lines if known else False,
    )
    return _read_origins(rows, _read_columns(given, ("weight", "provenance"), is_needed=False))


def _list_classes(values: Sequence[Any], known: RecipeData | None) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The labels and a line about each: those of the run where all are of it, else those that there are."""
    found = {spell_value(value): value for value in values}
    lines = {}
    if known is not None:
        lines = {spell_value(one): text for one, text in zip(known.classes, known.descriptions, strict=True)}
        if set(found) <= set(lines):
            return known.classes, known.descriptions
    names = sorted(found)
    return tuple(found[name] for name in names), tuple(lines.get(name, name) for name in names)


def _read_origins(rows: RecipeData, table: Mapping[str, Any] | None) -> RecipeData:
    """The rows with weights and sources as a result says them: own rows by id, as in the run, then the added ones."""
    if table is None:
        return rows
    origins = [dict(one) for one in table["provenance"]]
    original = np.array([one["kind"] in _OWN for one in origins], dtype=np.bool_)
    order = np.array(
        sorted(range(len(origins)), key=lambda row: (not original[row], str(origins[row]["id"])))
    )
    sources: Objects = as_objects(
        [
            (str(one["id"]),) if own else tuple(map(str, one["parents"]))
            for one, own in zip(origins, original, strict=True)
        ]
    )
    return RecipeData(
        texts=rows.texts[order],
        labels=rows.labels[order],
        weights=np.asarray(table["weight"], dtype=np.float64)[order],
        original=original[order],
        classes=rows.classes,
        descriptions=rows.descriptions,
        text_columns=rows.text_columns,
        label_column=rows.label_column,
        sources=sources[order],
        pool=rows.pool,
        has_lines=rows.has_lines,
    )


def _read_columns(given: Any, columns: Sequence[str], *, is_needed: bool = True) -> dict[str, Any] | None:
    """Columns of a `Dataset`, a frame or a mapping, as lists; None of anything else."""
    names = getattr(given, "column_names", None) or getattr(given, "columns", None)
    if names is None and isinstance(given, Mapping):
        names = list(given)
    if names is None or not columns:
        return None
    missing = [name for name in columns if name not in list(names)]
    if missing and is_needed:
        raise DataError(
            f"has no column '{missing[0]}'", where="X", hint=f"it has {', '.join(map(str, names))}"
        )
    return None if missing else {name: list(given[name]) for name in columns}
