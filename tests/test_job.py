"""Jobs: one model for YAML and Python, errors of one line that name the key and what would be right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from counterpoise.core.errors import JobError, RunDirectoryError
from counterpoise.llm.config import parse_tokens
from counterpoise.tasks.text.job import Job, RestByLabel, job_from, load_job

EXAMPLES = Path(__file__).parents[1] / "examples"
BASE = "data: reviews.csv\ntext: review\nlabel: stars\n"


def load(folder: Path, text: str) -> Job:
    path = folder / "job.yaml"
    path.write_text(text, encoding="utf-8")
    return load_job(path)


def error_of(folder: Path, text: str) -> str:
    with pytest.raises(JobError) as caught:
        load(folder, text)
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.exit_code == 2
    return line.replace(f"{folder}/", "")


def test_defaults_and_paths(tmp_path):
    job = load(tmp_path, BASE)
    assert job.data == str(tmp_path / "reviews.csv")
    assert job.name == "reviews"
    assert job.output == str(tmp_path / "runs" / "reviews")
    assert (job.held_out, job.pool, job.text, job.target) == (0.2, None, ("review",), "equal")
    assert (job.llm.engine, job.budget.tokens, job.budget.minutes) == ("embedded", 2_000_000, None)
    assert job.as_task().columns == ("review", "stars")


def test_sources_that_are_no_paths_stay(tmp_path):
    for source in ("owner/name", "owner/name:validation", "asset:movie-reviews"):
        assert load(tmp_path, BASE.replace("reviews.csv", source)).data == source
    assert load(tmp_path, BASE.replace("reviews.csv", "sub/reviews.csv")).data == str(
        tmp_path / "sub/reviews.csv"
    )
    (tmp_path / "folder").mkdir()
    assert load(tmp_path, BASE.replace("reviews.csv", "folder:train")).data == f"{tmp_path}/folder:train"


def test_paths_of_a_vllm_are_relative_to_the_job_file(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    path = tmp_path / "job.yaml"
    path.write_text(BASE + "llm: {engine: vllm, model: weights, python: env/bin/python, args: --dtype half}")
    llm = load_job(path).llm
    assert (llm.model, llm.python) == (str(tmp_path / "weights"), str(tmp_path / "env/bin/python"))
    assert llm.args == ("--dtype", "half")
    path.write_text(BASE + "llm: {engine: vllm, model: org/model, python: python3}")
    assert (load_job(path).llm.model, load_job(path).llm.python) == ("org/model", "python3")


@pytest.mark.parametrize("name", ["demo", "server", "vllm_with_pool"])
def test_examples_load_and_round_trip(tmp_path, name):
    job = load_job(EXAMPLES / f"{name}.yaml")
    again = load(tmp_path, job.dump())
    assert again == job
    assert again.fingerprint() == job.fingerprint()


def test_examples_say_what_they_say():
    demo = load_job(EXAMPLES / "demo.yaml")
    assert demo.data == "asset:movie-reviews"
    assert demo.sample is not None and demo.sample.rows == {"1": 120, "0": 15}
    assert isinstance(demo.held_out, RestByLabel) and demo.held_out.rest == {"1": 200, "0": 200}
    assert demo.output == str(EXAMPLES.parent / "runs" / "demo")
    server = load_job(EXAMPLES / "server.yaml")
    assert server.llm.url == ("http://localhost:8000/v1", "http://localhost:8001/v1")
    assert list(server.concepts) == ["food", "service"]
    vllm = load_job(EXAMPLES / "vllm_with_pool.yaml")
    assert vllm.target == {"negative": 1, "neutral": 1, "positive": 2}
    assert vllm.text == ("title", "review") and vllm.budget.tokens == 5_000_000
    assert vllm.pool == str(EXAMPLES / "unlabelled.jsonl.gz")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("budgett: {tokens: 2M}", "job.yaml: key 'budgett': unknown key; did you mean 'budget'?"),
        ("zzz: 1", "job.yaml: key 'zzz': unknown key; known keys: task, name, data"),
        ("budget: {tokens: 2MM}", "job.yaml: key 'budget.tokens': found '2MM'; write 2M, 500k or a number"),
        ("budget: 2MM", "job.yaml: key 'budget.tokens': found '2MM'; write 2M, 500k or a number"),
        ("budget: {token: 2M}", "job.yaml: key 'budget.token': unknown key; did you mean 'tokens'?"),
        (
            "budget: {minutes: soon}",
            "job.yaml: key 'budget.minutes': found 'soon'; it should be a valid number",
        ),
        ("held_out: 1.5", "key 'held_out': found 1.5; write a share between 0 and 1, a file, or {rest: 500}"),
        ("held_out: 500", "key 'held_out': found 500; write a share between 0 and 1"),
        ("'': 1", "key '': unknown key; known keys: "),
        ("held_out: {rset: 500}", "key 'held_out.rset': unknown key; did you mean 'rest'? (and 1 more)"),
        ("<b>: 1", "key '<b>': unknown key; known keys: "),
        ("held_out: {<rest>: 3}", "key 'held_out.<rest>': unknown key"),
        ("held_out: {rest: -3}", "key 'held_out.rest': found -3; it should be greater than or equal to 1"),
        ("pool: {rest: {a: 5}}", "key 'pool.rest': found {'a': 5}; it should be a valid integer"),
        ("metric: f1", "key 'metric': found 'f1'; write 'macro_f1', 'auroc' or 'worst_group'"),
        (
            "target: {a: 0}",
            "key 'target': found {'a': 0}; write equal, enough, correlation 0.1, "
            "tolerances 0.02 0.01, or a positive ratio for every label",
        ),
        ("target: equl", "key 'target': found 'equl'; write equal"),
        ("rounds: 0", "key 'rounds': found 0; it should be greater than or equal to 1"),
        (
            "attributes: [review]",
            "column 'review' is named twice; text, label, attributes and trusted must differ",
        ),
        ("llm: {engine: gpu}", "key 'llm.engine': found 'gpu'; write 'embedded', 'server' or 'vllm'"),
        ("llm: {engine: server}", "key 'llm': engine is server without a url; add url"),
        (
            "llm: {engine: vllm, model: m, args: [--api_key=x]}",
            "key 'llm.args': found '--api_key'; leave it out, it is set here or has a key of its own",
        ),
        (
            "llm: {engine: vllm, model: m, args: [--hf-token, hf_secret]}",
            "key 'llm.args': found '--hf-token'; set the variable HF_TOKEN instead, vLLM reads it",
        ),
        (
            "llm: {engine: embedded, python: /opt/vllm}",
            "key 'llm': python with engine embedded; only vllm knows it",
        ),
        ("llm: {engine: vllm}", "key 'llm': engine is vllm without a model; add model"),
        ("llm: {url: http://x/v1}", "key 'llm': engine is embedded with a url"),
        (
            "name: 2024-99-99",
            "job.yaml: line 4: month must be in 1..12; check the indentation and quotes there",
        ),
        (f"name: {'[' * 3000}", "job.yaml: is nested too deep"),
        ("llm: {engine: server, url: localhost}", "key 'llm.url': found 'localhost'; write a URL such as"),
        (
            "llm: {engine: server, url: 'http://gpu..lan/v1'}",
            "found 'http://gpu..lan/v1'; write a URL such as",
        ),
        (
            "llm: {engine: server, url: 'http://gpu:80000/v1'}",
            "found 'http://gpu:80000/v1'; write a URL such as",
        ),
        ("concepts: {food: eaten, food: drunk}", "job.yaml: line 4: 'food' stands twice, in lines 4 and 4"),
        ("concepts: [food, Food]", "key 'concepts': concept 'Food' is named twice; keep one of them"),
        ("concepts: {food: }", "concept 'food' has no definition"),
        ("text: other", "job.yaml: line 4: 'text' stands twice, in lines 2 and 4; keep one of them"),
        ("sample: {rows: {a: many}}", "key 'sample.rows.a': found 'many'; it should be a valid integer"),
        ("sample: [1", "job.yaml: line 5: "),
        ("pool: 3", "key 'pool': found 3; write a file, a folder or a hub id"),
    ],
)
def test_mistakes(tmp_path, line, expected):
    assert expected in error_of(tmp_path, f"{BASE}{line}\n")


def test_secrets_are_not_repeated(tmp_path):
    secret = "sk-proj-0123456789"
    for line in (
        f"api_key: {secret}",
        f"api_key_env: {secret}",
        f"api_key_env: [{secret}]",
        f"url: http://u:{secret}@h",
    ):
        assert secret not in error_of(tmp_path, f"{BASE}llm:\n  engine: server\n  {line}\n")
    assert "did you mean 'api_key_env'?" in error_of(tmp_path, f"{BASE}llm: {{api_key: {secret}}}\n")


def test_missing_and_empty_files(tmp_path):
    (tmp_path / "job.yaml").write_text(BASE)
    with pytest.raises(JobError, match=r"no such file; did you mean 'job.yaml'\?"):
        load_job(tmp_path / "jop.yaml")
    assert "job.yaml: found nothing" in error_of(tmp_path, "")
    assert "key 'label': missing" in error_of(tmp_path, "data: x.csv\ntext: review\n")
    (tmp_path / "job.yaml").write_bytes(b"data: caf\xe9.csv\n")
    with pytest.raises(JobError, match="not UTF-8 in line 1"):
        load_job(tmp_path / "job.yaml")


def test_yaml_words_stay_words(tmp_path):
    job = load(tmp_path, BASE + "target: {yes: 1, no: 2, 1.0: 3, 007: 1, true: 1}\nconcepts: {on: off}\n")
    assert job.target == {"yes": 1, "no": 2, "1.0": 3, "007": 1, "true": 1}
    assert job.concepts == {"on": "off"}


def test_yaml_builds_no_objects(tmp_path):
    assert "job.yaml: line 4" in error_of(tmp_path, BASE + "name: !!python/object/apply:os.getcwd []\n")


def test_concepts_from_a_file(tmp_path):
    (tmp_path / "concepts.yaml").write_text("food: what was eaten\n")
    assert load(tmp_path, BASE + "concepts: concepts.yaml\n").concepts == {"food": "what was eaten"}
    (tmp_path / "concepts.yaml").write_text("food: what was eaten\nstaff: waiters\nfood: again\n")
    assert "concepts.yaml: line 3: 'food' stands twice, in lines 1 and 3" in error_of(
        tmp_path, BASE + "concepts: concepts.yaml\n"
    )


@pytest.mark.parametrize(
    ("written", "tokens"), [("2M", 2_000_000), ("500k", 500_000), ("1.5M", 1_500_000), (300, 300), ("0", 0)]
)
def test_parse_tokens(written, tokens):
    assert parse_tokens(written) == tokens


@pytest.mark.parametrize("written", ["2MM", "", "-1", "1.5", True, None, "two", "1e6", -5])
def test_parse_tokens_refuses(written):
    with pytest.raises(JobError, match=r"budget: tokens: found .*; write 2M, 500k or a number"):
        parse_tokens(written)


def test_overrides_are_relative_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "job.yaml").write_text(BASE)
    monkeypatch.chdir(tmp_path)
    job = load_job("jobs/job.yaml", output="here", budget="10k")
    assert job.output == str(tmp_path / "here")
    assert job.data == str(tmp_path / "jobs" / "reviews.csv")
    assert job.budget.tokens == 10_000


def test_from_python_with_tables_in_memory():
    table = {"review": ["a", "b"], "stars": [1, 2]}
    job = job_from(data=table, held_out=table, text="review", label="stars", llm="http://localhost:8000/v1")
    assert job.data is table and job.held_out is table
    assert job.llm.url == ("http://localhost:8000/v1",)
    assert "data: memory:dict" in job.dump()
    with pytest.raises(JobError, match="job: key 'lable': unknown key; did you mean 'label'"):
        job_from(data=table, text="review", lable="stars")


def test_fingerprint_is_of_what_decides_the_result(tmp_path):
    base = load(tmp_path, BASE).fingerprint()
    same = [
        "output: elsewhere",
        "llm: {concurrency: 3}",
        "budget: {minutes: 5}",
        "name: other",
        "cache_dir: c",
    ]
    other = ["seed: 1", "budget: 1M", "target: {a: 1, b: 2}", "attributes: [source]", "rounds: 2"]
    assert {load(tmp_path, f"{BASE}{line}\n").fingerprint() for line in same} == {base}
    prints = {load(tmp_path, f"{BASE}{line}\n").fingerprint() for line in other}
    assert len(prints) == len(other) and base not in prints
    (tmp_path / "moved").mkdir()
    assert load(tmp_path / "moved", BASE).fingerprint() == base


def test_a_job_lists_its_actions_and_the_default_list_is_written_out(tmp_path: Path) -> None:
    job = load(tmp_path, BASE)
    assert job.actions == (
        "relabel_records",
        "adopt",
        "concept_injection",
        "counterfactual_edit",
        "minority_text",
        "rewriting",
    )
    assert "- minority_text\n" in job.dump() and load(tmp_path, job.dump()) == job
    # A run of a version that knew no such key goes on: the default list is no other job.
    assert load(tmp_path, BASE + "actions: default").fingerprint() == job.fingerprint()
    fewer = load(tmp_path, BASE + "actions: [minority_text, adopt]")
    assert fewer.actions == ("minority_text", "adopt") and fewer.fingerprint() != job.fingerprint()
    line = error_of(tmp_path, BASE + "actions: [adopt, minority]")
    assert line.startswith(
        "job.yaml: key 'actions': found 'minority', which is none of them; did you mean 'minority_text'?"
    )
    assert "named twice" in error_of(tmp_path, BASE + "actions: [default, adopt]")
    assert "found no names; write one or more of default, relabel_records, adopt" in error_of(
        tmp_path, BASE + "actions: []"
    )


def test_an_action_may_be_an_object_and_a_file_can_only_name_it(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Pray:
        """Does nothing about anything."""

        name: str = "pray"
        effect: str = "prayed for"

        def offer(self, *_: object) -> None:
            """Nothing."""

        def act(self, *_: object) -> None:
            """Nothing."""

    job = Job.make(data="reviews.csv", text="review", label="stars", actions=["default", Pray()])
    assert job.actions[-1] == Pray() and "- memory:pray\n" in job.dump()
    read = load(tmp_path, job.dump())
    assert read.fingerprint() == job.fingerprint()
    with pytest.raises(RunDirectoryError, match=r"one of its actions was an object in Python \(pray\)"):
        read.check_models()
    job.check_models()
    with pytest.raises(JobError, match="key 'actions': int has no `name`"):
        Job.make(data="reviews.csv", text="review", label="stars", actions=[3])
