"""Twenty servers as they behave: a run with each ends with records, or in one line that says why not and what to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import counterpoise
from counterpoise.core.errors import CounterpoiseError
from counterpoise.core.events import Event
from tests.integration.helpers import ONE_WAY, make_cache, make_job, write_reviews
from tests.server_modes import (
    MODES,
    THOUGHTS,
    Mode,
    ModeServer,
    shape_between,
    shape_field,
    tell_label,
    write_review,
)
from tests.servers import draw_seed

pytestmark = [pytest.mark.assets, pytest.mark.slow, pytest.mark.processes]

WORKING = [name for name, mode in MODES.items() if not mode.ends]
ENDING = [name for name, mode in MODES.items() if mode.ends]
BUDGET = 200_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty reviews, and a cache that all servers share: what was encoded for one need not be for the next."""
    place = tmp_path_factory.mktemp("servers")
    for name, n_good, n_bad in (("reviews", 22, 8), ("test", 6, 6)):
        labels = ["good"] * n_good + ["bad"] * n_bad
        rows = [(write_review(label, draw_seed(name, number)), label) for number, label in enumerate(labels)]
        write_reviews(place / f"{name}.csv", rows)
    make_cache(place / "cache")
    return place


def run_with(
    folder: Path, server: ModeServer, name: str, **keys: Any
) -> tuple[list[dict[str, Any]], str, int]:
    """The records that were added, the last line, and what was spent."""
    lines: list[str] = []

    def listen(event: Event) -> None:
        if event.name in ("warning", "finished"):
            lines.append(str(event.data.get("message") or event.data.get("stopped")))

    job = make_job(folder, server, name, **({"budget": BUDGET, "rounds": 1} | ONE_WAY | keys))
    try:
        run = counterpoise.run(job, listener=listen)
    except CounterpoiseError as error:
        return [], str(error), server.prompt_tokens + server.completion_tokens
    added = [row for row in run.dataset["train"] if row["provenance"]["kind"] != "original"]
    return added, lines[-1], run.report_data["spend"]["paid"]


def test_there_are_twenty_of_them() -> None:
    assert len(WORKING) >= 20 and len(ENDING) >= 3


@pytest.mark.parametrize("name", WORKING)
def test_a_run_ends_with_records_that_are_what_was_asked_for(folder: Path, name: str) -> None:
    with ModeServer(name) as server:
        added, _, _ = run_with(folder, server, f"run-{name}")
    assert len(added) >= 10
    for row in added:
        assert tell_label(row["review"]) == row["stars"]
        assert row["review"].endswith(".") and "\n" not in row["review"]


@pytest.mark.parametrize("name", ENDING)
def test_where_nothing_can_be_written_one_line_says_why_and_what_it_says_works(
    folder: Path, name: str
) -> None:
    with ModeServer(name) as server:
        added, line, spent = run_with(folder, server, f"run-{name}")
    assert not added and spent <= 4000
    assert MODES[name].ends in line and "\n" not in line
    with ModeServer(
        name, is_mended=True
    ) as server:  # under the same name, with the same replies in the store
        added, _, _ = run_with(folder, server, f"mended-{name}")
    assert len(added) >= 10


TWINS = {
    "field": Mode(
        "a twin with thoughts in a field",
        continues=True,
        thoughts=THOUGHTS,
        shape=shape_field("reasoning_content"),
    ),
    "tags": Mode(
        "a twin with thoughts between tags",
        continues=True,
        thoughts=THOUGHTS,
        shape=shape_between("<think>", "</think>\n\n"),
    ),
    "end": Mode(
        "a twin without the opening tag",
        continues=True,
        thoughts=THOUGHTS,
        shape=shape_between("", "\n</think>\n"),
    ),
}


def test_a_model_that_thinks_first_gives_the_same_data_set_to_the_byte(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, n_tokens = {}, {}
    # Of a model that thinks first the letter that it writes is read, so its twin is scored by no log-probabilities. A
    # slice has so many tokens and thoughts are tokens, so what is compared is the round that buys all that is wanted.
    for name, mode in {"plain": replace(MODES["vllm"], logprobs=False), **TWINS}.items():
        monkeypatch.setitem(MODES, name, mode)
        (folder / "cache" / "replies.sqlite").unlink(missing_ok=True)
        with ModeServer(name, models=("local-model",)) as server:
            added, _, _ = run_with(folder, server, f"twin-{name}", rounds=1, budget=10**7)
            assert added
            n_tokens[name] = server.completion_tokens
        shards = [*(folder / f"twin-{name}" / "dataset").glob("*.parquet")]
        made[name] = {path.name: path.read_bytes() for path in shards}
    assert min(n_tokens[name] for name in TWINS) > 1.5 * n_tokens["plain"]
    assert made["plain"] == made["field"] == made["tags"] == made["end"]


def test_a_budget_that_pays_for_thoughts_alone_is_said_to_before_anything_is_paid(folder: Path) -> None:
    with ModeServer("thinks-for-long") as server:
        added, line, spent = run_with(folder, server, "run-short", budget=20_000)
    assert not added and spent <= 4000 and "still thinking" in line and "budget from" in line
    with ModeServer("thinks-3000") as server:
        added, line, spent = run_with(folder, server, "run-3000", budget=20_000)
    assert (
        not added
        and spent <= 4000
        and "thinks for about 3,000 tokens" in line
        and "pay for about 6 answers" in line
    )
