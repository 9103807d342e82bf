"""Tevatron's form that names passages by their ids in a corpus."""

from __future__ import annotations

from collections.abc import Mapping, MutableSequence
from typing import Any

from counterpoise.core.instances import FieldError, Instance, Passage, Row, take_id, take_text
from counterpoise.data.exporters.base import InstanceForm, keep_order

_IDS = ("positive_document_ids", "negative_document_ids")


class TevatronIds(InstanceForm):
    """A query and two lists of ids."""

    name = "tevatron_ids"
    layout = f"a line has query_id, query_text, {_IDS[0]} and {_IDS[1]}"
    needs_corpus = True

    def recognises(self, row: Row) -> bool:
        """Whether there is the field of the positives' ids."""
        return _IDS[0] in row

    def parse(
        self, row: Row, corpus: Mapping[str, Passage] | None, missing: MutableSequence[str]
    ) -> Instance:
        """The instance of a line; passages that the corpus lacks are noted and left out.

        Raises:
            FieldError: there is no corpus, or a field is missing or of another type.
        """
        if corpus is None:
            raise FieldError("names its passages by id only: name their corpus too (--corpus)")
        sides = []
        for name in _IDS:
            items = row.get(name)
            if not isinstance(items, list):
                raise FieldError(f"'{name}' is no list of ids")
            side = []
            for item in items:
                found = corpus.get(take_id({name: item}, name))
                if found is None:
                    missing.append(str(item))
                else:
                    side.append(found)
            sides.append(tuple(side))
        known = ("query_id", "query_text", *_IDS)
        extra = {name: value for name, value in row.items() if name not in known}
        return Instance(
            take_id(row, "query_id"), take_text(row, "query_text"), sides[0], sides[1], extra, row
        )

    def make_rows(self, instance: Instance) -> list[Row]:
        """One line."""
        parts: dict[str, Any] = {"query_id": instance.query_id, "query_text": instance.query}
        for name, side in zip(_IDS, (instance.positives, instance.negatives), strict=True):
            parts[name] = [_spell_id(passage) for passage in side]
        return [keep_order(instance, parts)]


def _spell_id(passage: Passage) -> Any:
    raw = passage.raw or {}
    return next(
        (raw[name] for name in ("docid", "_id", "id") if str(raw.get(name)) == passage.id), passage.id
    )
