"""The language of a text as an attribute: cells of label x language without a column of languages.

A job asks for it by naming `text.language` among its attributes; a column of the data that has this name goes before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from counterpoise.core.languages import LANGUAGE, find_languages, note_languages, tell_languages
from counterpoise.core.records import Records
from counterpoise.core.schema import TextClassification
from counterpoise.data.result_rows import Part


def leave_out_language(task: TextClassification, columns: Sequence[str]) -> TextClassification:
    """The task of tables that have no column of the language."""
    if LANGUAGE not in task.attributes or LANGUAGE in columns:
        return task
    return replace(task, attributes=tuple(name for name in task.attributes if name != LANGUAGE))


def add_languages(train: Part, held_out: Part, pool: Part | None) -> tuple[Part, Part, Part | None]:
    """The parts with the language of each text among their attributes; the languages are those of the training rows."""
    codes = find_languages(_list_texts(train.records))
    return _add(train, codes), _add(held_out, codes), None if pool is None else _add(pool, codes)


def _add(part: Part, codes: Sequence[str]) -> Part:
    told = tell_languages(_list_texts(part.records), codes)
    return replace(
        part, records=replace(part.records, attributes={**part.records.attributes, LANGUAGE: told})
    )


def note_training_languages(records: Records) -> list[str]:
    """A sentence where the rows are in several languages and no attribute says so."""
    if LANGUAGE in records.attributes:
        return []
    names = np.array([*records.label_names, ""], dtype=object)
    return note_languages(_list_texts(records), [str(name) for name in names[records.labels]])


def _list_texts(records: Records) -> list[str]:
    return [str(text) for text in records.texts]
