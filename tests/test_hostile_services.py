"""What comes from outside is data: damaged stores, keys told back, names that are markup; and who may read what."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from counterpoise.balance.lint import linter
from counterpoise.cli import app as cli
from counterpoise.core.errors import ServerError
from counterpoise.core.redactions import redact
from counterpoise.data.card import CardFacts, render_card
from counterpoise.llm import ChatClient, ChatRequest, Message, ReplyStore, ScriptedChatClient, TokenBudget
from counterpoise.llm.engines.openai import OpenAIEngine
from counterpoise.llm.reply_store import Payment
from counterpoise.runs.directory import RunDirectory
from counterpoise_retrievers.embedding_cache import CachedEncoder
from tests.servers import Body, LocalServer
from tests.test_embedding_cache import LetterEncoder

pytestmark = pytest.mark.processes

KEY = "sk-4f9a/7c+2e"


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def list_modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in [folder, *folder.rglob("*")]
    }


def assert_private(folder: Path) -> None:
    for name, mode in list_modes(folder).items():
        assert mode == (0o700 if (folder / name).is_dir() else 0o600), f"{folder / name}: {mode:o}"


@pytest.mark.usefixtures("no_umask")
@pytest.mark.parametrize("is_there", [False, True])
def test_the_reply_store_is_its_owners_alone(tmp_path: Path, is_there: bool) -> None:
    folder = tmp_path / "cache"
    if is_there:
        folder.mkdir()
        (folder / "replies.sqlite").touch()
    with ReplyStore(folder / "replies.sqlite") as store:
        asyncio.run(store.put({b"key": b"reply"}))
        assert {"replies.sqlite", "replies.sqlite-wal", "replies.sqlite-shm"} <= set(list_modes(folder))
        assert_private(folder)
    assert_private(folder)


@pytest.mark.usefixtures("no_umask")
def test_a_folder_with_other_files_keeps_its_mode_and_the_store_in_it_is_tight(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.csv").write_text("text,label\n")
    with ReplyStore(folder / "replies.sqlite"):
        modes = list_modes(folder)
    assert modes.pop(".") == 0o777 and modes.pop("thesis.csv") == 0o666
    assert set(modes.values()) == {0o600}


@pytest.mark.usefixtures("no_umask")
@pytest.mark.parametrize("is_there", [False, True])
def test_vectors_are_their_owners_alone(tmp_path: Path, is_there: bool) -> None:
    folder = tmp_path / "cache" / "vectors"
    for _ in range(1 + is_there):
        CachedEncoder(LetterEncoder(), folder).encode(["a text"])
        if is_there:
            for path in folder.iterdir():
                path.chmod(0o644)
            folder.chmod(0o755)
    CachedEncoder(LetterEncoder(), folder).encode(["another text"])
    assert len(list(folder.iterdir())) == 3
    assert_private(folder)


@pytest.mark.usefixtures("no_umask")
def test_a_run_directory_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    for _ in range(2):
        with RunDirectory(folder) as directory:
            directory.begin("data: x\n", "fingerprint")
            directory.write("audit", {"a": 1})
            assert (folder / "journal.sqlite-wal").exists()
            assert_private(folder)
            (folder / "dataset").mkdir()
            (folder / "dataset" / "README.md").write_text("rows")
            directory.finish()
        assert_private(folder)
        for path in folder.rglob("*"):  # as an older version left it
            path.chmod(0o755 if path.is_dir() else 0o644)
        folder.chmod(0o755)


DAMAGE = (
    b"",
    b'["good", null, 3,',
    b"\xff\x00\x9f",
    b"[]",
    b"{}",
    b"null",
    b'[7, null, 3, 1, "stop"]',
    b'["good", null, -3, 1, "stop"]',
    b'["good", null, 1e308, 1, "stop"]',
    b'["good", {"A": "x"}, 3, 1, "stop"]',
    b'["good", null, 3, 1, null]',
    b"[" * 100_000,
    "text, not bytes",
    17,
    1.5,
)


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda value: repr(value)[:24])
async def test_a_damaged_stored_reply_is_asked_again(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "replies.sqlite"
    requests = [ChatRequest((Message("user", f"question {n}"),)) for n in range(3)]
    asked: list[str] = []

    def reply(request: ChatRequest, index: int) -> str:
        asked.append(request.messages[0].content)
        return f"answer to {request.messages[0].content}"

    async def ask() -> list[str]:
        with ReplyStore(path) as store:
            chat = ChatClient(ScriptedChatClient(reply), store, TokenBudget(10_000), run_id="run")
            found = {one.index: one.completions async for one in chat.generate_many(requests)}
            return [found[index][0].text for index in range(3)]

    first = await ask()
    with closing(sqlite3.connect(path)) as connection, connection:
        key = connection.execute("SELECT key FROM replies LIMIT 1").fetchone()[0]
        connection.execute("UPDATE replies SET reply = ? WHERE key = ?", (damage, key))
        connection.execute("UPDATE payments SET tokens = 'many'")
    asked.clear()
    assert await ask() == first and len(asked) == 1
    assert await ask() == first and len(asked) == 1


async def test_a_payment_beyond_all_numbers_is_kept_as_the_most(tmp_path: Path) -> None:
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        for _ in range(3):
            await store.put({}, Payment("run", "label", 2**62))
        assert store.read_payments("run")["label"] >= 2**53
        TokenBudget(100).begin(store.read_payments("run"))


@pytest.mark.parametrize("way", ["error", "models", "reply", "name"])
def test_a_key_that_a_server_tells_back_is_never_said(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    def reply(body: Body, index: int) -> str:
        return f"you sent Bearer {KEY}"

    models = (f"model {KEY}",) if way in ("models", "name") else ("local-model",)

    async def ask(url: str) -> str:
        async with OpenAIEngine(url, "absent" if way == "models" else "", api_key=KEY) as engine:
            completions = await engine.generate(ChatRequest((Message("user", "hello"),)))
            return f"{engine.name} {completions[0].text}"

    with LocalServer(reply, models=models, api_key="another" if way == "error" else KEY) as server:
        try:
            said = asyncio.run(ask(server.url))
        except ServerError as error:
            said = f"{error} {error.message} {error.hint}"
    assert KEY not in said
    assert way == "error" or "[key]" in said
    assert KEY not in redact(f"{KEY} {json.dumps(KEY)} https://host?key={KEY}")


def test_a_fault_of_ours_has_an_exit_code_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.csv").write_text("text,label\nfine,good\nnice,bad\n")
    check = ["check", str(tmp_path / "data.csv"), "--text", "text", "--label", "label"]

    def fail(error: Exception) -> None:
        def lint_table(*arguments: object, **options: object) -> None:
            raise error

        monkeypatch.setattr(linter, "lint_table", lint_table)

    fail(ZeroDivisionError("division by zero"))
    assert cli.execute(check) == 4
    assert "internal error: ZeroDivisionError" in capfd.readouterr().err
    fail(OSError(28, "No space left on device", "/full/disk"))
    assert cli.execute(check) == 3
    assert "/full/disk: the disk refuses (No space left on device)" in capfd.readouterr().err
    fail(MemoryError())
    assert cli.execute(check) == 3
    fail(PermissionError(13, "Permission denied", "/secret"))
    assert cli.execute(check) == 2
    assert capfd.readouterr().err.count("\n") == 2
    assert cli.execute(["--help"]) == 0
    assert "4 a fault of counterpoise itself" in " ".join(capfd.readouterr().out.split())


def test_names_from_outside_are_no_markup_in_the_data_card() -> None:
    from tests.test_datasets_out import make_part

    name = (
        "a<script>x</script>](http://evil.example) ![p](https://evil.example/p.png) | `x` **b**"
        "\n---\n# head\x1b[31m\u202e"
    )
    part = make_part()
    text = render_card(
        CardFacts(name, name, licence=name, models=(name,), prompts=(name,), notes=(name,)),
        part.records,
        part.records,
        [],
        {},
        "result",
    )
    head, body = text.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(head)["pretty_name"].startswith("a<script>")
    assert "<" not in body and "\n---" not in body and "\x1b" not in text and "\u202e" not in text
    assert "](" not in body.replace("\\](", "") and "://" not in body
    assert [line for line in body.splitlines() if line.startswith("# ")] == [body.splitlines()[0]]
