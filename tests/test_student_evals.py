"""The evaluations of further students: what is drawn is what is said, and the metrics are those of the definitions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from counterpoise.students.rows import make_rows
from evals import classifier_worker, counterfactual_training, fine_tuned, in_context
from evals.common import MissingDataError
from evals.concept_texts import Texts


def make_texts(n: int) -> Texts:
    """Texts in which each pair of a first concept and a label is as frequent as any other."""
    rows = np.arange(n)
    concepts = np.zeros((n, 4), dtype=np.int64)
    concepts[:, 0] = rows % 4 // 2
    return Texts(
        np.array([f"text {row} of {n}" for row in rows], dtype=object),
        rows % 2,
        concepts,
        np.array([f"original {row // 2}" for row in rows], dtype=object),
        np.zeros((n, 3), dtype=np.float32),
    )


@pytest.mark.parametrize(("n", "updates"), [(150, 94), (1500, 282)])
def test_every_row_is_seen_as_often(n: int, updates: int) -> None:
    lengths = [1 + row % 7 for row in range(n)]
    batches = list(classifier_worker.iterate_batches(lengths, 3, classifier_worker.HOW))
    seen = Counter(row for batch in batches for row in batch)
    assert len(batches) == updates == classifier_worker.count_updates(n, classifier_worker.HOW)
    assert set(seen) == set(range(n))
    assert max(seen.values()) - min(seen.values()) <= 1


def test_label_shares_are_taken_out_of_a_balanced_arm() -> None:
    test = make_texts(4)
    rows = replace(make_texts(4), labels=np.array([1, 1, 1, 0]))
    undecided = np.tile([0.0, 1.0], (4, 1))  # as the label shares say
    plain = fine_tuned.judge(undecided, fine_tuned.Arm(rows), test)
    balanced = fine_tuned.judge(undecided, fine_tuned.Arm(rows, is_balanced=True), test)
    assert plain.tolist() == [False, True, False, True]
    assert balanced.tolist() == [True, False, True, False]


def test_a_run_is_known_by_what_it_was_trained_on_and_not_by_test_labels() -> None:
    rows, test = make_texts(8), make_texts(4)
    one = fine_tuned.Training(rows, test, 1, {}).describe()
    assert one == fine_tuned.Training(rows, replace(test, labels=1 - test.labels), 1, {}).describe()
    assert one != fine_tuned.Training(replace(rows, labels=1 - rows.labels), test, 1, {}).describe()


def test_a_biased_prompt_has_one_concept_per_label_and_a_balanced_one_both() -> None:
    train = make_texts(80)
    places = {str(text): row for row, text in enumerate(train.texts)}
    drawn = in_context.draw_examples(train, 0, 1)
    cells = {
        name: Counter((label, int(train.concepts[places[text], 0])) for text, label in examples)
        for name, examples in drawn.items()
    }
    assert cells["biased"] == {(1, 1): 4, (0, 0): 4}
    assert cells["balanced"] == dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 2)
    prompt = in_context.make_prompt(drawn["biased"], "Nice.")
    assert prompt.count("Sentiment: ") == 8
    assert prompt.endswith("Review: Nice.\nSentiment:")


def test_a_model_that_takes_the_concept_for_the_label_is_biased_by_200_points() -> None:
    asked = in_context.draw_test(make_texts(80), 0, 5)
    assert Counter(zip(asked.concepts[:, 0], asked.labels, strict=True)) == dict.fromkeys(
        [(0, 0), (0, 1), (1, 0), (1, 1)], 5
    )
    concept, right = asked.concepts[:, 0] - 0.5, asked.labels - 0.5
    tables = in_context.summarise(
        {"biased": np.stack([concept] * 3), "balanced": np.stack([right + 9.0] * 3)}, asked, 0
    )
    assert tables["biased", "plain"][0].tolist() == [200.0, 50.0, 50.0, 0.0]
    assert tables["balanced", "plain"][0, 0] == 0.0  # it always says the same
    assert tables["balanced", "centred"][0].tolist() == [0.0, 100.0, 100.0, 100.0]


def test_a_text_without_an_answer_is_neither_right_nor_wrong() -> None:
    asked = in_context.draw_test(make_texts(80), 0, 5)
    wrong = np.stack([0.5 - asked.labels] * 2)
    silent = wrong.copy()
    negative = np.flatnonzero(asked.labels == 0)
    silent[0, negative[::2]] = np.nan
    odds, answered = in_context.keep_answered({"biased": wrong, "balanced": silent}, asked)
    assert len(answered) == len(asked) - len(negative[::2])
    assert in_context.summarise(odds, answered, 0)["balanced", "plain"][0, 1:].tolist() == [0.0] * 3
    with pytest.raises(MissingDataError, match="log-probabilities"):
        in_context.keep_answered({"biased": wrong, "balanced": wrong * np.nan}, asked)


def test_noise_is_what_lies_between_two_draws() -> None:
    assert in_context.compare_draws(np.array([[0.0, 3.0, 6.0], [2.0, 2.0, 2.0]])).tolist() == [[4.0], [0.0]]


def test_counterfactuals_are_scored_by_pairs() -> None:
    rows = make_rows(
        np.array(["a", "b", "a'", "b'", "c"], dtype=object),
        np.zeros((5, 3), dtype=np.float32),
        np.array([0, 1, 1, 0, 1]),
    )
    tests = counterfactual_training.Tests(rows, 2, np.array([True, True]))
    right = np.array([[True, True, True, False, False]])
    whole = [(np.array([0]), np.ones(2, np.int64), np.ones(1, np.int64))]
    found = counterfactual_training.measure(right, tests, whole)
    assert {metric: values.tolist() for metric, values in found.items()} == {
        "originals": [100.0],
        "edited": [50.0],
        "both": [50.0],
        "elsewhere": [0.0],
        "means": [75.0],
    }


def test_an_arm_is_compared_with_what_it_was_before_the_filters() -> None:
    assert counterfactual_training.name_baselines("nothing") == {}
    assert counterfactual_training.name_baselines("human_kept") == {
        "nothing": "nothing",
        "simple": "simple",
        "more_originals": "more_originals",
        "all": "human_all",
    }


def test_draws_take_half_of_each_label_and_the_lexicon_turns_texts() -> None:
    words = {0: "bad", 1: "good"}
    pairs = [
        counterfactual_training.Pair(f"{words[row % 2]} soup {row}", row % 2, str(row), "", {})
        for row in range(60)
    ]
    own = counterfactual_training.take_even(pairs, 20)
    assert Counter(pair.label for pair in own) == {0: 10, 1: 10}
    edits = counterfactual_training.edit_by_lexicon(own)
    assert edits
    assert all(words[int(case.label == "positive")] in case.text for case in edits)
