"""The Python API: whole runs over real HTTP with the real encoder, and what can be read from them."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

import counterpoise
from counterpoise import api
from counterpoise.core.assets import ensure_asset, find_cache_dir
from counterpoise.core.errors import DataError, RunDirectoryError
from counterpoise.report.schema import Report
from tests.made_up import write_sentence, write_sentences
from tests.servers import Body, LocalServer, draw_seed, hash_body

TEXTS, LABELS = write_sentences(12, 40, 21)
NAMES = ["bad" if label == 0 else "good" for label in LABELS]


def reply(body: Body, index: int) -> str:
    """Sentences of the kind that is shown, now and then a refusal."""
    source = random.Random(draw_seed(hash_body(body), index))
    if source.random() < 0.15:
        return "I'm sorry, but I cannot write reviews of restaurants."
    return write_sentence(source, good=str(body.get("prompt", "")).startswith(("good", "1")))


@dataclass(frozen=True)
class Place:
    server: LocalServer
    folder: Path

    def keys(self, output: str) -> dict[str, Any]:
        return {
            "model": self.server.url,
            "output": str(self.folder / output),
            "cache_dir": str(self.folder / "cache"),
            "budget": "60k",
            "rounds": 2,
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("api")
    for name in ("minilm-l6-v2", "minilm-l6-v2-tokenizer"):
        ensure_asset(name)
    # Replies and vectors of the test's own beside the weights that are there.
    (folder / "cache").mkdir()
    (folder / "cache" / "assets").symlink_to(find_cache_dir(None) / "assets", target_is_directory=True)
    with threadpool_limits(1), LocalServer(reply) as server:
        yield Place(server, folder)


@pytest.fixture(scope="module")
def run(place: Place) -> api.Run:
    events: list[str] = []
    finished = counterpoise.rebalance(
        {"text": TEXTS, "label": NAMES},
        text="text",
        label="label",
        listener=lambda event: events.append(event.name),
        **place.keys("dict"),
    )
    assert events[0] == "read" and events[-1] == "finished" and {"measured", "planned", "judged"} <= {*events}
    return finished


pytestmark = [pytest.mark.assets, pytest.mark.processes]


def test_a_run_gives_back_the_users_rows_and_the_added_ones(run: api.Run) -> None:
    train, held_out = run.dataset["train"].to_pandas(), run.dataset["held_out"].to_pandas()
    kind = train["provenance"].map(lambda row: row["kind"])
    own = train[kind == "original"]
    given = dict(zip(TEXTS, NAMES, strict=True))
    back = [*own["text"], *held_out["text"]]
    assert sorted(back) == sorted(TEXTS) and list(own["text"]) == [
        text for text in TEXTS if text in set(own["text"])
    ]
    assert all(given[text] == label for text, label in zip(own["text"], own["label"], strict=True))
    added = train[kind == "minority"]
    assert len(added) >= 15 and set(kind) == {"original", "minority"}
    ids = set(own["provenance"].map(lambda row: row["id"]))
    sealed = set(held_out["provenance"].map(lambda row: row["id"]))
    for row in added["provenance"]:
        assert row["parents"].size == 5 and set(row["parents"]) <= ids - sealed
        assert row["model"].startswith("local-model") and row["prompt"].startswith("minority_")


def test_before_and_after_and_what_was_refused_can_be_read(run: api.Run) -> None:
    before, after = ({row["cell"]: row for row in side} for side in (run.before, run.after))
    n_added = Counter(run.dataset["train"]["label"])
    assert before["bad"]["have"] < before["good"]["have"] == before["bad"]["want"]
    assert {cell: row["have"] for cell, row in after.items()} == n_added
    assert after["bad"]["need"] < before["bad"]["need"] / 2
    rejected = run.rejected.to_pandas()
    assert len(rejected) == sum(run.report_data["verdicts"]["rejected"].values()) > 0
    refused = rejected[rejected["reason"] == "refusal"]
    assert len(refused) and refused["text"].str.startswith("I'm sorry").all()
    assert not set(rejected["text"]) & set(run.dataset["train"]["text"])


def test_the_report_is_whole_and_names_no_folder(run: api.Run) -> None:
    assert run.report() == run.directory / "report.html" and run.report().stat().st_size > 10_000
    assert set(run.report_data) == set(Report.__annotations__)
    assert str(run.directory) not in json.dumps(run.report_data)
    assert run.stopped and len(run.content_hash) >= 16
    arms = {row["arm"] for row in run.report_data["held_out"]["rows"]}
    assert {"nothing", "logit_adjustment", "counterpoise", "unverified"} <= arms
    assert run.report_data["spend"]["used"] <= 60_000


def test_a_finished_run_is_read_back_without_its_server(run: api.Run) -> None:
    again = api.resume(run.directory)
    assert (
        again.report_data == json.loads(json.dumps(run.report_data))
        and again.content_hash == run.content_hash
    )
    assert again.dataset["train"].num_rows == run.dataset["train"].num_rows


def test_a_pool_row_that_was_refused_is_not_proposed_again(place: Place) -> None:
    fresh, _ = write_sentences(20, 20, 77)
    pool = ["" if row % 5 == 0 else text for row, text in enumerate(fresh)]  # an empty text is always refused
    keys = place.keys("pool") | {"rounds": 4}
    found = counterpoise.rebalance(
        {"text": TEXTS, "label": NAMES}, text="text", label="label", pool={"text": pool}, **keys
    )
    rejected = found.rejected.to_pandas()
    refused = rejected[rejected["action"] == "adopt"]["source_id"]
    assert len(refused) == refused.nunique() > 0
    actions = [item["action"] for one in found.report_data["rounds"] for item in one["items"]]
    assert "minority_text" in actions, "what the pool cannot give is written"


def test_an_adopted_row_keeps_its_columns_as_they_are(place: Place) -> None:
    fresh, _ = write_sentences(20, 20, 77)
    found = counterpoise.rebalance(
        {"title": [f"By guest {row}" for row in range(len(TEXTS))], "review": TEXTS, "label": NAMES},
        text=("title", "review"),
        label="label",
        pool={"title": [f"By guest\n{row}" for row in range(40)], "review": fresh},
        **place.keys("columns") | {"budget": 0},
    )
    rows = [row for row in found.dataset["train"] if row["provenance"]["kind"] == "adopted"]
    assert len(rows) >= 5
    for row in rows:
        place_in_pool = fresh.index(row["review"])
        assert row["title"] == f"By guest\n{place_in_pool}"


def test_without_a_token_records_of_the_pool_are_adopted(place: Place) -> None:
    pool, _ = write_sentences(20, 20, 77)
    for budget in (0, 60):  # the second pays a first question and no more
        keys = place.keys(f"poor{budget}") | {"budget": budget}
        found = counterpoise.rebalance(
            {"text": TEXTS, "label": NAMES}, text="text", label="label", pool={"text": pool}, **keys
        )
        kinds = Counter(row["kind"] for row in found.dataset["train"]["provenance"])
        assert set(kinds) == {"original", "adopted"} and kinds["adopted"] >= 10
        assert found.report_data["spend"]["used"] <= budget
        short = [row["cell"] for row in found.after if row["need"]]
        if short:
            assert found.stopped.startswith("the budget does not reach for the first questions: bad lacks ")
            assert "raise `budget`" in found.stopped
        else:
            assert found.stopped == "the data is balanced."
        assert [row["cell"] for row in found.report_data["ending"]["short"]] == short


def list_rows(run: api.Run) -> dict[str, list[str]]:
    """The rows of a result, whatever their order."""
    return {split: sorted(map(str, rows)) for split, rows in run.dataset.items()}


async def test_inside_an_event_loop_a_frame_gives_the_same_data_set(run: api.Run, place: Place) -> None:
    # As in a notebook; the rows stand in another order, and stored replies are used.
    asked = place.server.n_requests
    frame = pd.DataFrame({"text": TEXTS, "label": NAMES}).iloc[::-1]
    other = counterpoise.rebalance(frame, text="text", label="label", **place.keys("frame"))
    assert list_rows(other) == list_rows(run)
    assert place.server.n_requests == asked
    assert other.report_data["spend"]["paid"] == 0 < other.report_data["spend"]["used"]
    assert other.report_data["held_out"] == run.report_data["held_out"]


def test_a_run_whose_data_was_in_memory_says_how_to_go_on(run: api.Run, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text((run.directory / "job.yaml").read_text())
    with pytest.raises(RunDirectoryError, match="table in memory; call rebalance again"):
        api.resume(tmp_path)
    with pytest.raises(RunDirectoryError, match="no run here"):
        api.resume(tmp_path / "absent")


def test_check_balance_finds_and_fails_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table = {"text": [*TEXTS, *TEXTS[:5]], "stars": [*NAMES, *NAMES[:5]]}
    table["source"] = ["web" if name == "bad" else "mail" for name in table["stars"]]
    held_out = pd.DataFrame({"text": TEXTS[20:30], "stars": NAMES[20:30], "source": ["web"] * 10})
    report = counterpoise.check_balance(
        table, label="stars", attributes=["source"], held_out=held_out, fail_on=0.1
    )
    assert report.failures and set(report.failures) <= set(report.findings)
    plain = json.loads(json.dumps(report.to_dict()))
    assert {finding["code"] for finding in plain["findings"]} == {finding.code for finding in report.findings}
    assert any("source" in finding.message for finding in report.failures)
    lenient = counterpoise.check_balance(pd.DataFrame(table), label="stars", attributes=["source"])
    assert not lenient.failures and lenient.findings
    assert counterpoise.check_balance(table, label="stars", attributes="source").columns == lenient.columns
    with pytest.raises(DataError, match="source2"):
        counterpoise.check_balance(table, label="stars", attributes=["source2"])
    assert not list(tmp_path.iterdir())
