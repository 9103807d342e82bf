"""Schemas are checked here whatever the server promises; letters are scored by what the table says."""

from __future__ import annotations

import math
from typing import Any

import pytest

from counterpoise.llm.structured import check_schema, parse_reply, score_letters

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "state": {"enum": ["present", "absent"]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "count": {"type": "integer"},
        "sure": {"type": "boolean"},
        "words": {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": 2},
    },
    "required": ["state"],
}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"state": "present", "score": 0.5, "count": 3, "sure": true, "words": ["a"]}', ""),
        ('```json\n{"state": "absent"}\n```', ""),
        ('{"state": "absent"', "not JSON"),
        ('{"state": "absent", "score": NaN}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["absent"]', "of type object"),
        ("{}", "lacks 'state'"),
        ('{"state": "perhaps"}', 'one of "present", "absent"'),
        ('{"state": "absent", "score": 1.5}', "'score' must lie in 0 to 1"),
        ('{"state": "absent", "score": "high"}', "'score' must be of type number"),
        ('{"state": "absent", "count": true}', "'count' must be of type integer"),
        ('{"state": "absent", "count": 1.5}', "'count' must be of type integer"),
        ('{"state": "absent", "sure": 1}', "'sure' must be of type boolean"),
        ('{"state": "absent", "words": ["a", ""]}', "'words'[1] must have 1 to inf characters"),
        ('{"state": "absent", "words": ["a", "b", "c"]}', "'words' must have 0 to 2 items"),
        ('{"state": "absent", "mood": 1}', "'mood', which is not asked for"),
    ],
)
def test_the_first_fault_of_a_reply_is_named(text: str, fault: str) -> None:
    value, found = parse_reply(text, SCHEMA)
    assert fault in found
    assert (value is None) == bool(fault) == bool(found)


def test_a_schema_that_would_not_be_checked_whole_is_refused() -> None:
    check_schema(SCHEMA)
    with pytest.raises(ValueError, match=r"schema\.state: pattern is not supported"):
        check_schema({"type": "object", "properties": {"state": {"type": "string", "pattern": "^a"}}})
    with pytest.raises(ValueError, match="'text' is not one of"):
        check_schema({"type": "text"})


def test_letters_are_renormalised_over_the_letters() -> None:
    table = {" A": math.log(0.2), "A": math.log(0.1), "B": math.log(0.1), "The": math.log(0.5)}
    scores = score_letters(table, ("A", "B"))
    assert scores == pytest.approx({"A": 0.75, "B": 0.25})
    with_absent = score_letters(table, ("A", "B", "C"))
    assert with_absent == pytest.approx({"A": 0.6, "B": 0.2, "C": 0.2}), (
        "an absent letter has the lowest as bound"
    )
    assert score_letters({"The": -1.0}, ("A", "B")) == pytest.approx({"A": 0.5, "B": 0.5})
    # A server that lists one token leaves the others what is missing to 1, none of it where nothing is.
    assert score_letters({"A": -0.1}, ("A", "B"))["A"] == pytest.approx(math.exp(-0.1))
    assert score_letters({"A": 0.0}, ("A", "B"))["A"] > 0.999
    # What is no distribution, because its sum is above 1, is bounded by the least that is listed.
    assert score_letters({"A": -0.1, "x": -0.2}, ("A", "B"))["B"] == pytest.approx(1 / (1 + math.exp(0.1)))
    extreme = score_letters({"A": -0.1, "B": -9999.0}, ("A", "B"))
    assert extreme["A"] > 0.999 and extreme["B"] > 0
    with pytest.raises(ValueError):
        score_letters({}, ("A",))


def test_half_a_character_is_replaced_before_anything_has_to_encode_it() -> None:
    schema = {"type": "object", "properties": {"words": {"type": "array", "items": {"type": "string"}}}}
    value, fault = parse_reply('{"words": ["a \\ud83d", "\\ude00 b", "\\ud83d\\ude00", "\ud83d"]}', schema)
    assert value == {"words": ["a \ufffd", "\ufffd b", "\N{GRINNING FACE}", "\ufffd"]} and not fault
    _, fault = parse_reply('{"\\ud83d": 1}', schema)
    assert "is not asked for" in fault.encode().decode()
