"""The evaluation of writers: what each gives, and what a shortfall is counted from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evals.minority_text import Corpus
from evals.writers import USES, run_draw, summarise, write
from tests.made_up import ENCODER, write_sentences


def make_corpus() -> Corpus:
    texts, labels = write_sentences(200, 300, 4)
    rows = [
        (f"{text} {row}", ("bad", "good")[label])
        for row, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    lines = {"bad": "cold rude dull awful", "good": "lovely warm fresh great"}
    return Corpus(
        "made", rows[50:400], [*rows[:50], *rows[400:]], [], frozenset({"bad"}), 60, lines, 1, n_rare=12
    )


def test_writers_give_what_their_names_say() -> None:
    corpus = make_corpus()
    truth = dict(corpus.rows)
    written = write(corpus, 0, Path())
    assert {len(texts) for texts in written.values()} == {48}
    assert {label for texts in written.values() for _, label, _ in texts} == {"bad"}
    right = {
        name: np.mean([truth.get(text) == "bad" for text, *_ in texts]) for name, texts in written.items()
    }
    assert right["real_rows"] == 1 and 0.5 < right["wrong_labels"] < 0.9 and right["headings"] == 0
    assert all(parents and len(text) < len(parents[0]) for text, _, parents in written["copies"])


def test_a_draw_has_every_use_and_real_rows_help_where_wrong_headings_do_not() -> None:
    found = run_draw("made", make_corpus(), ENCODER, 0, Path())
    for student in ("words", "vectors:minilm"):
        assert {use for _, who, use in found if who == student} == set(USES)
        assert found["real_rows", student, "recommended"] > found["headings", student, "plain"]
        assert found["copies", student, "recommended"] >= found["copies", student, "plain"] - 0.02


def test_the_shortfall_counts_from_the_best_use_in_the_mean() -> None:
    scores = {("gpt4", "words", use): [0.5, 0.6] for use in USES} | {("gpt4", "words", "plain"): [0.7, 0.6]}
    lines = {(line.arm, line.metric): line for line in summarise("made", [scores])}
    assert lines["gpt4", "hindsight"].extra == {"use": "plain"}
    assert lines["gpt4", "shortfall_points"].value == pytest.approx(10)
    assert lines["gpt4", "gain_points"].value == pytest.approx(0)
