"""The form that FlagEmbedding trains on: a query and two lists of texts."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence

from counterpoise.core.instances import Instance, Passage, Row
from counterpoise.data.exporters.base import InstanceForm
from counterpoise.data.instance_tuples import (
    format_tuples,
    is_flag_embedding,
    is_tuple,
    list_unread_passages,
    parse_tuple,
)


class FlagEmbedding(InstanceForm):
    """A query and two lists of texts, perhaps with scores."""

    name = "flag_embedding"
    layout = "a line has query, pos and neg, two lists of texts"
    holds_query = True

    def recognises(self, row: Row) -> bool:
        """Whether the fields have FlagEmbedding's names."""
        return is_tuple(row) and is_flag_embedding(row)

    def parse(
        self, row: Row, corpus: Mapping[str, Passage] | None, missing: MutableSequence[str]
    ) -> Instance:
        """The instance of a line; FieldError where a field is missing or of another type."""
        return parse_tuple(row)

    def make_rows(self, instance: Instance) -> list[Row]:
        """One line."""
        return format_tuples(instance, as_lists=True)

    def list_unread(self, row: Row) -> list[str]:
        """Fields that look like passages and are not understood."""
        return list_unread_passages(row)
