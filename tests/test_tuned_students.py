"""Students that take minutes: what they are trained in, what is told of it, and what is said where torch is absent."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from counterpoise.cli import app as cli
from counterpoise.core.errors import AssetError, JobError
from counterpoise.core.event_kinds import TrainingsPriced
from counterpoise.core.events import Event, listening
from counterpoise.core.records import Floats, Integers
from counterpoise.report.screen import describe_event
from counterpoise.runs.slow_students import TrainedRows, price_trainings
from counterpoise.students.base import FitTask, SlowStep, Student, Treatment
from counterpoise.students.cell_treatments import CELL_TREATMENTS
from counterpoise.students.linear import Features
from counterpoise.students.linear_students import WordsStudent
from counterpoise.students.registry import STUDENTS
from counterpoise.students.rows import Rows
from counterpoise.students.treatments import TREATMENTS
from counterpoise.students.tuned import METHODS
from counterpoise.students.tuned.weights import FILES, FolderWeights
from counterpoise.students.tuned.worker import BATCH, HOW, count_updates, iterate_batches, iterate_pairs
from counterpoise.students.validation import score_arms
from counterpoise.tasks.part_keys import resolve_students
from tests.made_up import WORDS
from tests.test_encoder_sources import COMMIT, REPOSITORY, serve_hub
from tests.test_student_contract import make_side

SIMPLE = tuple(TREATMENTS.find(name) for name in TREATMENTS.names if not TREATMENTS.find(name).uses_added)
without_torch = pytest.mark.skipif(find_spec("torch") is not None, reason="torch is installed here")


class Counting(WordsStudent):
    """Words whose trainings are counted, as if they took minutes."""

    name = "counting"

    def __init__(self, slow_step: SlowStep) -> None:
        self.slow_step = slow_step
        self.done: Counter[str] = Counter()

    def features(self, train: Rows, test: Rows) -> tuple[Features, Features]:
        self.done["features"] += 1
        return super().features(train, test)

    def fit_log_probabilities(
        self, features: Features, labels: Integers, weights: Floats, test: Features, n_labels: int
    ) -> Floats:
        self.done["fit"] += 1
        return super().fit_log_probabilities(features, labels, weights, test, n_labels)

    def time_training(self, train: Rows, n_scored: int) -> float:
        return 0.1 * len(train) + 0.01 * n_scored


def list_suited(student: Student, treatments: tuple[Treatment, ...] = SIMPLE) -> set[str]:
    return {one.name for one in treatments if one.suits(student)}


@pytest.mark.parametrize("slow_step", ["fit", "features"])
def test_on_inner_validation_the_slow_step_is_done_once_a_fold(slow_step: SlowStep) -> None:
    student, rows = Counting(slow_step), make_side({0: 8, 1: 24}, 2)
    folds, told = np.arange(len(rows)) % 4, list[tuple[int, int]]()
    scores = score_arms(
        rows, folds, 2, [student], SIMPLE, tell=lambda done, total: told.append((done, total))
    )
    assert student.done[slow_step] == 4
    assert {score.arm for score in scores} == list_suited(student) >= {"nothing", "logit_adjustment"}
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    score_arms(rows, folds, 2, [WORDS], SIMPLE, tell=lambda done, total: told.append((done, total)))
    assert len(told) == 4, "of quick students nothing is told"


def test_ways_that_would_train_it_again_are_not_measured_for_it() -> None:
    free = {"nothing", "logit_adjustment"}
    fitted = free | {"class_weights", "oversampling", "downsampling", "balanced_bags"}
    tuned = {name: STUDENTS.find(name) for name in METHODS}
    assert list_suited(tuned["fine_tuned"]) == free
    assert list_suited(tuned["contrastive"]) == fitted
    assert list_suited(tuned["fine_tuned"], CELL_TREATMENTS) == {"nothing"}
    added = {"added_rows", "averaged", "unweighted_rows"}
    for student in tuned.values():
        ways = tuple(TREATMENTS.find(name) for name in TREATMENTS.names)
        assert list_suited(student, ways) - list_suited(student) == added


def test_a_treatment_of_a_users_is_taken_to_train_anew() -> None:
    class Own(Treatment):
        name = "own"

        def score(self, task: FitTask) -> Floats:
            return task.plain

    assert Own().suits(WORDS) and not Own().suits(Counting("features"))


def test_the_price_is_told_before_it_begins() -> None:
    rows, heard = TrainedRows(make_side({0: 50, 1: 100}, 2), 5, 500, 150), list[Event]()
    with listening(heard.append):
        prices = price_trainings([WORDS, Counting("fit")], rows)
    assert tuple(heard) == prices == (TrainingsPriced("counting", 20.0, 5, 15, prices[0].message),)
    assert describe_event(prices[0]) == (
        "counting takes about 0.3 minutes a training here: 1.7 minutes for inner validation, and up to 5 minutes more "
        "in a run; what was trained before is kept"
    )
    assert not price_trainings([WORDS], rows)
    large = replace(rows, n_all=1_500)
    assert large.measure(Counting("fit")) == (20.0, 20.0 * (5 + 10 * 10)), "the sealed rows are for all rows"


def test_nobody_is_trained_for_minutes_who_was_not_named() -> None:
    assert not set(METHODS) & set(STUDENTS.defaults) and set(METHODS) <= set(STUDENTS.names)
    assert all(STUDENTS.find(name).slow_step for name in METHODS)


@without_torch
@pytest.mark.parametrize("method", METHODS)
def test_without_torch_one_line_says_what_to_install(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(JobError, match="needs torch, which is not installed"):
        STUDENTS.choose(["default", method])
    job = tmp_path / "job.yaml"
    job.write_text(f"data: x.csv\ntext: review\nlabel: stars\nstudents: [default, {method}]\n")
    assert cli.execute(["preview", str(job)]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and f"{job}: key 'students'" in said
    assert "pip install counterpoise[torch]" in said


def test_a_folder_of_weights_is_found_from_the_job_file_and_checked(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    found = resolve_students(["default", "fine_tuned:models/mine", "contrastive", WORDS], tmp_path)
    assert found == ["default", f"fine_tuned:{folder}", "contrastive", WORDS]
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin"):
        (folder / name).write_text("{}")
    with pytest.raises(JobError, match=r"mine has no model\.safetensors"):
        FolderWeights(folder).check()
    (folder / "model.safetensors").write_bytes(b"x")
    FolderWeights(folder).check()
    assert FolderWeights(folder).name == "mine@2d711642b726"
    assert STUDENTS.find(f"contrastive:{folder}").meaning == (
        "logistic regression on vectors of mine@2d711642b726 tuned by contrast"
    )
    with pytest.raises(JobError, match="has no model_type"):
        FolderWeights(folder).open(tmp_path)
    assert set(FILES) == {"config.json", "model.safetensors", "tokenizer.json"}


def test_weights_of_the_hub_are_those_of_a_commit_and_no_other_kind_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = f"contrastive:{REPOSITORY}@{COMMIT[:7]}"
    assert resolve_students([chosen], tmp_path) == [chosen]
    files = {"config.json": b'{"model_type": "bert"}', "tokenizer.json": b"{}", "pytorch_model.bin": b"x"}
    with serve_hub(files, monkeypatch) as hub:
        with pytest.raises(JobError, match=r"students: .*: has no model\.safetensors") as caught:
            STUDENTS.find(chosen).place(tmp_path)
        assert "\n" not in str(caught.value) and not any(path.endswith(".bin") for path in hub.asked)
        hub.files["model.safetensors"] = b"x"
        student = STUDENTS.find(chosen).place(tmp_path)
    repository = REPOSITORY.rpartition("/")[2]
    assert student.name == f"contrastive:{repository}@{COMMIT[:7]}"
    assert student.meaning == f"logistic regression on vectors of {REPOSITORY}@2d711642b726 tuned by contrast"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert STUDENTS.find(chosen).place(tmp_path).meaning == student.meaning
    with pytest.raises(
        AssetError, match=r"config\.json is not here; try again .* or name a folder with config\.json"
    ):
        STUDENTS.find("fine_tuned:nobody/here").place(tmp_path)


def test_pairs_draw_labels_alike_and_rows_by_weight() -> None:
    labels = [0] * 150 + [1] * 15 + [2]
    weights = [1.0] * 165 + [0.5]
    weights[0] = 1e-9
    batches = iterate_pairs(labels, weights)
    pairs = [pair for _ in range(100) for pair in next(batches)]
    drawn = Counter(labels[row] for first, second, _ in pairs for row in (first, second))
    assert all(0.28 < count / (2 * len(pairs)) < 0.39 for count in (drawn[0], drawn[1], drawn[2]))
    assert all((labels[first] == labels[second]) == bool(wanted) for first, second, wanted in pairs)
    assert all(first != second for first, second, _ in pairs if labels[first] < 2 and labels[second] < 2)
    assert not any(0 in pair[:2] for pair in pairs)
    again = iterate_pairs(labels, weights)
    assert [pair for _ in range(100) for pair in next(again)] == pairs


def test_every_row_is_in_one_batch_of_an_epoch() -> None:
    batches = iterate_batches(list(range(50)))
    epoch = [next(batches) for _ in range(4)]
    assert sorted(row for batch in epoch for row in batch) == list(range(50))
    assert {len(batch) for batch in epoch} == {BATCH, 2}
    assert [count_updates(n, HOW["fine_tuned"]) for n in (15, 150, 1_600)] == [94, 94, 300]
    assert [count_updates(n, HOW["contrastive"]) for n in (15, 320, 1_600)] == [60, 100, 300]
