"""The reply store: every reply, kept in one SQLite file before it is used, shared by runs and processes.

A key is a hash of what can change the reply and of nothing else, so a run that is killed, resumed, or started
again with one record more asks only what it has not asked before. Replies are stored as the server gave them;
parsing and checking them is a pure function of request and reply and happens at each use. A row that is damaged
counts as none: its reply is asked again. The file and what SQLite writes beside it are their owner's alone.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from counterpoise.core.assets import make_cache_folder
from counterpoise.core.errors import StorageError
from counterpoise.llm.chat import ChatRequest, Completion, Usage
from counterpoise_retrievers.private_files import tighten, touch_private_file

BUSY_SECONDS = 30.0
"""How long a process waits for another one that writes to the same store."""

FORMAT = 2
"""Of the file, in its `user_version`. Format 1 had no table but `replies`."""

MAX_ROWS = 5_000
"""Rows a statement; SQLite takes 32,766 variables."""

MOST_TOKENS = 1 << 53
"""Of one reply; whatever says more is damaged, or lies."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


def make_keys(engine_name: str, request: ChatRequest) -> list[bytes]:
    """The `n` keys of a request, 16 bytes each.

    The order of a schema's properties is part of the key: constrained decoding writes them in that order.
    """
    sampling = request.sampling
    content = _encode(
        [
            engine_name,
            [[message.role, message.content] for message in request.messages],
            request.prompt,
            [float(sampling.temperature), float(sampling.top_p), sampling.max_tokens, sampling.stop],
            request.schema,
            request.choices,
            *([] if request.thoughts is None else [[request.thoughts.switch, request.thoughts.tokens]]),
        ]
    )
    base = blake2b(content.encode(), digest_size=16)
    keys = []
    for index in range(request.sample, request.sample + request.n):
        digest = base.copy()
        digest.update(b"\n%d" % index)
        keys.append(digest.digest())
    return keys


def pack_reply(completion: Completion) -> bytes:
    """The bytes that are stored of a completion."""
    usage = completion.usage
    return _encode(
        [
            completion.text,
            None if completion.logprobs is None else dict(completion.logprobs),
            usage.prompt_tokens,
            usage.completion_tokens,
            completion.finish_reason,
            *([completion.thought_tokens] if completion.thought_tokens else []),
        ]
    ).encode()


def unpack_reply(packed: bytes) -> Completion:
    """The completion that `pack_reply` stored.

    Raises:
        ValueError: these are not the bytes of one.
    """
    try:
        text, logprobs, n_prompt, n_completion, finish_reason, *more = json.loads(str(packed, "utf-8"))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no stored reply: {error}") from error
    counts = (n_prompt, n_completion, *more)
    if (
        not isinstance(text, str)
        or not isinstance(finish_reason, str)
        or not (logprobs is None or _is_table(logprobs))
        or len(counts) > 3
        or not all(type(count) is int and 0 <= count <= MOST_TOKENS for count in counts)
    ):
        raise ValueError("no stored reply: a part of it is of another kind")
    return Completion(
        text=text,
        logprobs=logprobs,
        usage=Usage(n_prompt, n_completion),
        finish_reason=finish_reason,
        thought_tokens=more[0] if more else 0,
        cached=True,
    )


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and all(
        type(item) in (int, float) and item == item for item in value.values()
    )


def _is_reply(packed: Any) -> bool:
    """Whether a stored row can be used."""
    try:
        unpack_reply(packed)
    except ValueError:
        return False
    return True


Deaths = Mapping[bytes, tuple[int, str]]
"""Key -> how many engines have died while it was under way, and what was said of the last."""


@dataclass(frozen=True, slots=True)
class Payment:
    """Tokens that a run has paid for; become durable together with the replies that were bought."""

    run_id: str
    purpose: str
    tokens: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """Replies that become durable together or not at all, and what goes with them."""

    rows: Mapping[bytes, bytes]
    loop: asyncio.AbstractEventLoop | None = None
    stored: asyncio.Future[Mapping[bytes, bytes]] | None = None
    payment: Payment | None = None
    run_id: str = ""
    deaths: Deaths | None = None
    notes: Mapping[bytes, bytes] | None = None


class ReplyStore:
    """Replies by key in one SQLite file.

    Readers run on the caller's thread. Writes go to one thread, which stores whatever has gathered since its
    last commit in a single statement: one transaction, and one release of the interpreter's lock. A stored
    reply survives `kill -9`. Several processes may share a file; where two store the same key, the first one
    stands for both.

    Args:
        path: the file; its folder is made. It must lie on a local disk.

    Raises:
        StorageError: the file cannot be opened, or is not a reply store.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        try:
            make_cache_folder(self.path.parent)
            touch_private_file(self.path)  # what SQLite writes beside it takes its mode
            for suffix in ("-wal", "-shm", "-journal"):
                tighten(self.path.with_name(self.path.name + suffix))
            self._reader = self._open()
        except (OSError, sqlite3.Error) as error:
            raise self._explain(error) from error
        self._writer = threading.Thread(target=self._write, name="reply-store", daemon=True)
        self._writer.start()
        self._is_closed = False

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Store what is waiting and let go of the file; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        self._batches.put(None)
        self._writer.join()
        self._reader.close()

    def __len__(self) -> int:
        """Replies in the file."""
        return int(self._reader.execute("SELECT count(*) FROM replies").fetchone()[0])

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The rows of those keys that are there, as they are."""
        try:
            if len(keys) == 1:
                row = self._reader.execute("SELECT reply FROM replies WHERE key = ?", keys).fetchone()
                return {} if row is None else {keys[0]: row[0]}
            found: dict[bytes, bytes] = {}
            for start in range(0, len(keys), MAX_ROWS):
                part = keys[start : start + MAX_ROWS]
                found.update(_select(self._reader, part))
        except sqlite3.Error as error:
            raise self._explain(error) from error
        return found

    def get_usable(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """As `get_many`, but a row that holds no whole reply is taken out of the file, so that it is asked again."""
        found = self.get_many(keys)
        damaged = [(key, packed) for key, packed in found.items() if not _is_reply(packed)]
        try:
            for row in damaged:
                self._reader.execute("DELETE FROM replies WHERE key = ? AND reply IS ?", row)
                del found[row[0]]
        except sqlite3.Error as error:
            raise self._explain(error) from error
        return found

    async def put(self, rows: Mapping[bytes, bytes], payment: Payment | None = None) -> Mapping[bytes, bytes]:
        """Store packed replies in one transaction; returns when they are durable.

        Args:
            rows: key -> packed reply.
            payment: what they cost.

        Returns:
            What the store holds for these keys: another process may have been first, and then its reply
            stands.

        Raises:
            StorageError: the disk is full or does not answer.
        """
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[Mapping[bytes, bytes]] = loop.create_future()
        self._batches.put(_Batch(rows, loop, stored, payment))
        return await stored

    async def replace(self, key: bytes, value: bytes) -> None:
        """Store a value that is no reply, in place of the one that stands there; returns when it is durable.

        Raises:
            StorageError: the disk is full or does not answer.
        """
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[Mapping[bytes, bytes]] = loop.create_future()
        self._batches.put(_Batch({}, loop, stored, notes={key: value}))
        await stored

    def note_payment(self, payment: Payment) -> None:
        """Count what was paid for a reply that never came; durable a moment later."""
        self._batches.put(_Batch({}, payment=payment))

    async def note_deaths(self, run_id: str, deaths: Deaths) -> None:
        """Keep how many engines have died under requests of a run; returns when that is durable.

        Raises:
            StorageError: the disk is full or does not answer.
        """
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[Mapping[bytes, bytes]] = loop.create_future()
        self._batches.put(_Batch({}, loop, stored, run_id=run_id, deaths=deaths))
        await stored

    def read_deaths(self, run_id: str) -> dict[bytes, tuple[int, str]]:
        """What `note_deaths` has kept of a run."""
        rows = self._read("SELECT key, n, why FROM deaths WHERE run = ? AND typeof(n) = 'integer'", run_id)
        return {key: (n, str(why)) for key, n, why in rows if isinstance(key, bytes)}

    def read_payments(self, run_id: str) -> dict[str, int]:
        """Tokens that a run has paid for in all its processes so far, by purpose."""
        query = "SELECT purpose, tokens FROM payments WHERE run = ? AND typeof(tokens) = 'integer'"
        return {str(purpose): max(0, tokens) for purpose, tokens in self._read(query, run_id)}

    def _read(self, query: str, run_id: str) -> list[Any]:
        try:
            return self._reader.execute(query, (run_id,)).fetchall()
        except sqlite3.Error as error:
            raise self._explain(error) from error

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            _prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _write(self) -> None:
        """The writer thread: group what waits, store it, tell the waiting."""
        try:
            connection: sqlite3.Connection | None = self._open()
        except sqlite3.Error:
            connection = None
        is_open = True
        while is_open:
            batches = [self._batches.get()]
            while len(batches) < MAX_ROWS and not self._batches.empty():
                batches.append(self._batches.get())
            is_open = None not in batches
            waiting = [batch for batch in batches if batch is not None]
            if not waiting:
                continue
            failure: StorageError | None = None
            others: dict[bytes, bytes] = {}
            try:
                connection = connection or self._open()
                others = _store(connection, waiting)
            except Exception as error:  # without this thread everybody would wait for ever
                failure = self._explain(error)
            _notify(waiting, others, failure)
        if connection is not None:
            connection.close()

    def _explain(self, error: Exception) -> StorageError:
        is_damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        )
        hint = "free some space, or set another cache folder on a local disk, then resume"
        if is_damaged:
            hint = "move this file away: what it held is asked again; or set another cache folder"
        return StorageError(
            f"the reply store cannot be used ({error})",
            where=str(self.path),
            hint=hint,
        )


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the table in a new file; refuse a file of another format."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == FORMAT:
        return
    if version > FORMAT:
        raise sqlite3.DatabaseError(f"format {version}, not {FORMAT}")
    connection.execute("BEGIN IMMEDIATE")
    for table in (
        "replies (key BLOB PRIMARY KEY, reply BLOB NOT NULL)",
        "payments (run TEXT, purpose TEXT, tokens INTEGER NOT NULL, PRIMARY KEY (run, purpose))",
        "deaths (run TEXT, key BLOB, n INTEGER NOT NULL, why TEXT NOT NULL, PRIMARY KEY (run, key))",
    ):
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
    connection.execute(f"PRAGMA user_version={FORMAT}")
    connection.execute("COMMIT")


def _store(connection: sqlite3.Connection, batches: Sequence[_Batch]) -> dict[bytes, bytes]:
    """Store all that has gathered in one transaction; give what stood there already for keys that were taken."""
    paid: dict[tuple[str, str], int] = {}
    for batch in batches:
        if batch.payment is not None:
            of = (batch.payment.run_id, batch.payment.purpose)
            paid[of] = paid.get(of, 0) + batch.payment.tokens
    deaths = [
        (batch.run_id, key, n, why) for batch in batches for key, (n, why) in (batch.deaths or {}).items()
    ]
    rows = [batch.rows for batch in batches if batch.rows]
    notes = [note for batch in batches for note in (batch.notes or {}).items()]
    if not paid and not deaths and not notes:
        return _insert(connection, rows)
    connection.execute("BEGIN IMMEDIATE")
    try:
        others = _insert(connection, rows)
        for (run_id, purpose), tokens in paid.items():
            connection.execute(
                "INSERT INTO payments VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET tokens = min(tokens + excluded.tokens, ?)",
                (run_id, purpose, tokens, MOST_TOKENS),
            )
        connection.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?)", notes)
        connection.executemany("INSERT OR REPLACE INTO deaths VALUES (?, ?, ?, ?)", deaths)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk may have rolled it back by itself
            connection.execute("ROLLBACK")
        raise
    return others


def _select(connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, bytes]:
    marks = ",".join("?" * len(keys))
    query = f"SELECT key, reply FROM replies WHERE key IN ({marks})"  # noqa: S608  (only question marks)
    return dict(connection.execute(query, keys).fetchall())


def _insert(connection: sqlite3.Connection, groups: Sequence[Mapping[bytes, bytes]]) -> dict[bytes, bytes]:
    """Store groups of rows, each group whole; give what stood there already for keys that were taken."""
    rows: dict[bytes, bytes] = {}
    others: dict[bytes, bytes] = {}
    for position, group in enumerate(groups):
        rows.update(group)
        if len(rows) < MAX_ROWS and position + 1 < len(groups):
            continue
        marks = ",".join(["(?,?)"] * len(rows))
        values = [value for row in rows.items() for value in row]
        statement = f"INSERT INTO replies VALUES {marks} ON CONFLICT DO NOTHING"  # noqa: S608
        if connection.execute(statement, values).rowcount < len(rows):
            others.update(_select(connection, list(rows)))
        rows = {}
    return others


def _notify(batches: Sequence[_Batch], others: Mapping[bytes, bytes], failure: StorageError | None) -> None:
    """Wake the waiting, with one call a loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Batch]] = {}
    for batch in batches:
        if batch.loop is not None:
            by_loop.setdefault(batch.loop, []).append(batch)

    def resolve(group: list[_Batch]) -> None:
        for batch in group:
            if batch.stored is None or batch.stored.done():
                continue
            if failure is not None:
                batch.stored.set_exception(failure)
            elif others:
                batch.stored.set_result({key: others.get(key, reply) for key, reply in batch.rows.items()})
            else:
                batch.stored.set_result(batch.rows)

    for loop, group in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve, group)
