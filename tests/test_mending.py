"""Wrong labels in a run: mended where they are known or promised, else kept out of what teaches and tests."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import counterpoise
from counterpoise.actions import ACTIONS
from counterpoise.actions.relabel.doubtful import find_doubtful, join_confidently
from counterpoise.actions.relabel.suspects import find_suspects
from counterpoise.cli import app as cli
from counterpoise.core.errors import JobError, PartError
from counterpoise.core.plans import Cell, Plan, PlanItem
from counterpoise.data.patches.values import LabelChange, LabelOutcome, read_patch
from counterpoise.runs.acting import act
from counterpoise.runs.ledger import JudgedProposals, Ledger
from counterpoise.tasks.text.job import job_from
from tests.integration.helpers import ONE_WAY, make_cache, make_job, make_reviews, write_reply, write_reviews
from tests.servers import LocalServer
from tests.test_acting import DATA, SCHEMA, open_models
from tests.test_asked_errors import ManyLabels

Rows = list[tuple[str, str]]


def plant(rows: Rows, every: int) -> tuple[Rows, dict[str, str]]:
    """One label in so many turned round; and text -> right label."""
    other = {"good": "bad", "bad": "good"}
    return [
        (text, other[label] if place % every == 1 else label) for place, (text, label) in enumerate(rows)
    ], dict(rows)


def write_answers(path: Path, rows: Rows, right: dict[str, str], n: int) -> Path:
    """Right labels of the first rows, as a file of answers."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *((text, right[text]) for text, _ in rows[:n])])
    return path


def read_result(run: Path) -> list[dict[str, Any]]:
    return [
        row for path in sorted((run / "dataset").glob("train-*")) for row in pq.read_table(path).to_pylist()
    ]


def run_reviews(folder: Path, rows: Rows, output: str = "run", **keys: Any) -> counterpoise.Run:
    """A run that writes for the rarer label with a scripted model."""
    write_reviews(folder / "reviews.csv", rows)
    write_reviews(folder / "test.csv", make_reviews(20, 20, seed=1))
    if not (folder / "cache").exists():
        make_cache(folder / "cache")
    with LocalServer(lambda body, index: write_reply(body, index, instructs=True)) as server:
        job = make_job(folder, server, output, **({"rounds": 1, "budget": 30_000} | ONE_WAY | keys))
        return counterpoise.run(job, progress=False)


@pytest.mark.assets
def test_a_run_mends_labels_first_and_counts_them_and_its_patch_is_applied_and_undone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, right = plant(make_reviews(90, 24), 10)
    answers = write_answers(tmp_path / "answers.csv", rows, right, 70)
    run = run_reviews(tmp_path, rows, gold=str(answers))
    patch = run.patch
    assert patch == read_patch(tmp_path / "run")
    changed = {change.text: change for change in patch.list_changing()}
    wrong = [text for text, label in rows if label != right[text]]
    known = {text for text, _ in rows[:70]} & set(wrong)
    assert known <= set(changed) and len(known) >= 5
    assert all(change.after == right[text] for text, change in changed.items())
    # A real record that was gained is counted before anything is written.
    first = run.report_data["rounds"][0]
    assert first["round"] == 0 and {item["action"] for item in first["items"]} == {"relabel_records"}
    gained = {item["cell"]: item["accepted"] for item in first["items"]}
    assert sum(gained.values()) == len(changed) and gained["bad"] == sum(
        change.after == "bad" for change in changed.values()
    )
    before = {cell["cell"]: cell["have"] for cell in run.before}
    assert before == {name: sum(label == name for _, label in rows) for name in ("good", "bad")}
    added = dict.fromkeys(before, 0)
    for row in read_result(tmp_path / "run"):
        if row["provenance"]["kind"] not in ("original", "relabelled"):
            added[row["stars"]] += 1
    now = {
        name: sum(changed[text].after == name if text in changed else label == name for text, label in rows)
        for name in before
    }
    assert {cell["cell"]: cell["have"] for cell in run.after} == {
        name: now[name] + added[name] for name in now
    }
    # The data set has the new labels, and each row says what it had.
    relabelled = [row for row in read_result(tmp_path / "run") if row["provenance"]["kind"] == "relabelled"]
    assert len(relabelled) == len(changed)
    for row in relabelled:
        assert row["stars"] == changed[row["review"]].after
        assert row["provenance"]["label_before"] == changed[row["review"]].before
    # What is trained on are the mended rows.
    kept = dict(
        zip(
            *(
                pq.read_table(tmp_path / "run/recipe/rows.parquet").to_pydict()[name]
                for name in ("text", "label")
            ),
            strict=True,
        )
    )
    names = json.loads((tmp_path / "run/recipe/facts.json").read_text())["classes"]
    assert all(names[kept[text]] == change.after for text, change in changed.items())
    # The commands that know a patch know the run's.
    data, mended, back = (str(tmp_path / name) for name in ("reviews.csv", "mended.csv", "back.csv"))
    capsys.readouterr()
    assert cli.execute(["--json", "diff", str(tmp_path / "run")]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["counts"]["relabel"] == len(changed)
    assert cli.execute(["apply", str(tmp_path / "run"), data, "-o", mended]) == 0
    with Path(mended).open(encoding="utf-8", newline="") as file:
        after = {row["review"]: row["stars"] for row in csv.DictReader(file)}
    assert after == {text: changed[text].after if text in changed else label for text, label in rows}
    assert cli.execute(["undo", mended, "-o", back]) == 0
    assert Path(back).read_bytes() == Path(data).read_bytes()


@pytest.mark.assets
def test_without_known_labels_nothing_changes_and_suspects_are_shown_to_no_model(tmp_path: Path) -> None:
    rows, right = plant(make_reviews(80, 40), 9)
    prompts: list[str] = []

    def reply(body: dict[str, Any], index: int) -> str:
        prompts.append(json.dumps(body, ensure_ascii=False))
        return write_reply(body, index, instructs=True)

    write_reviews(tmp_path / "reviews.csv", rows)
    write_reviews(tmp_path / "test.csv", make_reviews(20, 20, seed=1))
    make_cache(tmp_path / "cache")
    with LocalServer(reply) as server:
        with_all = counterpoise.run(
            make_job(tmp_path, server, "plain", rounds=1, actions=["minority_text"], budget=600_000),
            progress=False,
        )
        shown_before = "".join(prompts)
        prompts.clear()
        run = counterpoise.run(
            make_job(
                tmp_path,
                server,
                "run",
                rounds=1,
                actions=["relabel_records", "minority_text"],
                budget=600_000,
            ),
            progress=False,
        )
    assert not len(run.patch) and run.patch.count().get("review")
    assert not any(row["provenance"]["kind"] == "relabelled" for row in read_result(tmp_path / "run"))
    notes = " ".join(run.report_data["data"]["notes"])
    assert "likelier wrong than right" in notes and "--about errors" in notes
    wrong = [text for text, label in rows if label != right[text] and label == "bad"]
    shown = "".join(prompts)
    n_before, n_after = (sum(text in one for text in wrong) for one in (shown_before, shown))
    assert n_before > 0.9 * len(wrong), "else nothing is shown by leaving some out"
    n_doubtful = int(notes.split(" training rows")[0].split()[-1])
    assert n_doubtful > 3 and n_after <= len(wrong) - n_doubtful
    assert "likelier wrong" not in " ".join(with_all.report_data["data"]["notes"])
    audited = {row["name"]: row["n"] for row in run.report_data["scorers"]}
    assert audited["classifier"] < len(rows)


@pytest.mark.assets
def test_of_right_labels_none_is_in_doubt_and_a_run_is_as_it_was(tmp_path: Path) -> None:
    rows = make_reviews(60, 14)
    run = run_reviews(tmp_path, rows)
    others = [name for name in ACTIONS.defaults if name not in ("relabel_records", "rewriting")]
    plain = run_reviews(tmp_path, rows, "plain", actions=others)
    assert run.content_hash == plain.content_hash
    assert run.report_data["validation"] == plain.report_data["validation"]


def test_suspects_are_as_many_as_are_estimated_to_be_wrong() -> None:
    many = ManyLabels()
    wrong = many.given != many.truth
    found = find_doubtful(many.given, many.bare, is_learned=False)
    assert 0.3 * wrong.sum() < found.sum() < 1.2 * wrong.sum() and wrong[found].mean() > 0.9
    clean = find_suspects(many.vectors, many.truth, many.records.groups, many.folds, 30)
    assert find_doubtful(many.truth, clean, is_learned=False).mean() < 0.01
    # Of no label more than half is kept out.
    half = many.truth.copy()
    half[many.truth == 3] = 4
    moved = find_suspects(many.vectors, half, many.records.groups, many.folds, 30)
    kept_out = find_doubtful(half, moved, is_learned=False)
    assert all(kept_out[half == label].mean() <= 0.5 for label in np.unique(half))


def test_the_confident_joint_asks_each_label_for_what_its_own_rows_have() -> None:
    # The rare label is seldom sure; a row that has as much of it as its own rows have is counted there.
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.65, 0.35], [0.7, 0.3]])
    labels = np.array([0, 0, 0, 1, 1])
    assert join_confidently(labels, probabilities).tolist() == [0, 0, 1, 1, 1]
    assert join_confidently(np.array([0, 0, 0, 0, 0]), probabilities).tolist() == [0] * 5


async def collect(*changes: LabelChange) -> list[Any]:
    action = ACTIONS.find("relabel_records")
    item = PlanItem("relabel_records", Cell("good"), 9, 0, 0)
    data = replace(DATA, changes=changes)
    return [one async for one in act(action, item, data, open_models(), SCHEMA)]


async def test_a_change_is_of_a_training_row_and_into_the_label_that_was_planned() -> None:
    identity = str(DATA.train.records.ids[0])
    change = LabelChange(identity, LabelOutcome.RELABEL, "bad", "good", 0.9)
    assert await collect(change) == [change]
    assert await collect(replace(change, before="good", after="bad")) == []
    for broken in ((replace(change, id="nobody"),), (change, change), (replace(change, before="good"),)):
        with pytest.raises(PartError, match=r"training row|another label"):
            await collect(*broken)


def test_the_action_offers_what_a_label_would_gain_and_a_ledger_settles_it() -> None:
    change = LabelChange("a", LabelOutcome.RELABEL, "bad", "good", 0.9)
    data, action = replace(DATA, changes=(change,)), ACTIONS.find("relabel_records")
    models = open_models()
    offer = action.offer(Cell("good"), data, models)
    assert offer is not None and offer.most == 1 and offer.is_free
    assert action.offer(Cell("bad"), data, models) is None
    assert action.offer(Cell("good", concept="music"), data, models) is None
    ledger = Ledger()
    plan = Plan(0, (PlanItem("relabel_records", Cell("good"), 1, 0, 0),))
    ledger.settle(plan, JudgedProposals((), (), np.empty((0, 3), np.float32), None, (change,)))
    assert ledger.list_changes() == [change] and not ledger.list_accepted()
    assert ledger.costs["relabel_records", Cell("good")].accepted == 1


def test_a_job_promises_and_old_jobs_are_the_same_jobs(tmp_path: Path) -> None:
    keys = {"data": "reviews.csv", "text": "review", "label": "stars"}
    plain = job_from(**keys)
    assert plain.min_precision == 0.8
    old = job_from(
        **keys, actions=[name for name in ACTIONS.defaults if name not in ("relabel_records", "rewriting")]
    )
    assert old.fingerprint() == plain.fingerprint()
    assert job_from(**keys, min_precision=0.9).fingerprint() != plain.fingerprint()
    with pytest.raises(JobError, match="min_precision"):
        job_from(**keys, min_precision=1.5)
