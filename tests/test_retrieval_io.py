"""Training instances and collections come back as they were; what is broken is said with its line."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from counterpoise.core.errors import DataError, JobError
from counterpoise.data.instances import (
    Instance,
    Passage,
    format_instance,
    list_splits,
    read_beir,
    read_instances,
    read_passages,
    write_beir,
    write_instances,
)
from counterpoise.tasks.retrieval.steps import load_gold

TEVATRON: list[dict[str, Any]] = [
    {
        "query_id": 17,
        "query": "who wrote it?",
        "positive_passages": [{"docid": "p1", "text": "She did.", "title": "Author"}],
        "negative_passages": [
            {"docid": 4, "title": "", "text": "No one knows.", "score": 1e-05},
            {"docid": "n2", "text": "Lone \ud800 surrogate"},
        ],
        "subset": "nq",
        "answers": ["she", None, {"a": [1, 2.5]}],
    },
    {"subset": None, "query_id": "b", "query": "", "positive_passages": [], "negative_passages": []},
]
RLHN: list[dict[str, Any]] = [
    {
        "query_id": "1",
        "query": "q",
        "positives": [{"id": "p", "title": None, "text": "yes"}],
        "negatives": [{"id": "n", "title": "", "text": "no"}],
        "stage1_gpt4o_mini": None,
    }
]
TUPLES: list[list[dict[str, Any]]] = [
    [{"anchor": "q", "positive": "yes", "negative": "no"}, {"anchor": "r", "positive": "a", "negative": "b"}],
    [{"query": "q", "answer": "yes", "negative_1": "no", "negative_2": "never", "source": "web"}],
    [{"anchor": "q", "positive": "yes", **{f"negative_{n}": str(n) for n in range(1, 12)}}],
    [{"anchor": "q", "positive": "yes", "negative_1": "no", "negative_2": None}],
    [{"query": "q", "positive": "yes", "negatives": ["no", "never"]}],
    [{"anchor": "q", "positive": "yes"}],
]


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        path.write_text(text, encoding="utf-8")
    return path


def read_lines(path: Path) -> list[str]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    # Compared as text: the order of the fields counts as well.
    return [json.dumps(json.loads(line)) for line in text.splitlines()]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
@pytest.mark.parametrize(
    ("form", "rows"),
    [("tevatron", TEVATRON), ("rlhn", RLHN), *(("sentence_transformers", rows) for rows in TUPLES)],
)
def test_round_trip_keeps_every_field_and_its_order(
    tmp_path: Path, form: str, rows: list[dict[str, Any]], ending: str
) -> None:
    source = write_lines(tmp_path / f"in.{ending}", rows)
    target = tmp_path / f"out.{ending}"
    assert write_instances(target, read_instances(source), form) == len(rows)
    assert read_lines(target) == read_lines(source)
    assert list(read_instances(source)) == list(read_instances(target, form))


@pytest.mark.data
def test_published_sample_comes_back_byte_for_byte(data_dir: Path, tmp_path: Path) -> None:
    source = data_dir / "rlhn_sample" / "fiqa.jsonl.gz"
    write_instances(tmp_path / "out.jsonl", read_instances(source), "rlhn")
    assert read_lines(tmp_path / "out.jsonl") == read_lines(source)
    assert sum(len(each.negatives) for each in read_instances(source)) == 25 * 15


def test_form_changes_keep_texts_ids_and_unknown_fields(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", TEVATRON[:1])
    write_instances(tmp_path / "out.jsonl", read_instances(source), "rlhn")
    (row,) = map(json.loads, read_lines(tmp_path / "out.jsonl"))
    assert row["positives"] == [{"id": "p1", "title": "Author", "text": "She did."}]
    assert row["negatives"][0] == {"id": "4", "title": "", "text": "No one knows.", "score": 1e-05}
    assert row["query_id"] == 17
    assert row["answers"] == TEVATRON[0]["answers"]
    assert "positive_passages" not in row
    write_instances(tmp_path / "tuples.jsonl", read_instances(source), "sentence_transformers")
    (row,) = map(json.loads, read_lines(tmp_path / "tuples.jsonl"))
    assert row["anchor"] == "who wrote it?"
    assert row["positive"] == "Author She did."
    assert [row["negative_1"], row["negative_2"]] == ["No one knows.", "Lone \ud800 surrogate"]


def test_changed_instance_says_the_change_and_leaves_the_rest_as_it_was(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", TEVATRON[:1])
    (instance,) = read_instances(source)
    first, second = instance.negatives
    moved = replace(instance, positives=(*instance.positives, first), negatives=(second,))
    write_instances(tmp_path / "out.jsonl", [moved], "tevatron")
    (row,) = map(json.loads, read_lines(tmp_path / "out.jsonl"))
    before = TEVATRON[0]
    assert row["positive_passages"] == [*before["positive_passages"], before["negative_passages"][0]]
    assert row["negative_passages"] == before["negative_passages"][1:]
    assert list(row) == list(before)
    retold = replace(instance, positives=(replace(instance.positives[0], text="He did."),))
    write_instances(tmp_path / "out.jsonl", [retold], "tevatron")
    assert "He did." in (tmp_path / "out.jsonl").read_text(encoding="utf-8")


def test_changed_tuple_keeps_its_columns(tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", TUPLES[1])
    (instance,) = read_instances(source)
    first, second = instance.negatives
    moved = replace(instance, positives=(*instance.positives, first), negatives=(second,))
    write_instances(tmp_path / "out.jsonl", [moved], "sentence_transformers")
    rows = [json.loads(line) for line in read_lines(tmp_path / "out.jsonl")]
    assert rows == [
        {"query": "q", "answer": text, "negative_1": "never", "negative_2": None, "source": "web"}
        for text in ("yes", "no")
    ]


def test_reading_and_writing_hold_one_line_at_a_time(tmp_path: Path) -> None:
    def make_instances(n_instances: int) -> Iterator[Instance]:
        for number in range(n_instances):
            passage = Passage(f"p{number}", f"text {number} " * 100)
            yield Instance(f"q{number}", "query", (passage,), (passage,))

    path = tmp_path / "many.jsonl.gz"
    peaks = []
    for n_instances in (300, 3000):
        tracemalloc.start()
        write_instances(path, make_instances(n_instances), "tevatron")
        assert sum(1 for _ in read_instances(path)) == n_instances
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2: is no JSON"),
        ("[1]", "line 2: is no object"),
        ("[" * 100_000, "line 2: is nested too deep"),
        ('{"query_id": "1", "query": "q", "positives": []}', "line 2: 'negatives' is no list of passages"),
        ('{"query_id": "1", "positives": [], "negatives": []}', "line 2: 'query' is missing"),
        (
            '{"query_id": true, "query": "q", "positives": [], "negatives": []}',
            "line 2: 'query_id' is no id",
        ),
        (
            '{"query_id": "1", "query": "q", "positives": [{"id": "1", "text": 3}], "negatives": []}',
            "line 2: 'text' is no text",
        ),
    ],
)
def test_broken_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(RLHN[0]) + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=said):
        list(read_instances(path))


def test_unknown_form_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "in.jsonl", [{"prompt": "x", "completion": "y"}])
    with pytest.raises(DataError, match=r"no known form .* fields prompt, completion"):
        list(read_instances(path))
    with pytest.raises(JobError, match="write one of tevatron"):
        list(read_instances(path, "trec"))
    with pytest.raises(JobError, match="write one of tevatron"):
        write_instances(path, [], "trec")
    with pytest.raises(DataError, match=r"no such file; did you mean 'in\.jsonl'"):
        list(read_instances(tmp_path / "absent.jsonl"))
    whole = gzip.compress(json.dumps(RLHN[0]).encode() * 50)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        list(read_instances(tmp_path / "cut.jsonl.gz"))
    for place in range(10, len(whole) - 8, 3):
        (tmp_path / "hurt.jsonl.gz").write_bytes(whole[:place] + bytes(3) + whole[place + 3 :])
        with pytest.raises(DataError, match=r"damaged|JSON|UTF-8"):
            list(read_instances(tmp_path / "hurt.jsonl.gz"))
    (tmp_path / "latin.jsonl").write_bytes('{"query": "café"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        list(read_instances(tmp_path / "latin.jsonl"))
    packed = bytearray(
        gzip.compress("".join(json.dumps(RLHN[0] | {"n": n}) + "\n" for n in range(999)).encode())
    )
    packed[200:260] = bytes(60)
    path.write_bytes(packed)
    with pytest.raises(DataError, match="cut short or damaged"):
        list(read_instances(path))


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    def fail() -> Iterator[Instance]:
        yield Instance("1", "q", (), ())
        raise RuntimeError

    path = tmp_path / "out.jsonl"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(RuntimeError):
        write_instances(path, fail(), "rlhn")
    assert path.read_text(encoding="utf-8") == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.data
@pytest.mark.parametrize("name", ["cranfield", "scifact"])
def test_collection_round_trip(data_dir: Path, tmp_path: Path, name: str) -> None:
    before = read_beir(data_dir / name)
    write_beir(tmp_path, before, "train")
    after = read_beir(tmp_path, "train")
    assert after == before
    assert list(after.corpus) == list(before.corpus)
    assert read_lines(tmp_path / "corpus.jsonl") == read_lines(data_dir / name / "corpus.jsonl.gz")
    assert read_lines(tmp_path / "queries.jsonl") == read_lines(data_dir / name / "queries.jsonl.gz")
    assert (
        (tmp_path / "qrels" / "train.tsv")
        .read_text(encoding="utf-8")
        .startswith("query-id\tcorpus-id\tscore\n")
    )
    assert list(read_passages(tmp_path / "corpus.jsonl")) == list(before.corpus.values())


def test_broken_collections_are_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "corpus.jsonl", [{"_id": "1", "title": "", "text": "a"}])
    with pytest.raises(DataError, match=r"queries\.jsonl: no such file"):
        read_beir(tmp_path)
    write_lines(tmp_path / "queries.jsonl", [{"_id": "1", "text": "a"}])
    with pytest.raises(DataError, match="no judgements"):
        read_beir(tmp_path)
    (tmp_path / "qrels").mkdir()
    qrels = tmp_path / "qrels" / "dev.tsv"
    qrels.write_text("query-id\tcorpus-id\tscore\n1\t1\t1\n1\t1\t0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 3: query 1 and passage 1 are judged twice"):
        read_beir(tmp_path)
    qrels.write_text("query-id\tcorpus-id\tscore\n1\t1\tmuch\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2: is no judgement"):
        read_beir(tmp_path)
    for score in ("0.5", "inf", "nan"):
        qrels.write_text(f"1\t1\t{score}\n", encoding="utf-8")
        with pytest.raises(DataError, match=f"line 1: the score {score} is no whole number"):
            read_beir(tmp_path)
    qrels.write_text('1\t"' + 200_000 * "a", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1: cannot be read \(field larger"):
        read_beir(tmp_path)
    qrels.write_text("1\t1\t-1.0\n", encoding="utf-8")
    assert read_beir(tmp_path).qrels == {"1": {"1": -1}}
    qrels.write_text("1\t1\t2\n", encoding="utf-8")
    assert read_beir(tmp_path).qrels == {"1": {"1": 2}}
    (tmp_path / "qrels" / "test.tsv").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"split ''; there are dev, test"):
        read_beir(tmp_path)
    assert list(list_splits(tmp_path)) == ["dev", "test"]
    write_lines(tmp_path / "corpus.jsonl", [{"_id": 1, "text": "a"}, {"_id": "1", "text": "b"}])
    with pytest.raises(DataError, match="'1' appears twice"):
        read_beir(tmp_path, "dev")


@pytest.mark.parametrize(
    "columns", [("negative",), ("negative_0", "negative_1"), ("neg", "neg_2"), ("negative_1", "negative_2")]
)
def test_a_table_keeps_its_columns_where_negatives_are_gone(tmp_path: Path, columns: tuple[str, ...]) -> None:
    row = {"anchor": "q", "positive": "p"} | {name: f"text {name}" for name in columns}
    path = tmp_path / "triples.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    instance = next(read_instances(path))
    fewer = replace(instance, negatives=instance.negatives[:-1])
    assert format_instance(fewer, "sentence_transformers") == [{**row, columns[-1]: None}]


def test_gold_may_be_packed_and_have_a_header(tmp_path: Path) -> None:
    path = tmp_path / "gold.csv.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("query,passage,score\nq,a,2\nq,b,0\n")
    assert load_gold(str(path)) == {("q", "a"): True, ("q", "b"): False}
