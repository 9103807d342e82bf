"""Encoders tried on a sample: a better one is named, an equal one is not, and a broken one stops nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import counterpoise
from counterpoise.core.errors import JobError, ServerError
from counterpoise.core.records import Records
from counterpoise.core.registry import Registry
from counterpoise.students.treatments import TREATMENTS
from counterpoise.tasks.retrieval.job import RetrievalJob
from counterpoise.tasks.text import encoder_trials
from counterpoise.tasks.text.encoder_sentences import say_encoders
from counterpoise.tasks.text.encoder_trials import (
    MOST_SAMPLED,
    EncoderTrial,
    EncoderTrials,
    draw_sample,
    try_encoders,
)
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.preparation import prepare
from tests.made_up import ENCODER, WordEncoder, make_records, write_sentences

LABEL_TEXTS = ("a rude and cold place", "a lovely and warm place")


class Named(WordEncoder):
    """The words' encoder by another name."""

    def __init__(self, name: str) -> None:
        self.name = name


class Blind(WordEncoder):
    """Sees how long a text is and nothing else."""

    name = "blind"
    identity = ""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return ENCODER.encode([f"{len(text) % 7}" for text in texts])


class Broken(WordEncoder):
    """Cannot be reached."""

    name = "broken"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise ConnectionError("nobody there")


def make_rows(n_bad: int = 20, n_good: int = 120) -> Records:
    return make_records(*write_sentences(n_bad, n_good, 5))


def compare(
    *encoders: WordEncoder, folder: Path, rows: Records | None = None, metric: str = "macro_f1"
) -> EncoderTrials:
    records = make_rows() if rows is None else rows
    folds = np.arange(len(records)) % 5
    ways = TREATMENTS.choose(["default"])
    return try_encoders(records, folds, LABEL_TEXTS, encoders, ways, metric, folder, 1_000)


@pytest.mark.parametrize("metric", ["macro_f1", "auroc"])
def test_a_better_encoder_is_named_with_its_gain(tmp_path: Path, metric: str) -> None:
    trials = compare(Blind(), Named("words"), folder=tmp_path, metric=metric)
    assert [one.encoder for one in trials.trials] == ["blind", "words"] and trials.n_rows == 140
    assert trials.best.encoder == "words" and trials.best.gain > 0.1 and trials.best.low > 0
    (said,) = say_encoders(trials, "macro-F1")
    assert said.startswith("Change the encoder first: `encoder: words` gives +")
    used = compare(Named("words"), Blind(), folder=tmp_path, metric=metric)
    assert used.best.encoder == "words" and used.best.gain == 0
    assert say_encoders(used, "macro-F1") == [
        "No other encoder at hand (blind) is evidently better than words by a point of macro-F1 on 140 rows."
    ]


def test_the_same_vectors_by_another_name_are_no_gain(tmp_path: Path) -> None:
    trials = compare(Named("words"), Named("again"), folder=tmp_path)
    assert trials.trials[1].gain == trials.trials[1].low == 0 and trials.best.encoder == "words"
    assert not say_encoders(compare(Named("words"), folder=tmp_path), "macro-F1")


def test_where_nobody_asks_for_speed_no_vector_that_is_kept_is_made_again(tmp_path: Path) -> None:
    asked: list[int] = []

    class Counted(Named):
        identity = ""

        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            asked.append(len(texts))
            return super().encode(texts)

    records = make_rows()
    ways, folds = TREATMENTS.choose(["default"]), np.arange(len(records)) % 5

    def attempt() -> EncoderTrials:
        return try_encoders(records, folds, LABEL_TEXTS, [Counted("counted")], ways, "macro_f1", tmp_path)

    first = attempt()
    n_first = len(asked)
    second = attempt()
    # Rows, lines about the labels (below fifty a label), and a text of ours that probes a new encoder, all once.
    assert len(records) < sum(asked) <= len(records) + 50 * len(LABEL_TEXTS) + 1
    assert not any(asked[n_first:])
    assert first.trials[0].macro_f1 == second.trials[0].macro_f1


def test_what_is_tried_depends_on_no_order_and_no_clock(tmp_path: Path) -> None:
    first, second = (compare(Blind(), Named("words"), folder=tmp_path / name) for name in ("a", "b"))
    figures = [
        [(one.encoder, one.treatment, one.gain, one.low) for one in found.trials] for found in (first, second)
    ]
    assert figures[0] == figures[1]


def test_an_encoder_that_fails_is_left_out_unless_it_is_the_one_in_use(tmp_path: Path) -> None:
    trials = compare(Named("words"), Broken(), folder=tmp_path)
    assert [one.encoder for one in trials.trials] == ["words"]
    with pytest.raises(ServerError, match="nobody there"):
        compare(Broken(), Named("words"), folder=tmp_path)


def test_a_sample_has_rare_labels_whole_and_as_many_of_the_others() -> None:
    few = make_rows(15, 100)
    assert draw_sample(few).tolist() == list(range(115))
    many = make_rows(15, 2_000)
    drawn = draw_sample(many)
    counts = np.bincount(many.labels[drawn])
    assert len(drawn) == MOST_SAMPLED and counts.tolist() == [15, MOST_SAMPLED - 15]
    texts, _ = write_sentences(3_000, 0, 9)
    crowd = make_records(
        texts, [place % 60 for place in range(3_000)], tuple(f"label {place}" for place in range(60))
    )
    assert np.bincount(crowd.labels[draw_sample(crowd)]).tolist() == [10] * 60
    # One row more changes at most one choice of each label.
    more = make_rows(15, 2_001)
    kept = {str(more.texts[row]) for row in draw_sample(more)} & {str(many.texts[row]) for row in drawn}
    assert len(kept) >= MOST_SAMPLED - 3


class Place:
    """Lets a run on texts choose between the two encoders of these tests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, better: WordEncoder) -> None:
        family = Registry[Any]("encoders", key="encoder")
        family.register(_Ready("minilm", Blind()))
        family.register(_Ready("better", better), default=False)
        monkeypatch.setattr("counterpoise.data.encoder_choice.ENCODERS", family)
        monkeypatch.setattr("counterpoise.tasks.text.encoder_trials.ENCODERS", family)

    def make_job(self, folder: Path, **keys: Any) -> Job:
        texts, labels = write_sentences(20, 120, 5)
        names = [("bad", "good")[label] for label in labels]
        test, truth = write_sentences(20, 20, 6)
        return Job.make(
            data={"text": texts, "label": names},
            held_out={"text": test, "label": [("bad", "good")[label] for label in truth]},
            text="text",
            label="label",
            labels=dict(zip(("bad", "good"), LABEL_TEXTS, strict=True)),
            llm="http://127.0.0.1:9/v1",
            budget=0,
            cache_dir=str(folder / "cache"),
            output=str(folder / "run"),
            **keys,
        )


@dataclass(frozen=True)
class _Ready:
    """An encoder that ships, ready to be opened."""

    name: str
    encoder: WordEncoder

    def is_at_hand(self, cache_dir: Path) -> bool:
        return True

    def open(self, cache_dir: Path) -> WordEncoder:
        return self.encoder


def test_auto_takes_the_better_encoder_and_a_run_keeps_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(monkeypatch, Named("words"))
    inputs = prepare(place.make_job(tmp_path, encoder="auto"))
    assert inputs.encoder_choice == "better" and inputs.encoder.encoder.name == "words"  # type: ignore[attr-defined]
    assert "`encoder: auto` took better on 140 rows (+" in " ".join(inputs.notes)
    assert any(note.endswith("; beside it were tried: minilm") for note in inputs.notes)
    other = Place(monkeypatch, Blind())
    same = prepare(other.make_job(tmp_path / "other", encoder="auto"))
    assert same.encoder_choice == "minilm" and "no other gains a point" in " ".join(same.notes)


def test_a_preview_tells_what_an_encoder_would_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = counterpoise.preview(Place(monkeypatch, Named("words")).make_job(tmp_path), progress=False)
    assert [one["encoder"] for one in found.encoders] == ["minilm", "better"]
    assert any(line.startswith("Change the encoder first: `encoder: better`") for line in found.advice)


def test_a_preview_that_takes_the_best_encoder_tries_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    real = encoder_trials.try_encoders

    def count(*arguments: Any) -> EncoderTrials:
        trials = real(*arguments)
        tried.extend(one.encoder for one in trials.trials)
        return trials

    monkeypatch.setattr(encoder_trials, "try_encoders", count)
    job = Place(monkeypatch, Named("words")).make_job(tmp_path, encoder="auto")
    found = counterpoise.preview(job, progress=False)
    assert tried == ["minilm", "better"] == [one["encoder"] for one in found.encoders]
    assert all(one["texts_per_second"] > 0 for one in found.encoders), "a preview shows the speed"
    assert any("`encoder: auto` took better" in note for note in found.notes)
    assert not any("encoder" in line for line in found.advice)


def _scale(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def test_near_the_ceiling_encoders_are_compared_by_five_rows_a_label(tmp_path: Path) -> None:
    """Two encoders that are all right with all rows; one of them needs many rows for it."""

    class Noisy(WordEncoder):
        name = "noisy"
        identity = ""

        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            vectors = np.zeros((len(texts), self.dimension), np.float32)
            for row, text in enumerate(texts):
                vectors[row, 0] = 0.3 if text.startswith("good") else -0.3
                vectors[row, 1 + sum(map(ord, text)) % 39] = 1
            return _scale(vectors)

    class Clear(Noisy):
        name = "clear"

        def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
            vectors = super().encode(texts)
            vectors[:, 0] *= 8
            return _scale(vectors)

    texts = [f"{('bad', 'good')[place % 2]} {place * place}" for place in range(200)]
    records = make_records(texts, [place % 2 for place in range(200)])
    trials = compare(Noisy(), Clear(), folder=tmp_path, rows=records)
    first, second = trials.trials
    assert first.macro_f1 > 0.95 and first.few_gain == 0 == first.few_low and first.is_near_ceiling
    assert second.gain < 0.01 < second.few_gain and second.few_low > 0 and trials.best is second
    (said,) = say_encoders(trials, "macro-F1")
    assert "points of recall with 5 rows a label" in said
    assert compare(Clear(), Noisy(), folder=tmp_path, rows=records).best.encoder == "clear"
    assert compare(Noisy(), Clear(), folder=tmp_path, rows=records, metric="auroc").trials[1].few_gain == 0


@pytest.mark.parametrize(
    ("gains", "is_near_ceiling", "is_evident"),
    [
        ((0.02, 0.001, 0.0, -0.01), False, True),
        ((0.02, -0.01, 0.03, 0.001), False, True),
        ((0.02, -0.01, 0.03, -0.001), False, False),
        ((0.005, 0.001, 0.03, 0.02), False, False),
        ((-0.01, -0.02, 0.02, 0.001), True, True),
        ((0.02, 0.01, -0.01, -0.02), True, False),
        ((0.02, 0.01, 0.005, 0.001), True, False),
    ],
)
def test_a_gain_of_a_point_that_is_no_luck_is_evident(
    gains: tuple[float, float, float, float], *, is_near_ceiling: bool, is_evident: bool
) -> None:
    gain, low, few_gain, few_low = gains
    trial = EncoderTrial("a", "nothing", 0.9, 0.9, gain, low, 9, 9, few_gain, few_low, is_near_ceiling)
    assert trial.is_evident == is_evident


def test_only_tasks_that_try_encoders_take_auto() -> None:
    with pytest.raises(JobError, match="key 'encoder': found 'auto'"):
        RetrievalJob.make(data="triples.jsonl", encoder="auto")
