"""A recipe is what the arm of the held-out table trains: the same scores, after saving and in another process too."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.utils.estimator_checks import (
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_set_params,
)

import counterpoise
from counterpoise import Recipe, api
from counterpoise.core.errors import DataError, JobError, RunDirectoryError
from counterpoise.core.records import Floats
from counterpoise.runs import comparison
from counterpoise.runs.recipe.files import TRUSTED
from counterpoise.runs.recipe.parts import find_treatment, take_given
from counterpoise.runs.recipe.prompt import PromptRecipe
from counterpoise.students import held_out
from counterpoise.students.base import FitTask, Treatment
from counterpoise.students.cell_treatments import CELL_TREATMENTS
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.held_out import Arm
from counterpoise.students.linear_students import VectorsStudent, WordsStudent
from counterpoise.students.registry import STUDENTS
from counterpoise.students.rows import Rows
from counterpoise.students.sklearn_student import SklearnStudent
from counterpoise.students.treatments import TREATMENTS
from tests.integration.helpers import make_cache, make_job, make_reviews, write_reply
from tests.servers import LocalServer

pytestmark = [pytest.mark.assets, pytest.mark.processes]

STUDENT_NAMES = ("words", "vectors")


class ToTheMiddle(Treatment):
    """A user's own: half of the way from the student to the mean vectors of the labels, with a draw."""

    name = "mine.middle"
    meaning = "half of the way to the mean vectors"

    def score(self, task: FitTask) -> Floats:
        rows = np.random.default_rng(task.seed).permutation(len(task.labels))[: len(task.labels) * 3 // 4]
        middles = [task.train.vectors[task.labels == label].mean(axis=0) for label in range(task.n_labels)]
        return np.asarray(task.fit(rows=np.sort(rows)) + task.test.vectors @ np.stack(middles).T)


@dataclass
class Seen:
    """A finished run, and what its held-out table was made of."""

    run: api.Run
    arm: Arm
    test: Rows
    pool: Rows
    folder: Path

    @property
    def texts(self) -> list[str]:
        return [str(text) for text in self.test.texts]

    def score_arm(self, student: str, treatment: Treatment, seed: int = 0) -> Floats:
        """The arm's log-scores of the sealed rows."""
        trained = WordsStudent() if student == "words" else VectorsStudent("minilm")
        scores = predict_by_treatments(
            [treatment], trained, self.arm.train, self.test, 2, seed, pool=self.pool
        )[treatment.name]
        return np.asarray(log_softmax(scores, axis=1))


def write_table(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = [
            (text, label, "paper" if place % (5 if label == "good" else 2) == 0 else "web")
            for place, (text, label) in enumerate(rows)
        ]
        csv.writer(file).writerows([("review", "stars", "source"), *lines])
    return path


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp("recipes")
    write_table(folder / "reviews.csv", make_reviews(60, 16))
    write_table(folder / "test.csv", make_reviews(15, 15, seed=1))
    write_table(folder / "pool.csv", make_reviews(20, 20, seed=2))
    make_cache(folder / "cache")
    given: dict[str, Any] = {}
    score = held_out.score_held_out
    patch = pytest.MonkeyPatch()

    def watch(arms: list[Arm], students: Any, test: Rows, *rest: Any, **keys: Any) -> Any:
        given.update(
            arm=next(arm for arm in arms if arm.name == "counterpoise"), test=test, pool=keys["pool"]
        )
        return score(arms, students, test, *rest, **keys)

    patch.setattr(comparison, "score_held_out", watch)
    with LocalServer(lambda body, index: write_reply(body, index, instructs=True)) as server:
        job = make_job(
            folder,
            server,
            "run",
            rounds=1,
            budget=30_000,
            attributes=["source"],
            pool=str(folder / "pool.csv"),
            students=["default", GaussianNB()],
            treatments=[
                "logit_adjustment",
                "tuned_prior",
                "description_rows",
                "labelled_pool",
                ToTheMiddle(),
            ],
            actions=["minority_text"],
        )
        run = counterpoise.run(job, progress=False)
    patch.undo()
    return Seen(run, given["arm"], given["test"], given["pool"], folder)


def assert_equal(recipe: Recipe, texts: list[str], expected: Floats) -> None:
    found = recipe.predict_log_proba(texts)
    order = [["bad", "good"].index(name) for name in recipe.classes_]
    np.testing.assert_allclose(found, expected[:, order], rtol=0, atol=1e-9)


@pytest.mark.parametrize("student", STUDENT_NAMES)
def test_a_recipe_gives_the_scores_of_the_arm(seen: Seen, student: str) -> None:
    named = f"{student}:minilm" if student == "vectors" else student
    way = seen.arm.ways[named]
    assert seen.run.report_data["ways"][named]["chosen"] == way.name
    assert not seen.arm.train.original.all(), "the run has added rows, else the arm would tell little"
    recipe = seen.run.recipe(student)
    assert recipe.treatment == way.name
    uses_pool = any(one.uses_pool for one in seen.arm.ways.values())
    assert list(recipe.data.pool) == (list(seen.pool.texts) if uses_pool else [])
    assert_equal(recipe.fit(), seen.texts, seen.score_arm(student, way))
    np.testing.assert_array_equal(
        recipe.predict(seen.texts), recipe.classes_[recipe.predict_proba(seen.texts).argmax(1)]
    )


@pytest.mark.parametrize("student", STUDENT_NAMES)
@pytest.mark.parametrize(
    "name",
    [
        *("nothing", "balanced_bags", "tuned_prior", "tuned_bags", "description_rows", "labelled_pool"),
        *("label_spreading", "added_rows", "averaged", "tuned_added", "easy_augmentation", "mine.middle"),
        "tuned_added:mine.middle",
    ],
)
def test_every_way_can_be_taken(seen: Seen, student: str, name: str, tmp_path: Path) -> None:
    is_own = name.endswith("mine.middle")
    way = take_given(name, [ToTheMiddle()]) if is_own else find_treatment(name)
    trained = WordsStudent() if student == "words" else VectorsStudent("minilm")
    if not way.suits(trained):
        with pytest.raises(JobError, match="choose another way"):
            seen.run.recipe(student, treatment=name).fit()
        return
    recipe = seen.run.recipe(student, treatment=name, seed=3, pool=list(seen.pool.texts)).fit()
    expected = seen.score_arm(student, way, seed=3)
    assert_equal(recipe, seen.texts, expected)
    given: dict[str, Any] = {"treatment": ToTheMiddle()} if is_own else {}
    loaded = counterpoise.load_recipe(
        recipe.save(tmp_path / "one.skops"), cache_dir=seen.folder / "cache", **given
    )
    assert_equal(loaded, seen.texts, expected)
    n_kept = len(recipe.student_.models)
    assert len(loaded.student_.models) == n_kept, "what was trained is read, not trained again"


@pytest.mark.parametrize("name", [way.name for way in CELL_TREATMENTS])
def test_ways_that_look_at_cells_know_them(seen: Seen, name: str) -> None:
    way = find_treatment(name)
    student = "vectors" if way.needs_zero_shot else "words"
    recipe = seen.run.recipe(student, treatment=name).fit()
    own = seen.arm.train.take(seen.arm.train.original)
    marks = recipe.data_.marks
    assert marks is not None and marks.names == ("source=web", "source=paper") and (marks.states >= 0).any()
    trained = WordsStudent() if student == "words" else VectorsStudent("minilm")
    scores = predict_by_treatments(
        [way], trained, own, seen.test, 2, marks=marks.take(seen.arm.train.original)
    )
    assert_equal(recipe, seen.texts, log_softmax(scores[name], axis=1))


SCRIPT = """
import json, sys
import numpy as np
import counterpoise
path, cache, texts = sys.argv[1], sys.argv[2], json.loads(sys.stdin.read())
recipe = counterpoise.load_recipe(path, cache_dir=cache)
print(json.dumps([recipe.predict_log_proba(texts).tolist(), recipe.predict(texts).tolist()]))
"""


@pytest.mark.parametrize(("student", "name"), [("words", "tuned_added"), ("vectors", "tuned_added")])
def test_another_process_predicts_the_same(seen: Seen, student: str, name: str, tmp_path: Path) -> None:
    recipe = seen.run.recipe(student, treatment=name).fit()
    path = recipe.save(tmp_path / "recipe.skops")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path), str(seen.folder / "cache")],
        input=json.dumps(seen.texts),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    scores, labels = json.loads(done.stdout)
    np.testing.assert_allclose(
        np.array(scores),
        seen.score_arm(student, find_treatment(name))[
            :, [["bad", "good"].index(one) for one in recipe.classes_]
        ],
        rtol=0,
        atol=1e-9,
    )
    assert labels == recipe.predict(seen.texts).tolist()


def test_the_file_has_no_pickle_and_only_types_that_are_known(seen: Seen, tmp_path: Path) -> None:
    from skops.io import get_untrusted_types

    path = seen.run.recipe("vectors", treatment="tuned_added").fit().save(tmp_path / "recipe.skops")
    assert set(get_untrusted_types(file=path)) <= set(TRUSTED)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert {Path(name).suffix for name in names} == {".json", ".npy"}
        assert not any(archive.read(name).startswith(b"\x80") for name in names)
        arrays = [archive.read(name) for name in names if name.endswith(".npy")]
    assert all(b"'descr': '|O'" not in array[:200] for array in arrays)
    assert path.stat().st_mode & 0o777 == 0o600, "it holds texts"
    assert path.stat().st_size < 1_000_000, "the encoder is not inside"


def test_words_alone_need_no_encoder(seen: Seen, tmp_path: Path) -> None:
    recipe = seen.run.recipe("words", treatment="tuned_added", cache_dir=tmp_path / "empty").fit()
    assert not recipe.encoding_.is_used
    loaded = counterpoise.load_recipe(recipe.save(tmp_path / "one.skops"), cache_dir=tmp_path / "empty")
    assert_equal(loaded, seen.texts, seen.score_arm("words", TREATMENTS.find("tuned_added")))
    assert not list((tmp_path / "empty").glob("**/*"))


class Folder:
    """An encoder in memory."""

    name, identity, dimension, max_tokens = "mine", "one", 4, 100

    def __init__(self, identity: str = "one") -> None:
        self.identity = identity

    def encode(self, texts: Any) -> Any:
        counts = np.array(
            [[1.0, text.count("e"), text.count("o"), len(text) / 9] for text in texts], np.float32
        )
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def test_another_encoder_or_none_is_one_line(tmp_path: Path) -> None:
    texts, labels = ["good food", "bad food", "good soup", "bad soup"] * 3, ["+", "-"] * 6
    keys: dict[str, Any] = {"cache_dir": tmp_path / "cache"}
    recipe = Recipe("vectors", encoder=Folder(), **keys).fit(texts, labels)
    path = recipe.save(tmp_path / "recipe.skops")
    with pytest.raises(
        JobError, match=r"needs the encoder 'mine@one', which cannot be opened here .*encoder=\.\.\."
    ):
        counterpoise.load_recipe(path, **keys)
    with pytest.raises(JobError, match=r"fitted with the encoder 'mine@one', and this one is 'mine@two'"):
        counterpoise.load_recipe(path, encoder=Folder("two"), **keys)
    loaded = counterpoise.load_recipe(path, encoder=Folder(), **keys)
    np.testing.assert_allclose(loaded.predict_proba(texts), recipe.predict_proba(texts), rtol=0, atol=1e-9)


def test_what_cannot_be_saved_or_read_says_so_in_one_line(seen: Seen, tmp_path: Path) -> None:
    texts, labels = ["good food", "bad food", "good soup", "bad soup"] * 3, ["+", "-"] * 6
    recipe = Recipe("words").fit(texts, labels)
    path = recipe.save(tmp_path / "recipe.skops")
    with pytest.raises(JobError, match=r"recipe\.skops: exists; name another file"):
        recipe.save(path)
    (tmp_path / "other").write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match="is no recipe that counterpoise saved"):
        counterpoise.load_recipe(tmp_path / "other")
    own = seen.run.recipe("words", treatment="mine.middle").fit().save(tmp_path / "own.skops")
    with pytest.raises(JobError, match=r"its treatment 'mine.middle' is not at hand .*treatment=\.\.\."):
        counterpoise.load_recipe(own)
    with pytest.raises(JobError, match=r"its treatment is 'mine\.middle', and the one given is 'nothing'"):
        counterpoise.load_recipe(own, treatment=TREATMENTS.find("nothing"))
    with pytest.raises(
        JobError, match="the run has no student 'wrods'; write one of vectors:minilm, words, GaussianNB"
    ):
        seen.run.recipe("wrods")
    (tmp_path / "job.yaml").write_bytes((seen.run.directory / "job.yaml").read_bytes())
    with pytest.raises(RunDirectoryError, match="holds no rows of a recipe"):
        api.Run(tmp_path, seen.run.report_data).recipe()


class OwnClassifier(LogisticRegression):  # type: ignore[misc]
    """A class that skops does not know."""


def test_classifiers_of_scikit_learn_are_saved_and_others_are_asked_about(tmp_path: Path) -> None:
    texts, labels = ["good food", "bad food", "good soup", "bad soup"] * 3, ["+", "-"] * 6
    bayes = Recipe(SklearnStudent("mine", LogisticRegression(C=0.3), "words")).fit(texts, labels)
    loaded = counterpoise.load_recipe(bayes.save(tmp_path / "one.skops"))
    np.testing.assert_allclose(loaded.predict_proba(texts), bayes.predict_proba(texts), rtol=0, atol=1e-12)
    own = Recipe(SklearnStudent("mine", OwnClassifier(C=0.3), "words")).fit(texts, labels)
    with pytest.raises(
        DataError, match=r"holds tests\.test_recipes\.OwnClassifier, a type that is not trusted"
    ):
        own.save(tmp_path / "two.skops")
    trusted = ["tests.test_recipes.OwnClassifier"]
    path = own.save(tmp_path / "two.skops", trusted=trusted)
    with pytest.raises(DataError, match="a type that is not trusted"):
        counterpoise.load_recipe(path)
    again = counterpoise.load_recipe(path, trusted=trusted)
    np.testing.assert_allclose(again.predict_proba(texts), bayes.predict_proba(texts), rtol=0, atol=1e-12)


def test_students_that_train_an_encoder_are_refused_before_a_file_is_written(tmp_path: Path) -> None:
    recipe = Recipe("words").fit(["good", "bad"] * 4, ["+", "-"] * 4)
    recipe.student_.student = STUDENTS.find("fine_tuned")
    with pytest.raises(
        JobError, match="recipe of 'fine_tuned': it cannot be saved: its training changes the weights"
    ):
        recipe.save(tmp_path / "one.skops")
    assert not list(tmp_path.iterdir())


def test_it_is_an_estimator_as_scikit_learn_wants_one(seen: Seen) -> None:
    recipe = seen.run.recipe("words", treatment="tuned_offsets")
    again = clone(recipe)
    assert again is not recipe and again.get_params() == recipe.get_params() and again.data is recipe.data
    for check in (check_no_attributes_set_in_init, check_get_params_invariance, check_set_params):
        for estimator in (Recipe(), PromptRecipe()):
            check(type(estimator).__name__, estimator)
    again.set_params(treatment="nothing", seed=2)
    assert (again.treatment, recipe.treatment) == ("nothing", "tuned_offsets")
    table = seen.run.dataset["train"].to_pandas()
    scores = cross_val_score(recipe, table["review"], table["stars"], cv=3)
    assert scores.shape == (3,) and scores.mean() > 0.7
    numbers = recipe.fit(["good food", "bad food"] * 5, np.array([5, 1] * 5))
    assert numbers.classes_.tolist() == [1, 5] and numbers.predict(["good food"]).tolist() == [5]
    with pytest.raises(DataError, match="X: found one text; give a list of texts"):
        numbers.predict("good food")


def test_the_data_set_of_a_run_gives_the_recipe_of_the_run(seen: Seen) -> None:
    recipe = seen.run.recipe("words", treatment="tuned_added")
    expected = recipe.fit().predict_log_proba(seen.texts)
    for given in (seen.run.dataset["train"], seen.run.dataset["train"].to_pandas()):
        found = clone(recipe).fit(given)
        # Added rows stand in another order there, which moves the last bits of a fit.
        np.testing.assert_allclose(found.predict_log_proba(seen.texts), expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(
        found.predict(seen.run.dataset["held_out"]), recipe.predict(seen.run.dataset["held_out"]["review"])
    )
