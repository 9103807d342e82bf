"""What an exporter is: a form in which training instances are written; most of them can be read, too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from pathlib import Path
from typing import Any

from counterpoise.core.instances import FieldError, Instance, Passage, Row, parses_to
from counterpoise.data.json_lines import write_rows


class Exporter(ABC):
    """A form in which training instances are written.

    Attributes:
        name: what jobs and `--form` call it.
        holds_query: whether one line can hold a query with all of its positives and their texts.
        has_titles: whether a passage has a title of its own.
        has_columns: whether a line has a column for each negative, as many in all lines.
    """

    name: str
    holds_query: bool = False
    has_titles: bool = False
    has_columns: bool = False

    @abstractmethod
    def write(self, path: Path, instances: Iterable[Instance]) -> int:
        """Write instances, one at a time; whole or not at all.

        Args:
            path: of the file, or of a folder where the form is one; it does not exist, or may be replaced.
            instances: what to write.

        Returns:
            Lines written.

        Raises:
            OSError: it cannot be written.
        """

    def count_slots(self, instance: Instance) -> int | None:
        """Negatives that its line has a column for each; None where a line takes any number."""
        return None

    def is_judged(self, instance: Instance) -> bool:
        """Whether its line says of each passage whether it answers, so that none of either kind need be there."""
        return False


class InstanceForm(Exporter):
    """A form of JSON Lines that is read as well as written: what was read in it comes back without loss.

    Attributes:
        layout: what a line has, for hints.
        needs_corpus: whether lines name their passages by id alone.
    """

    layout: str
    needs_corpus: bool = False

    @abstractmethod
    def recognises(self, row: Row) -> bool:
        """Whether a line is of this form; asked of the forms in their order."""

    @abstractmethod
    def parse(
        self, row: Row, corpus: Mapping[str, Passage] | None, missing: MutableSequence[str]
    ) -> Instance:
        """The instance of a line.

        Args:
            row: the line.
            corpus: passages by id, for a form that names them by id alone.
            missing: ids that the corpus lacks are added.

        Raises:
            FieldError: a field is missing or of another type.
        """

    @abstractmethod
    def make_rows(self, instance: Instance) -> list[Row]:
        """The lines of an instance that was read in another form, or has changed."""

    def gathers(self, row: Row) -> bool:
        """Whether a line holds a part of an instance, which is gathered with others of the same query."""
        return False

    def name_query(self, row: Row) -> tuple[str, str]:
        """What lines that are gathered share: the query's id and text."""
        raise FieldError("is no part of an instance")

    def gather(self, rows: Sequence[Row]) -> Instance:
        """One instance of several lines.

        Raises:
            FieldError: they do not go together.
        """
        raise FieldError("are no parts of an instance")

    def list_unread(self, row: Row) -> list[str]:
        """Fields that look like passages and are not understood."""
        return []

    def format(self, instance: Instance) -> list[Row]:
        """The lines of an instance: as it was read, where it still says the same."""
        raw = instance.raw
        if instance.rows:
            if self.gathers(instance.rows[0]) and parses_to(lambda: self.gather(instance.rows), instance):
                return list(instance.rows)
        elif raw is not None and parses_to(lambda: self.parse(raw, _index(instance), []), instance):
            return [raw]
        return self.make_rows(instance)

    def write(self, path: Path, instances: Iterable[Instance]) -> int:
        """Write JSON Lines; gzip where the file ends in `.gz`."""
        return write_rows(path, (row for instance in instances for row in self.format(instance)))


def keep_order(instance: Instance, parts: Mapping[str, Any]) -> Row:
    """A line of these parts and the instance's unknown fields, in the order that they had in the file.

    A query's id is spelled as it was there.
    """
    raw = instance.raw
    fields = {**parts, **instance.extra}
    if raw is not None and str(raw.get("query_id")) == instance.query_id:
        fields["query_id"] = raw["query_id"]
    return {**{name: fields[name] for name in raw or () if name in fields}, **fields}


def _index(instance: Instance) -> dict[str, Passage]:
    return {passage.id: passage for passage in (*instance.positives, *instance.negatives)}
