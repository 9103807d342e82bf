"""The stages of finding wrong labels one by one: the queue, a judge's trial, sureness and promises, outcomes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterpoise.actions.relabel.label_promises import (
    LabelPromises,
    LabelSettings,
    make_promises,
    measure_sureness,
)
from counterpoise.actions.relabel.label_queue import LabelledRows, choose_queue
from counterpoise.actions.relabel.label_trials import (
    JudgeTrial,
    combine,
    compute_sign_test,
    count_changes,
    try_judge,
)
from counterpoise.actions.relabel.labels import settle
from counterpoise.actions.relabel.promises import Promise
from counterpoise.actions.relabel.suspects import UNKNOWN, Suspects, rank
from counterpoise.core.records import Floats, Records
from counterpoise.data.patches.values import LabelOutcome
from tests.test_label_errors import Judge

N = 100


def make_rows(n_known: int = 60, repeats: dict[int, int] | None = None) -> LabelledRows:
    """Two labels; the first ten rows of each twenty are said to be `b`, and every fifth of all rows is wrongly so."""
    truth = np.arange(N) // 10 % 2
    given = np.where(np.arange(N) % 5 == 0, 1 - truth, truth)
    ids = np.array([f"id{row:03d}" for row in range(N)], dtype=object)
    texts = np.array([f"text {row}" for row in range(N)], dtype=object)
    gold = np.where(np.arange(N) < n_known, truth, UNKNOWN)
    vectors = np.eye(2, dtype=np.float32)[truth]
    rows = LabelledRows(Records(ids, texts, given, ("a", "b"), groups=ids), vectors, np.arange(N) % 4, gold)
    if repeats is None:
        return rows
    again = np.full(N, UNKNOWN)
    again[list(repeats)] = list(repeats.values())
    return replace(rows, repeats=again)


def make_suspects(rows: LabelledRows, sureness: float = 0.9) -> Suspects:
    """The cheap scorer holds the rows' neighbours' label for right, as surely as told."""
    truth = np.arange(N) // 10 % 2
    table = np.where(np.eye(2)[truth] == 1, sureness, 1 - sureness)
    return rank(rows.labels, table, {"one": table})


def test_twice_as_many_rows_are_looked_at_as_are_thought_wrong_beside_their_nearest_known_ones() -> None:
    rows = make_rows()
    suspects = make_suspects(rows)
    queue = choose_queue(rows, suspects)
    assert queue.mask.sum() == round(2 * suspects.scores.sum()) == len(queue.references)
    assert set(np.flatnonzero(rows.labels != np.arange(N) // 10 % 2)) <= set(np.flatnonzero(queue.mask))
    for row, shown in queue.references.items():
        assert len(shown) in (2, 3) and row not in shown and (shown < 60).all()
        assert (rows.vectors[shown] == rows.vectors[row]).all()


def test_without_known_rows_the_views_say_how_many_are_wrong_and_the_least_suspicious_stand_beside() -> None:
    rows = make_rows(n_known=0)
    suspects = make_suspects(rows)
    queue = choose_queue(rows, suspects)
    assert queue.mask.sum() == 2 * 20
    assert {int(one) for shown in queue.references.values() for one in shown} <= set(
        suspects.queue[-10:].tolist()
    )


async def test_a_judge_with_too_few_known_suspects_is_not_asked() -> None:
    rows = make_rows(n_known=15)
    judge = Judge(lambda row, shown: 0)
    trial = await try_judge(judge, rows, make_suspects(rows), choose_queue(rows, make_suspects(rows)))
    assert not judge.asked and not trial.is_used and "was not asked" in trial.note
    assert trial.as_dict() | {"note": ""} == {
        "name": "scripted",
        "n_gold": trial.n_gold,
        "is_used": False,
        "n_asked": 0,
        "gained": 0,
        "lost": 0,
        "note": "",
    }


def test_gains_and_losses_are_counted_and_tested() -> None:
    before = np.array([[0.6, 0.4], [0.6, 0.4], [0.4, 0.6], [0.4, 0.6]])
    after = np.array([[0.4, 0.6], [0.6, 0.4], [0.6, 0.4], [0.4, 0.6]])
    assert count_changes(before, after, np.array([1, 0, 1, 1])) == (1, 1)
    assert compute_sign_test(0, 0) == 1.0
    assert compute_sign_test(5, 0) == pytest.approx(1 / 32)
    assert compute_sign_test(2, 2) == pytest.approx(11 / 16)


def test_answers_weigh_as_much_as_the_judge_is_right_on_known_rows_of_other_folds() -> None:
    rows = make_rows()
    suspects = make_suspects(rows, sureness=0.6)
    truth = np.arange(N) // 10 % 2
    answers: Floats = np.full((N, 2), np.nan)
    answers[:80] = np.eye(2)[truth[:80]]
    combined = combine(rows, suspects, answers, np.arange(90))
    assert (combined[:80][np.arange(80), truth[:80]] > 0.95).all()
    assert (combined[80:] == suspects.probabilities[80:]).all(), "no answer, no change"
    wrong = combine(rows, suspects, 1.0 - answers, np.arange(90))
    assert wrong[:80] == pytest.approx(combined[:80]), "a judge that is always wrong says as much"


def test_only_rows_that_may_change_are_tested_and_drops_where_they_may_be_made() -> None:
    rows = make_rows()
    suspects = make_suspects(rows)
    sureness = measure_sureness(rows.labels, suspects, np.ones(N, dtype=np.bool_), None)
    assert sureness.may_change.all() and (sureness.margins > 0).sum() == 20
    both = make_promises(rows, suspects, sureness, LabelSettings(0.5))
    assert both.changes is not None and both.changes.is_kept and both.changes.n_gold_right == 12
    assert both.drops is not None and len(both.notes) == 2
    changes_only = make_promises(rows, suspects, sureness, LabelSettings(0.5, may_drop=False))
    assert changes_only.changes == both.changes and changes_only.drops is None
    assert make_promises(rows, suspects, sureness, LabelSettings()) == LabelPromises()
    few = make_rows(n_known=10)
    (note,) = make_promises(few, suspects, sureness, LabelSettings(0.5)).notes
    assert note.startswith("Nothing was changed") and "10 labels are known" in note


def test_a_believed_judge_changes_only_rows_it_answered_on_whose_label_is_possible() -> None:
    rows = make_rows()
    suspects = make_suspects(rows, sureness=0.98)
    turned = rank(rows.labels, np.where(np.arange(N)[:, None] == 7, 0.0, 1.0) * suspects.probabilities, {})
    unanswered = np.arange(N) == 5
    trial = JudgeTrial("judge", 40, turned, unanswered, is_used=True)
    in_queue = np.arange(N) < 50
    sureness = measure_sureness(rows.labels, suspects, in_queue, trial)
    assert sureness.may_change.tolist() == [
        row < 50 and row != 5 and suspects.probabilities[row, 1 - rows.labels[row]] >= 0.03
        for row in range(N)
    ]
    assert (sureness.margins[~sureness.may_change] == -1.0).all()
    unused = replace(trial, is_used=False)
    assert measure_sureness(rows.labels, suspects, in_queue, unused).may_change.all()


def test_what_is_known_wins_over_what_is_promised_and_that_over_what_is_looked_at() -> None:
    rows = make_rows(n_known=40, repeats={65: 1 - int(make_rows().labels[65])})
    suspects = make_suspects(rows)
    in_queue = np.arange(N) < 90
    sureness = measure_sureness(rows.labels, suspects, in_queue, None)

    def decide(threshold: float, drop_threshold: float) -> list[LabelOutcome | None]:
        changes = Promise(0.9, 0.8, threshold, 0, 0, 0.0, 40)
        promises = LabelPromises(changes, replace(changes, threshold=drop_threshold))
        return list(settle(rows, suspects, in_queue, None, sureness, promises).outcomes)

    made = decide(0.5, np.inf)
    wrong = (rows.labels != np.arange(N) // 10 % 2).tolist()
    assert [one is LabelOutcome.RELABEL for one in made] == wrong
    assert made[1] is None and made[51] is LabelOutcome.REVIEW and made[96] is None
    dropped = decide(np.inf, 0.5)
    assert [dropped[row] for row in (5, 65, 70, 45)] == [
        LabelOutcome.RELABEL,
        LabelOutcome.RELABEL,
        LabelOutcome.DROP,
        LabelOutcome.DROP,
    ]
