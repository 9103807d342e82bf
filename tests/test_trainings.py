"""Trainings side by side: the same bytes as one after the other, in their order, and how far they are is told."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import Any

import numpy as np
import psutil
import pytest
from joblib import cpu_count
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import MultinomialNB

from counterpoise.core.errors import JobError
from counterpoise.core.records import Floats
from counterpoise.students import training as trainings
from counterpoise.students.rows import make_rows
from counterpoise.students.sklearn_student import SklearnStudent
from counterpoise.students.training import Training, run_trainings
from counterpoise.students.treatments import TREATMENTS
from tests.made_up import ENCODER, STUDENTS, as_objects, write_sentences

pytestmark = pytest.mark.processes


def make_trainings() -> list[Training]:
    texts, labels = write_sentences(20, 60, 1)
    rows = make_rows(as_objects(texts), ENCODER.encode(texts), np.array(labels))
    outside = [np.arange(80) % 3 == fold for fold in range(3)]
    treatments = tuple(map(TREATMENTS.find, ("nothing", "oversampling", "balanced_bags")))
    return [
        Training(treatments, student, rows, ~part, rows, part, 2, fold)
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
    monkeypatch.setattr(trainings, "_predict_for", predict_and_sign)
    beside = list(run_trainings(make_trainings(), lambda *progress: told.append(progress)))
    assert told == [(done, 6) for done in range(1, 7)]
    assert all(int(scores.pop("process")[0]) != os.getpid() for scores in beside)
    for one, other in zip(alone, beside, strict=True):
        assert [(arm, table.tobytes()) for arm, table in one.items()] == [
            (arm, table.tobytes()) for arm, table in other.items()
        ]


def predict_and_sign(parent: int, *given: Any) -> dict[str, Floats]:
    """The scores, and the number of the process that did it."""
    return {**trainings._predict_for(parent, *given), "process": np.array([float(os.getpid())])}


def test_on_one_core_they_run_in_the_process_itself_which_lives_on() -> None:
    script = """
        import time
        from counterpoise.students import training as trainings
        from tests.test_trainings import make_trainings
        trainings.LONG_WORK, trainings.cpu_count = 0, lambda: 1
        done = len(list(trainings.run_trainings(make_trainings())))
        time.sleep(1)
        print("alive", done)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=True, capture_output=True, text=True
    )
    assert ended.stdout == "alive 6\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a process does not learn of its parent's end there")
def test_the_processes_end_with_a_parent_that_is_killed() -> None:
    script = """
        import time, psutil
        from counterpoise.students import training as trainings
        from tests.test_trainings import make_trainings
        trainings.LONG_WORK, trainings.cpu_count = 0, lambda: 2
        print(len(list(trainings.run_trainings(make_trainings()))))
        print(*(child.pid for child in psutil.Process().children(recursive=True)), flush=True)
        time.sleep(60)
    """
    killed = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout is not None
    assert killed.stdout.readline() == "6\n"
    children = [psutil.Process(int(pid)) for pid in killed.stdout.readline().split()]
    assert len(children) >= 2
    killed.kill()
    killed.wait()
    killed.stdout.close()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive


def test_a_classifier_of_a_users_that_refuses_its_rows_says_so_from_its_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trainings, "LONG_WORK", 0)
    monkeypatch.setattr(trainings, "cpu_count", lambda: max(2, cpu_count()))
    forest = SklearnStudent("forest", RandomForestClassifier(n_estimators=3))
    one, other = (replace(training, student=forest) for training in make_trainings()[:2])
    beside = list(run_trainings([one, other]))
    again = list(run_trainings([one, other]))
    assert beside[0]["nothing"].tobytes() == again[0]["nothing"].tobytes() != beside[1]["nothing"].tobytes()
    counts = SklearnStudent("counts", MultinomialNB())  # vectors are no counts
    with pytest.raises(JobError, match=r"^key 'students': the student 'counts' cannot be trained \(Negative"):
        list(run_trainings([replace(one, student=counts), other]))
