"""The forms that sentence-transformers trains on: triplets, n-tuples, judged pairs and lists, of texts alone.

An instance with several positives becomes a line a positive; one without any cannot be said and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence, Sequence

from counterpoise.core.instances import Instance, Passage, Row
from counterpoise.data.exporters.base import InstanceForm
from counterpoise.data.instance_tuples import (
    count_slots,
    format_tuples,
    gather_pairs,
    is_judged,
    is_judged_pair,
    is_tuple,
    list_unread_passages,
    name_query,
    parse_tuple,
)


class SentenceTransformers(InstanceForm):
    """A query and texts, in columns or lists."""

    name = "sentence_transformers"
    layout = "a line has anchor, positive and negative (or negative_1, negative_2, ...), or query, answer and label"

    has_columns = True

    def recognises(self, row: Row) -> bool:
        """Whether there are a query and passages under names that are known."""
        return is_tuple(row)

    def parse(
        self, row: Row, corpus: Mapping[str, Passage] | None, missing: MutableSequence[str]
    ) -> Instance:
        """The instance of a line; FieldError where a field is missing or of another type."""
        return parse_tuple(row)

    def make_rows(self, instance: Instance) -> list[Row]:
        """A line a positive, or a judgement."""
        return format_tuples(instance)

    def gathers(self, row: Row) -> bool:
        """Whether it is one passage with its judgement."""
        return is_judged_pair(row)

    def name_query(self, row: Row) -> tuple[str, str]:
        """What judged pairs of one query share."""
        return name_query(row)

    def gather(self, rows: Sequence[Row]) -> Instance:
        """One instance of the judged pairs of a query."""
        return gather_pairs(rows)

    def list_unread(self, row: Row) -> list[str]:
        """Fields that look like passages and are not understood."""
        return list_unread_passages(row)

    def count_slots(self, instance: Instance) -> int | None:
        """As many columns as its line has, or as it has negatives where it was read from none."""
        return len(instance.negatives) if instance.raw is None else count_slots(instance.raw)

    def is_judged(self, instance: Instance) -> bool:
        """Whether its line holds judgements."""
        return instance.raw is not None and is_judged(instance.raw)
