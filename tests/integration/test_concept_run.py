"""A run with concepts and answers: audits in the report, a model at chance refused, nothing labelled by it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

import counterpoise
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reviews
from tests.servers import LocalServer

pytestmark = [pytest.mark.assets, pytest.mark.processes]
OUTSIDE = ("garden", "terrace")


def test_answers_reach_the_report_and_a_model_at_chance_labels_nothing(tmp_path: Path) -> None:
    make_cache(tmp_path / "cache")
    rows = make_reviews(50, 30)
    write_reviews(tmp_path / "reviews.csv", rows)
    write_reviews(tmp_path / "test.csv", make_reviews(20, 20, seed=1))
    with (tmp_path / "gold.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "outside"])
        writer.writerows(
            [(text, "yes" if any(word in text for word in OUTSIDE) else "no") for text, _ in rows]
        )
    with LocalServer() as server:
        job = make_job(
            tmp_path,
            server,
            "run",
            rounds=1,
            concepts={"outside": "a garden or a terrace outside"},
            gold=str(tmp_path / "gold.csv"),
        )
        run = counterpoise.run(job)
    lines = [line for line in run.report_data["scorers"] if "outside" in line["question"]]
    assert {"similarity", "taught", "classifier", "knn", "stacked"} <= {line["name"] for line in lines}
    assert [line["role"] for line in lines].count("used") == 1
    used = next(line for line in lines if line["role"] == "used")
    assert used["n"] > 20 and used["auc"] > 0.9
    pilot = next(line for line in run.report_data["scorers"] if "mention a concept" in line["question"])
    assert pilot["role"] == "refused" and "does not label the concepts" in pilot["note"]
    present = [
        any(concept["name"] == "outside" for concept in row["concepts"] if concept["state"] == "present")
        for row in run.dataset["train"]
        if row["provenance"]["kind"] == "original"
    ]
    truth = [any(word in text for word in OUTSIDE) for text, _ in rows]
    assert sum(a == b for a, b in zip(present, truth, strict=True)) > 0.85 * len(truth)
