"""Which columns of a table mean what, and how a row's content becomes a text.

A row has content (some of its columns), labels, and attributes that should not decide the labels. What is said of a row
in a prompt or a vector is the text that `render` makes of its content. The schema of texts is here, because data and
scorers speak of it; those of other tasks lie in their folders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from counterpoise.core.label_spellings import Spellings, find_missing, spell_value

Value = str | int | float | bool | None
"""A value of a row as its table has it; None where it is missing."""

Content = Mapping[str, Value]
"""The content of a row: its columns by name, in the order of the schema."""

LINE_END = "\n"
"""Stands between the text columns of a row."""


class RowSchema(Protocol):
    """What the columns of a task whose rows have a label mean."""

    @property
    def label(self) -> str:
        """Name of the label column."""
        ...

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of columns that should not decide the label."""
        ...

    @property
    def text_columns(self) -> tuple[str, ...]:
        """Content that is text and stays so, whatever it holds."""
        ...

    @property
    def value_columns(self) -> tuple[str, ...]:
        """Content of any kind: numbers, categories, truth values."""
        ...

    @property
    def spelled_columns(self) -> tuple[str, ...]:
        """Columns beside the content that are kept as they are spelled: attributes, marks."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the schema names, each once where it is right."""
        ...

    @property
    def keep_labels(self) -> tuple[str, ...]:
        """Words such as `null` or `NA` that are labels here, and not missing ones."""
        ...

    @property
    def label_spellings(self) -> Spellings:
        """What labels are that differ only in blanks, case or Unicode form."""
        ...

    def render(self, content: Content) -> str:
        """The text of a row's content, for prompts and vectors."""
        ...

    def labels(self, row: Mapping[str, Value]) -> frozenset[str]:
        """The labels of a row: a set, of one label in today's tasks, empty where the row has none."""
        ...


@dataclass(frozen=True, slots=True)
class TextClassification:
    """Texts with one label each.

    Args:
        text: names of the text columns; several are joined by a line end, in this order.
        label: name of the label column.
        attributes: names of columns that should not decide the label.
        trusted: name of the column that marks rows whose label is known to be right, "" where there is none.
        keep_labels: words such as `null`, `NA` or `None` that are labels here, and not missing ones.
        label_spellings: what labels are that differ only in blanks, case or Unicode form: one label (`merge`), several
            (`keep`), or a question (`ask`).
    """

    text: tuple[str, ...]
    label: str
    attributes: tuple[str, ...] = ()
    trusted: str = ""
    keep_labels: tuple[str, ...] = ()
    label_spellings: Spellings = "ask"

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The text columns."""
        return self.text

    @property
    def value_columns(self) -> tuple[str, ...]:
        """None: all content is text."""
        return ()

    @property
    def spelled_columns(self) -> tuple[str, ...]:
        """Attributes and the column of marks."""
        return (*self.attributes, *((self.trusted,) if self.trusted else ()))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column the task names, in the order of its fields."""
        return (*self.text, self.label, *self.spelled_columns)

    def render(self, content: Content) -> str:
        r"""The texts, joined by a line end.

        >>> TextClassification(("title", "review"), "stars").render({"title": "Soup", "review": "Cold."})
        'Soup\nCold.'
        """
        return LINE_END.join(spell_value(content[name]) for name in self.text)

    def labels(self, row: Mapping[str, Value]) -> frozenset[str]:
        """The one label of a row, or none."""
        return read_label_set(row.get(self.label), self.keep_labels)


def read_label_set(value: Value, keep_labels: Sequence[str] = ()) -> frozenset[str]:
    """The labels that the value of one label column stands for.

    >>> read_label_set(1.0), read_label_set("null"), read_label_set("null", ["null"])
    (frozenset({'1'}), frozenset(), frozenset({'null'}))
    """
    said = spell_value(value)
    return frozenset() if find_missing({said: 1}, keep_labels) else frozenset({said})


def divide_text(text: str, columns: Sequence[str]) -> dict[str, Value]:
    r"""The content that a written text stands for: the inverse of joining, the last column taking the rest.

    >>> divide_text("Soup\nCold.\nNever again.", ["title", "review"])
    {'title': 'Soup', 'review': 'Cold.\nNever again.'}
    """
    # The last column takes the rest, so that no line of the text is lost.
    parts = text.split(LINE_END, len(columns) - 1)
    return dict(zip(columns, [*parts, *[""] * (len(columns) - len(parts))], strict=True))
