"""`mode: weights`: a whole run that asks no model and adds no record, with nothing at the model's address."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import load_dataset

from counterpoise.cli import app as cli
from tests.integration.helpers import make_cache, make_reviews, write_reviews

pytestmark = [pytest.mark.assets, pytest.mark.processes]


def test_rows_are_weighed_with_no_model_in_reach(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_reviews(tmp_path / "reviews.csv", make_reviews(60, 20))
    test = write_reviews(tmp_path / "test.csv", make_reviews(15, 15, seed=1))
    make_cache(tmp_path / "cache")
    keys = {
        "data": str(data),
        "held_out": str(test),
        "text": "review",
        "label": "stars",
        "mode": "weights",
        "llm": "http://127.0.0.1:9/v1",
        "cache_dir": str(tmp_path / "cache"),
        "output": str(tmp_path / "run"),
    }
    job = tmp_path / "job.yaml"
    job.write_text(json.dumps(keys), encoding="utf-8")
    assert cli.execute(["run", str(job)]) == 0
    assert "the data is balanced" in capsys.readouterr().out
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert report["verdicts"]["accepted"] == 0
    assert report["ending"]["kind"] == "balanced"
    assert any("tell as much as 60 rows of equal weight" in note for note in report["data"]["notes"])
    folder = str(tmp_path / "run" / "dataset")
    rows = load_dataset("parquet", data_dir=folder, cache_dir=str(tmp_path / "hf"))["train"]
    weights = {(stars, round(weight, 3)) for stars, weight in zip(rows["stars"], rows["weight"], strict=True)}
    assert weights == {("good", 0.667), ("bad", 2.0)}
    assert cli.execute(["preview", str(job)]) == 2
    assert "nothing to preview; run the job" in capsys.readouterr().err
    job.write_text(json.dumps(keys | {"concepts": "auto"}), encoding="utf-8")
    assert cli.execute(["run", str(job)]) == 2
    assert "weights asks no model" in capsys.readouterr().err
