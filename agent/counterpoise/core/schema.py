"""Which columns of a table mean what; other tasks take their place beside this one."""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.core.label_spellings import Spellings


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
    def columns(self) -> tuple[str, ...]:
        """Every column the task names, in the order of its fields."""
        return (*self.text, self.label, *self.attributes, *((self.trusted,) if self.trusted else ()))
