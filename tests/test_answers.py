"""Answers of a person: each is saved before the next question, nothing is asked twice, what was filled in stays."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from counterpoise.cli import app as cli
from counterpoise.core.errors import DataError
from counterpoise.scorers.answers import open_answers
from counterpoise.scorers.gold import choose_rows_to_ask, read_gold
from tests.made_up import make_records, write_sentences
from tests.test_label_command import COLUMNS
from tests.test_label_command import reviews as reviews

pytestmark = pytest.mark.processes

TEXTS, LABELS = write_sentences(12, 88, 3)
RECORDS = make_records(TEXTS, LABELS)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_terminal_asks_again_until_it_can_read_the_answer_and_goes_on_behind_the_last_one(
    tmp_path: Path,
) -> None:
    answers = open_answers(tmp_path / "answers.csv", ["food", "music"])
    answers.add(RECORDS, choose_rows_to_ask(RECORDS, 4, "seed 0"))
    answers.save()
    given = iter(["what", "yes", "", "no"])
    questions = {"food": "food?", "music": "music?"}
    shown: list[str] = []

    def ask(prompt: str) -> str:
        said = next(given, None)
        if said is None:
            raise KeyboardInterrupt
        return said

    with pytest.raises(KeyboardInterrupt):
        answers.ask(questions, ask, shown.append, lambda name, said: said in ("yes", "no"))
    assert sum("none of the answers" in line for line in shown) == 1
    rows = read(tmp_path / "answers.csv")
    assert [(row["food"], row["music"]) for row in rows] == [("yes", ""), ("no", ""), ("", ""), ("", "")]
    again = open_answers(tmp_path / "answers.csv", ["food", "music"])
    assert again.list_open(["food", "music"])[0] == (1, "music"), "what was skipped is not asked again"
    gold = read_gold(tmp_path / "answers.csv", RECORDS, ["food", "music"], "key")
    assert len(gold["food"]) == 2 and "music" not in gold, "open rows are no answers"


def test_what_a_spreadsheet_made_of_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    records = make_records(
        ["=1+1 is what the menu said", "the soup was cold", "a song", "more"], [0, 1, 0, 1]
    )
    answers = open_answers(path, ["food"])
    answers.add(records, choose_rows_to_ask(records, 2, "seed 0"))
    answers.save()
    rows = read(path)
    head = [*rows[0], "my note"]
    lines = [";".join(head), *(";".join([*row.values(), "héard"]) for row in rows)]
    path.write_text("\r\n".join(lines).replace(";;", ";yes;") + "\r\n", encoding="utf-8-sig")
    again = open_answers(path, ["food", "music"])
    asked = again.find_asked(records)
    assert len(asked) == 2
    again.add(records, choose_rows_to_ask(records, 4, "seed 0"))
    again.save()
    content = path.read_bytes()
    assert content.startswith(b"\xef\xbb\xbfid;ask;text;food;my note;music\r\n")
    assert content.decode("utf-8-sig").count(";yes;héard;") == 2
    assert len(read_gold(path, records, ["food"], "key")["food"]) == 2


def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text("text,label\nthe soup,good\n")
    with pytest.raises(DataError, match="is no file of answers"):
        open_answers(path, ["food"])


@pytest.mark.assets
def test_answers_on_a_terminal_outlive_every_end(reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["label", str(reviews), *COLUMNS, "--ask", "6", "--terminal"]
    path = reviews.parent / "answers.csv"
    for n_given, how, code in ((2, signal.SIGKILL, -signal.SIGKILL), (4, signal.SIGINT, 130)):
        process = subprocess.Popen(
            [sys.executable, "-m", "counterpoise", *line],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        assert process.stdin is not None
        process.stdin.write("good\nbad\n")
        process.stdin.flush()
        deadline = time.monotonic() + 120
        while not path.is_file() or sum(bool(row["label"]) for row in read(path)) < n_given:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(how)
        _, said = process.communicate(timeout=60)
        assert process.returncode == code
    assert said == (
        "stopping\ninterrupted; the answers are in answers.csv, and the same command goes on where you stopped\n"
    )
    before = read(path)
    assert [row["label"] for row in before] == ["good", "bad", "good", "bad", "", ""]

    # Asked again in a file, rows are new and what was filled in stays.
    assert cli.execute(["label", str(reviews), *COLUMNS, "--ask", "5"]) == 0
    assert "11 rows, 5 of them new: answers.csv" in capsys.readouterr().out
    after = read(path)
    assert after[:6] == before and len({row["text"] for row in after}) == 11
