"""A run judged by classifiers and a treatment of the user's own: they are in the report, the page and the recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

import counterpoise
from counterpoise.core.errors import JobError, RunDirectoryError
from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Treatment
from counterpoise.students.recipe_code import write_code
from counterpoise.students.sklearn_student import SklearnStudent
from counterpoise.students.treatments import BASELINE, TREATMENTS
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reply, write_reviews
from tests.servers import LocalServer

pytestmark = [pytest.mark.assets, pytest.mark.processes]

FOREST = SklearnStudent("forest", RandomForestClassifier(n_estimators=20))
MARGINS = SklearnStudent("margins", LinearSVC(), on="words")
NEAREST = SklearnStudent("nearest", KNeighborsClassifier(3))
STUDENTS = ["default", FOREST, MARGINS, GaussianNB()]
NAMES = ["vectors:minilm", "words", "forest", "margins", "GaussianNB"]


class HalfAdjusted(Treatment):
    """Half of the label shares is taken out."""

    name = "half_adjusted"
    meaning = "half way to the adjusted threshold"

    def score(self, task: FitTask) -> Floats:
        return np.asarray((task.plain + task.score(BASELINE)) / 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> counterpoise.Run:
    folder = tmp_path_factory.mktemp("judged")
    write_reviews(folder / "reviews.csv", make_reviews(48, 14))
    write_reviews(folder / "test.csv", make_reviews(20, 20, seed=1))
    make_cache(folder / "cache")
    with LocalServer(lambda body, index: write_reply(body, index)) as server:
        keys: dict[str, Any] = {"students": STUDENTS, "treatments": ["default", HalfAdjusted()]}
        return counterpoise.run(make_job(folder, server, "run", rounds=1, budget=20_000, **keys))


def test_each_is_measured_and_chosen_for(run: counterpoise.Run) -> None:
    report = json.loads((run.directory / "report.json").read_text(encoding="utf-8"))
    for table in (report["validation"]["rows"], report["held_out"]["rows"]):
        found = {(row["arm"], row["student"]) for row in table}
        assert {student for _, student in found} == set(NAMES)
        assert {("half_adjusted", student) for student in NAMES} < found
        zero_shot = {student for arm, student in found if arm == "zero_shot_prior"}
        assert zero_shot == {"vectors:minilm", "forest", "GaussianNB"}
    assert list(report["ways"]) == sorted(NAMES) and set(report["validation"]["best_zero_token"]) == set(
        NAMES
    )
    assert report["recommendation"]["student"] in NAMES


def test_the_page_says_in_words_what_they_are(run: counterpoise.Run) -> None:
    page = run.report().read_text(encoding="utf-8")
    for words in (
        "Logistic regression on sentence vectors",
        "RandomForestClassifier on sentence vectors",
        "LinearSVC on words",
        HalfAdjusted.meaning,
    ):
        assert words in page
    assert "minilm_lr" not in page


def test_the_resolved_job_holds_the_lists_and_says_what_was_an_object(run: counterpoise.Run) -> None:
    job = yaml.safe_load((run.directory / "job.yaml").read_text(encoding="utf-8"))
    assert job["students"] == ["vectors", "words", "memory:forest", "memory:margins", "memory:GaussianNB"]
    assert job["treatments"] == [*TREATMENTS.defaults, "memory:half_adjusted"]
    (run.directory / "FINISHED").unlink()
    try:
        with pytest.raises(
            RunDirectoryError, match=r"one of its students was an object in Python \(forest\)"
        ):
            counterpoise.resume(run.directory, progress=False)
    finally:
        (run.directory / "FINISHED").touch()


@pytest.mark.parametrize("student", [FOREST, MARGINS, NEAREST], ids=lambda student: student.name)
def test_the_recipe_of_a_users_classifier_runs(
    student: SklearnStudent,
    run: counterpoise.Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(run.directory)
    way = TREATMENTS.find("averaged")
    code = write_code(way, student, text=("review",), label="stars", descriptions={"good": "a", "bad": "b"})
    space: dict[str, Any] = {}
    exec(compile(code, student.name, "exec"), space)  # the code is ours; that it runs is what is tested
    assert capsys.readouterr().out.strip() in ("['bad']", "['good']")
    said = space["score"](["Wonderful, tender soup", "Awful, greasy soup"])
    assert said.shape == (2, 2) and np.isfinite(said).all()


def test_a_job_file_names_registered_ones_only(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    keys = {"data": "x.csv", "text": "review", "label": "stars"}

    def load(**more: object) -> Any:
        path.write_text(yaml.safe_dump(keys | more), encoding="utf-8")
        return counterpoise.load_job(path)

    default = load()
    assert default.students == ("vectors", "words") and default.treatments == TREATMENTS.defaults
    assert load(students=["words"]).fingerprint() != default.fingerprint()
    assert load(students=["vectors", "words"], treatments="default").fingerprint() == default.fingerprint()
    with pytest.raises(JobError, match="key 'students': found 'forest', which is none of them"):
        load(students=["forest"])
    with pytest.raises(JobError, match="key 'treatments': 'logit_adjustment' is missing"):
        load(treatments=["nothing"])
