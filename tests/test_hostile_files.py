"""Files and names that mean harm or are broken: one line that names them, exit code 2, and an end."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterpoise.cli import app as cli

pytestmark = pytest.mark.processes

Capture = pytest.CaptureFixture[str]
COLUMNS = ("--text", "text", "--label", "label")
DEEP = "[" * 60_000


def fail(capture: Capture, *arguments: object) -> str:
    """The one line of a command that ends with exit code 2."""
    code = cli.execute([str(argument) for argument in arguments])
    said = capture.readouterr().err
    assert code == 2, said
    assert said.count("\n") == 1 and "internal error" not in said and len(said) < 2000
    return said


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


STRANGE: dict[str, Callable[[Path], None]] = {
    "pipe": make_pipe,
    "loop": lambda path: path.symlink_to(path.name),
    "nowhere": lambda path: path.symlink_to("/nowhere/at/all"),
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path, capfd: Capture) -> None:
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"text {n} soup,{'gb'[n % 2]}\n" for n in range(12)))
    for name, arguments in {
        "job.yaml": ("run", "{}"),
        "patch.jsonl": ("diff", "{}"),
        "triplets.jsonl": ("mine", "{}", "-o", tmp_path / "out.jsonl"),
        "rows.csv": ("check", "{}", *COLUMNS),
        "known.json": ("check", data, *COLUMNS, "--baseline", "{}"),
        "receipt.undo": ("undo", data, "-o", tmp_path / "old.csv", "--receipt", "{}"),
    }.items():
        if kind == "folder" and name in ("patch.jsonl", "triplets.jsonl", "rows.csv"):
            continue  # a folder may be right there
        path = tmp_path / name
        STRANGE[kind](path)
        assert name in fail(capfd, *(path if one == "{}" else one for one in arguments))


@pytest.mark.parametrize("name", ["bomb.csv.gz", "bomb.jsonl.gz"])
def test_a_file_that_unpacks_without_end_is_refused(name: str, tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / name
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(200):
            file.write(b"\n" * (1 << 20))
    assert "unpacks to more than" in fail(capfd, "check", path, *COLUMNS)
    if name.endswith(".jsonl.gz"):
        assert "unpacks to more than" in fail(capfd, "mine", path, "-o", tmp_path / "out.jsonl")


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_json_that_is_nested_too_deep_is_one_line(suffix: str, tmp_path: Path, capfd: Capture) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_text(f'{{"text": "a", "label": {DEEP}')
    assert "nested too deep" in fail(capfd, "check", path, *COLUMNS)
    assert "nested too deep" in fail(capfd, "mine", path, "-o", tmp_path / "out.jsonl")


@pytest.mark.parametrize("said", [b'{"info": {"features": {"text": 1}}}', b"[", b"\xff", DEEP.encode()])
def test_types_that_a_parquet_file_only_claims_end_in_a_line(
    said: bytes, tmp_path: Path, capfd: Capture
) -> None:
    table = pa.table({"text": [f"text {n} soup" for n in range(12)], "label": ["g", "b"] * 6})
    path = tmp_path / "data.parquet"
    pq.write_table(table.replace_schema_metadata({b"huggingface": said}), path)
    code = cli.execute(["--quiet", "check", str(path), *COLUMNS])
    said_then = capfd.readouterr().err
    assert code in (0, 2) and said_then.count("\n") == bool(code) and "internal" not in said_then


@pytest.mark.parametrize("mark", [r"a\0b", r"a\ud800b"])
@pytest.mark.parametrize("key", ["output", "label", "name", "cache_dir", "concepts", "data"])
def test_text_that_no_file_can_hold_is_refused_in_a_job(
    key: str, mark: str, tmp_path: Path, capfd: Capture
) -> None:
    keys = {"data": "data.csv", "text": "text", "label": "label", key: "VALUE"}
    job = tmp_path / "job.yaml"
    job.write_text("".join(f'{name}: "{value.replace("VALUE", mark)}"\n' for name, value in keys.items()))
    (tmp_path / "data.csv").write_text("text,label\na,b\nc,d\n")
    fail(capfd, "run", job)


def test_a_zero_character_in_an_argument_is_one_line(tmp_path: Path, capfd: Capture) -> None:
    for arguments in (
        ["relabel", "a.jsonl", "--output", "a\0b"],
        ["check", "a\0b", *COLUMNS],
        ["resume", "\0"],
    ):
        assert "zero character" in fail(capfd, *arguments)


def test_aliases_of_aliases_do_not_fill_the_memory(tmp_path: Path, capfd: Capture) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    job = tmp_path / "job.yaml"
    job.write_text("\n".join([*lines, "data: x.csv", "text: text", "label: label", "concepts: *a11"]))
    begun = time.process_time()
    assert "1,000,000 values" in fail(capfd, "run", job)
    assert time.process_time() - begun < 20
