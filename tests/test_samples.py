"""Where there are many rows a sample stands for them: it keeps what is scarce, and everything that is told says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import counterpoise
from counterpoise.actions.base import PoolScores
from counterpoise.core.plans import Cell, Deficit
from counterpoise.core.records import Records
from counterpoise.llm import ScriptedChatClient
from counterpoise.runs.notes import note_held_out, note_left_out
from counterpoise.scorers import anchors
from counterpoise.students import samples
from counterpoise.students.forecasts import ThinLoss, compute_factor
from counterpoise.students.samples import draw_rows, draw_sample
from counterpoise.tasks.text.job import Job, job_from
from counterpoise.tasks.text.label_trust import audit_free_scorers
from tests.integration.helpers import make_reviews
from tests.made_up import ENCODER, as_objects, make_records
from tests.test_trust import make_inputs

MANY = 60
"""Rows from which a sample is drawn in these tests."""


@pytest.fixture
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_VALIDATION_ROWS", MANY)
    monkeypatch.setattr(samples, "FEWEST_OF_A_LABEL", 10)


def make_many(n_values: int = 2) -> Records:
    """1,000 rows of two labels; the first has four rows of the first source, and every source some of each label."""
    labels = [0] * 300 + [1] * 700
    sources = [f"s{1 + row % (n_values - 1)}" for row in range(1000)]
    sources[:4] = ["s0"] * 4
    sources[300:600] = ["s0"] * 300
    return make_records([f"text {row}" for row in range(1000)], labels, attributes={"source": sources})


def test_what_is_measured_is_drawn_by_hash_and_has_every_label() -> None:
    ids = as_objects([f"row{row}" for row in range(1000)])
    labels = np.array([0] * 20 + [1] * 100 + [2] * 880)
    assert draw_rows(ids, labels, 1000).tolist() == list(range(1000))
    drawn = draw_rows(ids, labels, 100)
    counts = np.bincount(labels[drawn])
    assert counts[0] == 20 and counts[1] >= 50 and 80 < counts[2] < 120 and (np.diff(drawn) > 0).all()
    # Turned round, the same rows are drawn.
    turned = draw_rows(ids[::-1], labels[::-1], 100)
    assert set(ids[::-1][turned]) == set(ids[drawn])


def test_few_rows_stand_for_themselves() -> None:
    sample = draw_sample(make_many())
    assert sample.rows.tolist() == list(range(1000)) and not sample.is_part
    assert note_left_out(sample, make_many(), []) == [] == note_held_out(20_000)


@pytest.mark.usefixtures("_few_are_many")
def test_a_scarce_cell_is_in_the_sample_whole() -> None:
    records = make_many()
    sample = draw_sample(records)
    assert set(range(4)) <= set(sample.rows.tolist()) and sample.whole_to == 10
    assert MANY < len(sample.rows) <= 3 * MANY and (np.diff(sample.rows) > 0).all()
    counts = np.bincount(records.labels[sample.rows])
    assert counts.min() >= 10
    backwards = np.arange(1000)[::-1]
    turned = draw_sample(records.take(backwards))
    assert set(backwards[turned.rows].tolist()) == set(sample.rows.tolist())
    (note,) = note_left_out(sample, records, [])
    assert f"{len(sample.rows)} of 1,000 training rows" in note and "are at most 10" in note


@pytest.mark.usefixtures("_few_are_many")
def test_so_many_cells_that_they_do_not_fit_keep_fewer_rows_each() -> None:
    records = make_many(12)
    sample = draw_sample(records)
    assert 0 < sample.whole_to < 4 and len(sample.rows) < 4 * MANY
    sizes = [
        ((records.labels == label) & (records.attributes["source"] == value), label)
        for label in (0, 1)
        for value in sorted(set(records.attributes["source"]))
    ]
    kept = np.isin(np.arange(1000), sample.rows)
    assert all((kept & mask).sum() >= min(mask.sum(), sample.whole_to) for mask, _ in sizes)


def test_the_rows_of_an_attribute_without_values_are_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_VALIDATION_ROWS", MANY)
    records = replace(make_many(), attributes={"source": as_objects([""] * 1000)})
    assert draw_sample(records).whole_to == 0
    assert "concept" not in draw_sample(records).describe()


def test_what_a_plan_leaves_out_is_said() -> None:
    records = make_records(
        [f"text {row}" for row in range(99)], [0] * 99, attributes={"shop": [f"{row}" for row in range(99)]}
    )
    short = [Deficit(Cell("bad", attribute="x", value=f"{row}"), 1, 9) for row in range(70)]
    cells, values = note_left_out(draw_sample(records), records, short)
    assert "70 cells" in cells and "60 that lack most" in cells
    assert values.startswith("'shop' has 99 values")
    assert "20,000 of 40,000 training rows" in note_held_out(40_000)[0]


def test_a_forecast_from_a_sample_foresees_what_more_rows_give_all_rows() -> None:
    """Errors fall with the root of the rows: a quarter of them shows twice what all of them have left."""
    whole = ThinLoss(np.array([80]), {}, np.array([80]))
    part = ThinLoss(np.array([80]), {}, np.array([20]))
    assert whole.find_factor(0, 40.0) == compute_factor(80, 40.0)
    assert part.find_factor(0, 40.0) == pytest.approx(compute_factor(80, 40.0) / 2)


@pytest.mark.usefixtures("_few_are_many")
def test_label_scorers_learn_from_a_sample_and_are_audited_on_it() -> None:
    inputs = make_inputs(20, 280)
    trust = audit_free_scorers(inputs)
    n_drawn = len(draw_sample(inputs.train.records).rows)
    assert MANY <= n_drawn < 300 and trust.out_of_fold.shape == (300, 2)
    assert {row["n"] for row in trust.rows} == {n_drawn}
    assert f"{n_drawn} of 300 rows." in trust.rows[0]["question"]
    # Each row's score comes from classifiers that did not see it, whether it was drawn or not.
    assert (trust.out_of_fold.argmax(axis=1) == inputs.train.records.labels).mean() > 0.8


def test_rows_to_ask_about_do_not_depend_on_how_many_are_compared_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train, pool = make_inputs(12, 80).train, make_inputs(20, 60).train
    folds = np.arange(92) % 5
    chosen = anchors.choose_by_anchors(train, folds, pool, 8, "key")
    monkeypatch.setattr(anchors, "_MOST_PRODUCTS", 1)
    assert anchors.choose_by_anchors(train, folds, pool, 8, "key").tolist() == chosen.tolist()


def test_scores_of_the_pool_name_the_labels_they_are_calibrated_by() -> None:
    table = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert PoolScores(table, np.array([0, 1]), table).labels.tolist() == [0, 1]


def make_reviewed_job(folder: Path, name: str) -> Job:
    pairs = make_reviews(120, 30)
    held = make_reviews(20, 20, seed=1)
    pool = make_reviews(40, 40, seed=2)

    def columns(rows: list[tuple[str, str]]) -> dict[str, list[str]]:
        return {
            "review": [text for text, _ in rows],
            "stars": [label for _, label in rows],
            "day": [
                "Sunday" if label == "good" and row % 9 else "Monday" for row, (_, label) in enumerate(rows)
            ],
        }

    return job_from(
        data=columns(pairs),
        held_out=columns(held),
        pool={name: column for name, column in columns(pool).items() if name != "stars"},
        text="review",
        label="stars",
        attributes=["day"],
        concepts={"meal": "soup, fish, cake"},
        encoder=ENCODER,
        treatments=["nothing", "logit_adjustment"],
        llm=ScriptedChatClient(lambda request, index: f"The soup was bad, said guest {index}."),
        budget=20_000,
        rounds=1,
        output=str(folder / name),
        cache_dir=str(folder / "cache"),
    )


def list_filled(value: object, depth: int = 1) -> set[str]:
    """Names of what is there and not empty, and of what is in it."""
    if not isinstance(value, dict):
        return set()
    filled = {str(key): item for key, item in value.items() if item not in (None, "", [], {})}
    inner = (
        {f"{key}.{name}" for key, item in filled.items() for name in list_filled(item, depth - 1)}
        if depth
        else ()
    )
    return {*filled, *inner}


def test_many_rows_have_the_sections_of_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = counterpoise.preview(make_reviewed_job(tmp_path, "few"))
    report = counterpoise.run(make_reviewed_job(tmp_path, "few")).report_data
    monkeypatch.setattr(samples, "MOST_VALIDATION_ROWS", MANY)
    monkeypatch.setattr(samples, "FEWEST_OF_A_LABEL", 10)
    many = counterpoise.preview(make_reviewed_job(tmp_path, "many"))
    of_many = counterpoise.run(make_reviewed_job(tmp_path, "many")).report_data
    assert few.notes == [] and "of 150 training rows" in many.notes[0]
    assert {key for key, value in few.as_dict().items() if value} == {
        key for key, value in many.as_dict().items() if value and key != "notes"
    }
    for told in (
        "Without a token:",
        " cells are thin",
        " would be adopted ",
        " of the pool that you label, ",
    ):
        for preview in (few, many):
            assert any(told in line for line in preview.advice), told
    assert [(one["action"], one["student"]) for one in many.forecasts] == [
        (one["action"], one["student"]) for one in few.forecasts
    ]
    assert list_filled(of_many) == list_filled(report) | {"data.notes"}
    assert "of 150 training rows" in of_many["data"]["notes"][0]
    assert [row["name"] for row in of_many["scorers"]] == [row["name"] for row in report["scorers"]]
