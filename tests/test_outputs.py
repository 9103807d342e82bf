"""One rule for files that are written: no input is lost, nothing is replaced unasked, whatever a path looks like."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from counterpoise.cli import app as cli
from counterpoise.core.errors import JobError
from counterpoise.core.schema import TextClassification
from counterpoise.data.outputs import check_outputs
from counterpoise.data.patches.values import LabelChange, LabelOutcome, Patch, write_patch

SPELLINGS: dict[str, Callable[[Path], Path]] = {
    "itself": lambda path: path,
    "a way round": lambda path: path.parent / "sub" / ".." / path.name,
    "a symbolic link": lambda path: link(path, Path.symlink_to),
    "a hard link": lambda path: link(path, Path.hardlink_to),
    "through a linked folder": lambda path: path.parent / "also" / path.name,
}


def link(path: Path, make: Callable[[Path, Path], None]) -> Path:
    other = path.with_name("other.jsonl")
    make(other, path)
    return other


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "also").symlink_to(tmp_path)
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n')
    return path


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("may_replace", [False, True])
def test_no_spelling_of_an_input_is_written_over(spelling: str, may_replace: bool, given: Path) -> None:
    output = SPELLINGS[spelling](given)
    for read in (given, given.parent / "sub" / "..", str(given)):
        with pytest.raises(JobError, match=r"--output .*: is a file that is read; name another one"):
            check_outputs({"--output": output}, [read, None, "owner/name"], may_replace=may_replace)


def test_files_that_exist_links_to_nothing_devices_folders_and_twins_are_refused(given: Path) -> None:
    (given.parent / "old.jsonl").write_text("mine")
    (given.parent / "dangling").symlink_to("nowhere")
    os.mkfifo(given.parent / "pipe")
    for name, found in (
        (
            "old.jsonl",
            "is there already, and nothing is written over; name another file, or give --overwrite",
        ),
        ("dangling", "is there already"),
        ("pipe", "is a device or a pipe"),
        ("/dev/null", "is a device or a pipe"),
        ("sub", "is a folder"),
        ("nowhere/x.jsonl", "its folder is not there; make it first"),
    ):
        with pytest.raises(JobError, match=found):
            check_outputs({"--output": Path(name)}, [given])
    check_outputs({"--output": Path("old.jsonl"), "--page": None}, [given], may_replace=True)
    with pytest.raises(JobError, match=r"--page sub/../new: is what --output writes"):
        check_outputs({"--output": Path("new"), "--page": Path("sub/../new")}, [given])


PAIR = '{"query": "q", "positive": ["a"], "negative": ["b"]}\n'


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("check data.jsonl {c} --page old.html", "--page old.html: is there already"),
        ("check data.jsonl {c} --write-baseline also/data.jsonl", "is a file that is read"),
        ("check data.jsonl {c} --baseline old.json --page old.json --overwrite", "is a file that is read"),
        ("label data.jsonl {c} --concepts old.yaml --output old.csv", "is there already"),
        ("label data.jsonl {c} --ask 2 --answers sub/../data.jsonl", "is a file that is read"),
        ("concepts data.jsonl {c} --output old.yaml", "is there already"),
        ("label-errors data.jsonl {c} --output old.jsonl", "is there already"),
        ("label-errors data.jsonl {c} --page data.jsonl --overwrite", "is a file that is read"),
        ("diff patch.jsonl --page also/patch.jsonl --overwrite", "is a file that is read"),
        ("apply patch.jsonl data.jsonl -o old.jsonl", "is there already"),
        ("apply patch.jsonl data.jsonl -o also/data.jsonl --overwrite", "is a file that is read"),
        ("apply patch.jsonl data.jsonl -o patch.jsonl --overwrite", "is a file that is read"),
        ("mine pairs.jsonl -o old.jsonl", "is there already"),
        ("mine pairs.jsonl -o sub/../pairs.jsonl --overwrite", "is a file that is read"),
        ("mine . -o pairs.jsonl --overwrite", "is a file that is read"),
        ("relabel pairs.jsonl --output old.jsonl", "is there already"),
        ("relabel pairs.jsonl --output sub/../pairs.jsonl --overwrite", "is a file that is read"),
        (
            "relabel x.decisions.jsonl --output x.jsonl --overwrite",
            "the decisions beside it, .*is a file that",
        ),
        (
            "relabel pairs.jsonl --gold g.summary.json --output g.jsonl",
            "the summary beside it, .*is a file th",
        ),
    ],
)
def test_every_command_keeps_to_it(
    line: str, found: str, given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (
        "old.html",
        "old.json",
        "old.yaml",
        "old.csv",
        "old.jsonl",
        "x.decisions.jsonl",
        "g.summary.json",
    ):
        (given.parent / name).write_text("mine\n")
    (given.parent / "pairs.jsonl").write_text(PAIR)
    write_patch(given.parent / "patch.jsonl", make_patch(LabelOutcome.REVIEW))
    before = {path.name: path.read_bytes() for path in given.parent.iterdir() if path.is_file()}
    words = line.replace("{c}", "--text text --label label").split()
    assert cli.execute(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(found, said), said
    assert {path.name: path.read_bytes() for path in given.parent.iterdir() if path.is_file()} == before


def make_patch(outcome: LabelOutcome) -> Patch:
    from counterpoise.data.reading import load_table, make_ids

    task = TextClassification(("text",), "label")
    identity = str(make_ids(load_table(Path("data.jsonl"), task=task))[0])
    return Patch(task, "data.jsonl", 2, (LabelChange(identity, outcome, "x", "y", 0.9),))


def test_a_patch_in_which_nothing_is_accepted_says_so_and_how_to_accept(
    given: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["apply", "patch.jsonl", "data.jsonl", "--output", "new.jsonl"]
    for outcome in (LabelOutcome.REVIEW, LabelOutcome.KEEP):
        write_patch(given.parent / "patch.jsonl", make_patch(outcome))
        assert cli.execute(line) == 2
        said = capsys.readouterr().err
        assert f"patch.jsonl: nothing is accepted in this patch (1 {outcome})" in said
        assert "writing relabel or drop" in said and "--accept-review" in said
        assert not list(given.parent.glob("new*"))
    write_patch(given.parent / "patch.jsonl", make_patch(LabelOutcome.REVIEW))
    assert cli.execute([*line, "--accept-review"]) == 0
    assert "1 labels relabelled" in capsys.readouterr().out
    assert '"y"}' in (given.parent / "new.jsonl").read_text().splitlines()[0]
    assert cli.execute(["undo", "new.jsonl", "--output", "old.jsonl"]) == 0
    assert (given.parent / "old.jsonl").read_bytes() == given.read_bytes()


def test_a_file_that_looks_like_a_partial_one_is_the_users(given: Path) -> None:
    given.rename(given.parent / "new.jsonl.part")
    from counterpoise.data.json_lines import write_rows

    write_rows(given.parent / "new.jsonl", [{"a": 1}])
    assert sorted(path.name for path in given.parent.glob("*new*")) == ["new.jsonl", "new.jsonl.part"]
