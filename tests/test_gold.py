"""Asking for answers: half random, half informative, never mixed; a file there and back."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterpoise.core.errors import DataError
from counterpoise.core.records import Records
from counterpoise.scorers.answers import open_answers
from counterpoise.scorers.gold import RowsToAsk, choose_rows_to_ask, read_gold
from tests.made_up import make_records, write_sentences

TEXTS, LABELS = write_sentences(12, 88, 3)
RECORDS = make_records(TEXTS, LABELS)
SCORES = np.linspace(0, 1, 100)[:, None]


def test_half_is_random_and_half_spread_over_the_range() -> None:
    asked = choose_rows_to_ask(RECORDS, 40, "seed 0", SCORES)
    assert len(set(asked.rows.tolist())) == 40 and asked.is_audit.sum() == 20
    assert (RECORDS.labels[asked.rows[asked.is_audit]] == 0).sum() == 10, "a rare label is audited too"
    trained = np.sort(SCORES[asked.rows[~asked.is_audit], 0])
    assert trained[0] < 0.1 and trained[-1] > 0.9 and np.diff(trained).max() < 0.15
    other = choose_rows_to_ask(RECORDS, 40, "seed 1", SCORES)
    assert set(other.rows) != set(asked.rows)
    shuffled = np.random.default_rng(0).permutation(100)
    again = choose_rows_to_ask(RECORDS.take(shuffled), 40, "seed 0", SCORES[shuffled])
    assert set(RECORDS.ids[asked.rows]) == set(RECORDS.ids[shuffled[again.rows]])
    assert len(choose_rows_to_ask(RECORDS.take(np.arange(7)), 40, "seed 0").rows) == 7


def write_questions(path: Path, records: Records, asked: RowsToAsk) -> None:
    answers = open_answers(path, ["food"])
    answers.add(records, asked)
    answers.save()


def fill(path: Path, answers: list[str], question: str = "food") -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, answer in zip(rows, answers, strict=True):
        row[question] = answer
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_file_goes_out_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    asked = choose_rows_to_ask(RECORDS, 10, "seed 0", SCORES)
    write_questions(path, RECORDS, asked)
    assert read_gold(path, RECORDS, ["food"], "key") == {}
    fill(path, ["yes", "no", "", "Y", "0", "1", "n", "TRUE", "false", "absent"])
    gold = read_gold(path, RECORDS, ["food"], "key")["food"]
    said = dict(zip(asked.rows.tolist(), [1, 0, None, 1, 0, 1, 0, 1, 0, 0], strict=True))
    found = dict(
        zip([*gold.audit_rows, *gold.training_rows], [*gold.audit_truth, *gold.training_truth], strict=True)
    )
    assert found == {row: answer for row, answer in said.items() if answer is not None}
    audited = set(asked.rows[asked.is_audit].tolist())
    assert set(gold.audit_rows) <= audited and not set(gold.training_rows) & audited
    fill(path, ["perhaps"] + [""] * 9)
    with pytest.raises(DataError, match=r"line 2: found 'perhaps' under 'food'"):
        read_gold(path, RECORDS, ["food"], "key")


def test_long_texts_come_back_too(tmp_path: Path) -> None:
    records = make_records(["word " * 40_000, "short"], [0, 1])
    asked = choose_rows_to_ask(records, 2, "key")
    answers = open_answers(tmp_path / "answers.csv", ["food"])
    answers.add(records, asked)
    answers.ask({"food": "?"}, lambda prompt: "yes", lambda line: None, lambda name, said: True)
    assert len(read_gold(tmp_path / "answers.csv", records, ["food"], "key")["food"]) == 2


def test_a_gold_file_of_the_users_is_split_by_hash_and_matched_by_text(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    lines = "\n".join(
        f'"{text}",{"bad" if label == 0 else "good"}' for text, label in zip(TEXTS, LABELS, strict=True)
    )
    path.write_text(f"text,label\n{lines}\n", encoding="utf-8")
    gold = read_gold(path, RECORDS, ["label"], "key")["label"]
    assert len(gold) == 100 and 30 < len(gold.audit_rows) < 70
    assert (RECORDS.labels[gold.audit_rows] == gold.audit_truth).all()
    path.write_text("text,label\nunheard of,bad\n", encoding="utf-8")
    with pytest.raises(DataError, match="none of its rows"):
        read_gold(path, RECORDS, ["label"], "key")
    path.write_text("sentence\nx\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column 'id' or 'text'"):
        read_gold(path, RECORDS, ["label"], "key")


def test_answers_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv"
    path.write_text(f'text,food\n"{TEXTS[0]}",yes\n"{TEXTS[1]}",no\n"{TEXTS[0]}",no\n', encoding="utf-8")
    with pytest.raises(DataError, match="line 4: found 'no' under 'food', and another answer stands above"):
        read_gold(path, RECORDS, ["food"], "key")


def test_lines_without_an_id_do_not_answer_for_a_record_without_a_text(tmp_path: Path) -> None:
    texts = RECORDS.texts.copy()
    texts[7] = ""
    records = replace(RECORDS, texts=texts)
    path = tmp_path / "gold.csv"
    path.write_text(f'text,food\n"{texts[3]}",yes\n"{texts[4]}",no\n,no\n', encoding="utf-8")
    gold = read_gold(path, records, ["food"], "key")["food"]
    rows, truth = [*gold.audit_rows, *gold.training_rows], [*gold.audit_truth, *gold.training_truth]
    assert dict(zip(rows, truth, strict=True)) == {3: 1, 4: 0}
