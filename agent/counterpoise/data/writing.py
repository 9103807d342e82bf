"""Data out: the result as Parquet shards with a data card, and a hash of content.

`dataset/` holds `train-*.parquet`, `held_out-*.parquet` and `README.md`, whose head tells `load_dataset` what
is what. The user's columns are written as they were read but for the label of a relabelled row; four columns
are added. Original rows keep their order, added rows follow in the order of their ids. Everything streams in
batches, and equal input gives equal bytes.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from hashlib import file_digest, sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, Features

from counterpoise.core.errors import DataError, RunDirectoryError
from counterpoise.core.records import Floats
from counterpoise.core.schema import TextClassification
from counterpoise.data.card import AddedRecord, CardFacts, RelabelledRecord, render_card
from counterpoise.data.outputs import explain_unwritable
from counterpoise.data.reading import hash_rows, load_table
from counterpoise.data.result_columns import (
    BATCH_ROWS,
    convert_column,
    find_arrow_type,
    find_constants,
    unite_features,
)
from counterpoise.data.result_rows import Part, convert_added, convert_part
from counterpoise_retrievers.scraps import drop_scrap, note_scrap

ROWS_PER_SHARD = 500_000


def write_result(
    folder: Path,
    *,
    task: TextClassification,
    train: Part,
    held_out: Part,
    added: Iterable[AddedRecord] = (),
    relabelled: Mapping[str, RelabelledRecord] | None = None,
    weights: Floats | None = None,
    answered: Collection[str] = (),
    card: CardFacts,
) -> None:
    """Write the result into a folder, whole or not at all.

    A column that an added record has no value for is null, or, where all original rows share one value, that
    value; an attribute of the pool that the column cannot hold is null. Columns that only the held-out rows have
    are null in the others.

    Args:
        folder: where to; an earlier result there is replaced.
        task: which columns mean what.
        train: the original rows to train on; labels as they were read.
        held_out: the sealed rows.
        added: the records to add, in any order.
        relabelled: id -> new label and provenance.
        weights: (n,) weights of the original rows; by default 1.
        answered: ids of those that were rows of a pool until a person labelled them.
        card: what the data card says.

    Raises:
        DataError: a held-out column does not fit the column of that name in the training rows.
        RunDirectoryError: the folder holds other files or may not be written.
        StorageError: the disk is full.
    """
    relabelled = relabelled or {}
    ordered = sorted(added, key=lambda record: record.provenance.id)
    features = unite_features(train.table, held_out.table)
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        note_scrap(partial)
        _clear(folder, partial)
        originals = convert_part(train, features, task, "train", relabelled, weights, answered)
        constants = find_constants(train.table, task) if ordered else {}
        additions = convert_added(ordered, features, task, constants)
        _write_shards(
            partial, "train", _chain(originals, additions), len(train.records) + len(ordered), features
        )
        sealed = convert_part(held_out, features, task, "held_out", {}, None)
        _write_shards(partial, "held_out", sealed, len(held_out.records), features)
        name = f"counterpoise-{_hash_shards(partial)}"
        text = render_card(card, train.records, held_out.records, ordered, relabelled, name, answered)
        (partial / "README.md").write_text(text, encoding="utf-8", newline="\n")
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    except OSError as error:
        raise explain_unwritable(error, folder) from error
    finally:
        drop_scrap(partial)


def check_parts(
    train: Dataset, held_out: Dataset, source: str, held_out_source: str, label: str = ""
) -> None:
    """Refuse tables that `write_result` could not write, before anything is paid for.

    Args:
        train: the table of the training rows.
        held_out: the table of the held-out rows.
        source: what errors call the one.
        held_out_source: and the other.
        label: the label column, whose values were read by value, whatever their type.

    Raises:
        DataError: a held-out column that does not fit, or a column that Parquet cannot hold.
    """
    features = unite_features(train, held_out)
    for name, feature in features.items():
        try:
            pq.ParquetWriter(io.BytesIO(), pa.schema([(name, find_arrow_type(feature))])).close()
        except pa.ArrowException as error:
            where = source if name in train.column_names else held_out_source
            found = f"Parquet cannot hold it ({error})"
            raise DataError(found, where=f"{where}: column '{name}'", hint="drop this column") from error
    names = [
        name for name in held_out.column_names if name != label and held_out.features[name] != features[name]
    ]
    for batch in held_out.select_columns(names).with_format("arrow").iter(BATCH_ROWS) if names else ():
        for name in names:
            convert_column(batch.column(name), held_out.features[name], features[name], name, held_out_source)


def load_result(folder: Path, cache_dir: Path | None = None) -> DatasetDict:
    """A written result, mapped into memory: `train` and, where there are such rows, `held_out`."""
    files = {name: sorted(folder.glob(f"{name}-*.parquet")) for name in ("train", "held_out")}
    filled = [
        name for name, shards in files.items() if sum(pq.read_metadata(shard).num_rows for shard in shards)
    ]
    return DatasetDict({name: load_table(f"{folder}:{name}", cache_dir=cache_dir) for name in filled})


def content_hash(dataset: Dataset | DatasetDict) -> str:
    """A hash of all rows and column types, whatever their order: 64 hex digits."""
    if isinstance(dataset, DatasetDict):
        parts = [f"{name}={content_hash(dataset[name])}" for name in sorted(dataset)]
        return sha256("\n".join(parts).encode()).hexdigest()
    whole = sha256(repr(sorted((name, repr(kind)) for name, kind in dataset.features.items())).encode())
    for row in sorted(hash_rows(dataset)):
        whole.update(row)
    return whole.hexdigest()


def _clear(folder: Path, partial: Path) -> None:
    """Make an empty partial folder; refuse to replace a folder that is not an earlier result."""
    if folder.exists():
        others = [e.name for e in folder.iterdir() if e.suffix != ".parquet" and e.name != "README.md"]
        if others:
            hint = "name another output"
            raise RunDirectoryError(
                f"holds {sorted(others)[0]}, which is not ours", where=str(folder), hint=hint
            )
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)


def _chain(*parts: Iterator[pa.Table]) -> Iterator[pa.Table]:
    for part in parts:
        yield from part


def _write_shards(
    folder: Path, split: str, tables: Iterator[pa.Table], n_rows: int, features: Features
) -> None:
    """Write tables as shards of `ROWS_PER_SHARD` rows; one, be it empty, at least."""
    n_shards = max(1, -(-n_rows // ROWS_PER_SHARD))
    schema = features.arrow_schema
    left: pa.Table = schema.empty_table()
    for shard in range(n_shards):
        room = ROWS_PER_SHARD
        with pq.ParquetWriter(folder / f"{split}-{shard:05d}-of-{n_shards:05d}.parquet", schema) as writer:
            while room:
                table = left if len(left) else next(tables, None)
                if table is None:
                    break
                writer.write_table(table.slice(0, room))
                left = table.slice(room)
                room -= min(room, len(table))


def _hash_shards(folder: Path) -> str:
    """A hash of names and bytes of a result's shards, 16 hex digits."""
    whole = sha256()
    for shard in sorted(folder.glob("*.parquet")):
        with shard.open("rb") as file:
            whole.update(f"{shard.name} {file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:16]
