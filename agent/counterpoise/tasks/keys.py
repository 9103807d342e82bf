"""Kinds of keys that jobs of several tasks have."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from counterpoise.core.label_spellings import spell_value


def _list_names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _list_words(value: object) -> object:
    words = [value] if isinstance(value, str) or value is None else value
    # YAML reads null, and a careless program None or NaN, where a word is meant.
    return (
        ["null" if word is None else spell_value(word) or "nan" for word in words]
        if isinstance(words, list | tuple)
        else words
    )


def check_table(value: object) -> object:
    """Refuse what names no table.

    Raises:
        ValueError: says what would be right.
    """
    if isinstance(value, str) and not value.strip():
        raise ValueError("found nothing; write a file, a folder or a hub id")
    if value is None or isinstance(value, bool | int | float):
        raise ValueError(f"found {value!r}; write a file, a folder or a hub id")
    return value


ColumnNames = Annotated[tuple[str, ...], BeforeValidator(_list_names)]
"""Names of columns; one alone may be written without a list."""

LabelWords = Annotated[tuple[str, ...], BeforeValidator(_list_words)]
"""Words such as `null` that are labels."""

TableSource = Annotated[Any, AfterValidator(check_table)]
"""A file, a folder, a hub id, or in Python a table."""
