"""Whole runs on made data, and the decisions that each of them writes.

Every run goes through public names and files only, so that the code behind them can be moved and rewritten. What is
hashed are decisions: rows with labels, weights and parents, refusals with reasons, patches, plans, tokens. Wording, the
layout of pages and the names of parts are not. Figures that are floats (scores, probabilities) are left out: the last
digits of a vector differ between processors.

    python -m tests.reference            # compare with hashes.json
    python -m tests.reference --write    # after a change that is meant to move one; say in CHANGELOG what is different
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

import counterpoise
from counterpoise.cli import execute
from counterpoise.core.assets import find_cache_dir
from counterpoise.core.events import ignore
from counterpoise.data.encoders import make_encoder
from counterpoise.tasks.text.job import load_job
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reply, write_reviews
from tests.retrieval_judges import reply_first, reply_second
from tests.servers import Body, LocalServer

Decisions = Mapping[str, Any]
NAMES_BEFORE = {"minority_text": "minority"}
"""Names of actions as they were when the hashes were written; a name is no decision."""

TOPICS = ("maple", "granite", "copper", "willow", "harbour", "lantern", "meadow", "falcon")


def hash_decisions(decisions: Decisions) -> str:
    """Sixteen hex digits of plain values; the order of mappings does not count."""
    text = json.dumps(decisions, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@cache
def hash_vectors() -> str:
    """Sixteen hex digits of the vectors of three texts: processors round differently."""
    encoder = make_encoder("", find_cache_dir(), ignore)
    return hashlib.sha256(encoder.encode(["good food", "slow service", "a " * 90]).tobytes()).hexdigest()[:16]


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All rows of the Parquet shards below a folder, in order."""
    return [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def list_decisions(run: Path) -> Decisions:
    """What a run of texts has decided, out of its directory."""
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    kept = [
        [
            {name: value for name, value in row.items() if name not in ("concepts", "provenance", "weight")},
            [(concept["name"], concept["state"]) for concept in row["concepts"] or ()],
            [row["provenance"][name] for name in ("id", "kind", "parents", "round", "cell", "label_before")],
            round(row["weight"], 6),
        ]
        for row in read_rows(run / "dataset")
    ]
    refused = [
        [row[name] for name in sorted(row) if name in ("text", "label", "reason", "cell", "kind", "parents")]
        for row in read_rows(run / "rejected")
    ]
    return {
        "kept": kept,
        "refused": refused,
        "balance": [[cell["cell"], cell["have"], cell["want"]] for cell in report["balance"]["after"]],
        "plans": [
            [
                NAMES_BEFORE.get(item["action"], item["action"]),
                *(item[name] for name in ("cell", "count", "requests", "proposed", "accepted")),
            ]
            for turn in report["rounds"]
            for item in turn["items"]
        ],
        "spend": {name: spend["requests"] for name, spend in report["spend"]["by_purpose"].items()},
        "used": report["spend"]["used"],
        "roles": [[scorer["name"], scorer["question"], scorer["role"]] for scorer in report["scorers"]],
    }


def run_text(folder: Path, *, instructs: bool = False, n_pool: int = 0, **keys: Any) -> Decisions:
    """A run that writes for a label, with a scripted model behind real HTTP."""
    write_reviews(folder / "reviews.csv", make_reviews(48, 14))
    write_reviews(folder / "test.csv", make_reviews(20, 20, seed=1))
    if n_pool:
        write_reviews(folder / "pool.csv", make_reviews(n_pool // 2, n_pool // 2, seed=2))
        keys["pool"] = str(folder / "pool.csv")
    make_cache(folder / "cache")
    with LocalServer(lambda body, index: write_reply(body, index, instructs=instructs)) as server:
        counterpoise.run(make_job(folder, server, "run", **({"rounds": 2, "budget": 40_000} | keys)))
    return list_decisions(folder / "run")


def run_cells(folder: Path, budget: int = 60_000) -> Decisions:
    """A run with concepts, answers and an attribute, whose cells are written for; edited where the budget reaches."""
    rows = make_reviews(60, 30)
    write_reviews(folder / "plain.csv", rows)
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("review", "stars", "source")]
            + [
                (text, label, "paper" if place % 5 == 0 and label == "good" else "web")
                for place, (text, label) in enumerate(rows)
            ]
        )
    with (folder / "test.csv").open("w", encoding="utf-8", newline="") as file:
        held_out = make_reviews(20, 20, seed=1)
        csv.writer(file).writerows([("review", "stars", "source"), *((*row, "web") for row in held_out)])
    with (folder / "gold.csv").open("w", encoding="utf-8", newline="") as file:
        answers = [(text, "yes" if "garden" in text or "terrace" in text else "no") for text, _ in rows]
        csv.writer(file).writerows([("text", "outside"), *answers])
    make_cache(folder / "cache")
    with LocalServer(lambda body, index: write_reply(body, index, instructs=True)) as server:
        job = make_job(
            folder,
            server,
            "run",
            rounds=2,
            budget=budget,
            attributes=["source"],
            concepts={"outside": "a garden or a terrace outside"},
            gold=str(folder / "gold.csv"),
        )
        counterpoise.run(job)
    return list_decisions(folder / "run")


def preview_demo(folder: Path) -> Decisions:
    """What the demo would do first: its rows, what is short, and the plan of its first round."""
    job = load_job(Path(__file__).parents[2] / "examples" / "demo.yaml")
    preview = counterpoise.preview(job, progress=False)
    return {
        "deficits": [[str(one.cell), one.have, one.want] for one in preview.deficits],
        "plan": [
            [NAMES_BEFORE.get(item.action, item.action), str(item.cell), item.count, item.n_requests]
            for item in preview.plan
        ],
        "prompts": preview.prompts,
        "tokens": preview.estimated_tokens,
    }


def call(arguments: Sequence[str]) -> tuple[int, list[Any]]:
    """The exit code of a command and the lines that it printed as JSON."""
    printed = StringIO()
    with redirect_stdout(printed):
        code = execute([*arguments, "--json"])
    return code, [json.loads(line) for line in printed.getvalue().splitlines() if line.startswith("{")]


def check_tables(folder: Path) -> Decisions:
    """`check` on three tables, before and after its findings are accepted in a baseline."""
    decisions: dict[str, Any] = {}
    for name, rows in {
        "skewed": make_reviews(80, 12),
        "repeated": make_reviews(30, 30) * 2,
        "shortcut": [
            (f"{text} {'indeed' if label == 'bad' else ''}", label) for text, label in make_reviews(40, 40)
        ],
    }.items():
        path = write_reviews(folder / f"{name}.csv", rows)
        baseline = folder / f"{name}.yaml"
        arguments = ["check", str(path), "--text", "review", "--label", "stars", "--fail-on", "0.3"]
        first, found = call(arguments)
        call([*arguments, "--write-baseline", str(baseline)])
        second, accepted = call([*arguments, "--baseline", str(baseline)])
        decisions[name] = [first, second, *([_list_findings(lines) for lines in (found, accepted)])]
    return decisions


def _list_findings(lines: Iterable[Any]) -> list[Any]:
    return [
        [finding["fingerprint"], finding["fails"], finding["is_known"]]
        for line in lines
        for finding in line.get("findings", ())
    ]


def write_triples(folder: Path) -> Path:
    """Queries with a positive, a hidden answer among the negatives, and real negatives."""
    lines = []
    for place in range(40):
        topic = TOPICS[place % len(TOPICS)]
        others = [TOPICS[(place + step) % len(TOPICS)] for step in (1, 2, 3)]
        lines.append(
            {
                "query_id": f"q{place}",
                "query": f"passages number {place} about {topic}",
                "positive_passages": [
                    {"docid": f"p{place}", "title": "", "text": f"Note {place} is on the {topic}."}
                ],
                "negative_passages": [
                    {
                        "docid": f"h{place}",
                        "title": "",
                        "text": f"Page {place + 100} tells of a {topic} at length.",
                    },
                    *(
                        {
                            "docid": f"n{place}-{other}",
                            "title": "",
                            "text": f"Sheet {place} is about a {other}.",
                        }
                        for other in others
                    ),
                ],
            }
        )
    path = folder / "triples.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def relabel_passages(folder: Path) -> Decisions:
    """A relabelling of passages by two scripted judges, as the file that it writes."""
    path, cache = write_triples(folder), make_cache(folder / "cache")

    def judge(body: Body, index: int) -> str:
        content = body["messages"][1]["content"]
        is_first = '"relevant"' in json.dumps(body.get("response_format", {}))
        return reply_first(content, index) if is_first else reply_second(content, index)

    with LocalServer(judge) as server:
        named = ["--model", server.url, "--cache-dir", str(cache), "--output", str(folder / "after.jsonl")]
        code, _ = call(["relabel", str(path), *named])
    return {"code": code, "lines": _read_lines(folder / "after.jsonl")}


def mine_passages(folder: Path) -> Decisions:
    """Hard negatives by BM25 and MiniLM, as the file that `mine` writes."""
    path = write_triples(folder)
    code, _ = call(
        ["mine", str(path), "-o", str(folder / "mined.jsonl"), "--negatives", "3", "--way", "bm25"]
    )
    return {"code": code, "lines": _read_lines(folder / "mined.jsonl")}


def _read_lines(path: Path) -> list[Any]:
    """Instances as they were written, without the scores beside their passages."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        for passage in (*line["positive_passages"], *line["negative_passages"]):
            passage.pop("score", None)
    return lines


def mend_labels(folder: Path) -> Decisions:
    """Wrong labels found with some known ones, applied and taken back."""
    rows = make_reviews(60, 60)
    wrong = [
        (text, ("bad" if label == "good" else "good") if place % 6 == 0 else label)
        for place, (text, label) in enumerate(rows)
    ]
    path = write_reviews(folder / "reviews.csv", wrong)
    write_reviews(folder / "known.csv", rows[::2])
    patch, applied, undone = (folder / name for name in ("patch.jsonl", "applied.csv", "undone.csv"))
    named = ["--text", "review", "--label", "stars", "--gold", str(folder / "known.csv")]
    codes = [
        call(["label-errors", str(path), *named, "--min-precision", "0.6", "-o", str(patch)])[0],
        call(["apply", str(patch), str(path), "-o", str(applied)])[0],
        call(["undo", str(applied), "-o", str(undone)])[0],
    ]
    changes = [json.loads(line) for line in patch.read_text(encoding="utf-8").splitlines()]
    return {
        "codes": codes,
        "changes": [
            [change[name] for name in ("id", "outcome", "before", "after")]
            for change in changes
            if "outcome" in change
        ],
        "applied": hashlib.sha256(applied.read_bytes()).hexdigest(),
        "undone": undone.read_bytes() == path.read_bytes(),
    }


RUNS: Mapping[str, Callable[[Path], Decisions]] = {
    "continuation": run_text,
    "instruction": lambda folder: run_text(folder, instructs=True),
    "pool": lambda folder: run_text(folder, n_pool=120),
    "cells": run_cells,
    "edits": lambda folder: run_cells(folder, budget=600_000),
    "demo": preview_demo,
    "check": check_tables,
    "relabel": relabel_passages,
    "mine": mine_passages,
    "label_errors": mend_labels,
}
