"""Which columns of a table of numbers and categories mean what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from counterpoise.core.label_spellings import Spellings, spell_value
from counterpoise.core.schema import Content, Value, read_label_set


@dataclass(frozen=True, slots=True)
class TabularClassification:
    """Rows of numbers and categories with one label each.

    Args:
        features: names of the columns that are a row's content; none named: all but the label (`name_features`).
        label: name of the label column.
        attributes: names of columns that should not decide the label; they may be features too.
        keep_labels: see `TextClassification`.
        label_spellings: see `TextClassification`.
    """

    features: tuple[str, ...]
    label: str
    attributes: tuple[str, ...] = ()
    keep_labels: tuple[str, ...] = ()
    label_spellings: Spellings = "ask"

    @property
    def text_columns(self) -> tuple[str, ...]:
        """None: numbers are to stay numbers."""
        return ()

    @property
    def value_columns(self) -> tuple[str, ...]:
        """The features."""
        return self.features

    @property
    def spelled_columns(self) -> tuple[str, ...]:
        """Attributes that are no features."""
        return tuple(name for name in self.attributes if name not in self.features)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is named, each once."""
        return tuple(dict.fromkeys((*self.features, self.label, *self.attributes)))

    def name_features(self, names: Sequence[str]) -> TabularClassification:
        """The same with its features named: all of a table's columns but the label, where none is."""
        return (
            self
            if self.features
            else replace(self, features=tuple(one for one in names if one != self.label))
        )

    def render(self, content: Content) -> str:
        """One line; a value that is missing is left out.

        >>> TabularClassification((), "income").render({"age": 39.0, "work": None, "sex": "female"})
        'age: 39; sex: female'
        """
        said = ((name, " ".join(spell_value(value).split())) for name, value in content.items())
        return "; ".join(f"{name}: {value}" for name, value in said if value)

    def labels(self, row: Mapping[str, Value]) -> frozenset[str]:
        """The one label of a row, or none."""
        return read_label_set(row.get(self.label), self.keep_labels)
