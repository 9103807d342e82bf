"""Forms whose lines have a query and two lists of passages with ids, titles and texts."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence

from counterpoise.core.instances import (
    FieldError,
    Instance,
    Passage,
    Row,
    format_passage,
    parse_passage,
    take_id,
    take_text,
)
from counterpoise.data.exporters.base import InstanceForm, keep_order


class PassageLists(InstanceForm):
    """A query and two lists of passages.

    Args:
        name: of the form.
        positives: field of the positives.
        negatives: field of the negatives.
        id_name: field of a passage's id.
    """

    holds_query = True
    has_titles = True

    def __init__(self, name: str, positives: str, negatives: str, id_name: str) -> None:
        self.name = name
        self.positives = positives
        self.negatives = negatives
        self.id_name = id_name
        self.layout = (
            f"a line has query_id, query, {positives} and {negatives}, "
            f"whose items have {id_name}, title, text"
        )

    def recognises(self, row: Row) -> bool:
        """Whether there is the field of the positives; a list of texts under it is none of passages."""
        value = row.get(self.positives)
        return self.positives in row and not (isinstance(value, list) and value and isinstance(value[0], str))

    def parse(
        self, row: Row, corpus: Mapping[str, Passage] | None, missing: MutableSequence[str]
    ) -> Instance:
        """The instance of a line; FieldError where a field is missing or of another type."""
        known = ("query_id", "query", self.positives, self.negatives)
        return Instance(
            take_id(row, "query_id"),
            take_text(row, "query"),
            self._parse_passages(row, self.positives),
            self._parse_passages(row, self.negatives),
            {name: value for name, value in row.items() if name not in known},
            row,
        )

    def make_rows(self, instance: Instance) -> list[Row]:
        """One line."""
        parts = {
            "query_id": instance.query_id,
            "query": instance.query,
            self.positives: [format_passage(passage, self.id_name) for passage in instance.positives],
            self.negatives: [format_passage(passage, self.id_name) for passage in instance.negatives],
        }
        return [keep_order(instance, parts)]

    def _parse_passages(self, row: Row, name: str) -> tuple[Passage, ...]:
        items = row.get(name)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise FieldError(f"'{name}' is no list of passages")
        return tuple(parse_passage(item, self.id_name) for item in items)
