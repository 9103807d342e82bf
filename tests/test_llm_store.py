"""The reply store: keys, sharing, and a disk that says no."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise.core.errors import StorageError
from counterpoise.llm import ChatRequest, Completion, Message, ReplyStore, Sampling, Usage
from counterpoise.llm.reply_store import Payment, make_keys, pack_reply, unpack_reply

pytestmark = pytest.mark.processes

BASE = ChatRequest((Message("user", "Is there food?"),), schema={"type": "object", "properties": {}})


@pytest.mark.parametrize(
    "changed",
    [
        replace(BASE, messages=(Message("user", "Is there food? "),)),
        replace(BASE, messages=(Message("system", "Is there food?"),)),
        replace(BASE, messages=(), prompt="Is there food?", schema=None),
        replace(BASE, sampling=Sampling(temperature=0.9)),
        replace(BASE, sampling=Sampling(top_p=0.9)),
        replace(BASE, sampling=Sampling(max_tokens=127)),
        replace(BASE, sampling=Sampling(stop=("\n",))),
        replace(BASE, schema=None),
        replace(BASE, schema={"properties": {}, "type": "object"}),
        replace(BASE, schema=None, choices=("A", "B")),
        replace(BASE, sample=1),
    ],
)
def test_a_key_holds_what_can_change_the_reply(changed: ChatRequest) -> None:
    assert make_keys("model", changed) != make_keys("model", BASE)


def test_a_key_holds_nothing_else() -> None:
    assert make_keys("model", replace(BASE, purpose="label")) == make_keys("model", BASE)
    assert make_keys("model", replace(BASE, sampling=Sampling(temperature=0))) == make_keys("model", BASE)
    assert make_keys("model", BASE) != make_keys("another", BASE)
    three, later = make_keys("m", replace(BASE, n=3)), make_keys("m", replace(BASE, n=2, sample=1))
    assert three[1:] == later and len(set(three)) == 3


def test_a_reply_comes_back_as_it_went() -> None:
    reply = Completion(
        'späte "Suppe"\u2028\ud83d',
        logprobs={"A": 0.25, "B": 0.75},
        usage=Usage(3, 1),
        finish_reason="length",
    )
    assert unpack_reply(pack_reply(reply)) == replace(reply, cached=True)


async def test_the_first_of_two_writers_stands_for_both(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "r.sqlite") as left, ReplyStore(tmp_path / "r.sqlite") as right:
        assert await left.put({b"k": b"left", b"l": b"left"}) == {b"k": b"left", b"l": b"left"}
        assert await right.put({b"k": b"right", b"m": b"right"}) == {b"k": b"left", b"m": b"right"}
        assert left.get_many([b"k", b"m", b"absent"]) == {b"k": b"left", b"m": b"right"}
        many = {b"%d" % number: b"x" * 100 for number in range(20_000)}
        await asyncio.gather(*(left.put({key: reply}) for key, reply in many.items()), right.put(many))
        assert left.get_many(list(many)) == many and len(right) == len(many) + 3


def test_many_processes_may_open_one_new_store_at_once(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from counterpoise.llm.reply_store import ReplyStore
        with ReplyStore(Path(sys.argv[1])) as store:
            for number in range(50):
                asyncio.run(store.put({b"%s %d" % (sys.argv[2].encode(), number): b"reply"}))
    """)
    path = tmp_path / "new" / "r.sqlite"
    processes = [subprocess.Popen([sys.executable, "-c", script, str(path), str(n)]) for n in range(6)]
    assert [process.wait(60) for process in processes] == [0] * 6
    with ReplyStore(path) as store:
        assert len(store) == 300


def test_what_was_acknowledged_outlives_a_full_disk(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import asyncio, resource, sys
        from pathlib import Path
        from counterpoise.core.errors import StorageError
        from counterpoise.llm.reply_store import ReplyStore
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        with ReplyStore(Path(sys.argv[1])) as store:
            for number in range(1000):
                try:
                    asyncio.run(store.put({b"%d" % number: b"x" * 2000}))
                except StorageError as error:
                    print(number, error)
                    sys.exit(error.exit_code)
    """)
    path = tmp_path / "r.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 3, done.stderr
    n_stored = int(done.stdout.split()[0])
    assert n_stored > 20 and str(path) in done.stdout and "free some space" in done.stdout
    with ReplyStore(path) as store:
        assert len(store.get_many([b"%d" % number for number in range(n_stored)])) == n_stored


def test_a_file_that_is_no_reply_store_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("not a database at all, but long enough to have a header" * 40)
    newer = tmp_path / "newer.sqlite"
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    (tmp_path / "file").write_text("")
    for path in (text, newer, tmp_path / "file" / "r.sqlite"):
        with pytest.raises(StorageError, match=path.name):
            ReplyStore(path)


async def test_payments_and_deaths_are_kept_with_their_run_and_an_old_file_is_taken_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "replies.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.execute("CREATE TABLE replies (key BLOB PRIMARY KEY, reply BLOB NOT NULL)")
        old.execute("INSERT INTO replies VALUES (?, ?)", (b"old", b"reply"))
        old.execute("PRAGMA user_version=1")
        old.commit()
    with ReplyStore(path) as store:
        assert store.get_many([b"old"]) == {b"old": b"reply"}
        await asyncio.gather(
            *(store.put({b"%d" % n: b"x"}, Payment("run", "label", n)) for n in range(100)),
            store.put({b"other": b"x"}, Payment("another", "label", 7)),
            store.note_deaths("run", {b"bad": (1, "exit code -9")}),
        )
        store.note_payment(Payment("run", "generate", 5))
        await store.note_deaths("run", {b"bad": (2, "exit code -9")})
    with ReplyStore(path) as store:
        assert store.read_payments("run") == {"label": 4950, "generate": 5}
        assert store.read_payments("another") == {"label": 7} and not store.read_payments("new")
        assert store.read_deaths("run") == {b"bad": (2, "exit code -9")} and not store.read_deaths("another")
        assert len(store) == 102


async def test_what_cannot_be_stored_is_told_and_the_store_goes_on(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        with pytest.raises(StorageError, match="too large"):
            await asyncio.wait_for(store.put({b"a": b"x"}, Payment("run", "label", 1 << 70)), 10)
        await asyncio.wait_for(store.put({b"b": b"x"}, Payment("run", "label", 7)), 10)
        assert store.get_many([b"a", b"b"]) == {b"b": b"x"} and store.read_payments("run") == {"label": 7}
