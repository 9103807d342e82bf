"""Writers that miss the label they were asked for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from counterpoise.core.plans import Cell, Nature, PlanItem, Proposal
from counterpoise.core.records import Floats, Integers
from counterpoise.filters.labels import CONTRADICTED_FROM
from counterpoise.filters.writers import MISSED, check_writers, choose_limit, measure_against

NAMES = ("bad", "good")


def draw(generator: np.random.Generator, labels: Integers) -> Floats:
    """(n, 2) probabilities of a scorer with an AUROC of about 0.98."""
    good = expit(generator.normal(np.where(labels == 1, 1.5, -1.5), 1.0) * 2)
    return np.column_stack([1 - good, good])


def propose(n: int, nature: Nature = Nature.WRITTEN) -> list[Proposal]:
    item = PlanItem("minority_text", Cell("bad"), n, 1, 0)
    return [Proposal(f"{row:04d}", item, f"text {row}", "bad", (), nature=nature) for row in range(n)]


@pytest.mark.parametrize(("missing", "least"), [(0.0, 0.95), (0.05, 0.95), (0.5, 0.8), (0.8, 0.5)])
def test_few_of_what_is_kept_are_wrong(missing: float, least: float) -> None:
    generator = np.random.default_rng(3)
    rows = np.repeat([0, 1], [15, 300])
    known = draw(generator, rows)
    written = (generator.random(400) < missing).astype(np.int64)
    verdicts = check_writers(propose(400), [True] * 400, draw(generator, written), known, rows, NAMES)
    kept = np.array([verdict.kept for verdict in verdicts])
    assert written[kept].mean() <= 0.1
    assert kept[written == 0].mean() > least


def test_nothing_is_kept_of_a_writer_of_the_opposite() -> None:
    generator = np.random.default_rng(4)
    rows = np.repeat([0, 1], [15, 300])
    probabilities = draw(generator, np.ones(200, dtype=np.int64))
    verdicts = check_writers(propose(200), [True] * 200, probabilities, draw(generator, rows), rows, NAMES)
    assert {verdict.reason for verdict in verdicts} == {MISSED}


def test_other_kinds_and_refused_texts_are_left_alone() -> None:
    generator = np.random.default_rng(5)
    rows = np.repeat([0, 1], [15, 300])
    probabilities = draw(generator, np.ones(200, dtype=np.int64))
    known = draw(generator, rows)
    adopted = check_writers(propose(200, Nature.REAL), [True] * 200, probabilities, known, rows, NAMES)
    refused = check_writers(propose(200), [False] * 200, probabilities, known, rows, NAMES)
    assert all(verdict.kept for verdict in [*adopted, *refused])


def test_a_handful_of_texts_is_no_audit() -> None:
    rows = np.repeat([0, 1], [15, 300])
    known = measure_against(draw(np.random.default_rng(6), rows), 0)
    assert choose_limit(np.full(10, 0.99), known, rows, 0) == CONTRADICTED_FROM


def test_a_scorer_that_cannot_tell_holds_nothing_against_a_writer() -> None:
    generator = np.random.default_rng(8)
    rows = np.repeat([0, 1], [15, 300])

    def guess(n: int) -> Floats:
        good = expit(generator.normal(0.0, 1.0, n))
        return measure_against(np.column_stack([1 - good, good]), 0)

    limits = [choose_limit(guess(150), guess(len(rows)), rows, 0) for _ in range(40)]
    assert np.mean([limit == CONTRADICTED_FROM for limit in limits]) >= 0.95
