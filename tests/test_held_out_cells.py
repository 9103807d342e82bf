"""The held-out table by cell: figures computed by hand, those of the evaluation, and what too few rows tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from counterpoise.core.records import ConceptColumns, Records, State
from counterpoise.report.cell_schema import ArmCells, ConceptFigures, HeldOutCells
from counterpoise.report.schema_values import Interval
from counterpoise.runs.held_out_cells import FEWEST_ROWS, describe_cells
from counterpoise.students.concept_bias import measure_bias
from counterpoise.students.held_out import HeldOutScore
from evals import concept_bias
from evals.concept_texts import Texts
from evals.edit_cases import CONCEPTS
from tests.made_up import as_objects, make_records

Rights = Mapping[str, NDArray[np.bool_]]
BEFORE, OURS = "nothing", "counterpoise"


def describe(records: Records, rights: Rights) -> HeldOutCells:
    """The table where each arm's repetitions are right as said, and else give the next label."""
    k = len(records.label_names)
    scores = [
        HeldOutScore(arm, "words", {}, {}, np.where(right, records.labels, (records.labels + 1) % k))
        for arm, right in rights.items()
    ]
    return describe_cells(records, records, scores, {"words": next(iter(rights))})


def make_sealed(
    labels: Sequence[int],
    states: Sequence[Sequence[int]] | None = None,
    names: tuple[str, ...] = ("bad", "good"),
    concepts: tuple[str, ...] = ("food",),
    attributes: Mapping[str, Sequence[str]] | None = None,
) -> Records:
    """Rows whose texts have no word in common, each a group of its own."""
    texts = [f"one{row} two{row} three{row} four{row} five{row}" for row in range(len(labels))]
    columns = None
    if states is not None:
        given = np.array(states, np.int8)
        columns = ConceptColumns(concepts, given, np.full(given.shape, 0.5))
    records = make_records(texts, labels, names, attributes=attributes, concepts=columns)
    return replace(records, groups=records.ids)


def make_square() -> tuple[Records, Rights]:
    """Forty rows of each label with and without food, half of them from paper.

    Ours is always wrong on ten of paper that are good and without food, and in one repetition of three on the twenty of
    the web that are bad and with food.
    """
    labels = [label for label in (0, 1) for _ in range(80)]
    states = [[has] for _ in (0, 1) for has in (State.PRESENT, State.ABSENT) for _ in range(40)]
    source = ["paper", "web"] * 80
    records = make_sealed(labels, states, attributes={"source": source})
    rows = np.arange(160)
    right = np.ones((3, 160), dtype=np.bool_)
    right[:, (rows >= 120) & (rows < 140) & (rows % 2 == 0)] = False
    right[2, (rows < 40) & (rows % 2 == 1)] = False
    return records, {BEFORE: np.ones((3, 160), dtype=np.bool_), OURS: right}


def find_arm(table: HeldOutCells, arm: str) -> ArmCells:
    return next(one for one in table.arms if one.arm == arm)


def read(interval: Interval | None) -> tuple[float, float, float]:
    assert interval is not None and interval.mean is not None
    assert interval.low is not None and interval.high is not None
    return interval.mean, interval.low, interval.high


def test_cells_and_the_worst_of_them_are_those_computed_by_hand() -> None:
    ours = find_arm(describe(*make_square()), OURS)
    found = {one.cell: read(one.accuracy)[0] for one in ours.cells}
    assert found == pytest.approx(
        {
            "good without food": 30 / 40,
            "good with source=paper": 30 / 40,
            "bad with food": 100 / 120,
            "bad with source=web": 100 / 120,
            "good": 70 / 80,
            "bad": 220 / 240,
            "bad without food": 1,
            "bad with source=paper": 1,
            "good with food": 1,
            "good with source=web": 1,
        }
    )
    assert list(found.values()) == sorted(found.values())
    assert ours.worst == "good with source=paper" == ours.cells[0].cell
    assert (ours.cells[0].kind, ours.cells[0].column, ours.cells[0].value) == ("attribute", "source", "paper")
    # Wilson's score interval of 30 in 40.
    assert read(ours.cells[0].accuracy)[1:] == pytest.approx((0.598060, 0.858128), abs=1e-5)
    assert read(ours.worst_difference)[0] == pytest.approx(-0.25)
    assert read(ours.accuracy)[0] == pytest.approx((160 * 3 - 30 - 20) / (160 * 3))
    assert read(ours.difference)[0] == pytest.approx(-50 / 480)
    mean, low, high = read(ours.cells[0].difference)
    assert low < mean == -0.25 < high < 0


def test_concepts_groups_and_changed_rows_are_those_computed_by_hand() -> None:
    records, rights = make_square()
    table = describe(records, rights)
    ours, before = find_arm(table, OURS), find_arm(table, BEFORE)
    (food,) = ours.concepts
    # Food costs the bad ones 1/6 and gains the good ones 1/4.
    assert read(food.bias_at_c)[0] == pytest.approx(1 / 4 + 1 / 6)
    assert read(food.difference)[0] == pytest.approx(1 / 4 + 1 / 6)
    assert read(food.acc_at_c)[0] == pytest.approx((5 / 6 + 1) / 2)
    assert read(food.acc_at_noc)[0] == pytest.approx((1 + 3 / 4) / 2)
    # The least of each repetition: 3/4, 3/4, 1/2.
    assert read(food.worst_group_accuracy)[0] == pytest.approx(2 / 3)
    assert (food.towards, food.labels, food.left_out, food.unknown) == ("good", 2, 0, 0)
    gaps = {one.label: one for one in ours.gaps}
    assert set(gaps) == {"", "bad", "good"}
    assert (gaps[""].highest, gaps[""].lowest, gaps[""].values) == ("web", "paper", 2)
    assert read(gaps[""].gap)[0] == pytest.approx((240 - 20) / 240 - (240 - 30) / 240)
    assert (gaps["good"].highest_accuracy, gaps["good"].lowest_accuracy) == pytest.approx((1, 3 / 4))
    assert read(gaps["bad"].gap)[0] == pytest.approx(1 / 6)
    assert all(low <= mean <= high for mean, low, high in (read(one.gap) for one in gaps.values()))
    # The rows that are wrong in one repetition of three are right.
    assert ours.right_to_wrong.ids == [f"row{row:04d}" for row in range(120, 140, 2)]
    assert (ours.right_to_wrong.count, ours.wrong_to_right.count) == (10, 0)
    assert read(ours.right_to_wrong.ratio)[0] == 10 / 160
    assert before.right_to_wrong.ids == before.wrong_to_right.ids == []
    swapped = describe(records, {OURS: rights[OURS], BEFORE: rights[BEFORE]})
    assert find_arm(swapped, BEFORE).wrong_to_right.ids == ours.right_to_wrong.ids


def test_an_arm_does_not_differ_from_itself_and_the_same_answers_give_the_same_table() -> None:
    records, rights = make_square()
    table = describe(records, {BEFORE: rights[OURS], "copy": rights[OURS]})
    for arm in table.arms:
        differences = [arm.difference, arm.worst_difference, *(one.difference for one in arm.cells)]
        differences += [*(one.difference for one in arm.concepts), *(one.difference for one in arm.gaps)]
        assert {read(one) for one in differences} == {(0, 0, 0)}
    assert describe(records, {BEFORE: rights[OURS], "copy": rights[OURS]}) == table
    even = describe(records, {BEFORE: rights[BEFORE]}).arms[0].gaps
    assert {(one.highest, one.lowest) for one in even} == {("web", "paper")}, (
        "two values, though all are alike"
    )


def compute_by_loops(
    right: NDArray[np.bool_], labels: NDArray[np.int64], states: NDArray[np.int64]
) -> dict[str, float]:
    """The four figures from their definitions, one repetition after another."""
    found = []
    for one in right:
        has = [float(np.mean(one[(labels == label) & (states == 1)])) for label in (0, 1)]
        lacks = [float(np.mean(one[(labels == label) & (states == 0)])) for label in (0, 1)]
        bias = (has[1] - lacks[1]) - (has[0] - lacks[0])
        found.append((bias, sum(has) / 2, sum(lacks) / 2, min(has + lacks)))
    means = np.mean(found, axis=0)
    return dict(zip(concept_bias.METRICS, means.tolist(), strict=True))


def test_figures_of_concepts_are_those_of_the_evaluation() -> None:
    generator = np.random.default_rng(3)
    n = 700
    labels, known = generator.integers(0, 2, n), generator.integers(-1, 2, (n, len(CONCEPTS)))
    right = generator.random((5, n)) < 0.6 + 0.3 * (labels == known[:, 0])
    records = make_sealed(
        labels.tolist(), np.where(known < 0, State.UNKNOWN, known).tolist(), concepts=tuple(CONCEPTS)
    )
    ours = find_arm(describe(records, {BEFORE: right, OURS: right}), OURS)
    test = Texts(records.texts, labels, known, records.ids, np.zeros((n, 1), np.float32))
    for column, figures in enumerate(ours.concepts):
        said = {metric: read(getattr(figures, metric))[0] for metric in concept_bias.METRICS}
        evaluated = concept_bias.measure(right, test, column, np.arange(5), np.ones(n)) / 100
        assert list(said.values()) == pytest.approx(evaluated.tolist(), abs=1e-9, rel=0)
        assert said == pytest.approx(compute_by_loops(right, labels, known[:, column]), abs=1e-9, rel=0)
        assert figures.unknown == (known[:, column] < 0).sum()
    assert abs(read(ours.concepts[0].bias_at_c)[0]) > 0.4 > abs(read(ours.concepts[1].bias_at_c)[0])


def test_labels_without_an_order_have_a_spread_and_no_bias() -> None:
    labels = [label for label in range(3) for _ in range(80)]
    states = [[has] for _ in range(3) for has in (State.PRESENT, State.ABSENT) for _ in range(40)]
    right = np.ones((1, 240), dtype=np.bool_)
    right[:, :10] = right[:, 120:124] = False  # the first label loses 1/4 by food, the second gains 1/10

    def find(names: tuple[str, ...]) -> ConceptFigures:
        return find_arm(describe(make_sealed(labels, states, names), {BEFORE: right}), BEFORE).concepts[0]

    named = find(("cat", "dog", "fox"))
    assert named.bias_at_c is None and named.towards == ""
    assert read(named.spread)[0] == pytest.approx(0.35)
    assert read(named.mean_difference)[0] == pytest.approx((0.35 + 0.25 + 0.1) / 3)
    # Effects -0.25, 0.1, 0 of labels 1, 2, 3: mean of 0.35, 0.25 and -0.1.
    assert read(find(("1", "2", "3")).bias_at_c)[0] == pytest.approx(0.5 / 3)
    # Of 8, 9 and 10, whose order by name is another one, the effects are 0.1, 0 and -0.25.
    backwards = find(("10", "8", "9"))
    assert read(backwards.bias_at_c)[0] == pytest.approx((-0.1 - 0.35 - 0.25) / 3)
    assert backwards.towards == "10"


def test_five_ordered_labels_are_weighed_as_the_paper_does() -> None:
    effects = np.array([0.3, -0.1, 0.2, 0.0, 0.4])
    expected = effects @ np.array([-0.4, -0.2, 0, 0.2, 0.4])
    assert measure_bias(effects, np.zeros(5)).bias_at_c == pytest.approx(expected, abs=1e-12)


def test_cells_with_too_few_rows_are_named_without_a_figure() -> None:
    few = FEWEST_ROWS - 1
    labels = [0] * 100 + [1] * (50 + few)
    states = [[State.PRESENT]] * 50 + [[State.ABSENT]] * 50 + [[State.PRESENT]] * few + [[State.ABSENT]] * 50
    records = make_sealed(labels, states, attributes={"source": ["web"] * len(labels)})
    table = describe(records, {BEFORE: np.ones((2, len(labels)), dtype=np.bool_)})
    assert [(one.cell, one.rows) for one in table.too_few] == [("good with food", few)]
    (arm,) = table.arms
    assert "good with food" not in {one.cell for one in arm.cells} and len(arm.cells) == 2 + 3 + 2
    (food,) = arm.concepts
    assert (food.labels, food.left_out, food.bias_at_c, food.acc_at_c) == (1, 1, None, None)
    assert arm.gaps == []
    nothing = describe(records.take([]), {BEFORE: np.ones((2, 0), dtype=np.bool_)})
    assert nothing.arms[0].accuracy is None and nothing.arms[0].cells == [] and nothing.n == 0


def test_values_that_only_training_rows_have_are_cells_without_rows() -> None:
    records = make_sealed([0, 1] * 40, attributes={"source": ["web"] * 80})
    train = make_sealed([0, 1], attributes={"source": ["web", "paper"]})
    score = HeldOutScore(BEFORE, "words", {}, {}, records.labels[None])
    table = describe_cells(records, train, [score], {"words": BEFORE})
    assert [(one.cell, one.rows) for one in table.too_few if "paper" in one.cell] == [
        ("all labels with source=paper", 0),
        ("bad with source=paper", 0),
        ("good with source=paper", 0),
    ]


def test_copies_count_once_in_intervals() -> None:
    single = make_sealed([0, 1] * 40)
    twice = single.take(np.repeat(np.arange(80), 2))
    right = np.arange(80)[None] % 8 != 0
    alone = find_arm(describe(single, {BEFORE: right}), BEFORE)
    doubled = describe(twice, {BEFORE: np.repeat(right, 2, axis=1)})
    assert (doubled.n, doubled.n_groups) == (160, 80)
    for one, other in zip(alone.cells, doubled.arms[0].cells, strict=True):
        assert other.accuracy == one.accuracy and other.rows == 2 * one.rows
    same = replace(single, groups=as_objects(["one"] * 80))
    assert describe(same, {BEFORE: right}).arms[0].cells == []


def test_a_job_without_concepts_and_attributes_has_accuracies_by_label() -> None:
    (arm,) = describe(make_sealed([0, 1] * 40), {BEFORE: np.ones((2, 80), dtype=np.bool_)}).arms
    assert [(one.cell, one.kind) for one in arm.cells] == [("bad", "label"), ("good", "label")]
    assert arm.concepts == [] and arm.gaps == [] and read(arm.accuracy)[0] == 1


def test_near_copies_are_found_where_the_rows_have_no_groups() -> None:
    texts = [f"the soup of the {row} was cold and the waiter named {row * 7} was slow" for row in range(60)]
    records = make_records([*texts, *texts], [0, 1] * 60)
    assert not len(records.groups)
    assert describe(records, {BEFORE: np.ones((1, 120), dtype=np.bool_)}).n_groups <= 60


def test_too_many_values_of_an_attribute_are_said_to_make_no_cells() -> None:
    records = make_sealed([0, 1] * 40, attributes={"author": [f"author {row}" for row in range(80)]})
    table = describe(records, {BEFORE: np.ones((1, 80), dtype=np.bool_)})
    assert table.notes == ["attribute 'author' has more than 50 values, so it makes no cells"]
    assert {one.kind for one in table.arms[0].cells} == {"label"}
