"""`counterpoise concepts` and `label`: a list to edit, rows to answer, labels with their audits."""

from __future__ import annotations

import csv
import json
from math import log
from pathlib import Path
from typing import Any

import pytest

from counterpoise.cli import app as cli
from evals.scripted_concepts import ScriptedReader, TopicWords
from tests.integration.helpers import make_cache
from tests.servers import LocalServer

pytestmark = pytest.mark.assets

FOOD = ("the soup was {}", "my fish came {}", "a {} cake to finish", "the bread tasted {}")
MUSIC = ("the band played {} songs", "the music was {}", "a {} piano by the door", "the singer sounded {}")
READER = ScriptedReader(
    (
        TopicWords("food", "what was eaten", ("soup", "fish", "cake", "bread")),
        TopicWords("music", "songs and singers", ("band", "music", "piano", "singer")),
    ),
    skill=1.0,
)
WORDS = ("lovely", "warm", "dull", "cold", "fresh", "awful", "great", "strange", "nice", "odd")


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty sentences on food and forty on music, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERPOISE_CACHE", str(make_cache(tmp_path / "cache")))
    path = tmp_path / "reviews.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for place, word in enumerate(WORDS):
            for template in (*FOOD, *MUSIC):
                writer.writerow([template.format(word).capitalize(), "good" if place % 2 else "bad"])
    (tmp_path / "concepts.yaml").write_text("food: what was eaten or drunk\nmusic: songs and instruments\n")
    return path


COLUMNS = ("--text", "text", "--label", "label")


def is_food(text: str) -> bool:
    return any(word in text.lower() for word in ("soup", "fish", "cake", "bread"))


def test_answers_are_asked_for_read_back_and_used(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["label", str(reviews), *COLUMNS, "--concepts", "concepts.yaml"]
    assert cli.execute([*line, "--ask", "40"]) == 0
    assert "40 rows: answers.csv" in capsys.readouterr().out
    path = tmp_path / "answers.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["ask"] for row in rows].count("audit") == 20 and set(rows[0]) == {
        "id",
        "ask",
        "text",
        "food",
        "music",
    }
    for row in rows:
        row["food"], row["music"] = ("yes", "no") if is_food(row["text"]) else ("no", "yes")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert cli.execute(["--json", *line]) == 0
    event = json.loads(capsys.readouterr().out.splitlines()[-1])
    used = [scorer for scorer in event["scorers"] if scorer["role"] == "used"]
    assert len(used) == 2 and all(scorer["n"] == 20 and scorer["auc"] > 0.9 for scorer in used)
    with (tmp_path / "labelled.csv").open(encoding="utf-8", newline="") as file:
        labelled = list(csv.DictReader(file))
    right = [
        (row["food"] == "present") == is_food(row["text"]) for row in labelled if row["food"] != "unknown"
    ]
    assert len(labelled) == 80 and len(right) > 40 and sum(right) > 0.9 * len(right)


def test_a_list_of_concepts_is_proposed_and_never_written_over(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["--quiet", "concepts", str(reviews), *COLUMNS, "--output", "found.yaml"]
    assert cli.execute(line) == 0
    found = (tmp_path / "found.yaml").read_text(encoding="utf-8")
    assert "% of the texts" in found and any(word in found for word in ("soup", "fish", "band", "music"))
    assert cli.execute(line) == 2
    assert "found.yaml: is there already" in capsys.readouterr().err


def test_a_file_for_labelled_rows_beside_ask_is_refused(
    reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["label", str(reviews), "--text", "text", "--label", "label", "--ask", "4", "--output", "out.csv"]
    assert cli.execute(line) == 2
    said = capsys.readouterr().err
    assert "--output: found 'out.csv' beside --ask" in said and "--answers" in said
    assert not Path("answers.csv").exists()


def serve(body: dict[str, Any], index: int) -> str:
    """What the made-up model says: topics in JSON, words in capitals where it is asked for them."""
    asked = str(body["messages"][-1]["content"]) if body.get("messages") else ""
    if "capital letters" in asked:
        return asked.rsplit(":", 1)[1].strip().upper()
    said = READER.answer(asked)
    return said if isinstance(said, str) else max(said, key=said.__getitem__)


def choose(body: dict[str, Any]) -> dict[str, float]:
    said = READER.answer(str(body["messages"][-1]["content"])) if body.get("messages") else "{}"
    return {letter: log(weight) for letter, weight in said.items()} if isinstance(said, dict) else {"A": -1.0}


def test_concepts_are_written_struck_out_and_read_back(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "concepts.yaml"
    path.unlink()
    with LocalServer(serve, logprobs=choose) as server:
        line = ["label", str(reviews), *COLUMNS, "--concepts", "auto", "--model", server.url]
        assert cli.execute(line) == 0
        found = path.read_text(encoding="utf-8")
        assert "food: what was eaten" in found and "music: songs" in found and "kappa" in found
        assert "edit it, then" in capsys.readouterr().out and not Path("labelled.csv").exists()
        path.write_text("food: what was eaten\n", encoding="utf-8")
        n_asked = server.n_requests
        assert cli.execute([*line, "--ask", "24"]) == 0
        assert server.n_requests == n_asked and path.read_text(encoding="utf-8") == "food: what was eaten\n"
        with Path("answers.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        with Path("answers.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(row | {"food": "yes" if is_food(row["text"]) else "no"} for row in rows)
        capsys.readouterr()
        assert cli.execute(["--json", *line]) == 0
        event = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert server.n_requests > n_asked
    pilot = event["scorers"][0]
    assert pilot["name"] == "llm" and pilot["role"] == "used" and pilot["n"] == 12


def test_of_many_concepts_those_that_go_most_with_the_label_are_asked_about_first(
    reviews: Path, tmp_path: Path
) -> None:
    rows = [line.rsplit(",", 1) for line in reviews.read_text(encoding="utf-8").splitlines()[1:]]
    with reviews.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((text, "good" if "soup" in text or "piano" in text else "bad") for text, _ in rows)
    concepts = {"cake": "a cake", "piano": "a piano by the door", "soup": "the soup", "singer": "the singer"}
    (tmp_path / "concepts.yaml").write_text(json.dumps(concepts), encoding="utf-8")
    line = ["--quiet", "label", str(reviews), *COLUMNS, "--concepts", "concepts.yaml"]

    def read_columns() -> set[str]:
        with Path("answers.csv").open(encoding="utf-8", newline="") as file:
            return set(next(csv.reader(file))) - {"id", "ask", "text"}

    assert cli.execute([*line, "--ask", "10"]) == 0
    assert read_columns() == {"piano", "soup"}
    assert cli.execute([*line, "--ask", "10"]) == 0
    assert read_columns() == set(concepts)
