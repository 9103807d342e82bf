"""Near copies of a text: shortened, lengthened, reworded at the edges; and what only looks like one."""

from __future__ import annotations

import random

import pytest

from counterpoise.actions.relabel.near_copies import (
    FEWEST_SHINGLES,
    LEAST_OVERLAP,
    NearCopies,
    measure_overlap,
)

WORDS = [f"word{place}" for place in range(60)]
KNOWN = " ".join(WORDS)


def invent(n: int, start: int = 0) -> str:
    return " ".join(f"other{place}" for place in range(start, start + n))


@pytest.mark.parametrize(
    ("text", "is_copy"),
    [
        (KNOWN, True),
        (KNOWN.upper().replace(" ", ",  "), True),
        (" ".join(WORDS[20:40]), True),
        (f"{invent(200)} {KNOWN} {invent(200, 200)}", True),
        # Two of every three sentences of ten words.
        (" ".join(word for place, word in enumerate(WORDS) if place // 10 % 3), True),
        # Half of it is boilerplate that both have; the smaller of the two shares 0.48 of its shingles.
        (f"{' '.join(WORDS[:30])} {invent(30)}", False),
        (" ".join(reversed(WORDS)), False),
        (invent(60), False),
        ("", False),
        # Eleven words, nine shingles: contained, and yet too short to tell.
        (" ".join(WORDS[:11]), False),
        (" ".join(WORDS[:12]), True),
        # Many words, few shingles.
        (f"{WORDS[0]} {WORDS[1]} " * 30, False),
    ],
)
def test_what_is_a_near_copy(text: str, is_copy: bool) -> None:
    assert NearCopies([invent(5), KNOWN]).has(text) == is_copy
    assert (measure_overlap(KNOWN, text) >= LEAST_OVERLAP) == is_copy
    assert NearCopies([text]).has(KNOWN) == is_copy


def test_short_known_texts_have_no_near_copies() -> None:
    short = " ".join(WORDS[: FEWEST_SHINGLES + 1])
    assert not NearCopies([short, ""]).has(KNOWN) and not NearCopies([]).has(KNOWN)


def test_overlap_is_symmetric_and_looking_up_first_rules_out_nothing_that_is_one() -> None:
    source = random.Random(0)
    n_copies = 0
    for _ in range(300):
        start, n = source.randrange(45), source.randrange(1, 40)
        part = [word for word in WORDS[start : start + n] if source.random() < 0.97]
        text = f"{' '.join(part)} {invent(source.randrange(40))}"
        overlap = measure_overlap(text, KNOWN)
        assert 0 <= overlap == measure_overlap(KNOWN, text) <= 1
        assert NearCopies([KNOWN]).has(text) == (overlap >= LEAST_OVERLAP)
        n_copies += overlap >= LEAST_OVERLAP
    assert 20 < n_copies < 280
