"""What an arm is worth is measured on rows that nothing it was trained on knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from counterpoise.core.records import Floats, Integers, Objects
from counterpoise.core.splits import assign_folds, keyed_hash
from counterpoise.students.added_rows import ADDED_ROWS, UNWEIGHTED_ROWS, USES
from counterpoise.students.added_ways import (
    AVERAGED,
    PLAIN_WAY,
    PRIOR_WAY,
    TUNED_ADDED,
    find_mixture,
    find_way,
)
from counterpoise.students.base import Treatment
from counterpoise.students.evidence import parse_evidence
from counterpoise.students.fitting import predict, predict_by_treatments
from counterpoise.students.held_out import Arm, HeldOutScore, score_held_out
from counterpoise.students.left_out import find_likeliest, leave_out, tune
from counterpoise.students.metrics import METRICS, compute_auroc, compute_log_loss
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import BASELINE, NOTHING, TREATMENTS
from counterpoise.students.tuned_added import OFFSET_SPREAD
from counterpoise.students.validation import (
    ArmScore,
    choose_added_ways,
    choose_best,
    estimate_auroc_error,
    estimate_f1_error,
    predict_out_of_fold,
    recommend,
    score_arms,
)
from counterpoise.students.weights import weigh_rows
from tests.made_up import (
    ENCODER,
    STUDENTS,
    VECTORS,
    WORDS,
    as_objects,
    join_rows,
    make_records,
    write_sentences,
)

N_FOLDS = 4
NAMES = tuple(student.name for student in STUDENTS)
SIMPLE = TREATMENTS.choose(TREATMENTS.defaults)


def make_noise(n: int, seed: int) -> Rows:
    """Rows that say nothing of their labels: each has words and a direction of its own."""
    generator = np.random.default_rng(seed)
    texts = [f"word{seed}x{row} other{seed}x{row}" for row in range(n)]
    return make_rows(as_objects(texts), ENCODER.encode(texts), generator.integers(0, 2, n))


def make_side(n_bad: int, n_good: int, seed: int) -> Rows:
    texts, labels = write_sentences(n_bad, n_good, seed)
    vectors = ENCODER.encode(texts)
    return make_rows(
        as_objects(texts), vectors, np.array(labels), zero_shot=vectors[:, :2].astype(np.float64)
    )


def test_a_row_never_helps_to_judge_the_rows_it_was_made_from() -> None:
    own = make_noise(32, 1)
    copies = replace(own, original=np.zeros(32, dtype=np.bool_))
    both = join_rows(own, join_rows(copies, join_rows(copies, copies)))
    folds = np.arange(32) % N_FOLDS
    parents = np.concatenate([np.zeros((32, N_FOLDS)), *[np.eye(N_FOLDS)[folds]] * 3])
    all_folds = np.concatenate([folds, np.full(96, -1)])
    honest = score_arms(both, all_folds, 2, STUDENTS, [ADDED_ROWS], parents)
    assert [score.student for score in honest] == list(NAMES)
    assert all(0.25 < score.auroc < 0.75 for score in honest)
    # Were the marks of the parents not heeded, a copy would give its label away.
    leaking = score_arms(both, all_folds, 2, STUDENTS, [ADDED_ROWS], np.zeros_like(parents))
    assert all(score.auroc > 0.95 and score.macro_f1 > 0.9 for score in leaking)


def test_copies_among_the_users_rows_share_a_fold() -> None:
    own = make_noise(40, 2)
    twice = join_rows(own, own)
    records = make_records(list(twice.texts), list(twice.labels))
    folds = assign_folds(replace(records, groups=records.texts), N_FOLDS, "key")
    assert all(0.2 < score.auroc < 0.8 for score in score_arms(twice, folds, 2, STUDENTS, [NOTHING]))
    apart = np.repeat([0, 1], 40)
    assert all(score.auroc > 0.95 for score in score_arms(twice, apart, 2, STUDENTS, [NOTHING]))


def test_added_rows_are_trained_on_and_never_scored() -> None:
    own, added = make_side(6, 30, 3), make_side(40, 40, 4)
    added = replace(added, original=np.zeros(80, dtype=np.bool_))
    ways = [NOTHING, ADDED_ROWS]
    folds = np.arange(36) % N_FOLDS
    without = score_arms(own, folds, 2, STUDENTS, ways)
    both = join_rows(own, added)
    free = np.zeros((len(both), N_FOLDS))
    with_added = score_arms(both, np.concatenate([folds, np.full(80, -1)]), 2, STUDENTS, ways, free)
    assert with_added[:2] == without[:2]
    assert all(
        ours.macro_f1 > nothing.macro_f1 + 0.2
        for nothing, ours in zip(with_added[:2], with_added[2:], strict=True)
    )
    # Wrong labels of added rows harm what is learned; if they were scored, they would be half of the truth.
    flipped = replace(both, labels=np.where(both.original, both.labels, 1 - both.labels))
    misled = score_arms(flipped, np.concatenate([folds, np.full(80, -1)]), 2, STUDENTS, ways[1:], free)
    assert all(score.auroc < 0.4 for score in misled)


COUNTS = np.array([15, 300])


def test_the_best_arm_is_the_earlier_of_equals() -> None:
    scores = [
        ArmScore(arm, student, macro_f1, auroc, 0.4)
        for student in NAMES
        for arm, macro_f1, auroc in (
            ("balanced_bags", 0.7, 0.8),
            ("class_weights", 0.7, 0.7),
            ("nothing", 0.5, 0.9),
            ("added_rows", 1.0, 1.0),
        )
    ]
    weights = TREATMENTS.find("class_weights")
    assert choose_best(scores, "macro_f1", SIMPLE, COUNTS) == dict.fromkeys(NAMES, weights)
    assert choose_best(scores, "auroc", SIMPLE, COUNTS) == dict.fromkeys(NAMES, NOTHING)


def test_of_ways_whose_macro_f1_is_as_good_the_surest_is_the_best() -> None:
    error = estimate_f1_error(0.8, COUNTS)
    scores = [
        ArmScore("nothing", "words", 0.799 - error, 0.9, 0.1),
        ArmScore("class_weights", "words", 0.801 - error, 0.8, 0.3),
        ArmScore("balanced_bags", "words", 0.8, 0.7, 0.4),
    ]
    assert choose_best(scores, "macro_f1", SIMPLE, COUNTS)["words"].name == "class_weights"
    # With a hundred times the rows the same difference is evident, and what counts is macro-F1 alone.
    assert choose_best(scores, "macro_f1", SIMPLE, COUNTS * 100)["words"].name == "balanced_bags"
    assert choose_best(scores, "auroc", SIMPLE, COUNTS)["words"] is NOTHING


def test_with_few_rows_the_choice_begins_with_what_gave_most_on_other_data_sets() -> None:
    table = "data,student,rows,way,gain\na,words,15,class_weights,2\na,words,50,class_weights,-1\nb,words,15,nothing,9"
    evidence = parse_evidence(table, leave_out=["b"])
    assert (evidence.n_sets, evidence.expect("words", "nothing", 15)) == (1, None)
    between = evidence.expect("words", "class_weights", 27)
    assert between is not None and -1 < between < 2 and evidence.expect("words", "class_weights", 3) == 2
    generator = np.random.default_rng(3)
    noise = generator.normal(0, 0.02, 200)

    def score(arm: str, macro_f1: float, log_loss: float, student: str = "words") -> ArmScore:
        drawn = macro_f1 + noise + generator.normal(0, 0.01, 200)
        return ArmScore(arm, student, macro_f1, 0.8, log_loss, drawn)

    first, other = score("class_weights", 0.7, 0.4), score("balanced_bags", 0.72, 0.3)
    best = choose_best([first, other], "macro_f1", SIMPLE, COUNTS, evidence)
    assert best["words"].name == "class_weights", "two points are no evidence with an error of one and a half"
    evident = score("balanced_bags", 0.76, 0.3)
    assert (
        choose_best([first, evident], "macro_f1", SIMPLE, COUNTS, evidence)["words"].name == "balanced_bags"
    )
    unsure = score("balanced_bags", 0.76, 0.5)  # its log-loss says otherwise
    assert choose_best([first, unsure], "macro_f1", SIMPLE, COUNTS, evidence)["words"].name == "class_weights"
    # Of a student of which nothing is known the rows alone decide.
    strange = [replace(one, student="mine") for one in (first, other)]
    assert choose_best(strange, "macro_f1", SIMPLE, COUNTS, evidence)["mine"].name == "balanced_bags"
    assert choose_best([first, other], "macro_f1", SIMPLE, COUNTS)["words"].name == "balanced_bags"


def test_the_log_loss_weighs_labels_alike_and_does_not_ask_how_sure_scores_are() -> None:
    truth = np.repeat([0, 1], [90, 10])
    scores = np.random.default_rng(0).normal(0, 1, (100, 2)) + np.eye(2)[truth]
    loss = compute_log_loss(scores, truth)
    assert 0 < loss < np.log(2)
    assert compute_log_loss(scores * 3 + 5, truth) == pytest.approx(loss, abs=1e-6)
    twice = np.concatenate([np.arange(100), np.arange(90)])
    assert compute_log_loss(scores[twice], truth[twice]) == pytest.approx(loss, abs=1e-6)
    assert compute_log_loss(np.zeros((100, 2)), truth) == pytest.approx(np.log(2))
    # Worse than a guess it is a guess, and a way that leans to the large label is hardly better than one.
    assert compute_log_loss(scores + np.array([9.0, 0.0]), truth) > 0.9 * np.log(2)


def make_arm(way: Treatment, train: Rows, groups: Objects | None = None) -> Arm:
    """A line of the table, each row a group of its own."""
    apart = as_objects([f"g{row}" for row in range(len(train))]) if groups is None else groups
    return Arm(way.name, train, apart, {one.name: way for one in STUDENTS if way.suits(one)})


@pytest.fixture(scope="module")
def table() -> list[HeldOutScore]:
    own, added, test = make_side(8, 60, 5), make_side(50, 0, 6), make_side(40, 40, 7)
    both = join_rows(own, replace(added, original=np.zeros(50, dtype=np.bool_)))
    names = ("nothing", "logit_adjustment", "embedding_zero_shot", "added_rows")
    arms = [make_arm(TREATMENTS.find(name), both if name == "added_rows" else own) for name in names]
    baseline = {
        "macro_f1": dict.fromkeys(NAMES, "nothing"),
        "auroc": {VECTORS.name: "logit_adjustment", WORDS.name: "nothing"},
    }
    return score_held_out(arms, STUDENTS, test, 2, baseline)


def test_the_held_out_table_has_every_arm_and_student_with_an_interval(table: list[HeldOutScore]) -> None:
    assert [(score.arm, score.student) for score in table] == [
        *(("nothing", student) for student in NAMES),
        *(("logit_adjustment", student) for student in NAMES),
        ("embedding_zero_shot", VECTORS.name),
        *(("added_rows", student) for student in NAMES),
    ]
    for score in table:
        for metric in METRICS:
            value, difference = score.values[metric], score.differences[metric]
            assert 0 <= value.low <= value.mean <= value.high <= 1
            assert difference.low <= difference.mean <= difference.high


def test_the_baseline_differs_from_itself_by_exactly_nothing(table: list[HeldOutScore]) -> None:
    by_name = {(score.arm, score.student): score for score in table}
    for name, metric in (
        (("nothing", VECTORS.name), "macro_f1"),
        (("nothing", WORDS.name), "macro_f1"),
        (("nothing", WORDS.name), "auroc"),
        (("logit_adjustment", VECTORS.name), "auroc"),
    ):
        difference = by_name[name].differences[metric]
        assert (difference.mean, difference.low, difference.high) == (0, 0, 0)
    for student in NAMES:
        adjusted = by_name["logit_adjustment", student]
        assert adjusted.differences["macro_f1"].low > 0
        # Subtracting one number from all scores ranks as before: paired draws show no noise at all.
        shift = adjusted.differences["auroc"]
        assert (shift.low, shift.high) == pytest.approx((0, 0), abs=1e-9)


def test_a_label_whose_only_group_is_not_drawn_is_kept() -> None:
    # Of this group no row is drawn under the first seed; without its label there would be nothing to learn.
    group = next(name for name in map(str, range(1000)) if keyed_hash("seed 0", name) >= int(0.9 * 2**64))
    train, test = make_side(5, 40, 8), make_side(30, 30, 9)
    groups = as_objects([group] * 5 + [f"own {row}" for row in range(40)])
    baseline = {metric: dict.fromkeys(NAMES, BASELINE.name) for metric in METRICS}
    one, *_ = score_held_out([make_arm(BASELINE, train, groups)], STUDENTS, test, 2, baseline, n_seeds=1)
    assert one.values["auroc"].mean > 0.6, "0.5 is what a constant gets"


def test_three_labels_are_compared_by_probability() -> None:
    generator = np.random.default_rng(4)
    labels = np.repeat([0, 1, 2], [40, 10, 10])
    vectors = (np.eye(3)[labels] + generator.normal(0, 0.2, (60, 3))).astype(np.float32)
    rows = make_rows(
        as_objects([f"label{label} x{row}" for row, label in enumerate(labels)]), vectors, labels
    )
    baseline = {metric: dict.fromkeys(NAMES, "nothing") for metric in METRICS}
    for score in score_held_out([make_arm(NOTHING, rows)], STUDENTS, rows, 3, baseline, n_seeds=2):
        assert score.values["auroc"].low > 0.95 and score.values["macro_f1"].mean > 0.9


def test_the_error_of_an_auroc_is_that_of_hanley_and_mcneil() -> None:
    # Their example: an area of 0.893 with 51 diseased and 58 normal images has a standard error of 0.032.
    assert estimate_auroc_error(0.893, np.array([51, 58])) == pytest.approx(0.032, abs=0.001)
    assert estimate_auroc_error(0.9, np.array([15, 0, 300])) == estimate_auroc_error(0.9, COUNTS)
    assert estimate_auroc_error(0.9, np.array([100] * 4)) < estimate_auroc_error(0.9, np.array([100, 300]))
    assert estimate_auroc_error(0.9, np.array([7])) == 0


def test_the_mixture_is_recommended_unless_inner_validation_speaks_against_it() -> None:
    simple = [
        ArmScore(arm, student, f1, auroc, loss)
        for student in NAMES
        for arm, f1, auroc, loss in (
            ("nothing", 0.5, 0.90, 0.6),
            ("logit_adjustment", 0.8, 0.90, 0.3),
            ("balanced_bags", 0.7, 0.95, 0.4),
        )
    ]
    mixed = dict.fromkeys(NAMES, TUNED_ADDED)

    def choose(
        mine: list[ArmScore], metric: str, counts: Integers = COUNTS, helped: dict[str, bool] | None = None
    ) -> dict[str, Treatment]:
        return recommend(simple, mine, metric, counts, SIMPLE, mixed, helped=helped)

    # Macro-F1 and log-loss have to be worse, both of them.
    worse = [
        ArmScore("tuned_added", VECTORS.name, 0.79, 0.9, 0.29),
        ArmScore("tuned_added", WORDS.name, 0.79, 0.9, 0.31),
    ]
    assert choose(worse, "macro_f1") == {VECTORS.name: TUNED_ADDED, WORDS.name: BASELINE}
    # Where it is known whether added rows are worth anything, that decides.
    helped = {VECTORS.name: False, WORDS.name: True}
    assert choose(worse, "macro_f1", helped=helped) == {VECTORS.name: BASELINE, WORDS.name: TUNED_ADDED}
    bags, error = TREATMENTS.find("balanced_bags"), estimate_auroc_error(0.95, COUNTS)
    mine = [
        ArmScore("tuned_added", VECTORS.name, 0.6, 0.951 - error, 0.5),
        ArmScore("tuned_added", WORDS.name, 0.9, 0.949 - error, 0.5),
    ]
    assert choose(mine, "auroc") == {VECTORS.name: TUNED_ADDED, WORDS.name: bags}
    # With a hundred times the rows the same difference is evident.
    assert choose(mine, "auroc", COUNTS * 100)[VECTORS.name] is bags
    # Where nothing was added it is the best simple way.
    assert choose([], "auroc") == dict.fromkeys(NAMES, bags)
    assert choose([], "macro_f1") == dict.fromkeys(NAMES, BASELINE)


def test_the_zero_shot_prior_is_used_unless_it_evidently_harms_without_added_rows() -> None:
    scores = [ArmScore("logit_adjustment", student, 0.8, 0.9, 0.3) for student in NAMES]
    error, f1_error = estimate_auroc_error(0.9, COUNTS), estimate_f1_error(0.8, COUNTS)
    assert f1_error == pytest.approx(np.sqrt(0.16 / 15 + 0.16 / 300) / 2)
    fine = ArmScore("zero_shot_prior", VECTORS.name, 0.801 - f1_error, 0.901 - error, 0.3)
    assert choose_added_ways([*scores, fine], COUNTS) == {VECTORS.name: PRIOR_WAY, WORDS.name: PLAIN_WAY}
    for harm in (replace(fine, auroc=0.899 - error), replace(fine, macro_f1=0.799 - f1_error)):
        assert choose_added_ways([*scores, harm], COUNTS) == dict.fromkeys(NAMES, PLAIN_WAY)


def test_a_mixture_is_the_mean_of_its_parts_and_trains_one_of_them_on_own_rows_alone() -> None:
    own, added, test = make_side(6, 30, 3), make_side(40, 40, 4), make_side(20, 20, 5)
    both = join_rows(own, replace(added, original=np.zeros(80, dtype=np.bool_)))
    for student in STUDENTS:
        parts = [
            predict(BASELINE, student, own, test, 2),
            predict(ADDED_ROWS, student, both, test, 2),
        ]
        mean = sum(log_softmax(part, axis=1) for part in parts) / 2
        assert predict(AVERAGED, student, both, test, 2) == pytest.approx(mean)


def test_added_rows_get_the_share_that_own_rows_say_they_are_worth() -> None:
    own, test = make_side(10, 60, 3), make_side(60, 60, 5)
    good, bad = make_side(60, 20, 4), make_side(60, 20, 6)
    bad = replace(bad, labels=1 - bad.labels)
    for student in STUDENTS:
        simple = predict(BASELINE, student, own, test, 2)
        with_good, with_bad = (
            predict(
                TUNED_ADDED, student, join_rows(own, replace(rows, original=np.zeros(80, np.bool_))), test, 2
            )
            for rows in (good, bad)
        )
        aurocs = [compute_auroc(scores, test.labels) for scores in (simple, with_good, with_bad)]
        assert aurocs[1] > aurocs[0] + 0.01, f"{student.name}: rows that are right raise it"
        assert aurocs[2] > aurocs[0] - 0.02, f"{student.name}: rows that are wrong hardly lower it"


def test_the_mixture_begins_with_the_best_way_without_added_rows() -> None:
    """Nearness to the descriptions is right here and the student on eight rows a label is not."""
    own, test = make_side(8, 60, 3), make_side(60, 60, 5)
    noise = replace(make_side(60, 20, 6), labels=np.random.default_rng(1).integers(0, 2, 80))
    both = join_rows(own, replace(noise, original=np.zeros(80, np.bool_)))
    for name in ("balanced_bags", "tuned_offsets"):
        simple = TREATMENTS.find(name)
        mixed = find_mixture(WORDS, simple)
        assert mixed.name == f"tuned_added:{name}" and find_way(mixed.name).name == mixed.name
        alone, found = (predict(way, WORDS, both, test, 2) for way in (simple, mixed))
        lost = compute_auroc(alone, test.labels) - compute_auroc(found, test.labels)
        assert lost < 0.03, "rows that say nothing leave it as it was"


def test_the_mixture_has_what_the_best_way_without_added_rows_knows() -> None:
    """Words that the pool brings are known to the mixture, and not to one that begins with own rows alone."""
    own, test, pool = make_side(8, 60, 3), make_side(60, 60, 5), make_side(90, 90, 9)
    own, test, pool = (  # descriptions that are right
        replace(rows, zero_shot=np.eye(2)[rows.labels] * 0.8 + 0.1) for rows in (own, test, pool)
    )
    noise = replace(make_side(60, 20, 6), labels=np.random.default_rng(1).integers(0, 2, 80))
    both = join_rows(own, replace(noise, original=np.zeros(80, np.bool_)))
    simple = TREATMENTS.find("labelled_pool")
    mixed = find_mixture(WORDS, simple)
    ways = [simple, mixed, TUNED_ADDED]
    found = predict_by_treatments(ways, WORDS, both, test, 2, pool=pool)
    alone, with_pool, without = (compute_auroc(found[way.name], test.labels) for way in ways)
    assert alone > without + 0.02 and with_pool > without + 0.02


def test_a_mixture_is_validated_by_what_its_parts_say_out_of_fold() -> None:
    own, added = make_side(10, 40, 3), make_side(30, 10, 4)
    both = join_rows(own, replace(added, original=np.zeros(40, np.bool_)))
    folds = np.where(both.original, np.arange(90) % 5, -1)
    mixed = find_mixture(WORDS, TREATMENTS.find("balanced_bags"))
    parts = mixed.list_parts(WORDS, both)
    assert {part.name: share for part, share in parts.items()} == {
        "balanced_bags": 0.5,
        "logit_adjustment": 0.0,
        "unweighted_rows": 0.5,
        "added_rows": 0.5,
    }
    tables = predict_out_of_fold(both, folds, 2, [WORDS], [*parts, mixed])
    mine = {part.name: tables[part.name, WORDS.name][:50] for part in parts}
    first = folds[:50] == 0
    likelier = find_likeliest([mine[use.name][~first] for use in USES], own.labels[~first])
    taken = [part for part in parts if part not in USES or part is USES[likelier]]
    assert len(taken) == 3
    tuned = tune(
        [mine[part.name][~first] for part in taken],
        own.labels[~first],
        [parts[part] for part in taken],
        OFFSET_SPREAD,
    )
    assert tables[mixed.name, WORDS.name][:50][first] == pytest.approx(
        tuned.apply([mine[part.name][first] for part in taken])
    )
    alone = predict_out_of_fold(both, folds, 2, [WORDS], [mixed])
    assert list(alone) == [(mixed.name, WORDS.name)]
    assert (alone[mixed.name, WORDS.name] == tables[mixed.name, WORDS.name]).all()


def test_good_rows_are_used_like_own_ones_and_poor_ones_at_the_weight_of_the_result() -> None:
    own = make_side(15, 60, 3)
    for n_wrong, expected in ((0, UNWEIGHTED_ROWS), (60, ADDED_ROWS)):
        added = make_side(120, 0, 4)
        texts = as_objects([*make_side(0, n_wrong, 5).texts, *added.texts[n_wrong:]])
        added = replace(added, texts=texts, labels=np.full(120, added.labels[0]))
        both = join_rows(own, replace(added, original=np.zeros(120, np.bool_)))
        weights = weigh_rows(both.labels, ~both.original, 2)
        both = replace(both, weights=weights)
        folds = np.where(both.original, np.arange(len(both)) % 5, -1)
        tables = predict_out_of_fold(both, folds, 2, [WORDS], USES)
        said = [tables[use.name, WORDS.name][:75] for use in USES]
        assert USES[find_likeliest(said, own.labels)] is expected
    assert USES[find_likeliest([np.zeros((0, 2))] * 2, own.labels[:0])] is ADDED_ROWS, "nothing is known"


def test_rows_made_from_rows_that_are_left_out_are_left_out_with_them() -> None:
    own = make_side(10, 30, 3)
    sources = np.empty(80, dtype=object)
    sources[:] = [(str(row % 40),) for row in range(80)]
    copies = replace(join_rows(own, own), original=np.arange(80) < 40, sources=sources)
    seen = []

    def look(train: Rows, test: Rows) -> Floats:
        seen.append((set(train.texts), set(test.texts), len(train)))
        return np.zeros((len(test), 2))

    _, known = leave_out(copies, look, 2)
    assert known.tolist() == list(range(40)), "added rows are never scored"
    assert all(not train & test for train, test, _ in seen)
    assert any(n > 40 for *_, n in seen), "copies of the others stay"


def test_offsets_undo_what_shifts_scores_and_are_small_where_few_rows_say_so() -> None:
    generator = np.random.default_rng(1)
    truth = np.repeat([0, 1], [900, 100])
    shift = np.array([0.0, 3.0])
    scores = generator.normal(0, 1, (1000, 2)) + 2 * np.eye(2)[truth] + shift
    tuned = tune([scores], truth, [1.0])
    assert (tuned.offsets[0] - tuned.offsets[1]) / tuned.shares[0] == pytest.approx(3, abs=0.3)
    few = np.concatenate([np.arange(20), np.arange(900, 903)])
    hesitant = tune([scores[few]], truth[few], [1.0]).offsets
    assert 0.3 < hesitant[0] - hesitant[1] < 2.5


def test_scores_that_say_nothing_lose_their_share_and_few_rows_leave_it_as_expected() -> None:
    generator = np.random.default_rng(2)
    truth = np.repeat([0, 1], [500, 500])
    good, idle = generator.normal(0, 1, (1000, 2)) + np.eye(2)[truth], generator.normal(0, 1, (1000, 2))
    shares = tune([good, idle], truth, [1.0, 0.7]).shares
    assert shares[0] > 0.8 and shares[1] < 0.1
    few = np.array([0, 1, 998, 999])
    assert tune([good[few], idle[few]], truth[few], [1.0, 0.7]).shares[1] > 0.2


def test_thresholds_are_tuned_on_rows_that_were_left_out() -> None:
    own, test = make_side(12, 120, 3), make_side(60, 60, 4)
    for student in STUDENTS:
        moved = predict(TREATMENTS.find("tuned_offsets"), student, own, test, 2)
        plain = predict(BASELINE, student, own, test, 2)
        steps = moved - plain
        assert np.corrcoef(moved[:, 1] - moved[:, 0], plain[:, 1] - plain[:, 0])[0, 1] == pytest.approx(1)
        assert abs((steps[:, 1] - steps[:, 0]).mean()) > 0.01, "an offset a label"
    texts = ["a one", *(f"b number{row}" for row in range(20))]
    alone = make_rows(as_objects(texts), ENCODER.encode(texts), np.array([0] + [1] * 20))
    # Of a label with one text no row can be left out: nothing is tuned.
    same = predict(TREATMENTS.find("tuned_offsets"), WORDS, alone, test, 2)
    assert same == pytest.approx(predict(BASELINE, WORDS, alone, test, 2))
