"""What every encoder keeps, whoever wrote it: all that are registered, and one of a user's own."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from counterpoise.core.assets import find_cache_dir
from counterpoise.data.encoder_choice import ENCODERS, check_encoder, open_registered
from counterpoise_retrievers.encoders import Encoder, find_identity
from tests.parts_distribution.mine_parts.encoders import HashingEncoder

TEXTS = [
    "The food was wonderful, but the waiter forgot our drinks twice.",
    "ok",
    "",
    " \n\t",
    "Еда была отличной, 食物很好吃 😀",
    "a zero\0character",
    "half a character \ud83d of two",
    "Slow service. " * 40,
    "x" * 1_000_000,
]

CASES = [
    *(
        # 284 MB of wheels, and a vector takes a tenth of a second.
        pytest.param(name, id=name, marks=pytest.mark.extras if name == "nomic" else pytest.mark.assets)
        for name in ENCODERS.names
    ),
    pytest.param(HashingEncoder.name),
]


@cache
def open_encoder(name: str) -> Encoder:
    return HashingEncoder() if name == HashingEncoder.name else open_registered(name, find_cache_dir())


@pytest.mark.parametrize("name", CASES)
def test_it_says_what_it_is(name: str) -> None:
    encoder = check_encoder(open_encoder(name), name)
    assert encoder.name and encoder.dimension > 0 and encoder.max_tokens > 0
    # Else its vectors are encoded anew in every run.
    assert find_identity(encoder) is not None


@pytest.mark.parametrize("name", CASES)
def test_vectors_have_length_one_whatever_the_text(name: str) -> None:
    encoder = open_encoder(name)
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (len(TEXTS), encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dimension)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("n_together", [1, 2, 32])
def test_a_vector_depends_on_its_text_alone(name: str, n_together: int) -> None:
    encoder = open_encoder(name)
    texts = TEXTS[:-1] * 4
    expected = encoder.encode(texts)
    parts = [encoder.encode(texts[start : start + n_together]) for start in range(0, len(texts), n_together)]
    assert np.concatenate(parts).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", CASES)
def test_order_decides_nothing(name: str) -> None:
    encoder = open_encoder(name)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = encoder.encode([TEXTS[place] for place in order])
    assert shuffled.tobytes() == encoder.encode(TEXTS)[order].tobytes()
