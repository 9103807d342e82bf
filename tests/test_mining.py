"""From queries with positives to training instances, by the API and the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import counterpoise
from counterpoise.cli import execute
from counterpoise.core.errors import DataError, JobError
from counterpoise.data.encoders import EncoderPair, open_encoders
from counterpoise.data.instances import (
    Collection,
    Instance,
    Passage,
    Query,
    read_beir,
    read_instances,
    write_beir,
    write_instances,
)
from counterpoise.tasks.retrieval.candidate_search import WAYS
from counterpoise.tasks.retrieval.encoder_audit import LEAST_ITEMS, audit_encoder, list_asked
from counterpoise.tasks.retrieval.mining import list_queries
from tests.made_up import ENCODER, write_sentences
from tests.test_bias_tests import PASSAGES


def make_collection() -> Collection:
    texts, _ = write_sentences(30, 30)
    corpus = {f"p{place}": Passage(f"p{place}", text) for place, text in enumerate(texts)}
    queries = {f"q{place}": Query(f"q{place}", texts[place], {"kind": "made"}) for place in range(8)}
    qrels = {f"q{place}": {f"p{place}": 1, f"p{place + 8}": 2, f"p{place + 16}": 0} for place in range(7)}
    return Collection(corpus, queries, qrels)


@pytest.mark.parametrize("way", WAYS)
def test_negatives_are_near_lie_below_the_band_and_are_no_positives(way: str, cache_dir: Path) -> None:
    collection = make_collection()
    mined = counterpoise.mine_hard_negatives(
        list_queries(collection),
        collection.corpus.values(),
        n_negatives=6,
        way=way,
        encoder=ENCODER,
        cache_dir=cache_dir,
    )
    assert mined.to_dict()["queries_without_positive"] == 1
    assert len(mined.instances) == 7
    for instance in mined.instances:
        assert instance.extra == {"kind": "made"}
        known = {passage.id for passage in instance.positives}
        names = [passage.id for passage in instance.negatives]
        assert len(set(names)) == len(names) <= 6
        assert not known & set(names)
        (query,) = ENCODER.encode([instance.query])
        lowest = min(float(ENCODER.encode([passage.text])[0] @ query) for passage in instance.positives)
        for passage in instance.negatives:
            score = float(ENCODER.encode([passage.text])[0] @ query)
            assert passage.extra["score"] == pytest.approx(score, abs=1e-5)
            assert score <= lowest - 0.05 * abs(lowest) + 1e-6


@pytest.mark.parametrize("way", WAYS)
def test_a_positive_of_another_row_of_the_same_query_is_no_negative(way: str, cache_dir: Path) -> None:
    collection = make_collection()
    queries = [each for each in list_queries(collection) if each.positives]
    pairs = [replace(each, positives=(one,)) for each in queries for one in each.positives]
    options: dict[str, Any] = {"n_negatives": 20, "way": way, "encoder": ENCODER, "cache_dir": cache_dir}
    whole = counterpoise.mine_hard_negatives(queries, collection.corpus.values(), **options).instances
    mined = counterpoise.mine_hard_negatives(pairs, collection.corpus.values(), **options).instances
    assert [each.negatives for each in mined[::2]] == [each.negatives for each in whole]
    assert [each.negatives for each in mined[1::2]] == [each.negatives for each in whole]


@pytest.mark.parametrize("way", WAYS)
def test_a_passage_without_a_text_is_no_negative(way: str, cache_dir: Path) -> None:
    collection = make_collection()
    empty = [Passage("none", ""), Passage("blank", "  ")]
    mined = counterpoise.mine_hard_negatives(
        list_queries(collection),
        [*empty, *collection.corpus.values()],
        n_negatives=100,
        way=way,
        relative_margin=None,
        encoder=ENCODER,
        cache_dir=cache_dir,
    )
    assert all(passage.text.strip() for each in mined.instances for passage in each.negatives)


def test_the_order_of_corpus_and_queries_changes_nothing(cache_dir: Path) -> None:
    collection = make_collection()
    queries, corpus = list_queries(collection), list(collection.corpus.values())
    options: dict[str, Any] = {"n_negatives": 4, "encoder": ENCODER, "cache_dir": cache_dir}
    one = counterpoise.mine_hard_negatives(queries, corpus, **options).instances
    other = counterpoise.mine_hard_negatives(queries[::-1], corpus, **options).instances
    assert one == other[::-1]


def test_wrong_use_is_said(cache_dir: Path) -> None:
    collection = make_collection()
    queries, corpus = list_queries(collection), list(collection.corpus.values())
    options: dict[str, Any] = {"encoder": ENCODER, "cache_dir": cache_dir}
    with pytest.raises(JobError, match="there are dense, bm25, fused"):
        counterpoise.mine_hard_negatives(queries, corpus, way="sparse", **options)
    with pytest.raises(JobError, match="out of range"):
        counterpoise.mine_hard_negatives(queries, corpus, range_min=5, range_max=5, **options)
    with pytest.raises(DataError, match="no query has a positive"):
        counterpoise.mine_hard_negatives([Instance("q", "x", (), ())], corpus, **options)
    with pytest.raises(DataError, match="'p0' stands for two texts"):
        counterpoise.mine_hard_negatives(queries, [*corpus, Passage("p0", "another")], **options)
    with pytest.raises(DataError, match="p99, judged for query q0, is not in the corpus"):
        list_queries(Collection(collection.corpus, collection.queries, {"q0": {"p99": 1}}))
    with pytest.raises(JobError, match="needs the name of its model"):
        open_encoders("http://127.0.0.1:9/v1", cache_dir=cache_dir)


@pytest.mark.assets
def test_command_on_a_folder_and_on_instances(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_beir(tmp_path / "beir", make_collection())
    output = tmp_path / "out.jsonl"
    assert execute(["mine", str(tmp_path / "beir"), "-o", str(output), "--negatives", "3", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["event"] == "mined"
    assert said["queries"] == said["lines"] == 7
    first = list(read_instances(output, "tevatron"))
    assert all(len(each.negatives) <= 3 and each.positives for each in first)
    # What was mined can be mined again, out of the same corpus.
    again = tmp_path / "again.jsonl.gz"
    corpus = str(tmp_path / "beir" / "corpus.jsonl")
    arguments = ["mine", str(output), "--corpus", corpus, "-o", str(again), "--negatives", "3", "--quiet"]
    assert execute(arguments) == 0
    second = list(read_instances(again))
    assert [each.query for each in second] == [each.query for each in first]
    assert [[one.id for one in each.negatives] for each in second] == [
        [one.id for one in each.negatives] for each in first
    ]
    assert execute(arguments) == 2
    assert "is there already" in capsys.readouterr().err
    assert execute(["mine", str(output), "-o", str(tmp_path / "x"), "--form", "trec"]) == 2
    assert "write one of tevatron" in capsys.readouterr().err
    assert execute(["mine", str(tmp_path / "absent"), "-o", str(tmp_path / "x")]) == 2
    # As a collection, whose judgements say which passages answer and which do not.
    collection = str(tmp_path / "mined")
    assert execute(["mine", str(output), "-o", collection, "--form", "beir", "--quiet"]) == 0
    mined = read_beir(Path(collection)).qrels
    assert set(mined) == {each.query_id for each in first}
    assert all({0, 1} == set(judged.values()) for judged in mined.values())


def test_prefixes_reach_the_encoder_and_the_cache_keeps_them_apart(cache_dir: Path) -> None:
    pair = open_encoders(ENCODER, query_prefix="query: ", passage_prefix="passage: ", cache_dir=cache_dir)
    np.testing.assert_array_equal(pair.encode_queries(["soup"]), ENCODER.encode(["query: soup"]))
    np.testing.assert_array_equal(pair.encode_passages(["soup"]), ENCODER.encode(["passage: soup"]))


class ShortEncoder:
    """Passages lean towards the direction that every query has, the more the shorter they are."""

    name, dimension, max_tokens = "short", ENCODER.dimension + 1, 10_000

    def encode(self, texts: Any) -> Any:
        lean = np.array([[40.0 / (10 + len(text.split()))] for text in texts])
        vectors = np.hstack([ENCODER.encode(texts), lean])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def test_an_encoder_with_a_planted_length_bias_is_caught() -> None:
    audit = audit_encoder(EncoderPair(ShortEncoder(), ShortEncoder()), PASSAGES, n_items=120)
    assert audit.n_items == 120
    assert "brevity" in audit.failed
    assert "fails brevity" in audit.advice
    brevity = next(test for test in audit.tests if test.name == "brevity")
    assert brevity.low > 0.9
    assert json.loads(json.dumps(audit.to_dict()))["failed"] == list(audit.failed)
    with pytest.raises(DataError, match=f"{LEAST_ITEMS} are needed"):
        audit_encoder(EncoderPair(ENCODER, ENCODER), ["too short"] * 50)


@pytest.mark.data
def test_queries_of_a_collection_stand_beside_their_best_passage(data_dir: Path) -> None:
    passages, asked = list_asked(read_beir(data_dir / "cranfield"))
    assert len(passages) == 1400
    assert len(asked) == 225
    assert asked[0] == (asked[0][0], 183) or asked[0][1] in (11, 28, 30)


def test_instances_are_their_own_corpus(tmp_path: Path) -> None:
    from counterpoise.cli.commands.mine import _read

    passages = tuple(Passage(f"p{place}", f"text {place}") for place in range(4))
    write_instances(tmp_path / "in.jsonl", [Instance("q", "text", passages[:1], passages[1:])], "rlhn")
    instances, corpus = _read(tmp_path / "in.jsonl", None, "", False, [])
    assert len(list(instances)) == 1
    assert [each.id for each in corpus] == ["p0", "p1", "p2", "p3"]


@pytest.mark.assets
def test_doctor_audits_an_encoder_on_a_corpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.dumps({"_id": str(place), "text": text}) for place, text in enumerate(PASSAGES[:40])]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    corpus = str(tmp_path / "corpus.jsonl")
    assert execute(["doctor", "--encoder", "minilm", "--corpus", corpus, "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["event"] == "encoder_audit"
    assert [test["name"] for test in said["tests"]][:2] == ["brevity", "position"]
    assert execute(["doctor", "--encoder", "minilm", "--corpus", corpus]) == 0
    assert "brevity: the evidence alone beats" in capsys.readouterr().out
    assert execute(["doctor", "--encoder", "minilm"]) == 2
    assert "name one with --corpus" in capsys.readouterr().err
    assert execute(["doctor", "--encoder", "minilm", "--model", "embedded"]) == 2
