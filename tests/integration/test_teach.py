"""A model teaches a small classifier: the pool is taken in whole, and the sealed rows say which way to take."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

import counterpoise
from counterpoise.api import Taught, teach_job
from counterpoise.core.errors import JobError
from counterpoise.runs.teaching import ASK, FEW, SIMPLE, TEACH, advise, name_taught_way
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reply, write_reviews
from tests.integration.test_model_say import MEANINGS, know, list_adopted, tell_label, write_invoices
from tests.integration.test_resume import finish, start
from tests.reference.runs import read_rows
from tests.servers import LocalServer

pytestmark = [pytest.mark.assets, pytest.mark.processes, pytest.mark.slow]

N_POOL = 60


def teach(folder: Path, server: LocalServer) -> Taught:
    keys = {"pool": str(folder / "pool.csv"), "actions": ["adopt"], "rounds": 1}
    return teach_job(make_job(folder, server, "run", labels=MEANINGS, pool_rows="all", **keys))


def test_a_model_labels_the_whole_pool_and_is_compared_with_what_it_taught(tmp_path: Path) -> None:
    write_invoices(tmp_path / "reviews.csv", 24, 24, 1_000)  # nothing is short
    write_invoices(tmp_path / "test.csv", 20, 20, 3_000)
    write_invoices(tmp_path / "pool.csv", N_POOL // 2, N_POOL // 2, 5_000)
    make_cache(tmp_path / "cache")
    with LocalServer(write_reply, logprobs=know) as server:
        taught = teach(tmp_path, server)
        adopted = list_adopted(tmp_path / "run")
        assert len(adopted) > 0.8 * N_POOL and all(tell_label(text) == label for text, label in adopted)
        assert {label for _, label in adopted} == {"good", "bad"}
        n_asked = server.n_requests
        (tmp_path / "run" / "FINISHED").unlink()
        again = teach(tmp_path, server)
        assert server.n_requests == n_asked, "what was answered is not paid twice"
    rows = {row.way: row for row in taught.table.rows}
    assert list(rows) == [ASK, FEW, TEACH, SIMPLE] and {row.n for row in rows.values()} == {40}
    assert rows[ASK].accuracy == 1.0 and rows[ASK].tokens > 0 and rows[TEACH].tokens == 0
    assert rows[TEACH].accuracy < 0.9, "nobody reads these labels off the words"
    assert taught.table.advice.startswith("Do not train: ask the model outright")
    assert np.isnan([row.milliseconds for row in again.table.rows[:2]]).all(), "stored replies take no time"
    kept = json.loads((tmp_path / "run" / "teach.json").read_text(encoding="utf-8"))
    assert [row["accuracy"] for row in kept["rows"]] == [row.accuracy for row in taught.table.rows]
    assert taught.path is not None
    loaded = counterpoise.load_recipe(taught.path, cache_dir=tmp_path / "cache")
    texts = taught.run.dataset["held_out"]["review"]
    assert loaded.predict(texts).tolist() == taught.recipe.predict(texts).tolist()


def test_a_teaching_that_is_killed_and_begun_again_gives_the_same_bytes(tmp_path: Path) -> None:
    with LocalServer(write_reply, logprobs=know, latency_seconds=(0.005, 0.02)) as server:
        files = [write_job(tmp_path / name, server) for name in ("undisturbed", "killed")]
        finish(start("teach", str(files[0])))
        n_before = server.n_requests
        for n_more in (30, 150):
            process = start("teach", str(files[1]))
            while process.poll() is None and server.n_requests < n_before + n_more:
                time.sleep(0.01)
            assert process.poll() is None, "it was to be killed before its end"
            process.kill()
            process.communicate()
        finish(start("teach", str(files[1])))
    undisturbed, killed = (file.parent / "run" for file in files)
    for name in ("teach.json", "recipe/rows.parquet"):
        assert (killed / name).read_bytes() == (undisturbed / name).read_bytes(), name
    # The file of a recipe holds the time at which it was written; what it says is the same.
    recipes = [
        counterpoise.load_recipe(file.parent / "run" / "recipe.skops", cache_dir=file.parent / "cache")
        for file in files
    ]
    texts = [row["review"] for row in read_rows(killed / "dataset")]
    assert recipes[0].predict_log_proba(texts).tobytes() == recipes[1].predict_log_proba(texts).tobytes()
    assert sorted(map(str, read_rows(killed / "dataset"))) == sorted(
        map(str, read_rows(undisturbed / "dataset"))
    )


def test_a_preview_shows_the_pool_that_would_be_taken_in(tmp_path: Path) -> None:
    write_reviews(tmp_path / "reviews.csv", make_reviews(40, 40))
    write_reviews(tmp_path / "test.csv", make_reviews(20, 20, seed=1))
    write_reviews(tmp_path / "pool.csv", make_reviews(30, 30, seed=2))
    make_cache(tmp_path / "cache")
    with LocalServer(write_reply) as server:
        keys = {"pool": str(tmp_path / "pool.csv"), "actions": ["adopt"], "rounds": 1}
        shown = counterpoise.preview(make_job(tmp_path, server, "run", pool_rows="all", **keys))
        lacks = counterpoise.preview(make_job(tmp_path, server, "run", **keys))
    adopted = {item.cell.label: item.count for item in shown.plan}
    assert set(adopted) == {"good", "bad"} and sum(adopted.values()) > 30
    assert not lacks.plan, "nothing is short"


def write_job(folder: Path, server: LocalServer) -> Path:
    folder.mkdir()
    write_invoices(folder / "reviews.csv", 24, 24, 1_000)
    write_invoices(folder / "test.csv", 20, 20, 3_000)
    write_invoices(folder / "pool.csv", N_POOL // 2, N_POOL // 2, 5_000)
    make_cache(folder / "cache")
    keys = {"pool": str(folder / "pool.csv"), "actions": ["adopt"], "rounds": 1, "pool_rows": "all"}
    file = folder / "job.yaml"
    file.write_text(make_job(folder, server, "run", labels=MEANINGS, **keys).dump(), encoding="utf-8")
    return file


def test_without_sealed_rows_nothing_can_be_compared(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="held_out"):
        counterpoise.teach(tmp_path / "a.csv", text="a", label="b", model="embedded", held_out=None)


def test_a_classifier_is_taken_unless_asking_is_surely_better_or_no_token_as_good() -> None:
    weights = np.random.default_rng(0).multinomial(200, np.full(200, 1 / 200), size=500) / 200
    good, poor = np.arange(200) < 190, np.arange(200) < 150
    assert advise({ASK: poor, TEACH: good, SIMPLE: poor}, weights).startswith(
        "Take the taught classifier: +20"
    )
    assert advise({ASK: good, TEACH: good, SIMPLE: good}, weights).startswith("The best way without a token")
    assert advise({FEW: good, TEACH: poor, SIMPLE: poor}, weights).startswith(
        "Do not train: ask the model with"
    )


def test_what_was_added_is_used_even_where_the_run_recommends_no_use_of_it() -> None:
    assert name_taught_way("tuned_added:tuned_prior", "tuned_prior") == "tuned_added:tuned_prior"
    assert name_taught_way("labelled_pool", "labelled_pool") == "tuned_added:labelled_pool"
    assert name_taught_way("logit_adjustment", "logit_adjustment") == "tuned_added"
