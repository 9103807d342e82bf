"""Rows of a pool that a person labels: asked for in a file, read back as training rows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

import counterpoise
from counterpoise.cli import app as cli
from counterpoise.core.errors import DataError, JobError, UserError
from counterpoise.data.card import CardFacts
from counterpoise.data.writing import load_result, write_result
from counterpoise.report.preview import ScreenTable
from counterpoise.scorers.gold import read_answer_lines, unite_gold
from counterpoise.tasks.text.answered import find_answers
from counterpoise.tasks.text.job import job_from
from counterpoise.tasks.text.reading import Parts, read_parts
from tests.integration.helpers import make_cache, make_reviews
from tests.made_up import write_sentences
from tests.test_label_command import COLUMNS
from tests.test_label_command import reviews as reviews

ODD = ["=HYPERLINK(1)", "Die Suppe war kalt, die Küche zu laut", "汤是冷的"]
TEXTS, LABELS = write_sentences(10, 40, 3)
POOL = [*ODD, *write_sentences(6, 24, 5)[0]]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def read_with_answers(folder: Path, answers: list[dict[str, Any]], **keys: Any) -> Parts:
    names = ("bad", "good")
    data = [
        {"text": text, "label": names[label], "stars": 3} for text, label in zip(TEXTS, LABELS, strict=True)
    ]
    job = job_from(
        data=write(folder / "data.csv", data),
        pool=write(folder / "pool.csv", [{"text": text, "stars": "many"} for text in POOL]),
        answers=write(folder / "answers.csv", answers),
        text="text",
        label="label",
        **keys,
    )
    return read_parts(job)


@pytest.mark.assets
def test_rows_of_a_pool_are_asked_about_without_a_word_on_what_they_might_be(
    reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = [row["text"] for row in read(reviews)]
    pool = write(tmp_path / "pool.csv", [{"text": text} for text in [*known[:5], *POOL]])
    line = ["label", str(reviews), *COLUMNS, "--pool", pool, "--ask", "60"]
    assert cli.execute(line) == 0
    said = capsys.readouterr().out
    assert f"{len(POOL)} rows: answers.csv" in said and "`answers: answers.csv`" in said
    rows = read(tmp_path / "answers.csv")
    assert list(rows[0]) == ["id", "ask", "text", "choices", "label"]
    assert {(row["choices"], row["label"]) for row in rows} == {("bad | good", "")}
    assert {row["text"] for row in rows} == {"'=HYPERLINK(1)", *POOL[1:]}
    assert {row["ask"] for row in rows} == {"audit", "training"}
    assert cli.execute([*line, "--answers", "again.csv"]) == 0
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "answers.csv").read_bytes()
    capsys.readouterr()
    assert cli.execute(line) == 0
    assert "every row of the pool was asked about already" in capsys.readouterr().out
    assert cli.execute([*line, "--answers", pool]) == 2


@pytest.mark.assets
def test_a_preview_says_what_answers_are_worth_beside_tokens_where_there_is_a_pool(tmp_path: Path) -> None:
    pairs = make_reviews(90, 12)
    columns = {"review": [text for text, _ in pairs], "stars": [label for _, label in pairs]}
    keys: dict[str, Any] = {
        "text": "review",
        "label": "stars",
        "cache_dir": str(make_cache(tmp_path / "cache")),
    }
    keys |= {"output": str(tmp_path / "run"), "budget": 50_000}
    pool = {"review": [text for text, _ in make_reviews(100, 20, seed=1)]}
    preview = counterpoise.preview(job_from(data=columns, pool=pool, **keys))
    answers = [one for one in preview.forecasts if one["action"] == "answers"]
    assert preview.forecasts[: len(answers)] == answers and len(answers) == 2
    assert all(5 <= one["records"] <= 16 for one in answers)
    (sentence,) = [line for line in preview.advice if line.startswith("20 rows of the pool that you label")]
    ask = preview.as_dict()["ask"]
    assert (ask["answers"], ask["minutes"]) == (20, 5.0) and set(ask["records"]) == {"bad"}
    assert sentence.count("20,000 tokens") == sum(gain is not None for gain in ask["gains"].values())
    assert any(
        part.title == "What you could do yourself" for part in preview.show() if isinstance(part, ScreenTable)
    )
    quick = job_from(data=columns, pool=pool, seconds_per_answer=3, **keys)
    assert counterpoise.preview(quick).as_dict()["ask"]["minutes"] == 1.0
    without = counterpoise.preview(job_from(data=columns, **keys))
    assert not [one for one in without.forecasts if one["action"] == "answers"] and without.ask is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([], "--pool: found 'pool.csv' without --ask; say how many"),
        (["--ask", "4", "--concepts", "concepts.yaml"], "--pool: its rows are asked about their label"),
    ],
)
def test_a_pool_without_a_question_for_it_is_refused(
    more: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "reviews.csv", [{"text": text, "label": "good"} for text in TEXTS])
    (tmp_path / "concepts.yaml").write_text("food: what was eaten\n")
    assert cli.execute(["label", "reviews.csv", *COLUMNS, "--pool", "pool.csv", *more]) == 2
    assert said in capsys.readouterr().err


def test_answered_rows_are_training_rows_and_leave_the_pool(tmp_path: Path) -> None:
    answers = [
        {"text": POOL[1], "ask": "audit", "label": "bad"},
        {"text": POOL[2], "ask": "training", "label": "good "},
        {"text": POOL[3], "ask": "training", "label": ""},
    ]
    before = read_with_answers(tmp_path, [{**answers[2]}])
    assert before.answered is not None and not len(before.answered.ids)
    parts = read_with_answers(tmp_path, answers)
    assert parts.answered is not None and parts.pool is not None
    train = parts.train
    assert train.records.texts[-2:].tolist() == POOL[1:3] and train.table["label"][-2:] == ["bad", "good"]
    assert train.table["stars"][-2:] == [None, None], "what the column cannot hold"
    assert len(train.records) == len(before.train.records) + 2 == len(train.table)
    assert {*parts.pool.records.texts} == {*POOL} - {*POOL[1:3]} and len(parts.pool.table) == len(POOL) - 2
    assert [*parts.held_out.records.ids] == [*before.held_out.records.ids]
    assert "2 rows of the pool have the label that you gave them" in parts.notes[-1]
    known = find_answers(parts.answered, train.records)
    assert train.records.texts[known.audit_rows].tolist() == [POOL[1]], "drawn at random: for audits"
    assert train.records.texts[known.training_rows].tolist() == [POOL[2]]
    assert len(unite_gold(known, known)) == 4 and unite_gold(None, known) is known
    ids = {str(identity) for identity in parts.answered.ids}
    task = job_from(data="data.csv", text="text", label="label").as_task()
    card = CardFacts(name="reviews", source="reviews.csv")
    write_result(
        tmp_path / "dataset", task=task, train=train, held_out=parts.held_out, answered=ids, card=card
    )
    kinds = {row["text"]: row["provenance"]["kind"] for row in load_result(tmp_path / "dataset")["train"]}
    assert [text for text, kind in kinds.items() if kind == "answered"] == POOL[1:3]
    assert "| answered | 2 |" in (tmp_path / "dataset" / "README.md").read_text()


def test_a_held_out_text_stays_sealed_though_it_was_answered(tmp_path: Path) -> None:
    held_out = write(
        tmp_path / "test.csv", [{"text": POOL[4], "label": "bad"}, {"text": "a", "label": "good"}]
    )
    answers = [
        {"text": POOL[4], "ask": "audit", "label": "bad"},
        {"text": POOL[5], "ask": "audit", "label": "bad"},
    ]
    parts = read_with_answers(tmp_path, answers, held_out=held_out)
    assert parts.answered is not None
    assert len(parts.answered.ids) == 1 and POOL[4] not in parts.train.records.texts


def test_mistakes_in_answers_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"answers\.csv: line 2: found 'awful' under 'label'; write one of 'bad', 'good'"
    ):
        read_with_answers(tmp_path, [{"text": POOL[1], "label": "awful"}])
    with pytest.raises(DataError, match="none of its rows is in the pool; it must hold rows of this pool"):
        read_with_answers(tmp_path, [{"text": "something else", "label": "bad"}])
    with pytest.raises(UserError, match="key 'answers' names labels of pool rows, and there is no pool"):
        job_from(data="reviews.csv", text="text", label="label", answers="answers.csv")
    with pytest.raises(JobError, match=r"answers: .*no\.csv: "):
        read_answer_lines(tmp_path / "no.csv", "answers")


def test_runs_of_versions_without_answers_go_on() -> None:
    keys: dict[str, Any] = {"data": "a.csv", "text": "text", "label": "label", "pool": "pool.csv"}
    plain, answered = job_from(**keys), job_from(**keys, answers="answers.csv")
    assert plain.fingerprint() != answered.fingerprint()
