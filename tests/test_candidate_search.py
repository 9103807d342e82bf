"""What a query finds by meaning and by words: ways, depths, ranks with gaps, limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterpoise.tasks.retrieval.candidate_search import WAYS, SearchSettings, SearchSpace, find_candidates
from counterpoise_retrievers.hard_negatives import ScoreLimits

TEXTS = [
    "iron is absorbed slowly",  # answers the first query
    "iron absorbed by plants",
    "absorbed light warms",
    "rain in spring",
    "wind in autumn",
]
COSINES = np.array([[0.9, 0.2, 0.3, 0.8, 0.86], [0.1, 0.2, 0.3, 0.7, 0.6]])


def make_space() -> SearchSpace:
    vectors = np.vstack([np.eye(5), COSINES]).astype(np.float32)
    return SearchSpace(
        ["how is iron absorbed", "wind and rain in spring"], vectors[5:], TEXTS, vectors[:5], [[0], []]
    )


def test_each_way_has_its_own_candidates_and_known_answers_are_none() -> None:
    found = {way: find_candidates(make_space(), SearchSettings(2, way)).tolist() for way in WAYS}
    assert found["dense"] == [[4, 3], [3, 4]]
    assert found["bm25"] == [[1, 2], [3, 4]]
    assert found["fused"] == [[1, 4], [3, 4]], (
        "the first by words and the first by meaning, by place where alike"
    )


def test_a_known_answer_may_keep_the_rank_that_it_has_by_words() -> None:
    space = replace(make_space(), known=[[0, 3], []])
    plain = find_candidates(space, SearchSettings(2))
    gaps = find_candidates(space, SearchSettings(2, has_gaps=True))
    # By words the answer is first; the passage after it is second, or the first of those that are no answers.
    assert plain[0].tolist() == [2, 1] and gaps[0].tolist() == [2, 4]


def test_limits_hold_for_what_words_found_too() -> None:
    limits = ScoreLimits(max_score=0.25)
    for way in WAYS:
        found = find_candidates(make_space(), SearchSettings(5, way, limits=limits))[0]
        assert set(found[found >= 0].tolist()) <= {1}
    band = ScoreLimits(relative_margin=0.1)
    assert 4 not in find_candidates(make_space(), SearchSettings(5, limits=band))[0]
    assert np.isinf(band.find_highest(np.array([np.nan]))).all(), "nothing is known, nothing is limited"


def test_numbers_out_of_range_are_said() -> None:
    with pytest.raises(ValueError, match="out of range"):
        find_candidates(make_space(), SearchSettings(2, range_min=3, range_max=3))
