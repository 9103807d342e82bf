"""The run directory: one process at a time, a journal of what happened, and a marker that is written last.

`job.yaml` is the resolved job, `journal.sqlite` holds rounds, verdicts, audits, spend and the keys of the replies
used, `FINISHED` says that everything else is whole. A run is a function of its job, its data and the stored
replies, so resuming is running again: decisions are taken anew and agree with the journal, and no stored reply is
asked a second time. The folder is its owner's alone: modes 0700 and 0600, whatever the umask and whatever they were.
"""

from __future__ import annotations

import errno
import json
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from filelock import FileLock, Timeout

from counterpoise.core.boundaries import reading
from counterpoise.core.errors import RunDirectoryError, StorageError
from counterpoise.core.files import write_whole
from counterpoise_retrievers.private_files import (
    make_private_folder,
    tighten,
    tighten_tree,
    touch_private_file,
)

FINISHED = "FINISHED"
_JOURNAL = "journal.sqlite"
_SCHEMA = (
    "create table if not exists entries (kind text, key text, value text, primary key (kind, key))",
    "create table if not exists replies_used (key blob primary key, purpose text) without rowid",
)
# The marker goes first: a directory that is cleared and then left alone must not look finished.
_WRITTEN = (FINISHED, "dataset", "patch.jsonl", "recipe", "rejected", "report.html", "report.json")


class RunDirectory:
    """An open run directory; a context manager that holds its lock.

    Its `id`, known once it has begun, is drawn at random and stays the same over all processes.

    Args:
        path: the folder; made where it is missing.

    Raises:
        RunDirectoryError: it cannot be written, another process runs in it, or it holds other files and no run.
        StorageError: the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = ""
        try:
            if path.is_dir() and not (path / _JOURNAL).exists():
                self._refuse_strangers()  # before anything of ours lies in a folder of the user's
            make_private_folder(path)
            self._tighten()  # a run of an older version may have left its files open to others
            touch_private_file(path / "lock")
            self._lock = FileLock(path / "lock", timeout=0, mode=0o600)
            self._lock.acquire()
        except Timeout as error:
            raise RunDirectoryError(
                "another process runs in this directory",
                where=str(path),
                hint="wait for it, or name another folder under output",
            ) from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _explain(error, path) from error
            raise RunDirectoryError(
                f"cannot be written ({error.strerror})",
                where=str(path),
                hint="name another folder under output",
            ) from error
        try:
            touch_private_file(path / _JOURNAL)  # what SQLite writes beside it takes its mode
            self._journal = sqlite3.connect(path / _JOURNAL, isolation_level=None)
            self._journal.execute("pragma journal_mode=wal")
            self._journal.execute("pragma synchronous=normal")
            for table in _SCHEMA:
                self._journal.execute(table)
        except (OSError, sqlite3.Error) as error:
            self._lock.release()
            raise _explain(error, path) from error

    def __enter__(self) -> Self:
        """The open directory."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the journal and let the lock go."""
        self._journal.close()
        self._tighten()
        self._lock.release()

    def begin(self, job_yaml: str, fingerprint: str) -> None:
        """Set the directory up for a job: a new one, or the same one again.

        Args:
            job_yaml: the resolved job.
            fingerprint: of what decides the result: the job and the data.

        Raises:
            RunDirectoryError: it holds the run of another job or other data, or other files.
            StorageError: the disk is full.
        """
        known = self.read("run").get("fingerprint")
        if known is not None and known != fingerprint:
            raise RunDirectoryError(
                "holds a run of another job or other data",
                where=str(self.path),
                hint="name another folder under output, or remove this one",
            )
        if known is None:
            self._refuse_strangers()
        # The journal knows the run before job.yaml lies there, so that a job.yaml without a run is the user's own.
        self.id = self.read("run").get("id") or uuid4().hex
        self.write("run", {"fingerprint": fingerprint, "id": self.id})
        try:
            for name in _WRITTEN:
                if (self.path / name).is_dir():
                    shutil.rmtree(self.path / name)
                else:
                    (self.path / name).unlink(missing_ok=True)
            write_whole(self.path / "job.yaml", job_yaml)
            self._tighten()
        except OSError as error:
            raise _explain(error, self.path) from error

    def _tighten(self) -> None:
        """Take what is ours in the directory from everybody else; hidden files and links are not ours."""
        folder = self.path.resolve()
        tighten(folder)
        for entry in folder.iterdir():
            if not entry.name.startswith(".") and not entry.is_symlink():
                tighten_tree(entry)

    def _refuse_strangers(self) -> None:
        names = sorted(entry.name for entry in self.path.iterdir())
        strangers = [
            name for name in names if name not in ("lock", "logs") and not name.startswith((_JOURNAL, "."))
        ]
        if strangers:
            raise RunDirectoryError(
                f"holds other files ({', '.join(strangers[:3])})",
                where=str(self.path),
                hint="name an empty or a new folder under output",
            )

    def write(self, kind: str, entries: Mapping[str, Any]) -> None:
        """Write entries of one kind in one commit; equal keys are replaced.

        Raises:
            StorageError: the disk is full.
        """
        self._write_all((kind, key, json.dumps(value, ensure_ascii=False)) for key, value in entries.items())

    def write_replies(self, used: Iterable[tuple[bytes, str]]) -> None:
        """Note which replies of the reply store were used: their keys, and what for.

        Raises:
            StorageError: the disk is full.
        """
        self._run_many("insert or ignore into replies_used values (?, ?)", used)

    def read_replies(self) -> dict[bytes, str]:
        """Keys of all replies used, and what for."""
        return dict(self._journal.execute("select key, purpose from replies_used"))

    def _write_all(self, rows: Iterable[tuple[str, str, str]]) -> None:
        self._run_many("insert or replace into entries values (?, ?, ?)", rows)

    def _run_many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        try:
            self._journal.execute("begin immediate")
            self._journal.executemany(statement, rows)
            self._journal.execute("commit")
        except sqlite3.Error as error:
            raise _explain(error, self.path) from error

    def read(self, kind: str) -> dict[str, Any]:
        """All entries of one kind, by key.

        Raises:
            DataError: the journal is damaged.
        """
        hint = "remove this folder and run again: stored replies are not asked a second time"
        with reading(str(self.path / _JOURNAL), "is damaged", hint):
            rows = self._journal.execute(
                "select key, value from entries where kind = ? order by key", (kind,)
            )
            return {str(key): json.loads(str(value)) for key, value in rows}

    def finish(self) -> None:
        """Write the marker that says everything else is whole.

        Raises:
            StorageError: the disk is full.
        """
        try:
            self._tighten()
            write_whole(self.path / FINISHED, "")
        except OSError as error:
            raise _explain(error, self.path) from error

    @property
    def is_finished(self) -> bool:
        """Whether the marker is there."""
        return (self.path / FINISHED).is_file()


def _explain(error: Exception, path: Path) -> StorageError:
    return StorageError(
        f"cannot be written ({error})", where=str(path), hint="free some space there, then resume the run"
    )
