"""What the page shows of the held-out table by cell: which arms stand side by side, what is cut, what is coloured."""

from __future__ import annotations

from typing import Any

from counterpoise.report.cell_view import (
    MOST_CELLS,
    MOST_IDS,
    SHOWN_CELLS,
    build_cells,
    format_points,
    format_share,
)
from counterpoise.report.text_page import TEXT_PAGE
from tests.report_sample import sample_report, wide_report

MEANINGS: dict[str, dict[str, str]] = {"students": {}}


def build(report: dict[str, Any]) -> dict[str, Any]:
    view = build_cells(report["held_out_cells"], MEANINGS)
    assert view is not None
    return view


def test_our_arm_stands_beside_the_best_way_without_tokens_worst_cell_first() -> None:
    report = sample_report()
    student = build(report)["students"][0]
    assert (student["shown"], student["other"]) == ("counterpoise", "logit_adjustment")
    means = [row["cell"]["accuracy"]["mean"] for row in (*student["rows"], *student["rest"])]
    assert means == sorted(means) and len(student["rows"]) == SHOWN_CELLS
    assert student["worst"]["cell"]["cell"] == "negative with service"
    assert student["worst"]["difference"]["tone"] == student["concepts"][0]["difference"]["tone"] == "good"
    mended = student["changes"][1]
    assert len(mended["ids"]) == MOST_IDS and mended["n_more"] == mended["rows"]["count"] - MOST_IDS > 0
    assert [line["arm"]["arm"] for line in student["arms"]] == [
        "nothing",
        "logit_adjustment",
        "counterpoise",
        "unverified",
    ]


def test_without_added_records_the_best_way_stands_beside_rows_as_they_are() -> None:
    report = wide_report()
    student = build(report)["students"][0]
    assert (student["shown"], student["other"]) == ("logit_adjustment", "nothing")
    arms = {arm["arm"]: arm for arm in report["held_out_cells"]["arms"]}
    first = student["rows"][0]["cell"]["cell"]
    plain = next(cell for cell in arms["nothing"]["cells"] if cell["cell"] == first)["difference"]
    turned = {"mean": -plain["mean"], "low": -plain["high"], "high": -plain["low"]}
    assert student["rows"][0]["difference"]["range"] == format_points(turned)["range"]
    assert student["changes"][0]["rows"] == arms["nothing"]["wrong_to_right"]
    n_cells = len(arms["logit_adjustment"]["cells"])
    assert len(student["rows"]) + len(student["rest"]) == MOST_CELLS
    assert student["n_left"] == n_cells - MOST_CELLS > 0
    assert f"{n_cells - MOST_CELLS} further cells are in report.json" in TEXT_PAGE.render(report)


def test_the_best_way_that_is_rows_as_they_are_stands_alone() -> None:
    report = wide_report()
    section = report["held_out_cells"]
    section["arms"] = [arm | {"before": "nothing"} for arm in section["arms"] if arm["arm"] == "nothing"]
    student = build(report)["students"][0]
    assert (student["shown"], student["other"]) == ("nothing", "")
    page = TEXT_PAGE.render(report).split('id="by-cell"')[1].split("</section>")[0]
    assert "difference, points" not in page and "one star with food" in page


def test_a_smaller_gap_is_good_and_an_interval_at_zero_is_plain() -> None:
    assert format_points({"mean": 0.1, "low": 0.02, "high": 0.2})["tone"] == "up"
    assert format_points({"mean": -0.1, "low": -0.2, "high": -0.02})["tone"] == "down"
    assert format_points({"mean": -0.1, "low": -0.2, "high": 0.0}) == {
        "value": "−10.0",
        "range": "−20.0 to 0.0",
        "tone": "plain",
    }
    assert format_points(None)["value"] == "–"
    assert format_share({"mean": 0.996, "low": 0.97, "high": 0.999}) == {
        "value": "99.6%",
        "range": "97 to 100",
    }
    assert format_share({"mean": 0.624, "low": 0.5, "high": 0.7})["value"] == "62%"


def test_a_report_without_the_table_says_so() -> None:
    report = sample_report()
    del report["held_out_cells"]
    assert "did not measure accuracy cell by cell" in TEXT_PAGE.render(report)
    few = sample_report()
    for arm in few["held_out_cells"]["arms"]:
        arm |= {"cells": [], "worst": "", "worst_difference": None, "gaps": [], "accuracy": None}
        for concept in arm["concepts"]:
            concept |= dict.fromkeys(
                (
                    "bias_at_c",
                    "spread",
                    "mean_difference",
                    "acc_at_c",
                    "acc_at_noc",
                    "worst_group_accuracy",
                    "difference",
                )
            )
    few["held_out_cells"]["too_few"] = [{"cell": f"cell {n}", "rows": n} for n in range(25)]
    page = TEXT_PAGE.render(few)
    assert "No cell has enough held-out records" in page and "cell 19 (19) and 5 more" in page
    assert "too few records with it and without it" in page
