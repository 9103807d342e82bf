"""Replies may arrive in any order: the data set, what was rejected and the report are the same to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

import counterpoise
from tests.integration.helpers import ONE_WAY, make_cache, make_job, make_reviews, write_reply, write_reviews
from tests.servers import LocalServer

pytestmark = [pytest.mark.assets, pytest.mark.processes]


@pytest.mark.parametrize("budget", [1_000_000, 12_000], ids=["ample", "short"])
def test_the_order_of_replies_does_not_count(tmp_path: Path, budget: int) -> None:
    ends = []
    for seed, (latency, concurrency) in enumerate([((0.0, 0.0), 1), ((0.0, 0.05), 4), ((0.0, 0.05), 32)]):
        folder = tmp_path / str(seed)
        folder.mkdir()
        write_reviews(folder / "reviews.csv", make_reviews(60, 12))
        write_reviews(folder / "test.csv", make_reviews(20, 20, seed=1))
        make_cache(folder / "cache")
        with LocalServer(write_reply, latency_seconds=latency, seed=seed) as server:
            llm = {"engine": "server", "url": server.url, "concurrency": concurrency}
            run = counterpoise.run(
                make_job(folder, server, "run", llm=llm, budget=budget, rounds=2, **ONE_WAY)
            )
            assert server.peak_in_flight <= concurrency
        shards = [*(folder / "run" / "dataset").iterdir(), *(folder / "run" / "rejected").iterdir()]
        files = {path.name: path.read_bytes() for path in shards}
        files |= {name: (folder / "run" / name).read_bytes() for name in ("report.json", "report.html")}
        ends.append((run.content_hash, files))
    assert ends[0] == ends[1]
    assert ends[0] == ends[2]
    spend = run.report_data["spend"]
    assert 0 < spend["used"] == spend["paid"] <= budget
