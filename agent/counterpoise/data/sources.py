"""Where a table comes from: files, folders, the hub, pinned assets, or memory.

Files are read by `files`; folders, hub ids and objects here. A split follows a colon:
`folder:train`, `owner/name:validation`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping, MutableSequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.core.errors import DataError, JobError, ServiceError
from counterpoise.core.schema import RowSchema
from counterpoise.core.strict_yaml import suggest, suggest_files

if TYPE_CHECKING:
    from datasets import Dataset

    from counterpoise.data.plain_columns import Roles


def normalise_path(path: Path) -> Path:
    """An absolute path without `..`, its links as they are."""
    return Path(os.path.normpath(path.absolute()))


def resolve_source(source: str, base: Path) -> str:
    """Make the path in a source absolute; hub ids, `asset:` and `memory:` sources stay as they are.

    Args:
        source: as the user wrote it.
        base: the folder that relative paths start from.
    """
    if source.startswith(("asset:", "memory:")):
        return source
    stem, split = _cut_split(source, base)
    path = base / Path(stem).expanduser()
    if not path.exists() and _is_hub_id(stem):
        return source
    return str(normalise_path(path)) + (f":{split}" if split else "")


def load_table(
    source: Any,
    *,
    task: RowSchema | None = None,
    cache_dir: Path | None = None,
    notes: MutableSequence[str] | None = None,
) -> Dataset:
    """Load a source as a table, mapped into memory where it comes from a file.

    Args:
        source: see the head of this module.
        task: which columns play a part: these keep their spelling in a CSV file; what is odd about others never stops
            the work. Without a task all columns play a part.
        cache_dir: folder for temporary copies and hub downloads; by default the system's and Hugging Face's.
        notes: sentences on what was passed over, renamed or kept as text are added.

    Raises:
        DataError: the source does not exist, is of no known format, empty or broken.
        ServiceError: the hub cannot be reached, or the disk is full.
    """
    import pyarrow as pa

    if isinstance(source, str | Path):
        table = _load_named(str(source), find_roles(task), cache_dir, notes)
        pa.default_memory_pool().release_unused()  # what decoding needed, a third of the columns, is not kept
    else:
        table = _load_object(source, find_roles(task), notes)
    if not len(table):
        raise DataError("holds no rows", where=name_source(source))
    return _make_writable(table, find_roles(task), name_source(source), notes)


def find_roles(task: RowSchema | None) -> Roles:
    """Which columns play a part in a task; all, where there is none."""
    from counterpoise.data.plain_columns import Roles

    if task is None:
        return Roles()
    return Roles(task.text_columns, (task.label,), task.spelled_columns, task.value_columns)


def name_source(source: Any) -> str:
    """What errors and reports call a source."""
    return str(source) if isinstance(source, str | Path) else f"the given {type(source).__name__}"


def _cut_split(source: str, base: Path) -> tuple[str, str]:
    """A source and the split behind its last colon, "" where there is none."""
    stem, colon, split = source.rpartition(":")
    if not colon or len(stem) < 2 or not re.fullmatch(r"\w[\w.-]*", split) or (base / source).exists():
        return source, ""
    return stem, split


def _is_hub_id(stem: str) -> bool:
    from counterpoise.data.files import find_format

    pattern = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*"
    return bool(re.fullmatch(pattern, stem)) and not find_format(Path(stem))


def _load_named(
    source: str, roles: Roles, cache_dir: Path | None, notes: MutableSequence[str] | None
) -> Dataset:
    from counterpoise.data.containers import refuse_container
    from counterpoise.data.files import find_format, read_files

    if source.startswith("memory:"):
        hint = "give the table again from Python"
        raise DataError("this table was in the memory of another process", where=source, hint=hint)
    where = source
    if source.startswith("asset:"):
        from counterpoise.core.assets import ensure_asset

        source = str(ensure_asset(source.removeprefix("asset:"), cache_dir))
    stem, split = _cut_split(source, Path())
    path = Path(stem).expanduser()
    if path.is_dir():
        return _load_folder(path, split, where, roles, cache_dir, notes)
    if path.exists():
        if split:
            raise DataError(f"a file has no split '{split}'", where=where, hint=f"write {stem}")
        if path.is_file() and not find_format(path):
            refuse_container(path, where)
        if not path.is_file() or not find_format(path):
            hint = "name a .csv, .tsv, .jsonl, .json or .parquet file (or .gz of one), or a folder"
            raise DataError("is of no known format", where=where, hint=hint)
        if path.stat().st_size == 0:
            raise DataError("is empty", where=where, hint="name a file that holds rows")
        return read_files([path], where, roles=roles, cache_dir=cache_dir, notes=notes)
    if not path.is_absolute() and _is_hub_id(stem):
        return _load_from_hub(stem, split, cache_dir)
    raise DataError("no such file or folder", where=where, hint=suggest_files(path))


def _load_folder(
    folder: Path,
    split: str,
    where: str,
    roles: Roles,
    cache_dir: Path | None,
    notes: MutableSequence[str] | None,
) -> Dataset:
    """A folder written by `save_to_disk`, or one of Parquet shards named `SPLIT-....parquet`."""
    from counterpoise.data.files import read_files

    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        from datasets import Dataset, load_from_disk

        try:
            with _quiet():
                loaded = load_from_disk(str(folder))
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"is broken as a saved data set ({error})", where=where, hint="save it again"
            ) from error
        if isinstance(loaded, Dataset):
            return loaded
        return loaded[_choose_split(list(loaded), split, where)]
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        names = ", ".join(sorted(entry.name for entry in folder.iterdir())[:5]) or "nothing"
        hint = "name a saved data set, a folder of Parquet files, or one of its files"
        raise DataError(f"no data set in this folder, only {names}", where=where, hint=hint)
    splits = [re.match(r"(\w+)-\d+-of-\d+\.parquet$", file.name) for file in files]
    if all(splits):
        found = [match[1] for match in splits if match]
        chosen = _choose_split(sorted(set(found)), split, where)
        files = [file for file, name in zip(files, found, strict=True) if name == chosen]
    elif split:
        raise DataError(
            f"its files name no split '{split}'", where=where, hint="name the folder or a file alone"
        )
    return read_files(files, where, roles=roles, cache_dir=cache_dir, notes=notes)


def _choose_split(names: list[str], split: str, where: str) -> str:
    """The split asked for; else the only one, else `train`."""
    if not names:
        raise DataError("holds no split", where=where, hint="name data that holds rows")
    if not split:
        split = names[0] if len(names) == 1 else "train"
        if split not in names:
            raise DataError(
                "has several splits",
                where=where,
                hint=f"write {where}:{names[0]}, or " + ", ".join(names[1:]),
            )
    if split not in names:
        raise DataError(
            f"no split '{split}'", where=where, hint=suggest(split, names, "splits: " + ", ".join(names))
        )
    return split


def _load_from_hub(name: str, split: str, cache_dir: Path | None) -> Dataset:
    import datasets
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    unreachable = ServiceError(
        "no such file or folder here, and the hub cannot be reached",
        where=name,
        hint="connect, set HF_HUB_OFFLINE=1 to use a downloaded copy, or name a local file",
    )
    with _quiet():
        # Asked once here, because load_dataset would try for half a minute before it says so.
        try:
            HfApi().dataset_info(name, timeout=20)
        except (HfHubHTTPError, OfflineModeIsEnabled):
            pass  # load_dataset says it in better words, or finds a copy
        except Exception as error:  # httpx's errors share no base class with the others
            if isinstance(error, OSError) or type(error).__module__.startswith("httpx"):
                raise unreachable from error
            raise
        try:
            loaded = datasets.load_dataset(name, cache_dir=str(cache_dir / "hub") if cache_dir else None)
        except (datasets.exceptions.DatasetNotFoundError, ValueError) as error:
            hint = "check the id; a closed data set needs `hf auth login`"
            raise DataError(f"cannot be loaded from the hub ({error})", where=name, hint=hint) from error
        except OSError as error:
            raise unreachable from error
    return loaded[_choose_split(list(loaded), split, name)]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep progress bars and retry messages off the screen, which belongs to the command line."""
    import datasets

    bars = not datasets.utils.are_progress_bars_disabled()
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        if bars:
            datasets.enable_progress_bars()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _load_object(source: Any, roles: Roles, notes: MutableSequence[str] | None) -> Dataset:
    """A table that is already in memory."""
    from datasets import Dataset, DatasetDict

    from counterpoise.data.files import read_rows

    where = name_source(source)
    if isinstance(source, Dataset):
        return source
    if isinstance(source, DatasetDict):
        return source[_choose_split(list(source), "", where)]
    if isinstance(source, Mapping) and source:
        for name, column in source.items():
            if not hasattr(column, "__len__"):
                found = f"holds {column!r:.40} as column '{name}'"
                raise DataError(found, where=where, hint="give a list of values for every column")
        lengths = {name: len(column) for name, column in source.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(
                f"columns of {sorted(set(lengths.values()))} rows", where=where, hint="make them equally long"
            )
        columns = [list(column) for column in source.values()]
        rows = (dict(zip(source, row, strict=True)) for row in zip(*columns, strict=True))
        return read_rows(rows, where, roles=roles, notes=notes)
    if isinstance(source, list | tuple) and source:
        return read_rows(source, where, roles=roles, notes=notes)
    if type(source).__module__.startswith("pandas") and hasattr(source, "columns"):
        return _load_frame(source, where, roles, notes)
    hint = "give a path, a Dataset, a pandas frame, a dictionary of columns or a list of rows"
    raise JobError("is no table", where=where, hint=hint)


def _load_frame(frame: Any, where: str, roles: Roles, notes: MutableSequence[str] | None) -> Dataset:
    """A frame of pandas, column by column: one that Arrow cannot hold becomes text where it plays no part."""
    import pyarrow as pa
    from datasets import Dataset

    from counterpoise.data.plain_columns import ColumnMaker, name_columns

    told: list[str] = []
    maker = ColumnMaker(roles, where)
    names = name_columns([str(name) for name in frame.columns], roles, where, told)
    columns = {}
    for place, name in enumerate(names):
        column = frame.iloc[:, place]
        try:
            columns[name] = pa.Array.from_pandas(column)
            is_strange = isinstance(columns[name].type, pa.BaseExtensionType)
        except (pa.ArrowException, ValueError, TypeError, OverflowError):
            is_strange = True
        if is_strange:
            # Periods and intervals are spelled as pandas does.
            is_plain = str(column.dtype) == "object"
            values = [None if _is_missing(one) else one if is_plain else str(one) for one in column]
            columns[name] = maker.make_column(name, values, [f"row {row + 1}" for row in range(len(column))])
    table = Dataset(maker.make_table(pa.table(columns)))
    if notes is not None:
        notes.extend([*told, *maker.list_notes()])
    return table


def _make_writable(table: Dataset, roles: Roles, where: str, notes: MutableSequence[str] | None) -> Dataset:
    """A table whose columns Parquet can hold: others become text where they play no part."""
    from counterpoise.data.plain_columns import ColumnMaker, is_writable

    maker = ColumnMaker(roles, where)
    kinds = {field.name: field.type for field in table.features.arrow_schema}
    for name in [name for name, kind in kinds.items() if not is_writable(kind)]:
        if roles.names and not roles.plays_part(name):
            column = table.select_columns([name]).with_format("arrow")[:].column(0)
            table = table.remove_columns([name]).add_column(name, maker.convert(name, column))
    if notes is not None:
        notes.extend(maker.list_notes())
    return table


def _is_missing(value: Any) -> bool:
    """Whether a cell of a frame is None, NaN, NaT or pandas' NA."""
    return (
        value is None
        or (isinstance(value, float) and value != value)
        or type(value).__name__ in ("NAType", "NaTType")
    )
