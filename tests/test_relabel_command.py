"""`counterpoise relabel` and a job of task retrieval: over real HTTP, with judges that are functions."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import counterpoise
from counterpoise.balance.retrieval import (
    RetrievalBalance,
    classify_query,
    count_positives,
    count_suspects,
    find_topics,
)
from counterpoise.cli import app as cli
from counterpoise.cli.commands.relabel import relabel as command
from counterpoise.core.assets import ensure_asset, find_cache_dir
from counterpoise.core.errors import JobError
from counterpoise.data.instances import Passage, format_instance, read_instances
from counterpoise.report.retrieval_page import RETRIEVAL_PAGE
from counterpoise.runs.retrieval import make_retrieval_report
from counterpoise.tasks.registry import load_job
from counterpoise.tasks.retrieval.job import RetrievalJob
from tests.integration.helpers import make_cache
from tests.retrieval_judges import reply_first, reply_second
from tests.servers import Body, LocalServer
from tests.test_relabel_retrieval import INSTANCES, N, make_judges, relabel
from tests.test_report import Reader

pytestmark = pytest.mark.processes


def reply(body: Body, index: int) -> str:
    content = body["messages"][1]["content"]
    is_first = '"relevant"' in json.dumps(body["response_format"])
    return reply_first(content, index) if is_first else reply_second(content, index)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer(reply) as opened:
        yield opened


@pytest.fixture
def triples(tmp_path: Path) -> Path:
    path = tmp_path / "triples.jsonl"
    rows = [row for one in INSTANCES for row in format_instance(one, "tevatron")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_command_writes_the_repaired_file_in_its_form_with_decisions_and_a_summary(
    server: LocalServer, triples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = triples.read_bytes()
    arguments = [
        "relabel",
        str(triples),
        "--model",
        server.url,
        "--cache-dir",
        str(tmp_path / "cache"),
        "--json",
    ]
    assert cli.execute(arguments) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]
    assert said["event"] == "relabelled" and said["outcomes"]["relabel"] == N and said["sentence"]
    repaired = list(read_instances(Path(said["repaired"])))
    assert [len(one.positives) for one in repaired] == [3] * N and triples.read_bytes() == given
    assert repaired[0].extra == {"source": "web"}
    decisions = [
        json.loads(line) for line in Path(said["decisions"]).read_text(encoding="utf-8").splitlines()
    ]
    assert len(decisions) == 6 * N and all(line["reason"] for line in decisions)
    assert json.loads(Path(said["summary"]).read_text(encoding="utf-8"))["sentence"] == said["sentence"]
    # Again: every reply is there already.
    n_requests = len(server.bodies)
    assert cli.execute(arguments) == 2, "nothing is written over unasked"
    assert cli.execute([*arguments, "--overwrite"]) == 0 and len(server.bodies) == n_requests


def test_gold_and_min_precision_decide_whether_anything_is_relabelled(
    server: LocalServer, triples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = tmp_path / "gold.tsv"
    # As if only every third of what the judges find were right.
    lines = [
        f"{one.query_id}\t{passage.id}\t{int(passage.id[0] == 'h' and place % 3 == 0)}\n"
        for place, one in enumerate(read_instances(triples))
        for passage in one.negatives
    ]
    gold.write_text("".join(lines), encoding="utf-8")
    arguments = ["relabel", str(triples), "--model", server.url, "--gold", str(gold), "--json", "--overwrite"]
    arguments += ["--cache-dir", str(tmp_path / "cache")]
    found = {}
    for least in ("0.5", "0"):
        assert cli.execute([*arguments, "--min-precision", least]) == 0
        said = [json.loads(line) for line in capsys.readouterr().out.splitlines()][-1]
        found[least] = (
            said["outcomes"]["relabel"],
            len(next(iter(read_instances(Path(said["repaired"])))).positives),
        )
        assert ("below what min_precision = 0.5 asks surely" in said["sentence"]) == (least == "0.5")
    assert found == {"0.5": (0, 2), "0": (N, 3)}


def test_repeats_are_dropped_from_the_file_though_the_judge_fails(
    triples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in triples.read_text(encoding="utf-8").splitlines()]
    rows[0]["negative_passages"].append({**rows[0]["positive_passages"][0], "docid": "again"})
    triples.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with LocalServer(
        lambda body, index: reply_first(body["messages"][1]["content"], index, always="yes")
    ) as opened:
        arguments = ["relabel", str(triples), "--model", opened.url, "--cache-dir", str(tmp_path / "cache")]
        assert cli.execute(arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "1 negatives that repeat a known positive are dropped, else nothing was changed. The first judge"
        in said
    )
    before, after = (
        list(read_instances(path)) for path in (triples, triples.with_name("triples.relabelled.jsonl"))
    )
    assert after[0].negatives == before[0].negatives[:-1] and after[1:] == before[1:]


def test_people_see_the_audits_and_the_sentence(
    server: LocalServer, triples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        cli.execute(["relabel", str(triples), "--model", server.url, "--cache-dir", str(tmp_path / "cache")])
        == 0
    )
    said = capsys.readouterr().out
    assert "Audits" in said and "30 negatives relabelled as positives" in said and "unknown" in said


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--model", "gpt"], "--model: found 'gpt'; write embedded or a URL"),
        (["--output", "{triples}"], "is a file that is read; name another one"),
        (["--output", "{triples}.folder/out.jsonl"], "its folder is not there; make it first"),
        (
            ["--gold", "{triples}"],
            "line 1: is no judgement; a line has a query id, a passage id and a number",
        ),
        (["--gold", "{empty}"], "holds no judgements; a line has a query id"),
        (["--gold", "{twice}"], "line 3: query q and passage p are judged twice, right and wrong; keep one"),
        (["--corpus", "{nothing}"], "nothing.jsonl: holds no passages with a text; a line has _id"),
        (["--form", "csv"], "key 'form'"),
        (["--most-relabels", "-1"], "key 'most_relabels'"),
        (["--min-precision", "1.5"], "key 'min_precision'"),
    ],
)
def test_mistakes_are_one_line(
    triples: Path, arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = triples.with_name("gold.csv")
    empty.write_text("query,passage,score\n", encoding="utf-8")
    nothing = triples.with_name("nothing.jsonl")
    nothing.write_text('{"_id": "1", "text": ""}\n', encoding="utf-8")
    twice = triples.with_name("twice.tsv")
    twice.write_text("query\tpassage\tscore\nq\tp\t1\nq\tp\t0\n", encoding="utf-8")
    files = {"triples": triples, "empty": empty, "nothing": nothing, "twice": twice}
    given = [part.format(**files) for part in arguments]
    assert cli.execute(["relabel", str(triples), *given]) == 2
    said = capsys.readouterr().err
    assert line in said and len(said.splitlines()) == 1


def test_python_takes_instances(server: LocalServer, tmp_path: Path) -> None:
    done = counterpoise.relabel_negatives(INSTANCES, model=server.url, cache_dir=str(tmp_path / "cache"))
    assert done.outcomes["relabel"] == N and done.before == INSTANCES
    with pytest.raises(JobError, match="unknown key"):
        counterpoise.relabel_negatives(INSTANCES, model=server.url, budgett=3)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("minilm-l6-v2", "minilm-l6-v2-tokenizer"):
        ensure_asset(name)
    folder = tmp_path_factory.mktemp("cache")
    (folder / "assets").symlink_to(find_cache_dir(None) / "assets", target_is_directory=True)
    return folder


@pytest.mark.assets
def test_a_job_of_task_retrieval_runs_with_a_report_and_resumes(
    server: LocalServer, triples: Path, tmp_path: Path, cache: Path
) -> None:
    keys: dict[str, Any] = {"task": "retrieval", "data": "triples.jsonl", "llm": server.url, "output": "run"}
    job_file = tmp_path / "job.yaml"
    job_file.write_text(json.dumps(keys | {"cache_dir": str(cache)}), encoding="utf-8")
    assert cli.execute(["run", str(job_file), "--quiet"]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert report["balance"]["before"]["positives_per_query"] == {"2": N}
    assert report["balance"]["after"]["positives_per_query"] == {"3": N}
    assert report["balance"]["before"]["suspects"][0]["query_type"] == "what"
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "also on topic000" in page and "<script" not in page
    assert len(list(read_instances(tmp_path / "run" / "dataset" / "instances.jsonl"))) == N
    assert (tmp_path / "run" / "FINISHED").is_file()
    n_requests = len(server.bodies)
    assert counterpoise.resume(tmp_path / "run").report_data == report and len(server.bodies) == n_requests
    assert cli.execute(["report", str(tmp_path / "run")]) == 0
    assert cli.execute(["run", str(job_file), "--quiet"]) == 0 and len(server.bodies) == n_requests
    assert json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8")) == report


def test_a_run_ends_when_its_minutes_are_spent(server: LocalServer, triples: Path, tmp_path: Path) -> None:
    keys: dict[str, Any] = {"task": "retrieval", "data": "triples.jsonl", "llm": server.url, "output": "run"}
    keys |= {"budget": {"minutes": 1e-9}, "cache_dir": str(make_cache(tmp_path / "cache"))}
    (tmp_path / "job.yaml").write_text(json.dumps(keys), encoding="utf-8")
    n_requests = len(server.bodies)
    run = counterpoise.run(load_job(tmp_path / "job.yaml"))
    assert len(server.bodies) == n_requests and "budget" in run.report_data["headline"]


def test_a_job_file_of_another_task_is_an_ordinary_job(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("data: a.csv\ntext: review\nlabel: stars\n", encoding="utf-8")
    assert load_job(path).task == "text_classification"
    path.write_text("task: retrieval\ndata: a.jsonl\nlabel: stars\n", encoding="utf-8")
    with pytest.raises(JobError, match="key 'label': unknown key"):
        load_job(path)
    path.write_text("task: retrieval\ndata: a.jsonl\nbudget: 5M\n", encoding="utf-8")
    job = load_job(path)
    assert (
        isinstance(job, RetrievalJob)
        and job.budget.tokens == 5_000_000
        and job.data == str(tmp_path / "a.jsonl")
    )


def test_text_of_the_data_cannot_become_part_of_the_page() -> None:
    rates: dict[str, Any] = {"value": 0.5, "low": 0.4, "high": 0.6}
    unknown = dict.fromkeys(("precision", "first_judge_recall"), "unknown")
    side = {"positives_per_query": {}, "suspects": [], "topics": 0, "topics_without_queries": []}
    example = {
        "query": "<b>q</b>",
        "passage": "<img src=x>",
        "evidence": "",
        "outcome": "relabel",
        "reason": "r",
    }
    report = {
        "title": "<script>alert(1)</script>",
        "headline": "x",
        "stopped": "y.",
        "summary": {"audits": [], "estimates": {"recall": rates, **unknown}, "sources": [], "tokens": 0},
        "balance": {"before": side, "after": side},
        "examples": [example],
        "settings": {},
    }
    page = RETRIEVAL_PAGE.render(report)
    read = Reader(page)  # tags must nest
    links = {value for name, value in read.attributes if name == "href"}
    assert links - {"data:,"} == {f"#{value}" for name, value in read.attributes if name == "id"}
    assert "<script>" not in page and "<img" not in page and "&lt;img src=x&gt;" in page


def test_the_report_of_a_judge_that_failed_shows_the_repeats_that_were_dropped() -> None:
    again = Passage("again", INSTANCES[0].positives[0].text)
    given = [replace(INSTANCES[0], negatives=(*INSTANCES[0].negatives, again)), *INSTANCES[1:]]
    done = relabel(given, make_judges(first=lambda request, index: reply_first(request, index, always="yes")))
    nothing = RetrievalBalance({}, (), (), 0)
    report = make_retrieval_report(RetrievalJob(data="triples.jsonl"), done, nothing, nothing)
    assert report["stopped"] == "a judge failed its audit." and report["summary"]["outcomes"]["drop"] == 1
    page = RETRIEVAL_PAGE.render(report)
    assert "are dropped, else nothing was changed." in page
    assert "repeats a known positive" in page and "min_precision" in page


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("what is it", "what"),
        ("Which one?", "which"),
        ("Is it so?", "yes_no"),
        ("Iron helps.", "statement"),
        ("", "statement"),
    ],
)
def test_queries_have_a_type(query: str, kind: str) -> None:
    assert classify_query(query) == kind


def test_balance_counts_positives_suspects_and_topics() -> None:
    import numpy as np

    assert count_positives([*INSTANCES, INSTANCES[0]]) == {2: N}
    one = INSTANCES[0]
    texts = [passage.full_text for passage in (*one.positives, *one.negatives)]
    vectors = {text: np.eye(2, dtype=np.float32)[place % 2] for place, text in enumerate(texts)}
    vectors[texts[0]] = vectors[texts[1]] = np.array([0.8, 0.6], dtype=np.float32)
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    (group,) = count_suspects([one], ["web"], query, vectors)
    # Three of the six negatives score 1.0, above 95% of the positives' 0.8.
    assert (group.n_suspects, group.n_negatives, group.query_type) == (3, 6, "what")
    source = np.random.default_rng(0)
    middle = np.repeat(np.eye(3, dtype=np.float32), 60, axis=0)
    points = (middle + 0.01 * source.standard_normal(middle.shape)).astype(np.float32)
    topics, n_topics = find_topics([f"passage {place}" for place in range(180)], points, np.arange(120))
    assert n_topics == 4 and sum(topic.n_passages for topic in topics) <= 60
    assert all(int(text.split()[1]) >= 120 for topic in topics for text in topic.examples)


def test_the_command_has_the_defaults_of_a_job() -> None:
    options, keys = inspect.signature(command).parameters, RetrievalJob.model_fields
    names = {
        "candidates",
        "form",
        "most_relabels",
        "counts_worse",
        "min_precision",
        "check_positives",
        "source_field",
    }
    assert {name: options[name].default for name in names} == {name: keys[name].default for name in names}
    assert options["max_flag_rate"].default == keys["most_flagged"].default
