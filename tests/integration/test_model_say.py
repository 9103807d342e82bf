"""A run whose model has earned a say about labels, and runs whose models have not."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import counterpoise
from counterpoise.core.splits import keyed_hash
from counterpoise.tasks.text.job import Job
from tests.integration.helpers import ONE_WAY, make_cache, make_job, write_reply
from tests.reference.runs import read_rows
from tests.servers import WORDS, Body, LocalServer

pytestmark = [pytest.mark.assets, pytest.mark.processes, pytest.mark.slow]

MEANINGS = {"good": "Paid in full", "bad": "Still open"}
N_GOOD, N_BAD, N_POOL = 60, 14, 80


def tell_label(text: str) -> str:
    """What nobody reads off the words: a matter of the number."""
    number = re.findall(r"invoice (\d+)", text)[-1]
    return "bad" if keyed_hash("open", number) % 2 else "good"


def write_invoices(path: Path, n_good: int, n_bad: int, first: int) -> None:
    """So many rows of each label, of numbers from `first` on."""
    left, number, rows = {"good": n_good, "bad": n_bad}, first, []
    while any(left.values()):
        source = random.Random(number)
        text = f"{' '.join(source.sample(WORDS, 9))} invoice {number} {' '.join(source.sample(WORDS, 9))}"
        if left[label := tell_label(text)]:
            left[label] -= 1
            rows.append((text, label))
        number += 1
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("review", "stars"), *rows])


def know(body: Body) -> Mapping[str, float]:
    """Letters of a model that knows every label and is fairly sure of it."""
    content = body["messages"][-1]["content"]
    wanted = MEANINGS[tell_label(re.findall(r"<text>(.*?)</text>", content)[-1])]
    letters = {meaning: letter for letter, meaning in re.findall(r"^([A-Z])\. (.*)$", content, re.MULTILINE)}
    return {letters[wanted]: -0.1, **{other: -2.5 for other in letters.values() if other != letters[wanted]}}


def obey_nobody(body: Body) -> Mapping[str, float]:
    """Letters of a model that always answers A."""
    return {"A": -0.1, "B": -2.5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_invoices(tmp_path / "reviews.csv", N_GOOD, N_BAD, 1_000)
    write_invoices(tmp_path / "test.csv", 20, 20, 3_000)
    write_invoices(tmp_path / "pool.csv", N_POOL // 2, N_POOL // 2, 5_000)
    make_cache(tmp_path / "cache")
    return tmp_path


def open_job(folder: Path, server: LocalServer, name: str) -> Job:
    pool = str(folder / "pool.csv")
    return make_job(folder, server, name, labels=MEANINGS, pool=pool, rounds=1, actions=["adopt"], **ONE_WAY)


def list_adopted(run: Path) -> list[tuple[str, str]]:
    rows: list[dict[str, Any]] = read_rows(run / "dataset")
    return [(row["review"], row["stars"]) for row in rows if row["provenance"]["kind"] == "adopted"]


def test_a_model_that_knows_what_the_classifier_cannot_see_adopts(folder: Path) -> None:
    with LocalServer(write_reply, logprobs=know) as server:
        job = open_job(folder, server, "run")
        counterpoise.run(job)
        adopted = list_adopted(folder / "run")
        assert len(adopted) >= 20 and all(tell_label(text) == label == "bad" for text, label in adopted)
        n_asked = server.n_requests
        (folder / "run" / "FINISHED").unlink()
        counterpoise.resume(folder / "run")
        assert server.n_requests == n_asked, "what was answered is not paid twice"
        assert list_adopted(folder / "run") == adopted
    report = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    lines = {line["name"]: line for line in report["scorers"]}
    assert lines["llm"]["role"] == "used" and "rows of known label" in lines["llm"]["note"]
    assert lines["classifier"]["role"] == "refused"


def test_a_model_that_knows_nothing_changes_nothing(folder: Path) -> None:
    with LocalServer(write_reply, logprobs=obey_nobody) as server:
        counterpoise.run(open_job(folder, server, "run"))
    assert list_adopted(folder / "run") == []
    report = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    assert {line["name"]: line["role"] for line in report["scorers"]}["llm"] == "refused"


def test_a_preview_says_what_asking_the_model_would_cost(folder: Path) -> None:
    with LocalServer(write_reply, logprobs=know) as server:
        preview = counterpoise.preview(open_job(folder, server, "run"), progress=False)
        assert server.n_requests == 0
    (line,) = (line for line in preview.advice if "a say about labels" in line)
    found = re.search(r"asked about (\d+) rows of the pool for ([\d,]+) tokens", line)
    assert found and 0 < int(found[1]) <= N_POOL
