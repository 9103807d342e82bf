"""Logit adjustment with a tau that is found on rows left out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from counterpoise.students.fitting import predict
from counterpoise.students.prior_ways import find_tau
from counterpoise.students.rows import make_rows
from counterpoise.students.treatments import BASELINE, TREATMENTS
from tests.made_up import ENCODER, STUDENTS, WORDS, as_objects, write_sentences

WAY = TREATMENTS.find("shrunk_prior")


def test_tau_is_what_was_taken_out_too_much_or_too_little() -> None:
    generator = np.random.default_rng(1)
    truth, prior = np.repeat([0, 1], [900, 100]), np.log([0.9, 0.1])
    fair = log_softmax(generator.normal(0, 1, (1000, 2)) + 2 * np.eye(2)[truth], axis=1)
    for tau in (0.5, 1.0, 1.4):
        assert find_tau(fair + (tau - 1) * prior, truth, prior) == pytest.approx(tau, abs=0.15)
    few = [0, 1, 2, 900, 901]
    assert abs(find_tau(fair[few] - 0.5 * prior, truth[few], prior) - 1) < 0.5, "a few rows move it little"
    assert find_tau(fair, truth, np.log([0.5, 0.5])) == 1.0, "where all labels are as common it moves nothing"


def test_all_offsets_of_a_run_go_by_the_label_shares() -> None:
    texts, labels = write_sentences(12, 120, 3)
    own = make_rows(as_objects(texts), ENCODER.encode(texts), np.array(labels))
    texts, labels = write_sentences(30, 30, 4)
    test = make_rows(as_objects(texts), ENCODER.encode(texts), np.array(labels))
    prior = np.log(np.bincount(own.labels) / len(own))
    for student in STUDENTS:
        steps = predict(WAY, student, own, test, 2) - predict(BASELINE, student, own, test, 2)
        assert steps == pytest.approx(np.outer(np.ones(len(test)), steps[0, 0] / prior[0] * prior))
    few = own.take(np.array([0, 1, 12, 13]))
    assert predict(WAY, WORDS, few, test, 2).tobytes() == predict(BASELINE, WORDS, few, test, 2).tobytes()
