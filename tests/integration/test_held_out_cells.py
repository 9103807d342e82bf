"""A run with concepts, an attribute and answers about its sealed rows: its table by cell in JSON, Python and page."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import counterpoise
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reply
from tests.servers import LocalServer

pytestmark = [pytest.mark.assets, pytest.mark.processes]


def is_outside(text: str) -> bool:
    return "garden" in text or "terrace" in text


def write_rows(path: Path, rows: list[tuple[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [
                ("review", "stars", "source"),
                *((*row, ("web", "paper")[place % 2]) for place, row in enumerate(rows)),
            ]
        )


SEALED = make_reviews(130, 130, seed=1)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> counterpoise.Run:
    folder = tmp_path_factory.mktemp("by-cell")
    rows = make_reviews(48, 14)
    write_rows(folder / "reviews.csv", rows)
    write_rows(folder / "test.csv", SEALED)
    with (folder / "gold.csv").open("w", encoding="utf-8", newline="") as file:
        answers = [(text, "yes" if is_outside(text) else "no") for text, _ in (*rows, *SEALED)]
        csv.writer(file).writerows([("text", "outside"), *answers])
    make_cache(folder / "cache")
    with LocalServer(lambda body, index: write_reply(body, index)) as server:
        keys: dict[str, Any] = {
            "students": ["words"],
            "treatments": ["nothing", "logit_adjustment", "balanced_bags"],
            "attributes": ["source"],
            "concepts": {"outside": "a garden or a terrace outside"},
            "gold": str(folder / "gold.csv"),
        }
        return counterpoise.run(make_job(folder, server, "run", rounds=1, budget=20_000, **keys))


def test_every_arm_has_its_cells_counted_by_the_answers_of_people(run: counterpoise.Run) -> None:
    report = json.loads((run.directory / "report.json").read_text(encoding="utf-8"))
    section = report["held_out_cells"]
    assert run.held_out_cells == section["arms"]
    assert [(one["arm"], one["student"]) for one in section["arms"]] == [
        (one["arm"], one["student"]) for one in report["held_out"]["rows"]
    ]
    assert f"{len(SEALED)} answers of the gold file" in section["states"]
    counts = {
        f"{label} {'with' if outside else 'without'} outside": sum(
            stars == label and is_outside(text) == outside for text, stars in SEALED
        )
        for label in ("good", "bad")
        for outside in (True, False)
    }
    told = {one["cell"]: one["rows"] for one in section["arms"][0]["cells"]}
    told |= {one["cell"]: one["rows"] for one in section["too_few"]}
    assert counts.items() <= told.items()
    for arm in section["arms"]:
        (outside,) = arm["concepts"]
        assert (outside["labels"], outside["unknown"], outside["towards"]) == (2, 0, "good")
        assert outside["bias_at_c"]["low"] <= outside["bias_at_c"]["mean"] <= outside["bias_at_c"]["high"]
        by_label = {one["label"]: one for one in arm["cells"] if one["kind"] == "label"}
        mean = sum(one["accuracy"]["mean"] * one["rows"] for one in by_label.values()) / len(SEALED)
        assert arm["accuracy"]["mean"] == pytest.approx(mean, abs=1e-12)
        assert arm["before"] == report["validation"]["best_zero_token"]["words"]


def test_changed_rows_are_rows_of_the_data_set(run: counterpoise.Run) -> None:
    ids = {row["id"] for row in run.dataset["held_out"]["provenance"]}
    assert len(ids) == len(SEALED)
    for arm in run.held_out_cells:
        broken, mended = arm["right_to_wrong"], arm["wrong_to_right"]
        assert (broken["count"], mended["count"]) == (len(broken["ids"]), len(mended["ids"]))
        assert {*broken["ids"], *mended["ids"]} <= ids and not {*broken["ids"]} & {*mended["ids"]}
        if arm["arm"] == arm["before"]:
            assert not broken["ids"] and not mended["ids"]
    assert any(arm["right_to_wrong"]["count"] or arm["wrong_to_right"]["count"] for arm in run.held_out_cells)


def test_the_page_says_the_worst_cell_first(run: counterpoise.Run) -> None:
    page = run.report().read_text(encoding="utf-8")
    section = page.split('id="by-cell"')[1].split("</section>")[0]
    shown = next(one for one in run.held_out_cells if one["arm"] == "counterpoise")
    assert section.index(shown["worst"]) == min(section.index(one["cell"]) for one in shown["cells"])
    assert "Where is it right?" in page and "Right → wrong" in section
