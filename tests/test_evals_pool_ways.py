"""The evaluation of ways that look at the pool: what gaps are counted from, and that a draw has every arm."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.students.evidence import NO_EVIDENCE
from counterpoise.students.treatments import TREATMENTS
from evals.minority_text import Corpus
from evals.pool_ways import (
    ADOPTING,
    CHOICES,
    OTHERS,
    Measured,
    choose,
    make_evidence,
    run_draw,
    run_size,
    summarise,
)
from tests.made_up import ENCODER, write_sentences

SET = {
    **{(arm, "words"): [0.7, 0.8] for arm in CHOICES},
    ("logit_adjustment", "words"): [0.7, 0.8],
    ("labelled_pool", "words"): [0.74, 0.82],
    **{(arm, "words"): [0.76, 0.82] for arm in ADOPTING},
    ("real_data", "words"): [0.8, 0.9],
    ("answered_pool", "words"): [0.9, 0.9],
}


def test_gaps_count_from_the_chosen_way_and_from_the_best_with_hindsight() -> None:
    lines = {(line.arm, line.metric): line for line in summarise("cebab", [SET])}
    assert lines["adopted", "gap_closed_ratio"].value == pytest.approx(0.4)
    assert lines["adopted", "gap_closed_ratio"].extra == {"gap_points": 10.0}
    assert lines["adopted", "gain_points"].value == pytest.approx(4.0)
    assert lines["adopted", "gap_closed_ratio_hindsight"].value == pytest.approx(1 / 7)
    assert lines["hindsight", "macro_f1"].extra == {"way": "labelled_pool"}
    assert lines["real_data", "macro_f1"].value == pytest.approx(0.85)


def test_where_real_rows_have_nothing_over_the_simple_way_no_share_is_told() -> None:
    none = SET | {("real_data", "words"): [0.7, 0.8]}
    metrics = {line.metric for line in summarise("cebab", [none]) if line.arm == "adopted"}
    assert "gain_points" in metrics and "gap_closed_ratio" not in metrics


def test_lines_of_all_sets_are_sums_by_sums() -> None:
    other = {key: [0.5, 0.5] for key in SET} | {("real_data", "words"): [0.8, 0.8]}
    lines = {(line.arm, line.metric): line for line in summarise("all", [SET, other])}
    assert lines["adopted", "gap_closed_ratio"].value == pytest.approx(4 / 40)
    assert ("adopted", "macro_f1") not in lines and lines["adopted", "gap_closed_ratio"].data == "all/words"


def test_a_draw_has_every_way_that_looks_at_the_pool_and_every_arm() -> None:
    texts, labels = write_sentences(200, 300, 4)
    rows = [
        (f"{text} {row}", ("bad", "good")[label])
        for row, (text, label) in enumerate(zip(texts, labels, strict=True))
    ]
    corpus = Corpus(
        "made", rows[50:400], [*rows[:50], *rows[400:]], [], frozenset({"bad"}), 60,
        {"bad": "cold rude dull awful", "good": "lovely warm fresh great"}, 1, n_rare=12,
    )  # fmt: skip
    draw = run_draw(corpus, ENCODER, 0)
    found = draw.scores | choose(draw, NO_EVIDENCE)
    of_words = {arm for arm, who in found if who == "words"}
    assert {*OTHERS, "labelled_pool", "naive_bayes_em", "logit_adjustment"} <= of_words
    assert not of_words & {"label_spreading", "averaged", "shrunk_lda"}
    assert all(0 <= value <= 1 for value in found.values())
    few = run_size(corpus, ENCODER, 0)
    assert {arm for arm, _ in few} == {"logit_adjustment", "labelled_pool"}
    assert all(found[key] == value for key, value in few.items())
    ways = [found[way, "words"] for way in TREATMENTS.defaults if (way, "words") in found]
    assert found["chosen", "words"] in ways


def test_what_the_pool_gave_on_the_set_itself_is_no_evidence_for_it() -> None:
    def measure(gain: float) -> list[Measured]:
        scores = {("logit_adjustment", "words"): 0.7, ("labelled_pool", "words"): 0.7 + gain}
        return [Measured((), scores, np.array([15, 300]))]

    measured = {"cebab": measure(0.2), "sms_spam": measure(0.1), "clinc150": measure(0.02)}
    assert make_evidence(measured, "cebab").expect("words", "labelled_pool", 15) == pytest.approx(6.0)
    alone = make_evidence({"cebab": measure(0.2)}, "cebab")
    assert alone.expect("words", "labelled_pool", 15) != pytest.approx(20.0)
    assert alone.expect("words", "tuned_bags", 15) is not None
