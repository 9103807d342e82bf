"""Trainings side by side: the same bytes as one after the other, in their order, and how far they are is told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from joblib import cpu_count

from counterpoise import trainings
from counterpoise.records import Floats
from counterpoise.students import STUDENTS, make_rows, predict_arms
from counterpoise.trainings import Training, run_trainings
from tests.made_up import ENCODER, as_objects, write_sentences


def make_trainings() -> list[Training]:
    texts, labels = write_sentences(20, 60, 1)
    rows = make_rows(as_objects(texts), ENCODER.encode(texts), np.array(labels))
    outside = [np.arange(80) % 3 == fold for fold in range(3)]
    arms = ("nothing", "oversampling", "balanced_bags")
    return [
        Training(arms, student, rows, ~part, rows, part, 2, fold)
        for student in STUDENTS
        for fold, part in enumerate(outside)
    ]


def test_long_trainings_run_side_by_side_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    alone = list(run_trainings(make_trainings(), lambda *progress: told.append(progress)))
    assert not told  # nobody waits for these
    assert len({scores["nothing"].tobytes() for scores in alone}) == 6

    monkeypatch.setattr(trainings, "LONG_WORK", 0)
    monkeypatch.setattr(trainings, "cpu_count", lambda: max(2, cpu_count()))
    monkeypatch.setattr(trainings, "predict_arms", predict_and_sign)
    beside = list(run_trainings(make_trainings(), lambda *progress: told.append(progress)))
    assert told == [(done, 6) for done in range(1, 7)]
    assert all(int(scores.pop("process")[0]) != os.getpid() for scores in beside)
    for one, other in zip(alone, beside, strict=True):
        assert [(arm, table.tobytes()) for arm, table in one.items()] == [
            (arm, table.tobytes()) for arm, table in other.items()
        ]


def predict_and_sign(arms: Sequence[str], student: str, *rest: Any) -> dict[str, Floats]:
    """What `predict_arms` gives, and the number of the process that did it."""
    return {**predict_arms(arms, student, *rest), "process": np.array([float(os.getpid())])}
