"""The code that a report shows is the model that the run has measured, and runs as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from counterpoise.core.label_lines import encode_lines
from counterpoise.core.records import Objects
from counterpoise.data.served_encoder import ServedEncoder
from counterpoise.scorers.base import SimilarityScorer
from counterpoise.students.added_ways import find_way
from counterpoise.students.base import Student
from counterpoise.students.fitting import predict, predict_by_treatments
from counterpoise.students.recipe_code import write_code
from counterpoise.students.rows import Rows, make_rows
from counterpoise.students.treatments import TREATMENTS
from tests.made_up import ENCODER, STUDENTS, VECTORS, WORDS, as_objects, write_sentences

LINES = {"bad": "cold rude dull awful", "good": "lovely warm fresh great"}
DRAWING = ("oversampling", "downsampling", "balanced_bags", "tuned_bags")
CASES = [
    *(
        (way, WORDS)
        for way in (
            "nothing",
            "class_weights",
            "oversampling",
            "averaged",
            "tuned_added",
            "tuned_added:tuned_offsets",
            "balanced_bags",
            "tuned_bags",
            "description_rows",
        )
    ),
    *(
        (way, VECTORS)
        for way in (
            "logit_adjustment",
            "tuned_offsets",
            "tuned_prior",
            "embedding_zero_shot",
            "tuned_added",
            "tuned_added:tuned_prior",
            "tuned_added:embedding_zero_shot",
            "tuned_added:zero_shot_prior",
            "description_rows",
        )
    ),
]


def make_side(n_bad: int, n_good: int, seed: int, weight: float = 1.0) -> Rows:
    texts, labels = write_sentences(n_bad, n_good, seed)
    vectors = ENCODER.encode(texts)
    near = SimilarityScorer(ENCODER, tuple(LINES.values())).score_vectors(vectors)
    n = len(texts)
    weights, original = np.full(n, weight), np.full(n, weight == 1.0)
    return make_rows(
        as_objects(texts), vectors, np.array(labels), weights=weights, original=original, zero_shot=near
    )


def as_sources(sources: Sequence[tuple[str, ...]]) -> Objects:
    column = np.empty(len(sources), dtype=object)
    column[:] = sources
    return column


OWN, ADDED, TEST = make_side(8, 40, 1), make_side(30, 4, 2, 0.2), make_side(20, 20, 3)
SOURCES = as_sources([(f"own {row}",) for row in range(48)] + [(f"own {row % 6}",) for row in range(34)])
BOTH = make_rows(
    np.concatenate([OWN.texts, ADDED.texts]),
    np.concatenate([OWN.vectors, ADDED.vectors]),
    np.concatenate([OWN.labels, ADDED.labels]),
    weights=np.concatenate([OWN.weights, ADDED.weights]),
    original=np.concatenate([OWN.original, ADDED.original]),
    zero_shot=np.concatenate([OWN.zero_shot, ADDED.zero_shot]),
    lines=encode_lines(ENCODER.encode, list(LINES.values())),
    sources=SOURCES,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    (place / "dataset").mkdir()
    frame = pd.DataFrame(
        {
            "review": BOTH.texts,
            "stars": [list(LINES)[label] for label in BOTH.labels],
            "weight": BOTH.weights,
            "provenance": [
                {"kind": "original", "id": sources[0], "parents": []}
                if own
                else {"kind": "minority", "id": f"made {row}", "parents": list(sources)}
                for row, (own, sources) in enumerate(zip(BOTH.original, SOURCES, strict=True))
            ],
        }
    )
    frame.to_parquet(place / "dataset" / "train-00000-of-00001.parquet")
    return place


@pytest.mark.parametrize(("way", "student"), CASES)
def test_the_code_is_the_model_that_was_measured(
    way: str,
    student: Student,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("counterpoise.data.encoders.make_encoder", lambda *_: ENCODER)
    code = write_code(find_way(way), student, text=("review",), label="stars", descriptions=LINES)
    space: dict[str, Any] = {}
    exec(compile(code, way, "exec"), space)  # the code is ours; that it runs is what is tested
    assert capsys.readouterr().out.strip() in ("['bad']", "['good']")
    said = space["score"](list(TEST.texts))
    expected = predict(find_way(way), student, BOTH, TEST, 2)
    if way in DRAWING:
        assert (said.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.8
    else:
        assert log_softmax(said, axis=1)[:, 0] == pytest.approx(
            log_softmax(expected, axis=1)[:, 0],
            abs=2e-3,
        )
    assert "\n\n\n\n" not in code and max(map(len, code.splitlines())) < 114


@pytest.mark.parametrize("student", STUDENTS, ids=lambda student: student.name)
def test_with_the_pool_put_in_the_code_is_the_model_that_saw_it(
    student: Student, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("counterpoise.data.encoders.make_encoder", lambda *_: ENCODER)
    way, pool = TREATMENTS.find("labelled_pool"), make_side(60, 40, 9)
    code = write_code(way, student, text=("review",), label="stars", descriptions=LINES)
    filled = code.replace("unlabelled = []", f"unlabelled = {list(pool.texts)!r}")
    assert filled != code
    space: dict[str, Any] = {}
    exec(compile(filled, "recipe", "exec"), space)  # the code is ours; that it runs is what is tested
    expected = predict_by_treatments([way], student, BOTH, TEST, 2, pool=pool)[way.name]
    assert log_softmax(space["score"](list(TEST.texts)), axis=1)[:, 0] == pytest.approx(
        log_softmax(expected, axis=1)[:, 0], abs=6e-2
    )


def test_every_way_has_code() -> None:
    for way in map(TREATMENTS.find, TREATMENTS.names):
        for student in filter(way.suits, STUDENTS):
            code = write_code(way, student, text=("a", "b"), label="y", descriptions={0: "x"})
            compile(code, way.name, "exec")
            assert "{" not in code.replace("{0: 'x'}", "")


def test_the_code_opens_the_encoder_of_a_server() -> None:
    encoder = ServedEncoder(url="http://localhost:8000/v1", model="BAAI/bge-m3", prefix="query: ")
    way, student = TREATMENTS.find("logit_adjustment"), next(one for one in STUDENTS if one.uses_vectors)
    code = write_code(way, student, text=("a",), label="y", descriptions={0: "x"}, encoder=repr(encoder))
    (line,) = (line for line in code.splitlines() if line.startswith("encoder = "))
    space: dict[str, Any] = {"ServedEncoder": ServedEncoder}
    exec(line.removesuffix(".open()"), space)
    assert space["encoder"] == encoder and "import ServedEncoder" in code
    compile(code, "served", "exec")
