"""Texts for an attribute value: those of another value are refused where the user's rows let one tell."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from counterpoise.core.languages import LANGUAGE
from counterpoise.core.plans import Cell, Nature, PlanItem, Proposal
from counterpoise.tasks.attribute_filter import CONTRADICTED, AttributeFilter, fit_judge
from tests.made_up import ENCODER, make_records

PLACES = {"hotel": ("room", "bed", "lobby", "pillow"), "clinic": ("nurse", "doctor", "ward", "cure")}


def write(source: random.Random, place: str, *, good: bool) -> str:
    words = ("lovely", "warm", "kind") if good else ("cold", "rude", "stale")
    first, second = source.sample(PLACES[place], 2)
    return f"The {first} and the {second} were {source.choice(words)}, guest {source.randrange(10_000)}"


def make_inputs(*, is_told: bool = True) -> Any:
    """Hotels are praised and clinics blamed, so a judge that took the label for the place would refuse good clinics."""
    source = random.Random(3)
    rows = [
        (place, good)
        for place, good, n in (
            ("hotel", True, 60),
            ("hotel", False, 6),
            ("clinic", True, 6),
            ("clinic", False, 60),
        )
        for _ in range(n)
    ]
    texts = [
        write(source, place if is_told else source.choice(list(PLACES)), good=good) for place, good in rows
    ]
    records = make_records(
        texts, [int(good) for _, good in rows], attributes={"place": [place for place, _ in rows]}
    )
    side = SimpleNamespace(records=records, vectors=ENCODER.encode(texts))
    return SimpleNamespace(train=side, folds=np.arange(len(rows)) % 5)


def propose(texts: list[str], nature: Nature = Nature.WRITTEN) -> list[Proposal]:
    item = PlanItem("minority_text", Cell("good", attribute="place", value="clinic"), 6, 1, 0, 1)
    return [
        Proposal(f"{item.id}-{place:05d}", item, text, "good", nature=nature)
        for place, text in enumerate(texts)
    ]


def judge(inputs: Any, proposals: list[Proposal]) -> list[str]:
    vectors = ENCODER.encode([proposal.text for proposal in proposals])
    verdicts = AttributeFilter(inputs).check(proposals, [True] * len(proposals), vectors)
    assert [verdict.proposal_id for verdict in verdicts] == [proposal.id for proposal in proposals]
    return [verdict.reason for verdict in verdicts]


@pytest.mark.parametrize("n", [8, 40])
def test_a_text_of_another_value_is_refused_and_one_of_the_thin_cell_is_not(n: int) -> None:
    source = random.Random(9)
    places = ["hotel" if row % 5 == 0 else "clinic" for row in range(n)]
    reasons = judge(make_inputs(), propose([write(source, place, good=True) for place in places]))
    wrong = [reason for reason, place in zip(reasons, places, strict=True) if place == "hotel"]
    right = [reason for reason, place in zip(reasons, places, strict=True) if place == "clinic"]
    assert wrong.count(CONTRADICTED) >= 0.8 * len(wrong)
    assert right.count("kept") >= 0.9 * len(right), (
        "labels go with places in the data, but they are no places"
    )


def test_where_the_values_cannot_be_told_nothing_is_refused_and_the_report_says_so() -> None:
    source = random.Random(9)
    inputs = make_inputs(is_told=False)
    texts = [write(source, "hotel", good=True) for _ in range(30)]
    assert set(judge(inputs, propose(texts))) == {"kept"}
    found = AttributeFilter(inputs)
    assert found.audits() == []  # nobody has asked
    found.find("place")
    (line,) = found.audits()
    assert line["role"] == "refused" and "cannot tell" in line["note"]
    told = AttributeFilter(make_inputs())
    told.find("place")
    assert told.audits()[0]["role"] == "used" and "2 of 2 values" in told.audits()[0]["note"]


def test_edits_and_texts_for_other_cells_are_not_judged() -> None:
    source = random.Random(9)
    texts = [write(source, "hotel", good=True) for _ in range(4)]
    assert set(judge(make_inputs(), propose(texts, Nature.REWRITTEN))) == {"kept"}
    plain = [
        Proposal(f"p{place}", PlanItem("minority_text", Cell("good"), 6, 1, 0, 1), text, "good")
        for place, text in enumerate(texts)
    ]
    assert set(judge(make_inputs(), plain)) == {"kept"}


def test_too_few_rows_make_no_judge() -> None:
    records = make_records(["a"] * 9, [0] * 9, attributes={"place": ["x"] * 4 + ["y"] * 5})
    inputs: Any = SimpleNamespace(
        train=SimpleNamespace(records=records, vectors=ENCODER.encode(["a"] * 9)), folds=np.zeros(9)
    )
    assert fit_judge(inputs, "place") is None
    many = make_records(["a"] * 60, [0] * 60, attributes={"place": [f"v{row}" for row in range(60)]})
    inputs.train = SimpleNamespace(records=many, vectors=ENCODER.encode(["a"] * 60))
    assert fit_judge(inputs, "place") is None


def test_a_text_in_another_language_than_its_cell_is_refused() -> None:
    english = [
        f"The {what} was rather cold and nobody liked it, guest {row}" for row, what in enumerate(ROOMS)
    ]
    german = [
        f"Das Zimmer mit {what} war kalt und gefiel niemandem, Gast {row}" for row, what in enumerate(ROOMS)
    ]
    records = make_records(
        english + german,
        [0, 1] * len(ROOMS),
        attributes={LANGUAGE: ["en"] * len(ROOMS) + ["de"] * len(ROOMS)},
    )
    inputs = SimpleNamespace(train=SimpleNamespace(records=records, vectors=None), folds=None)
    item = PlanItem("minority_text", Cell("good", attribute=LANGUAGE, value="de"), 3, 1, 0, 1)
    texts = ["Das Bad war sauber und das Frühstück gut", "The bath was clean and so was the bed", "Ok"]
    proposals = [Proposal(f"{item.id}-{place:05d}", item, text, "good") for place, text in enumerate(texts)]
    assert judge(inputs, proposals) == ["kept", CONTRADICTED, "kept"]


ROOMS = (
    "bed",
    "lobby",
    "pillow",
    "sofa",
    "lamp",
    "window",
    "door",
    "table",
    "chair",
    "bath",
    "floor",
    "mirror",
)
