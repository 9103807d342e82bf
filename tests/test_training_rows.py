"""What is written after relabelling can be trained on, whatever the form, and loses nothing else."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from counterpoise.actions.relabel.cascade import Candidate, Decision, Outcome
from counterpoise.actions.relabel.result import RelabelledInstances
from counterpoise.actions.relabel.training_rows import fill_tuples, make_training_rows
from counterpoise.cli import app as cli
from counterpoise.data.exporters import EXPORTERS
from counterpoise.data.instances import Instance, Passage, find_form, format_instance, read_instances
from tests.test_relabel_retrieval import INSTANCES

Row = dict[str, Any]


def decide(path: Path, gone: dict[str, Outcome]) -> tuple[RelabelledInstances, list[Row]]:
    """Decisions on negatives by their texts, and the rows that are written."""
    done = decide_all(list(read_instances(path)), gone)
    form = find_form(path)
    rows = [
        dict(row)
        for one in make_training_rows(done, EXPORTERS.find(form)).instances
        for row in format_instance(one, form)
    ]
    return done, rows


def decide_all(instances: list[Instance], gone: dict[str, Outcome]) -> RelabelledInstances:
    decisions = {
        place: [
            Decision(place, Candidate(passage), gone[passage.full_text], "as the test has it")
            for passage in {one.full_text: one for one in instance.negatives}.values()
            if passage.full_text in gone
        ]
        for place, instance in enumerate(instances)
    }
    return RelabelledInstances(
        before=instances,
        sources=[""] * len(instances),
        decisions={place: some for place, some in decisions.items() if some},
        positives=[],
        audits=[],
        meters=[],
        ambiguous=frozenset(),
        estimates=None,
        is_cut=False,
        tokens=0,
    )


def write(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def triplet(negative: str, positive: str = "flour", **fields: Any) -> Row:
    return {"anchor": "what is bread", "positive": positive, "negative": negative, **fields}


def test_a_relabelled_triplet_becomes_a_row_of_the_new_positive(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [triplet("rain", id=1), triplet("dough", id=2), triplet("snow", id=3)])
    done, rows = decide(path, {"dough": Outcome.RELABEL})
    assert rows == [triplet("rain", id=1), triplet("rain", "dough", id=2), triplet("snow", id=3)]
    made = make_training_rows(done, EXPORTERS.find("sentence_transformers"))
    assert made.as_dict()["rows_added"] == 1 and made.as_dict()["rows_that_repeat"] == 1
    assert made.sentence.startswith("Rows: 3 written; 1 added for relabelled passages; 1 filled with")


def test_a_dropped_triplet_leaves_no_null_and_no_line_twice(tmp_path: Path) -> None:
    given = [triplet(negative, positive) for negative in ("rain", "dough") for positive in ("flour", "yeast")]
    _, rows = decide(write(tmp_path / "t.jsonl", given), {"dough": Outcome.DROP})
    assert rows == given[:2]


def test_a_query_without_negatives_is_left_out_and_counted(tmp_path: Path) -> None:
    other = {"anchor": "what is rain", "positive": "water", "negative": "flour"}
    path = write(tmp_path / "t.jsonl", [triplet("dough"), other])
    done, rows = decide(path, {"dough": Outcome.RELABEL})
    assert rows == [other]
    said = make_training_rows(done, EXPORTERS.find("sentence_transformers")).sentence
    assert "1 left out, since their query has no negative left" in said
    assert "1 relabelled passages without a row" in said


def test_tuples_keep_their_columns_and_are_filled_from_other_rows_of_the_query_first(tmp_path: Path) -> None:
    def make(positive: str, *negatives: str) -> Row:
        return {
            "query": "what is bread",
            "answer": positive,
            **{f"negative_{place}": text for place, text in enumerate(negatives, start=1)},
            "source": "web",
        }

    path = write(tmp_path / "n.jsonl", [make("flour", "rain", "dough"), make("yeast", "snow", "hail")])
    _, rows = decide(path, {"dough": Outcome.RELABEL})
    assert rows == [
        make("flour", "rain", "snow"),
        make("dough", "rain", "hail"),
        make("yeast", "snow", "hail"),
    ]
    _, alone = decide(write(tmp_path / "a.jsonl", [make("flour", "rain", "dough")]), {"dough": Outcome.DROP})
    assert alone == [make("flour", "rain", "rain")]


def test_a_null_that_was_there_before_is_filled_and_other_rows_stay_as_they_stood(tmp_path: Path) -> None:
    lines = [
        '{"anchor":"a","positive":"b","negative_1":"c","negative_2":null}',
        '{"anchor":"x",  "positive":"y","negative_1":"z","negative_2":"w"}',
    ]
    path = tmp_path / "n.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    _, rows = decide(path, {})
    assert rows == [{**json.loads(lines[0]), "negative_2": "c"}, json.loads(lines[1])]


@pytest.mark.parametrize(
    ("positives", "negatives", "name"),
    [("positive_passages", "negative_passages", "docid"), ("positives", "negatives", "id")],
)
def test_a_grouped_row_keeps_a_negative_or_is_left_out(
    positives: str, negatives: str, name: str, tmp_path: Path
) -> None:
    def make(number: int, *texts: str) -> Row:
        return {
            "query_id": f"q{number}",
            "query": f"query {number}",
            positives: [{name: "p", "title": "", "text": "flour"}],
            negatives: [{name: text, "text": text} for text in texts],
        }

    given = [make(0, "rain", "dough"), make(1, "dough"), make(1, "snow"), make(2, "dough"), make(3)]
    done, rows = decide(write(tmp_path / "g.jsonl", given), {"dough": Outcome.RELABEL})
    assert [[one["text"] for one in row[negatives]] for row in rows] == [["rain"], ["snow"], ["snow"], []]
    assert [len(row[positives]) for row in rows] == [2, 2, 1, 1] and rows[-1] == given[-1]
    assert make_training_rows(done, EXPORTERS.find(find_form(tmp_path / "g.jsonl"))).n_left_out == 1
    # A table would make the title of one that has none null beside the others.
    assert {tuple(one) for row in rows for one in row[positives]} == {(name, "title", "text")}


def test_flag_embedding_keeps_a_negative_and_scores_go_with_their_passages(tmp_path: Path) -> None:
    row = {"query": "q", "pos": ["a"], "neg": ["b", "c"], "pos_scores": [0.9], "neg_scores": [0.8, 0.1]}
    path = write(tmp_path / "f.jsonl", [row, {**row, "query": "other", "neg": ["b"], "neg_scores": [0.7]}])
    _, rows = decide(path, {"b": Outcome.RELABEL})
    assert rows == [{**row, "pos": ["a", "b"], "neg": ["c"], "pos_scores": [0.9, 0.8], "neg_scores": [0.1]}]


def test_whatever_is_decided_rows_train_and_nothing_else_is_lost(tmp_path: Path) -> None:
    for seed in range(60):
        turn = random.Random(seed)
        n_slots, path = turn.choice([1, 1, 2, 4]), tmp_path / f"{seed}.jsonl"
        names = ["negative"] if n_slots == 1 else [f"negative_{place + 1}" for place in range(n_slots)]
        given = [
            {"anchor": f"q{query}", "positive": f"p{query}{turn.randrange(2)}", "row": place}
            | {name: f"n{query}{turn.randrange(6)}" for name in names}
            for place, query in enumerate(turn.choices(range(5), k=30))
        ]
        gone = {
            f"n{query}{one}": turn.choice([Outcome.RELABEL, Outcome.DROP])
            for query in range(5)
            for one in range(6)
            if turn.random() < turn.choice([0.2, 0.6])
        }
        done, rows = decide(write(path, given), gone)
        assert all(isinstance(row[name], str) for row in rows for name in names)
        assert not any(row[name] in gone for row in rows for name in names)
        touched = [row for row in given if any(row[name] in gone for name in names)]
        assert [row for row in rows if row in given] == [row for row in given if row not in touched]
        said = [(row["positive"], frozenset(row[name] for name in names)) for row in rows if row not in given]
        assert len(set(said)) == len(said)
        left = {row["anchor"] for row in given for name in names if row[name] not in gone}
        before = {(row["anchor"], row["positive"]) for row in given if row["anchor"] in left}
        before |= {
            (row["anchor"], row[name])
            for row in given
            for name in names
            if gone.get(str(row[name])) is Outcome.RELABEL and row["anchor"] in left
        }
        assert {(row["anchor"], row["positive"]) for row in rows} == before
        assert [row["row"] for row in rows] == sorted(row["row"] for row in rows)
        assert len(make_training_rows(done, EXPORTERS.find("sentence_transformers")).instances) == len(rows)


def test_mined_rows_of_texts_have_as_many_negatives_each() -> None:
    def make(number: int, n: int) -> Instance:
        found = tuple(Passage(f"{number} {one}", f"{number} {one}") for one in range(n))
        return Instance(f"q{number}", f"q{number}", (Passage("p", "p"),), found)

    made, n_left_out = fill_tuples(
        [make(0, 3), make(1, 2), make(2, 0)], EXPORTERS.find("sentence_transformers")
    )
    assert [[one.text for one in each.negatives] for each in made] == [
        ["0 0", "0 1", "0 2"],
        ["1 0", "1 1", "1 0"],
    ]
    assert n_left_out == 1


@pytest.mark.assets
def test_triplets_of_one_pair_are_mined_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [triplet(text) for text in ("rain fell", "snow fell", "wind blew")] + [
        triplet("rain fell", "yeast")
    ]
    path = write(tmp_path / "t.jsonl", given)
    arguments = ["mine", str(path), "-o", str(tmp_path / "out.jsonl"), "--negatives", "2", "--band", "1"]
    assert cli.execute([*arguments, "--form", "sentence_transformers"]) == 0
    out = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["positive"] for line in out] == ["flour", "yeast"]
    assert "2 rows differed from another one in their negatives only" in capsys.readouterr().out


def check_tevatron(rows: list[Row]) -> None:
    """What Tevatron's `TrainDataset` asks of a row, in `src/tevatron/retriever/dataset.py` of July 2026.

    It joins a title and a text with a blank where the list has a field `title`, takes a positive by a remainder, and
    draws negatives at random: so neither list may be empty, no text or title null, and a title in all passages of a
    list or in none, since a table fills in null for what is missing.
    """
    titled = {name: {"title" in one for row in rows for one in row[name]} for name in _LISTS}
    for row in rows:
        assert isinstance(row["query"], str) and isinstance(row["query_id"], str)
        for name in _LISTS:
            assert row[name] and len(titled[name]) == 1
            assert all(isinstance(one["text"], str) and isinstance(one["docid"], str) for one in row[name])
            assert all(isinstance(one.get("title", ""), str) for one in row[name])


_LISTS = ("positive_passages", "negative_passages")


def test_relabelled_rows_are_as_tevatron_reads_them(tmp_path: Path) -> None:
    given = [dict(row) for one in INSTANCES for row in format_instance(one, "tevatron")]
    for row in given:
        row["negative_passages"] = [{**one, "score": 0.5} for one in row["negative_passages"]]
        row["positive_passages"] = [
            {name: one[name] for name in ("docid", "text")} for one in row["positive_passages"]
        ]
    gone = {one.negatives[0].full_text: Outcome.RELABEL for one in INSTANCES}
    gone |= {passage.full_text: Outcome.DROP for passage in INSTANCES[0].negatives[1:]}
    _, rows = decide(write(tmp_path / "g.jsonl", given), gone)
    assert len(rows) == len(given) - 1
    check_tevatron(rows)


def test_relabelled_ids_are_as_tevatron_reads_them(tmp_path: Path) -> None:
    """Its newer form names passages by id: neither list may be empty, and each id must be in the corpus."""
    passages = {name: Passage(name, f"text {name}") for name in ("p", "a", "b", "c")}
    row = {"query_id": "q", "query_text": "what", "positive_document_ids": ["p"]}
    path = write(tmp_path / "i.jsonl", [{**row, "negative_document_ids": ["a", "b"]}])
    instances = list(read_instances(path, "tevatron_ids", corpus=passages))
    done = decide_all(instances, {"text a": Outcome.RELABEL})
    (made,) = make_training_rows(done, EXPORTERS.find("tevatron_ids")).instances
    assert format_instance(made, "tevatron_ids") == [
        {**row, "positive_document_ids": ["p", "a"], "negative_document_ids": ["b"]}
    ]


@pytest.mark.assets
def test_mine_writes_no_null_into_columns_of_texts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [dict(row) for one in INSTANCES[:4] for row in format_instance(one, "tevatron")]
    rows[0]["positive_passages"] = rows[0]["positive_passages"] * 1 + rows[0]["negative_passages"][:5]
    path = write(tmp_path / "given.jsonl", rows)
    arguments = ["mine", str(path), "-o", str(tmp_path / "out.jsonl"), "--negatives", "25", "--band", "1"]
    assert cli.execute([*arguments, "--form", "sentence_transformers"]) == 0
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len({tuple(row) for row in out}) == 1 and all(
        isinstance(text, str) for row in out for text in row.values()
    )
