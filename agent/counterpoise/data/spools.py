"""Tables that are larger than memory: written to Arrow files that live until the process ends, and mapped there."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pyarrow as pa
from datasets import Dataset

from counterpoise.core.errors import DataError
from counterpoise.data.plain_columns import ColumnMaker
from counterpoise_retrievers.scraps import note_scrap


class Spool:
    """Writes tables to Arrow files that live until the process ends.

    Args:
        base: the folder below which they lie; by default the system's.
        where: what errors call the source.
        maker: makes the columns.
    """

    def __init__(self, base: Path | None, where: str, maker: ColumnMaker) -> None:
        self._folder = _spool_folder(base)
        self._where, self._maker = where, maker

    def new_file(self, suffix: str) -> Path:
        """Path of an empty file of this process."""
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=suffix, delete=False) as file:
            return Path(file.name)

    def write(self, tables: Iterable[pa.Table]) -> tuple[list[Path], pa.Schema | None]:
        """Write tables to as many files as their schemas change; also the schema that holds them all."""
        files: list[Path] = []
        schema: pa.Schema | None = None
        united: pa.Schema | None = None
        writer: pa.ipc.RecordBatchStreamWriter | None = None
        try:
            for table in map(self._maker.make_table, tables):
                if not len(table):
                    continue
                if writer is None or not table.schema.equals(schema):
                    if writer is not None:
                        writer.close()
                    schema = table.schema
                    united = schema if united is None else self._maker.unite(united, schema)
                    files.append(self.new_file(".arrow"))
                    writer = pa.ipc.new_stream(str(files[-1]), schema)
                writer.write_table(table.combine_chunks())
        finally:
            if writer is not None:
                writer.close()
        return files, united

    def read(self, tables: Iterable[pa.Table]) -> Dataset:
        """Write tables and map them into memory as one.

        Raises:
            DataError: there are no rows, or a column cannot be read.
        """
        files, schema = self.write(tables)
        if schema is None:
            raise DataError("holds no rows", where=self._where, hint="name a file that holds rows")
        if len(files) > 1:
            united = schema
            parts = (table for file in files for table in read_spooled(file))
            merged, _ = self.write(self._maker.cast(table, united) for table in parts)
            for file in files:
                file.unlink()
            files = merged
        try:
            return Dataset.from_file(str(files[0]))
        # The types that a file says it has, in the key `huggingface` of its schema, may be anything.
        except (
            ValueError,
            NotImplementedError,
            TypeError,
            LookupError,
            AttributeError,
            RecursionError,
        ) as error:
            raise DataError(
                f"holds a column that cannot be read ({error})",
                where=self._where,
                hint="write it anew, without what its schema says of its features",
            ) from error


def read_spooled(file: Path) -> Iterator[pa.Table]:
    """The batches of a spooled file, mapped and not copied."""
    with pa.memory_map(str(file)) as mapped:
        for batch in pa.ipc.open_stream(mapped):
            yield pa.Table.from_batches([batch])


@cache
def _spool_folder(base: Path | None) -> Path:
    """One temporary folder a process and base, removed when the process ends."""
    if base is not None:
        base.mkdir(parents=True, exist_ok=True)
    folder = note_scrap(Path(base or tempfile.gettempdir()) / f"counterpoise-tables-{secrets.token_hex(6)}")
    folder.mkdir(0o700)
    return folder
