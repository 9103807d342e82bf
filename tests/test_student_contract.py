"""What every registered student and treatment keeps, and classifiers of a user's beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from threadpoolctl import threadpool_limits

from counterpoise.core.errors import JobError
from counterpoise.core.label_lines import encode_lines
from counterpoise.core.records import Floats
from counterpoise.students.base import FitTask, Student, Treatment
from counterpoise.students.cell_marks import CellMarks
from counterpoise.students.cell_treatments import CELL_TREATMENTS
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.linear import PROBABILITY_FLOOR
from counterpoise.students.registry import STUDENTS, choose_students
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.sklearn_student import MOST_REPEATS, SklearnStudent, repeat_rows
from counterpoise.students.treatments import BASELINE, NOTHING, TREATMENTS
from counterpoise.students.validation import score_arms
from tests.made_up import ENCODER, VECTORS, WORDS, as_objects, join_rows

REGISTERED = choose_students(("default",), "minilm")
ALL_STUDENTS = (
    *REGISTERED,
    SklearnStudent("forest", RandomForestClassifier(n_estimators=4)),
    SklearnStudent("margins", LinearSVC(), on="words"),
    SklearnStudent("bayes", GaussianNB()),
    SklearnStudent("neighbours", KNeighborsClassifier(3)),
    SklearnStudent("scaled", make_pipeline(StandardScaler(), SVC())),
)
ALL_TREATMENTS = (*map(TREATMENTS.find, TREATMENTS.names), *CELL_TREATMENTS[1:])
TELLING = (
    "nothing",
    "class_weights",
    "oversampling",
    "balanced_bags",
    "tuned_added",
    "averaged",
    "back_door",
)
"""For a user's classifiers: whole rows, weights, repeated rows, few rows, descriptions, added rows, more columns."""
CASES = [
    pytest.param(student, treatment, id=f"{student.name}-{treatment.name}")
    for student in ALL_STUDENTS
    for treatment in ALL_TREATMENTS
    if treatment.suits(student) and (student in REGISTERED or treatment.name in TELLING)
]
every_pair = pytest.mark.parametrize(("student", "treatment"), CASES)
WORDS_OF = (
    "soup",
    "waiter",
    "crème brûlée",
    "店が好き",
    "café 😀",
    "\ud800 half",
    "naïve",
    "\x00",
    "ß",
    "музыка",
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def make_side(counts: dict[int, int], n_labels: int, seed: int = 0) -> Rows:
    """So many rows of each label, in scripts of all kinds; a word of its own and its description tell of a label."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(list(counts), list(counts.values()))
    texts = [
        f"label{label} {generator.choice(WORDS_OF)} {generator.choice(WORDS_OF)} {row}"
        for row, label in enumerate(labels)
    ]
    zero_shot = 0.05 + np.eye(n_labels)[labels] + generator.random((len(labels), n_labels))
    rows = make_rows(as_objects(texts), ENCODER.encode(texts), labels)
    lines = encode_lines(ENCODER.encode, [f"label{label} in a line" for label in range(n_labels)])
    return replace(rows, zero_shot=zero_shot / zero_shot.sum(axis=1, keepdims=True), lines=lines)


def mark(rows: Rows) -> CellMarks:
    states = (np.arange(len(rows)) % 2)[:, None].astype(np.int8)
    return CellMarks(("mark",), states, states.astype(float))


def predict(student: Student, treatment: Treatment, train: Rows, test: Rows, n_labels: int) -> Floats:
    found = predict_by_treatments([treatment], student, train, test, n_labels, 3, marks=mark(train))
    assert list(found) == [treatment.name]
    return found[treatment.name]


ADDED = replace(make_side({0: 6, 1: 2}, 3, 5), weights=np.full(8, 0.2), original=np.zeros(8, dtype=np.bool_))
TRAIN = join_rows(make_side({0: 5, 1: 20}, 3, 1), ADDED)
TEST = make_side({0: 6, 1: 6, 2: 1}, 3, 2)


@every_pair
def test_scores_are_finite_and_the_same_for_the_same_seed(student: Student, treatment: Treatment) -> None:
    scores = predict(student, treatment, TRAIN, TEST, 3)
    assert scores.shape == (len(TEST), 3) and np.isfinite(scores).all()
    blind = replace(TEST, labels=np.full(len(TEST), 99))
    assert predict(student, treatment, TRAIN, blind, 3).tobytes() == scores.tobytes()
    if not treatment.needs_zero_shot:
        assert (scores.argmax(axis=1) != 2).all(), "a label without a row is never the answer"


@every_pair
def test_no_row_to_score_gives_no_score(student: Student, treatment: Treatment) -> None:
    assert predict(student, treatment, TRAIN, TEST.take(np.arange(0)), 3).shape == (0, 3)


@every_pair
def test_one_label_in_training_is_the_answer(student: Student, treatment: Treatment) -> None:
    scores = predict(student, treatment, TRAIN.take(TRAIN.labels == 1), TEST, 3)
    assert np.isfinite(scores).all()
    if not treatment.needs_zero_shot:
        assert (scores.argmax(axis=1) == 1).all()


@every_pair
def test_many_labels_of_few_rows(student: Student, treatment: Treatment) -> None:
    train = make_side(dict.fromkeys(range(60), 2) | {0: 12}, 60, 4)
    scores = predict(student, treatment, train, make_side({3: 4}, 60, 6), 60)
    assert scores.shape == (4, 60) and np.isfinite(scores).all()


@every_pair
def test_rows_of_no_weight_do_not_stop_it(student: Student, treatment: Treatment) -> None:
    weights = np.where(TRAIN.original, TRAIN.weights, 0.0)
    assert np.isfinite(predict(student, treatment, replace(TRAIN, weights=weights), TEST, 3)).all()


@pytest.mark.parametrize("student", ALL_STUDENTS, ids=lambda student: student.name)
def test_a_label_that_was_never_seen_has_the_floor(student: Student) -> None:
    scores = predict(student, NOTHING, TRAIN, TEST, 3)
    assert scores[:, 2] == pytest.approx(np.log(PROBABILITY_FLOOR))
    assert np.exp(scores).sum(axis=1) == pytest.approx(np.ones(len(TEST)), abs=1e-6)
    even = make_side({0: 20, 1: 20}, 3, 7)
    right = (predict(student, BASELINE, even, TEST, 3).argmax(axis=1) == TEST.labels)[:12].mean()
    assert right > 0.7, "what is said has to do with the rows"


@pytest.mark.parametrize("student", ALL_STUDENTS, ids=lambda student: student.name)
def test_what_it_is_goes_on_in_a_sentence(student: Student) -> None:
    assert (
        student.meaning and not student.meaning.endswith(".") and student.bind("minilm").name == student.name
    )


def test_weights_count_where_they_are_passed_and_where_rows_are_repeated() -> None:
    heavy = replace(TRAIN, weights=np.where(TRAIN.labels == 0, 8.0, 1.0))
    added = TREATMENTS.find("added_rows")
    for student in ALL_STUDENTS[2:]:
        light, strong = (predict(student, added, rows, TEST, 3) for rows in (TRAIN, heavy))
        assert not np.array_equal(light, strong), student.name
    assert repeat_rows(np.array([0.2, 1.0, 3.0])).tolist() == [0] + [1] * 5 + [2] * 15
    assert np.bincount(repeat_rows(np.array([1e-6, 1.0]))).tolist() == [1, MOST_REPEATS]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SklearnStudent("x", LinearRegression()), "LinearRegression is no classifier"),
        (lambda: SklearnStudent("x", GaussianNB(), on="words"), "takes no sparse matrices"),
        (lambda: SklearnStudent("x", GaussianNB(), on="images"), "'vectors' or 'words'"),  # type: ignore[arg-type]
        (lambda: STUDENTS.choose(["forest"]), "none of them"),
        (lambda: STUDENTS.choose([object()]), "neither a student nor a classifier"),  # type: ignore[list-item]
        (lambda: STUDENTS.choose([GaussianNB]), "neither a student nor a classifier"),
        (lambda: STUDENTS.choose([GaussianNB(), GaussianNB()]), "'GaussianNB' is named twice"),
        (lambda: choose_students(["vectors", "minilm_lr"], "minilm"), "'vectors:minilm' is named twice"),
        (lambda: choose_students(["vectors:other"], "minilm"), "the job's encoder is 'minilm'"),
        (lambda: TREATMENTS.choose(["default", "averaged"]), "trains on added rows"),
        (lambda: TREATMENTS.choose(["nothing"]), "'logit_adjustment' is missing"),
        (
            lambda: predict(SklearnStudent("many", MultinomialNB()), NOTHING, TRAIN, TEST, 3),
            "'many' cannot be trained (Negative values",
        ),
    ],
)
def test_what_cannot_be_a_student_or_a_treatment_is_one_line(make, says: str) -> None:
    with pytest.raises(JobError) as caught:
        make()
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_names_of_before_and_the_encoders_name_are_read() -> None:
    names = [student.name for student in choose_students(["minilm_lr", "tfidf_lr"], "minilm")]
    assert names == [VECTORS.name, WORDS.name] == ["vectors:minilm", "words"]
    assert [one.name for one in choose_students(("default",), "mine")] == ["vectors:mine", "words"]
    (forest,) = STUDENTS.choose([RandomForestClassifier()])
    assert (forest.name, forest.meaning) == (
        "RandomForestClassifier",
        "RandomForestClassifier on sentence vectors",
    )


class PoolReader(Treatment):
    """Adds to each score how many rows of the pool there are."""

    name = "pool_reader"
    uses_pool = True

    def score(self, task: FitTask) -> Floats:
        assert task.pool is not None
        return np.asarray(task.score(NOTHING) + len(task.pool) * np.eye(task.n_labels)[0])


def test_a_treatment_that_says_so_sees_the_pool_and_no_other_does() -> None:
    class Blind(PoolReader):
        name = "blind"
        uses_pool = False

        def score(self, task: FitTask) -> Floats:
            assert task.pool is None
            return task.plain

    folds = np.where(TRAIN.original, np.arange(len(TRAIN)) % 4, -1)
    pool = TEST.take(np.arange(5))
    none = np.zeros((len(TRAIN), 4))
    scores = score_arms(TRAIN, folds, 2, [WORDS], [PoolReader(), Blind()], none, pool=pool)
    assert [score.arm for score in scores] == ["pool_reader", "blind"]
    assert scores[0].macro_f1 < scores[1].macro_f1, "everything is of the first label"
