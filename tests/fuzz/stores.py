"""What earlier runs left: rows of the reply store, vectors, findings, journals, reports, baselines, receipts."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from counterpoise.api import read_report
from counterpoise.balance.lint.linter import lint_table
from counterpoise.balance.lint.report import compare_with_baseline, write_baseline
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.errors import StorageError
from counterpoise.core.schema import TextClassification
from counterpoise.data.reading import load_table
from counterpoise.llm import ChatClient, ChatRequest, Message, ReplyStore, ScriptedChatClient, TokenBudget
from counterpoise.llm.findings import keep_findings, settle_capabilities
from counterpoise.runs.directory import RunDirectory
from counterpoise_retrievers.embedding_cache import CachedEncoder
from tests.fuzz.common import DEEP, Ended, Source, break_bytes, call, dump_json, guard
from tests.test_embedding_cache import LetterEncoder


def break_row(source: Source, packed: bytes) -> Any:
    """A stored reply of another content, length or type."""
    whole = json.loads(packed)
    match source.randrange(8):
        case 0:
            return packed[: source.randrange(len(packed))]
        case 1:
            whole[source.randrange(len(whole))] = source.pick_value()
            return json.dumps(whole).encode()
        case 2:
            return source.choice(
                ("text", 7, 2.5, b"[" * DEEP, b"\xff\xfe", b"[]", b"{}", b"[1,2,3,4,5]", b"null")
            )
        case 3:
            return json.dumps([*whole, source.pick_value()]).encode()
        case 4:
            return json.dumps(whole[:-1]).encode()
        case 5:
            return json.dumps(source.pick_value()).encode()
        case 6:
            return packed.decode().encode("utf-16")
        case _:
            return break_bytes(source, packed)


def fuzz_rows(source: Source, folder: Path) -> Iterator[Ended]:
    """Replies that were damaged on the disk are asked again, and the answers are those of before."""
    path = folder / "replies.sqlite"
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    requests = [
        ChatRequest((Message("user", f"question {n}"),), schema=schema if n % 2 else None) for n in range(4)
    ]

    def reply(request: ChatRequest, index: int) -> str:
        return json.dumps({"a": request.messages[0].content})

    async def ask() -> list[str]:
        with ReplyStore(path) as store:
            chat = ChatClient(ScriptedChatClient(reply), store, TokenBudget(50_000), run_id="run")
            found = {one.index: one async for one in chat.generate_many(requests)}
            for outcome in found.values():
                if outcome.error is not None:
                    raise outcome.error
            return [found[index].completions[0].text for index in range(len(requests))]

    first = asyncio.run(ask())
    damaged = set()
    with closing(sqlite3.connect(path)) as connection, connection:
        for key, packed in connection.execute("SELECT key, reply FROM replies").fetchall():
            if source.is_hit(0.5):
                damaged.add(key)
                connection.execute(
                    "UPDATE replies SET reply = ? WHERE key = ?", (break_row(source, packed), key)
                )
        if source.is_hit(0.2):
            connection.execute(
                "UPDATE payments SET tokens = ?", (source.choice((-5, "x", 1e300, b"\0", 2**62)),)
            )
        if source.is_hit(0.2):
            values = (
                "run",
                source.choice((b"key", "key", 5)),
                source.choice((1, "x", 2.5)),
                source.choice(("", b"\xff", 3)),
            )
            connection.execute("INSERT OR REPLACE INTO deaths VALUES (?, ?, ?, ?)", values)
    if source.is_hit(0.1):
        path.write_bytes(break_bytes(source, path.read_bytes()))
    again: list[str] = []
    ended = guard(lambda: again.extend(asyncio.run(ask())))
    yield ended
    if ended.code == 0 and not damaged:
        assert again == first, "replies that were not damaged have changed"


def fuzz_files(source: Source, folder: Path) -> Iterator[Ended]:
    """One file that an earlier command wrote, broken, and read again by the command that reads it."""
    match source.randrange(6):
        case 0:
            encoder = CachedEncoder(LetterEncoder(), folder / "vectors")
            encoder.encode(["one", "two"])
            for path in (folder / "vectors").iterdir():
                path.write_bytes(break_bytes(source, path.read_bytes()))
            yield guard_foreign(
                lambda: CachedEncoder(LetterEncoder(), folder / "vectors").encode(["one", "six"])
            )
        case 1:
            found = Capabilities("m", chat=True, continuation=True, follows_instructions=True)
            content = {"structured": True, "logprobs": True, "multiple": True, "context_tokens": 4096}
            path = keep_findings("m", content, folder)
            content[source.choice(list(content))] = source.pick_value()
            path.write_bytes(break_bytes(source, dump_json(source, content).encode("utf-8", "surrogatepass")))

            def settle() -> None:
                with RunDirectory(folder / "run") as directory:
                    directory.begin("data: x\n", "f")
                    settle_capabilities(found, directory, folder)

            yield guard(settle)
            yield guard(settle)
        case 2:
            with RunDirectory(folder / "run") as directory:
                directory.begin("data: x\n", "f")
                directory.write("audit", {"a": {"x": 1}})
            path = folder / "run" / "journal.sqlite"
            if source.is_hit(0.5):
                with closing(sqlite3.connect(path)) as connection, connection:
                    value = source.choice(("", "{", "[" * DEEP, "NaN", 7, b"\xff", None))
                    connection.execute("UPDATE entries SET value = ?", (value,))
            else:
                path.write_bytes(break_bytes(source, path.read_bytes()))

            def reopen() -> None:
                with RunDirectory(folder / "run") as directory:
                    directory.begin("data: x\n", "f")
                    directory.read("audit")
                    directory.finish()

            yield guard(reopen)
        case 3:
            (folder / "run").mkdir()
            (folder / "run" / "job.yaml").write_text("data: x\n")
            shape: Any = source.choice(
                ({"task": "retrieval"}, {"headline": "x", "balance": {}}, source.pick_value())
            )
            text = dump_json(source, shape).encode("utf-8", "surrogatepass")
            (folder / "run" / "report.json").write_bytes(break_bytes(source, text))
            yield guard(lambda: read_report(folder / "run"))
            yield call("report", folder / "run")
            yield call("resume", folder / "run")
        case 4:
            rows = [{"text": f"text {n} soup", "label": "gb"[n % 2]} for n in range(12)]
            report = lint_table(load_table(rows), TextClassification(("text",), "label"))
            path = folder / "baseline.json"
            write_baseline(report, path)
            content = json.loads(path.read_text())
            content["findings"]["x"] = source.choice((source.pick_value(), {"effect": source.pick_value()}))
            path.write_bytes(break_bytes(source, dump_json(source, content).encode("utf-8", "surrogatepass")))
            yield guard(lambda: compare_with_baseline(report, path))
        case _:
            path = folder / "concepts.yaml"
            path.write_bytes(break_bytes(source, b"food: what was eaten\nservice: waiters\n"))
            data = folder / "data.csv"
            data.write_text("text,label\n" + "".join(f"text {n} soup,{'gb'[n % 2]}\n" for n in range(12)))
            if source.is_hit(0.1):
                columns = ("--text", "text", "--label", "label", "--concepts", path)
                yield call("label", data, *columns, "--ask", 4, "--answers", folder / "ask.csv")
            else:
                yield guard(lambda: _read_concepts(path))


def guard_foreign(act: Any) -> Ended:
    """As `guard`; the package of retrievers raises ValueError and OSError, which its callers put into words."""

    def run() -> None:
        try:
            act()
        except (ValueError, OSError) as error:
            raise StorageError(str(error)) from error

    return guard(run)


def _read_concepts(path: Path) -> None:
    from counterpoise.tasks.text.job import job_from

    job_from(data=str(path), text="text", label="label", concepts=str(path))
