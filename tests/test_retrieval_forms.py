"""The forms in which retrieval data comes: what each says, what is written back, and what is said of the rest."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterpoise.cli import execute
from counterpoise.core.errors import DataError
from counterpoise.core.events import listening
from counterpoise.data.instances import (
    Instance,
    Passage,
    find_form,
    format_instance,
    read_beir,
    read_instances,
    write_instances,
)
from counterpoise.tasks.retrieval.job import RetrievalJob
from counterpoise.tasks.retrieval.mining import list_queries
from counterpoise.tasks.retrieval.steps import load_corpus, load_gold, load_instances
from tests.test_relabel_retrieval import INSTANCES, relabel

Row = dict[str, Any]

QUESTION, ANSWER, WRONG = "What is bread made of?", "Bread is made of flour.", "A bicycle has two wheels."


def write_lines(path: Path, rows: list[Row]) -> Path:
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n\n")
    return path


def read_lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()]


FORMS: list[tuple[str, list[Row], str, list[str], list[str]]] = [
    # name, rows, form, positives and negatives of the first query
    ("pair", [{"question": QUESTION, "answer": ANSWER}], "sentence_transformers", [ANSWER], []),
    (
        "hard_negative",
        [{"anchor": QUESTION, "positive": ANSWER, "hard_negative": WRONG}],
        "sentence_transformers",
        [ANSWER],
        [WRONG],
    ),
    (
        "n-tuple, scored",
        [
            {
                "anchor": QUESTION,
                "positive": ANSWER,
                "negative_1": WRONG,
                "negative_2": "b",
                "scores": [0.9, 0.2, 0.1],
            }
        ],
        "sentence_transformers",
        [ANSWER],
        [WRONG, "b"],
    ),
    (
        "labelled pairs",
        [
            {"query": QUESTION, "answer": ANSWER, "label": 1, "source": "web"},
            {"query": "Who?", "answer": "She.", "label": 1, "source": "web"},
            {"query": QUESTION, "answer": WRONG, "label": 0, "source": "web"},
        ],
        "sentence_transformers",
        [ANSWER],
        [WRONG],
    ),
    (
        "labelled pairs, other spellings",
        [
            {"sentence1": QUESTION, "sentence2": ANSWER, "label": True},
            {"sentence1": QUESTION, "sentence2": WRONG, "label": False},
        ],
        "sentence_transformers",
        [ANSWER],
        [WRONG],
    ),
    (
        "graded pairs",
        [
            {"query": QUESTION, "passage": ANSWER, "score": 3.0},
            {"query": QUESTION, "passage": WRONG, "score": -1.0},
        ],
        "sentence_transformers",
        [ANSWER],
        [WRONG],
    ),
    (
        "labelled list",
        [{"query": QUESTION, "answer": [WRONG, ANSWER, "b"], "labels": [0, 1, 0]}],
        "sentence_transformers",
        [ANSWER],
        [WRONG, "b"],
    ),
    (
        "lists",
        [{"query": QUESTION, "positive": [ANSWER, "Flour."], "negative": [WRONG, "b"]}],
        "sentence_transformers",
        [ANSWER, "Flour."],
        [WRONG, "b"],
    ),
    (
        "FlagEmbedding",
        [
            {
                "query": QUESTION,
                "pos": [ANSWER, "Flour."],
                "neg": [WRONG],
                "pos_scores": [0.9, 0.8],
                "neg_scores": [0.1],
                "prompt": "Find it: ",
                "type": "normal",
            }
        ],
        "flag_embedding",
        [ANSWER, "Flour."],
        [WRONG],
    ),
    (
        "FlagEmbedding without negatives",
        [{"query": QUESTION, "pos": [ANSWER]}],
        "flag_embedding",
        [ANSWER],
        [],
    ),
]


@pytest.mark.parametrize(
    ("rows", "form", "positives", "negatives"), [one[1:] for one in FORMS], ids=[one[0] for one in FORMS]
)
def test_forms_are_understood_and_written_back_as_they_were(
    tmp_path: Path, rows: list[Row], form: str, positives: list[str], negatives: list[str]
) -> None:
    source = write_lines(tmp_path / "in.jsonl", rows)
    assert find_form(source) == form
    notes: list[str] = []
    instances = list(read_instances(source, notes=notes))
    assert not notes
    assert [one.text for one in instances[0].positives] == positives
    assert [one.text for one in instances[0].negatives] == negatives
    assert len({one.query for one in instances}) == len(instances)
    write_instances(tmp_path / "out.jsonl", instances, form)
    # Rows of one query come together, else everything is as it was, the order of the fields among it.
    expected = sorted(rows, key=lambda row: [one.query for one in instances].index(next(iter(row.values()))))
    assert [list(row.items()) for row in read_lines(tmp_path / "out.jsonl")] == [
        list(row.items()) for row in expected
    ]


def move(instance: Instance) -> Instance:
    """The first negative becomes a positive, as relabelling does it."""
    first, *rest = instance.negatives
    return replace(instance, positives=(*instance.positives, first), negatives=tuple(rest))


def test_what_goes_with_a_passage_moves_with_it(tmp_path: Path) -> None:
    by_name = {
        name: list(read_instances(write_lines(tmp_path / "in.jsonl", rows))) for name, rows, *_ in FORMS
    }
    (row,) = format_instance(move(by_name["FlagEmbedding"][0]), "flag_embedding")
    assert row["pos"] == [ANSWER, "Flour.", WRONG] and row["neg"] == []
    assert row["pos_scores"] == [0.9, 0.8, 0.1] and row["neg_scores"] == []
    assert row["prompt"] == "Find it: " and row["type"] == "normal"
    rows = format_instance(move(by_name["n-tuple, scored"][0]), "sentence_transformers")
    assert [one["positive"] for one in rows] == [ANSWER, WRONG]
    assert [one["scores"] for one in rows] == [[0.9, 0.1], [0.2, 0.1]]
    (row,) = format_instance(move(by_name["labelled list"][0]), "sentence_transformers")
    assert dict(zip(row["answer"], row["labels"], strict=True)) == {WRONG: 1, ANSWER: 1, "b": 0}
    rows = format_instance(move(by_name["labelled pairs"][0]), "sentence_transformers")
    assert [(one["answer"], one["label"], one["source"]) for one in rows] == [
        (ANSWER, 1, "web"),
        (WRONG, 1, "web"),
    ]
    dropped = replace(by_name["labelled pairs"][0], negatives=(Passage("n", "new"),))
    rows = format_instance(dropped, "sentence_transformers")
    assert [(one["answer"], one["label"]) for one in rows] == [(ANSWER, 1), ("new", 0)]
    rows = format_instance(move(by_name["graded pairs"][0]), "sentence_transformers")
    assert [(one["passage"], one["score"]) for one in rows] == [(ANSWER, 3.0), (WRONG, 1.0)]


def test_ids_of_the_users_are_kept_and_used(tmp_path: Path) -> None:
    row = {
        "query_id": 7,
        "query": QUESTION,
        "positive": ANSWER,
        "positive_id": "d1",
        "negative": WRONG,
        "negative_id": 3,
    }
    (one,) = read_instances(write_lines(tmp_path / "in.jsonl", [row]))
    assert (one.query_id, one.positives[0].id, one.negatives[0].id) == ("7", "d1", "3")
    assert format_instance(one, "sentence_transformers") == [row]
    (changed,) = format_instance(replace(one, negatives=(Passage("9", "new"),)), "sentence_transformers")
    assert (changed["negative"], changed["negative_id"], changed["query_id"]) == ("new", "9", 7)


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ({"query": "q", "answer": "a", "score": 0.83}, "line 1: 'score' is 0.83"),
        ({"query": "q", "positive": "a", "label": "nq"}, "line 1: 'label' is 'nq'"),
        ({"sentence1": "q", "sentence2": "a", "label": 2}, "line 1: 'label' is 2"),
        ({"query": "q", "docs": ["a", "b"], "labels": [1]}, "'labels' holds 1 judgements of the 2 passages"),
        ({"query": "q", "pos": [1], "neg": []}, "'pos' is int, not a text"),
        ({"query": "q", "answer": ["a", "a"], "labels": [1, 0]}, "judged twice"),
    ],
)
def test_what_is_no_judgement_is_refused_in_one_line(tmp_path: Path, row: Row, found: str) -> None:
    with pytest.raises(DataError, match=found):
        list(read_instances(write_lines(tmp_path / "in.jsonl", [row])))


def test_pairs_judged_twice_name_the_second_line(tmp_path: Path) -> None:
    rows = [{"query": "q", "answer": "a", "label": label} for label in (1, 1, 0)]
    with pytest.raises(DataError, match="line 5: the passage 'a' is judged twice"):
        list(read_instances(write_lines(tmp_path / "in.jsonl", rows)))


def test_fields_that_look_like_passages_are_named(tmp_path: Path) -> None:
    row = {
        "anchor": QUESTION,
        "positive": ANSWER,
        "distractor": WRONG,
        "bm25_neg_texts": [WRONG],
        "title": "A title of more words than one",
        "other": "Wheat is ground to flour in mills.",
        "prompt": "Find the passage that answers the question.",
    }
    source = write_lines(tmp_path / "in.jsonl", [row, row])
    notes: list[str] = []
    list(read_instances(source, notes=notes))
    assert [note.split("'")[1] for note in notes] == ["distractor", "bm25_neg_texts", "other"]
    assert all("2 lines" in note for note in notes)
    said: list[str] = []
    refusal = r"holds no negatives, so there is nothing to judge; .*'distractor'"
    with listening(lambda event: said.append(event.data["message"])), pytest.raises(DataError, match=refusal):
        load_instances(RetrievalJob.make(data=str(source)))
    assert said == notes


def test_relabel_without_negatives_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_lines(tmp_path / "in.jsonl", [{"anchor": QUESTION, "positive": ANSWER}])
    assert execute(["relabel", str(source), "--model", "http://127.0.0.1:9/v1"]) == 2
    assert "holds no negatives" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_passages_named_by_id_are_looked_up(tmp_path: Path) -> None:
    row = {
        "query_id": "q1",
        "query_text": QUESTION,
        "query_image": None,
        "positive_document_ids": ["d1"],
        "negative_document_ids": [2, "gone"],
        "source": "x",
    }
    source = write_lines(tmp_path / "in.jsonl", [row])
    write_lines(tmp_path / "corpus.jsonl", [{"docid": "d1", "text": ANSWER}, {"docid": 2, "text": WRONG}])
    with pytest.raises(DataError, match="names its passages by id only: name their corpus too"):
        list(read_instances(source))
    corpus = {one.id: one for one in load_corpus(str(tmp_path / "corpus.jsonl"))}
    notes: list[str] = []
    (one,) = read_instances(source, corpus=corpus, notes=notes)
    assert ([each.text for each in one.positives], [each.text for each in one.negatives]) == (
        [ANSWER],
        [WRONG],
    )
    assert notes == [
        "in.jsonl: 1 passage is named that the corpus does not have (such as 'gone') and left out"
    ]
    (written,) = format_instance(move(one), "tevatron_ids")
    assert written["positive_document_ids"] == ["d1", 2] and written["negative_document_ids"] == []
    assert list(written) == list(row)


QRELS = {
    "test.tsv": "query-id\tcorpus-id\tscore\nq0\td0\t1\n\nq1\td1\t2\nq1\td0\t0\nq1\t7\t-1\n\n",
    "no_header.tsv": "q0\td0\t1\nq1\td1\t2\nq1\td0\t0\nq1\t7\t-1\n",
    "trec.txt": "q0 0 d0 1\nq1 0 d1 2\nq1 0 d0 0\nq1 0 7 -1\n",
    "trec_tabs.qrels": "q0\t0\td0\t1\nq1\t0\td1\t2\nq1\t0\td0\t0\nq1\t0\t7\t-1\n",
    "commas.csv": "corpus-id,score,query-id\nd0,1,q0\nd1,2,q1\nd0,0,q1\n7,-1,q1\n",
    "floats.tsv": "query-id\tcorpus-id\tscore\nq0\td0\t1.0\nq1\td1\t2.0\nq1\td0\t0.0\nq1\t7.0\t-1.0\n",
    "lines.jsonl": "".join(
        json.dumps({"query-id": query, "corpus-id": passage, "score": score}) + "\n"
        for query, passage, score in (("q0", "d0", 1), ("q1", "d1", 2), ("q1", "d0", 0), ("q1", 7, -1))
    ),
}


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    corpus: list[Row] = [
        {"_id": "d0", "title": "", "text": "Paris"},
        {"_id": "d1", "text": ANSWER},
        {"_id": 7, "text": None},
    ]
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", [{"_id": "q0", "text": "capital"}, {"_id": "q1", "text": QUESTION}])
    for name, text in QRELS.items():
        (folder / "qrels" / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", list(QRELS))
def test_judgements_in_every_form_say_the_same(collection: Path, name: str) -> None:
    notes: list[str] = []
    found = read_beir(collection, name.split(".")[0], notes=notes)
    assert found.qrels == {"q0": {"d0": 1}, "q1": {"d1": 2, "d0": 0, "7": -1}}
    assert not notes
    assert [[one.id for one in each.positives] for each in list_queries(found)] == [["d0"], ["d1"]]
    assert load_gold(str(collection / "qrels" / name))["q1", "d0"] is False


def test_collections_of_the_hub_and_their_instructions(tmp_path: Path, collection: Path) -> None:
    hub = tmp_path / "hub"
    tables: dict[str, list[Row]] = {
        "corpus/test-00000-of-00002": [{"id": "d0", "title": "", "text": "Paris"}],
        "corpus/test-00001-of-00002": [{"id": "d1", "title": "", "text": ANSWER}],
        "queries/test-00000-of-00001": [{"id": "q0", "text": "capital"}, {"id": "q1", "text": QUESTION}],
        "default/test-00000-of-00002": [{"query-id": "q0", "corpus-id": "d0", "score": 1}],
        "default/test-00001-of-00002": [{"query-id": "q1", "corpus-id": "d1", "score": 1}],
        "instruction/test-00000-of-00001": [{"query-id": "q1", "instruction": "Name the cereal."}],
    }
    for name, table in tables.items():
        (hub / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(table), hub / f"{name}.parquet")
    found = read_beir(hub)
    assert found.qrels == {"q0": {"d0": 1}, "q1": {"d1": 1}}
    assert [one.query for one in list_queries(found)] == ["capital", f"{QUESTION} Name the cereal."]
    assert len(load_corpus(str(hub))) == 2
    shutil.rmtree(collection / "qrels")
    assert len(load_corpus(str(collection))) == 3  # a corpus needs no judgements


@pytest.mark.assets
@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("q1\tghost\t1\n", "1 judgement of a passage that is not in the corpus ('ghost') is left out"),
        (
            "ghost\td1\t1\nghost\td0\t1\n",
            "2 judgements of queries that are not in the queries, such as 'ghost', are left out",
        ),
    ],
)
def test_judgements_that_point_nowhere_are_left_out_and_told(
    collection: Path, tmp_path: Path, line: str, note: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = collection / "qrels" / "test.tsv"
    path.write_text(path.read_text() + line)
    notes: list[str] = []
    assert read_beir(collection, "test", notes=notes).qrels["q0"] == {"d0": 1}
    assert notes == [f"test.tsv: {note}"]
    with pytest.raises(DataError, match=r"test\.tsv: line 8: .* ghost is judged and not in the"):
        read_beir(collection, "test", is_strict=True)
    command = ["mine", str(collection), "-o", str(tmp_path / "out.jsonl"), "--split", "test", "--band", "1"]
    assert execute([*command, "--strict"]) == 2
    capsys.readouterr()
    assert execute(command) == 0
    assert note in capsys.readouterr().out


def test_instances_in_a_list_or_in_parquet(tmp_path: Path) -> None:
    rows = [{"query": QUESTION, "pos": [ANSWER], "neg": [WRONG]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    (tmp_path / "in.json").write_text(json.dumps(rows, indent=1))
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(json.dumps(rows[0]).encode()))
    for name in ("in.parquet", "in.json", "in.jsonl.gz"):
        instances = list(read_instances(tmp_path / name))
        assert [(one.positives[0].text, one.negatives[0].text) for one in instances] == [(ANSWER, WRONG)]
    write_instances(tmp_path / "out.parquet", read_instances(tmp_path / "in.parquet"), "flag_embedding")
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == rows
    (tmp_path / "in.zip").write_bytes(b"PK\x03\x04" + bytes(30))
    with pytest.raises(DataError, match="is a zip archive, whatever its name; unpack it"):
        list(read_instances(tmp_path / "in.zip"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"query": "a"}\n{"query": "caf\xe9"}\n')
    with pytest.raises(DataError, match="is not UTF-8: byte 0xe9 in line 2"):
        find_form(tmp_path / "latin.jsonl") and list(read_instances(tmp_path / "latin.jsonl"))


def write_pairs(instance: Instance) -> list[Row]:
    sides = [(one, 1) for one in instance.positives] + [(one, 0) for one in instance.negatives]
    return [
        {"query": instance.query, "answer": one.text, "label": label, "lang": "en"} for one, label in sides
    ]


def write_list(instance: Instance) -> list[Row]:
    rows = write_pairs(instance)
    texts, labels = [row["answer"] for row in rows], [row["label"] for row in rows]
    return [{"query": instance.query, "answer": texts, "labels": labels, "lang": "en"}]


def write_flag(instance: Instance) -> list[Row]:
    texts = [[one.text for one in side] for side in (instance.positives, instance.negatives)]
    scores = [[float(len(text)) for text in side] for side in texts]
    row = {"query": instance.query, "pos": texts[0], "neg": texts[1], "lang": "en"}
    return [{**row, "pos_scores": scores[0], "neg_scores": scores[1]}]


def write_lists(instance: Instance) -> list[Row]:
    texts = [[one.text for one in side] for side in (instance.positives, instance.negatives)]
    return [{"anchor": instance.query, "positive": texts[0], "negatives": texts[1], "lang": "en"}]


@pytest.mark.parametrize("write", [write_pairs, write_list, write_flag, write_lists])
def test_forms_are_relabelled_and_written_as_they_came(
    tmp_path: Path, write: Callable[[Instance], list[Row]]
) -> None:
    """What judges find is the same in every form, and the file that is written says it in the given one."""
    expected = [
        (one.query, {each.text for each in one.positives}, {each.text for each in one.negatives})
        for one in relabel(INSTANCES).after
    ]
    source = write_lines(tmp_path / "in.jsonl", [row for one in INSTANCES for row in write(one)])
    instances = load_instances(RetrievalJob.make(data=str(source)))
    done = relabel(instances)
    form = find_form(source)
    write_instances(tmp_path / "out.jsonl", done.after, form)
    written = read_lines(tmp_path / "out.jsonl")
    assert all(set(row) == set(write(INSTANCES[0])[0]) and row["lang"] == "en" for row in written)
    again = list(read_instances(tmp_path / "out.jsonl"))
    found = [
        (one.query, {each.text for each in one.positives}, {each.text for each in one.negatives})
        for one in again
    ]
    assert found == expected
    if write is write_flag:
        scores = [(row["pos"] + row["neg"], row["pos_scores"] + row["neg_scores"]) for row in written]
        assert all([len(text) for text in texts] == said for texts, said in scores)
