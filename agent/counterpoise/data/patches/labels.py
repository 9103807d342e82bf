"""The labels of a data file as a patch sees them: read by row, compared, and refused where they cannot stand."""

from __future__ import annotations

import contextlib
from pathlib import Path

from counterpoise.core.errors import DataError
from counterpoise.core.label_spellings import fold_spelling, value_key
from counterpoise.core.schema import TextClassification
from counterpoise.data.column_values import read_labels
from counterpoise.data.reading import load_table, make_ids
from counterpoise_retrievers.scraps import scrap_folder


def read_ids(path: Path, task: TextClassification, like: Path | None = None) -> tuple[list[str], list[str]]:
    """Ids and labels of all rows, in order."""
    with contextlib.ExitStack() as stack:
        if like is not None:  # a temporary file without a suffix; a format is told by its name
            folder = stack.enter_context(scrap_folder(path.parent, "named-"))
            named = folder / like.name
            named.hardlink_to(path)
            path = named
        table = load_table(path, task=task)
        labels = read_labels(table, task.label, str(like or path), task.keep_labels)
        return [str(identity) for identity in make_ids(table)], [str(label or "") for label in labels]


def is_same_label(one: str, other: str, task: TextClassification) -> bool:
    """Whether two spellings are one label: of equal value, or where the user said so, alike."""
    key = fold_spelling if task.label_spellings == "merge" else value_key
    return key(one) == key(other)


def refuse_label(label: str, kind: str, where: str) -> DataError:
    """The error for a label that a column cannot hold; `kind` says what it holds."""
    return DataError(
        f"'{label}' cannot stand there, whose values are {kind}",
        where=where,
        hint="write a label of that kind under `after` in the patch",
    )
