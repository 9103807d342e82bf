"""Ways that look at cells: what each does to the weights, what they may see, and how one of them is chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.core.records import ConceptColumns, Floats, Records
from counterpoise.students.base import Student
from counterpoise.students.cell_choice import (
    FEWEST_ROWS,
    choose_cell_way,
    count_rarest,
    is_surely_less,
    measure_losses,
    score_unlabelled,
)
from counterpoise.students.cell_marks import (
    LARGEST_WEIGHT,
    CellMarks,
    find_cells,
    make_marks,
    rake_cells,
    repeat_cells,
    shrink_cells,
    weigh_cells,
)
from counterpoise.students.cell_treatments import CELL_TREATMENTS, list_cell_ways, mix
from counterpoise.students.fitting import predict_by_treatments
from counterpoise.students.rows import Rows, make_rows
from tests.made_up import STUDENTS, VECTORS, WORDS, as_objects

WAYS = {way.name: way for way in CELL_TREATMENTS}


def predict_by_cells(
    names: Sequence[str], student: Student, train: Rows, marks: CellMarks, test: Rows, n_labels: int
) -> dict[str, Floats]:
    ways = [WAYS[name] for name in names]
    return predict_by_treatments(ways, student, train, test, n_labels, marks=marks)


def make_states(states: list[list[int]]) -> CellMarks:
    table = np.array(states, dtype=np.int8)
    levels = np.where(table < 0, 0.5, table)
    return CellMarks(tuple(f"mark {column}" for column in range(table.shape[1])), table, levels)


def make_skewed(n: int, n_rare: int, seed: int = 0, noise: float = 0.6) -> tuple[Rows, CellMarks]:
    """The first coordinate is the label, the second a mark that goes with label 1 but for `n_rare` rows of label 0."""
    generator = np.random.default_rng(seed)
    labels = np.repeat([0, 1], n)
    states = labels.copy()
    states[:n_rare] = 1
    states[n : n + n // 4] = 0
    vectors = generator.normal(0, noise, (2 * n, 12))
    vectors[:, 0] += 2 * labels - 1
    vectors[:, 1] += 2 * (2 * states - 1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = as_objects(
        [
            f"{'good' if label else 'bad'} {'food' if mark else 'room'}"
            for label, mark in zip(labels, states, strict=True)
        ]
    )
    scores = np.stack([-3 * vectors[:, 0], 3 * vectors[:, 0]], axis=1)
    zero_shot = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    rows = make_rows(texts, vectors.astype(np.float32), labels, zero_shot=zero_shot)
    return rows, make_states([[int(state)] for state in states])


def add_label(rows: Rows) -> Rows:
    """With a description of a third label that is like no text."""
    zero_shot = np.hstack([rows.zero_shot, np.full((len(rows), 1), 1e-6)])
    return make_rows(rows.texts, rows.vectors, rows.labels, zero_shot=zero_shot)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 1), st.integers(-1, 1)), min_size=4, max_size=60)
)
def test_weights_are_positive_and_even_over_known_cells(rows: list[tuple[int, int, int]]) -> None:
    labels = np.array([row[0] for row in rows])
    marks = make_states([list(row[1:]) for row in rows])
    weights = weigh_cells(labels, marks, 3)
    assert (weights > 0).all()
    assert weights.mean() == pytest.approx(1)
    raked = rake_cells(labels, marks, 3)
    assert raked.mean() == pytest.approx(1)
    assert raked.max() <= LARGEST_WEIGHT * len(rows)
    one = CellMarks(marks.names[:1], marks.states[:, :1], marks.levels[:, :1])
    cells = find_cells(labels, one.states[:, 0], 3)
    alone = weigh_cells(labels, one, 3)
    totals = [alone[cells == cell].sum() for cell in np.unique(cells[cells >= 0])]
    assert totals == pytest.approx([totals[0]] * len(totals) if totals else [])


def test_raking_meets_two_marks_at_once() -> None:
    labels = np.array([0] * 6 + [1] * 6)
    marks = make_states([[int(row % 3 == 0), int(row % 4 < 2)] for row in range(12)])
    weights = rake_cells(labels, marks, 2)
    for states in marks.states.T:
        totals = np.bincount(find_cells(labels, states, 2), weights, minlength=4)
        assert totals == pytest.approx([3.0] * 4, abs=0.01)


def test_subsets_even_out_a_mark_and_repeats_fill_it() -> None:
    labels = np.array([0] * 5 + [1] * 5)
    marks = make_states([[1], [0], [0], [0], [0], [1], [1], [1], [1], [0]])
    kept = shrink_cells(labels, marks, 2, np.arange(10))
    assert np.bincount(labels[kept][marks.states[kept, 0] == 1]).tolist() == [1, 1]
    assert set(np.flatnonzero(marks.states[:, 0] == 0)) <= set(kept)
    repeated = repeat_cells(labels, marks, 2)
    assert np.bincount(labels[repeated][marks.states[repeated, 0] == 1]).tolist() == [4, 4]


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_every_way_gives_log_scores_of_one_shape(student: Student) -> None:
    train, marks = make_skewed(20, 3)
    test, _ = make_skewed(10, 5, seed=1)
    train, test = (add_label(rows) for rows in (train, test))
    ways = list_cell_ways(student, has_zero_shot=True)
    names = [way.name for way in ways]
    found = predict_by_cells(names, student, train, marks, test, 3)  # of which the last never occurs
    assert list(found) == names
    for way, scores in found.items():
        assert scores.shape == (20, 3), way
        assert np.isfinite(scores).all(), way
        assert (scores.argmax(axis=1) < 2).all(), way
        assert np.array_equal(scores, predict_by_cells([way], student, train, marks, test, 3)[way]), way


def test_words_have_no_zero_shot_ways_and_nobody_has_them_without_descriptions() -> None:
    assert not any("zero_shot" in way.name for way in list_cell_ways(WORDS, has_zero_shot=True))
    assert not any("zero_shot" in way.name for way in list_cell_ways(VECTORS, has_zero_shot=False))
    assert list_cell_ways(VECTORS, has_zero_shot=True) == CELL_TREATMENTS
    train, marks = make_skewed(8, 2)
    bare = make_rows(train.texts, train.vectors, train.labels)
    with pytest.raises(ValueError, match="descriptions"):
        predict_by_cells(["zero_shot"], VECTORS, bare, marks, bare, 2)


@pytest.mark.parametrize("way", ["group_weights", "cell_bags", "back_door", "cell_mixture"])
def test_a_way_is_better_than_nothing_on_the_cell_that_is_rare(way: str) -> None:
    train, marks = make_skewed(120, 6)
    test, _ = make_skewed(120, 60, seed=1)
    found = predict_by_cells(["nothing", way], VECTORS, train, marks, test, 2)
    rare = slice(0, 60)  # label 0 with the mark
    right = {name: float((scores[rare].argmax(axis=1) == 0).mean()) for name, scores in found.items()}
    assert right[way] > right["nothing"] + 0.05


def test_labels_and_texts_of_the_scored_rows_do_not_matter_to_vectors() -> None:
    train, marks = make_skewed(20, 3)
    test, _ = make_skewed(10, 5, seed=1)
    other = make_rows(test.texts[::-1], test.vectors, 1 - test.labels, zero_shot=test.zero_shot)
    for way in WAYS:
        first, second = (
            predict_by_cells([way], VECTORS, train, marks, rows, 2)[way] for rows in (test, other)
        )
        assert np.array_equal(first, second), way


def test_marks_are_concepts_and_attribute_values() -> None:
    concepts = ConceptColumns(("food",), np.array([[1], [0], [2]], np.int8), np.array([[0.9], [0.1], [0.5]]))
    records = Records(
        as_objects(["a", "b", "c"]),
        as_objects(["x", "y", "z"]),
        np.array([0, 1, 1]),
        ("bad", "good"),
        attributes={"source": as_objects(["web", "", "web"])},
        concepts=concepts,
    )
    marks = make_marks(records)
    assert marks.names == ("food", "source=web")
    assert marks.states.tolist() == [[1, 1], [0, -1], [-1, 1]]
    assert marks.levels.tolist() == [[0.9, 1.0], [0.1, 0.5], [0.5, 1.0]]


def test_the_mixture_does_not_care_how_sure_a_part_is_of_itself() -> None:
    table = np.random.default_rng(0).normal(size=(7, 3))
    assert mix([table, 50 * table]) == pytest.approx(mix([table, table]))


def test_losses_do_not_care_how_sure_scores_are_of_themselves() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 40)
    scores = generator.normal(size=(40, 2)) + 2 * np.eye(2)[labels]
    weights = np.ones(40)
    assert measure_losses(5 * scores, labels, weights) == pytest.approx(
        measure_losses(scores, labels, weights), abs=1e-3
    )
    assert is_surely_less(np.zeros(40), np.ones(40) + 0.01 * generator.normal(size=40), weights)
    assert not is_surely_less(scores[:, 0], scores[:, 0], weights)
    one = np.array([0.0, 1.0])  # a mean of 0.5 with a standard error of 0.35: 1.4 of them below 1
    assert is_surely_less(one, np.ones(2), np.ones(2), 1.4) and not is_surely_less(
        one, np.ones(2), np.ones(2), 1.5
    )


def choose(rows: Rows, marks: CellMarks, student: Student = VECTORS) -> str:
    folds = np.arange(len(rows)) % 5
    return choose_cell_way(student, rows, marks, folds, 2).way.name


def test_with_few_rows_in_a_cell_the_choice_is_a_rule() -> None:
    rows, marks = make_skewed(60, FEWEST_ROWS - 6)
    assert count_rarest(rows.labels, marks, 2) == FEWEST_ROWS - 6
    assert choose(rows, marks) == "zero_shot"
    assert choose(rows, marks, WORDS) == "cell_mixture"
    noise = np.random.default_rng(3).dirichlet([1, 1], len(rows))
    blind = make_rows(rows.texts, rows.vectors, rows.labels, zero_shot=noise)
    assert choose(blind, marks) == "cell_mixture"  # descriptions that know nothing are not believed


def test_with_enough_rows_balanced_subsets_stay_unless_another_way_is_surely_better() -> None:
    rows, marks = make_skewed(60, FEWEST_ROWS + 10, noise=0.3)
    choice = choose_cell_way(VECTORS, rows, marks, np.arange(len(rows)) % 5, 2)
    assert choice.way.name == "cell_bags" or choice.losses[choice.way.name] < choice.losses["cell_bags"]
    assert "nothing" in choice.losses
    blind = make_rows(rows.texts, rows.vectors, rows.labels)
    assert "zero_shot" not in choose_cell_way(VECTORS, blind, marks, np.arange(120) % 5, 2).losses


def test_an_empty_cell_counts_as_the_thinnest() -> None:
    assert count_rarest(np.array([0, 0, 1]), make_states([[1], [0], [0]]), 2) == 0
    assert (
        count_rarest(np.array([0, 1, 1]), CellMarks((), np.empty((3, 0), np.int8), np.empty((3, 0))), 2) == 3
    )


def test_unlabelled_rows_of_a_thin_cell_get_their_label_where_a_classifier_takes_the_mark_for_it() -> None:
    rows, marks = make_skewed(60, 3)
    pool, _ = make_skewed(60, 30, seed=2)
    choice, own, scores = score_unlabelled(rows, marks, np.arange(len(rows)) % 5, pool, 2)
    assert choice.way.name == "zero_shot"
    assert own.shape == (len(rows), 2)
    assert scores.sum(axis=1) == pytest.approx(np.ones(len(pool)))
    rare = slice(0, 30)  # label 0 with the mark
    plain = predict_by_cells(["nothing"], VECTORS, rows, marks, pool, 2)["nothing"]
    assert (scores[rare].argmax(axis=1) == 0).mean() > (plain[rare].argmax(axis=1) == 0).mean() + 0.1
