"""Filters: this text, this reason."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.core.plans import Cell, Proposal, Verdict
from counterpoise.core.records import ConceptColumns, State
from counterpoise.filters.base import KEPT, combine_verdicts
from counterpoise.filters.concepts import check_concepts
from counterpoise.filters.copies import KnownTexts, find_copies, fold, make_known_texts
from counterpoise.filters.copy_limits import CopyLimits
from counterpoise.filters.labels import check_labels
from counterpoise.filters.text import make_text_filter
from tests.made_up import ENCODER, as_objects, make_proposal, write_sentences

DATA, _ = write_sentences(20, 20, 1)
HELD_OUT, _ = write_sentences(10, 10, 2)
HEADING = "Reviews by guests who disliked it"
FILTER = make_text_filter(as_objects(DATA), [HEADING, "bad"])
KNOWN = {
    "copy_of_data": make_known_texts(DATA, ENCODER.encode(DATA)),
    "copy_of_held_out": make_known_texts(HELD_OUT, ENCODER.encode(HELD_OUT)),
}
NONE_EARLIER = make_known_texts([], np.empty((0, ENCODER.dimension), np.float32))
PARENTS = {"row1": "One two three four five six seven eight nine ten"}


def judge_text(text: str) -> str:
    (verdict,) = FILTER.check([make_proposal(text)])
    return verdict.reason


def find_reasons(proposals: list[Proposal], earlier: KnownTexts = NONE_EARLIER) -> list[str]:
    vectors = ENCODER.encode([proposal.text for proposal in proposals])
    verdicts = find_copies(proposals, vectors, KNOWN, earlier, PARENTS)
    assert [verdict.proposal_id for verdict in verdicts] == [proposal.id for proposal in proposals]
    assert all(verdict.kept == (verdict.reason == KEPT) for verdict in verdicts)
    return [verdict.reason for verdict in verdicts]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The bread was stale and the wine was cold, we left early", KEPT),
        ("", "empty"),
        (" \n\t", "empty"),
        ("... !? — 😀", "empty"),
        ("I'm sorry, but I can't help with that request at all", "refusal"),
        ("I cannot write reviews of restaurants, and nobody should", "refusal"),
        ("As an AI language model I have never eaten a single soup", "refusal"),
        ("Sure! Here is a record: the soup was cold and dull", "refusal"),
        ("Sure, the soup was cold and the waiter was rude to us", KEPT),
        ("I'm sorry to say so, but the soup was cold and dull", KEPT),
        ("Here is another record: the soup was cold and dull", "refusal"),
        ("We are sorry we came: the soup was cold and salty", KEPT),
        (f"{HEADING}: the soup was cold and the waiter rude", "prompt_echo"),
        (f"So they ask for {HEADING.upper()} and so on and on", "prompt_echo"),
        ("A bad soup and a bad waiter, bad all over the place", KEPT),  # a short heading is a common word
        ("Cold soup", "too_short"),
        ("The soup was cold. " * 20, "too_long"),
        ("I can't help but say that the soup was cold and dull", KEPT),
        ("The café's crème brûlée was stale; „schlecht“, said 王", KEPT),
    ],
)
def test_this_text_has_this_reason(text: str, reason: str) -> None:
    assert judge_text(text) == reason


def test_bounds_come_from_the_real_rows() -> None:
    cyrillic = make_text_filter(as_objects(["Суп холодный, ушли"] * 30))
    assert (cyrillic.shortest, cyrillic.longest) == (9, 37)
    assert [verdict.reason for verdict in cyrillic.check([make_proposal("Суп был горячий")])] == [KEPT]
    nothing = make_text_filter(as_objects([]))
    assert [verdict.reason for verdict in nothing.check([make_proposal("Суп")])] == [KEPT]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a text that nobody wrote before", KEPT),
        (DATA[3], "copy_of_data"),
        (DATA[3].upper().replace(",", " !"), "copy_of_data"),
        (f"{DATA[3]} again", "copy_of_data"),
        (HELD_OUT[4], "copy_of_held_out"),
        (f"{HELD_OUT[4]} again", "copy_of_held_out"),
        ("an earlier text of another round", "copy_of_proposal"),
        ("Well, one two three FOUR five six - seven eight!", "copy_of_demonstration"),
        ("one two three four five six seven ate", "copy_of_demonstration"),
        ("not one of the two, and three or four of seven", KEPT),
    ],
)
def test_a_copy_is_refused_for_what_it_copies(text: str, reason: str) -> None:
    earlier_texts = ["an earlier text of another round"]
    earlier = make_known_texts(earlier_texts, ENCODER.encode(earlier_texts))
    proposal = make_proposal(text, parents=("row1", "row2"))
    assert find_reasons([proposal], earlier) == [reason]


def test_a_span_is_a_copy_of_its_own_demonstrations_only() -> None:
    text = "one two three four five six seven eight, and then something else entirely"
    assert find_reasons([make_proposal(text)]) == [KEPT]


def test_of_two_alike_the_earlier_is_kept_and_a_refused_one_shadows_nothing() -> None:
    fresh = "quite another text by a guest"
    again = "Quite another text by a guest, by a guest"
    texts = [fresh, again, fresh, DATA[0], f"{DATA[0]} again", "something else yet to be said"]
    proposals = [make_proposal(text, place) for place, text in enumerate(texts)]
    assert find_reasons(proposals) == [
        *(KEPT, "copy_of_proposal", "copy_of_proposal"),
        *("copy_of_data", "copy_of_data", KEPT),
    ]
    # Where the user's own rows are nearer to each other than that, only the same text is a copy.
    vectors = ENCODER.encode(texts[:3])
    verdicts = find_copies(proposals[:3], vectors, KNOWN, NONE_EARLIER, {}, CopyLimits(0.99, 0.99))
    assert [verdict.reason for verdict in verdicts] == [KEPT, KEPT, "copy_of_proposal"]


def test_a_verdict_depends_on_earlier_proposals_only() -> None:
    source = random.Random(6)
    texts = [
        source.choice([*DATA[:3], "fresh one here", "fresh two here", "fresh one here now"])
        for _ in range(30)
    ]
    proposals = [make_proposal(text, place) for place, text in enumerate(texts)]
    whole = find_reasons(proposals)
    assert all(find_reasons(proposals[:n]) == whole[:n] for n in range(30))
    assert {KEPT, "copy_of_data", "copy_of_proposal"} == set(whole)


LABELS = ("bad", "good", "mixed")


@pytest.mark.parametrize(
    ("row", "is_trusted", "reason"),
    [
        ([0.2, 0.7, 0.1], True, "label_contradicted"),
        ([0.2, 0.7, 0.1], False, KEPT),
        ([0.4, 0.6, 0.0], True, KEPT),  # odds of 1.5 to 1 are no contradiction
        ([0.2, 0.4, 0.4], True, KEPT),  # nor are two labels that are each twice as likely
        ([0.0, 0.0, 1.0], True, "label_contradicted"),
        ([0.9, 0.1, 0.0], True, KEPT),
    ],
)
def test_a_label_is_contradicted_by_a_trusted_scorer_only(
    row: list[float], is_trusted: bool, reason: str
) -> None:
    (verdict,) = check_labels([make_proposal("text")], np.array([row]), LABELS, is_trusted=is_trusted)
    assert (verdict.reason, verdict.scores) == (reason, {"label_probability": row[0]})


def test_a_text_for_a_concept_must_have_it() -> None:
    food = Cell("bad", concept="food")
    proposals = [make_proposal("text", place, cell=food) for place in range(3)] + [make_proposal("text", 3)]
    states = np.array([[State.PRESENT], [State.ABSENT], [State.UNKNOWN], [State.ABSENT]], dtype=np.int8)
    concepts = ConceptColumns(("food",), states, np.array([[0.9], [0.1], [0.5], [0.1]]))
    verdicts = check_concepts(proposals, concepts)
    assert [verdict.reason for verdict in verdicts] == [KEPT, "concept_missing", "concept_missing", KEPT]
    assert verdicts[0].scores == {"concept_food": 0.9}
    assert all(verdict.kept for verdict in check_concepts(proposals, None))


def test_the_first_no_is_the_reason_and_all_scores_stay() -> None:
    yes = Verdict("r001-p00-00000", True, KEPT, {"a": 1.0})
    no, later = (
        replace(yes, kept=False, reason="first", scores={"b": 2.0}),
        replace(yes, kept=False, reason="last"),
    )
    (combined,) = combine_verdicts([yes], [no], [later])
    assert combined == Verdict(yes.proposal_id, False, "first", {"a": 1.0, "b": 2.0})
    assert combine_verdicts([yes], [replace(yes, scores={})]) == [yes]


# Any text at all: control characters, emoji, lone surrogates, several scripts, nothing.
ODD_TEXTS = st.one_of(
    st.text(st.characters(), max_size=60),
    st.text(st.sampled_from("\x00\x1b\u200d\u202e\ud800\udfff😀👨‍👩‍👧é王ب \n\ta1"), max_size=40),
    st.sampled_from([*DATA[:2], HEADING, "I'm sorry"]),
)


@settings(deadline=None, max_examples=120)
@given(texts=st.lists(ODD_TEXTS, max_size=6))
def test_no_text_makes_a_filter_raise_and_every_verdict_has_a_reason(texts: list[str]) -> None:
    proposals = [make_proposal(text, place, parents=("row1",)) for place, text in enumerate(texts)]
    vectors = ENCODER.encode(texts)
    layers = [
        FILTER.check(proposals),
        check_labels(proposals, np.full((len(texts), 3), 1 / 3), LABELS, is_trusted=True),
        check_concepts(proposals, None),
        find_copies(proposals, vectors, KNOWN, NONE_EARLIER, PARENTS),
    ]
    for verdicts in (*layers, combine_verdicts(*layers)):
        assert [verdict.proposal_id for verdict in verdicts] == [proposal.id for proposal in proposals]
        for verdict in verdicts:
            assert verdict.reason and verdict.kept == (verdict.reason == KEPT)
    # A script, bounds and folded words can be found in any texts, too.
    make_text_filter(as_objects(texts), texts)
    assert all(fold(fold(text)) == fold(text) for text in texts)
