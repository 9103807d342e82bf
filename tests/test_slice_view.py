"""Where the tokens of the rounds went, as the page shows it."""

from __future__ import annotations

from counterpoise.report.slice_view import MOST_SLICES, build_slices


def item(cell: str, tokens: float, **keys: object) -> dict[str, object]:
    known = {"action": "minority_text", "cell": cell, "count": 20, "requests": 4, "accepted": 12}
    return known | {"tokens": tokens} | keys


def test_what_was_bought_for_a_cell_in_several_rounds_is_one_line_and_the_dearest_is_first() -> None:
    rounds = [
        {"items": [item("bad", 100.0), item("worse", 900.0, writer="angry"), item("bad", 0.0, requests=0)]},
        {"items": [item("bad", 300.0, accepted=3)]},
    ]
    first, second = build_slices(rounds)
    assert (first["way"], first["cell"], first["tokens"]) == ("minority text by angry", "worse", 900.0)
    assert (second["expected"], second["kept"], second["tokens"]) == (40, 15, 400.0)
    assert "40 expected, 15 kept" in second["brought"] and "400 tokens" in second["spent"]
    assert build_slices([]) == []


def test_the_cheapest_are_summed_up_and_names_from_the_data_cannot_write_the_page() -> None:
    rounds = [{"items": [item(f"<b>{place}", 10.0 + place) for place in range(MOST_SLICES + 3)]}]
    lines = build_slices(rounds)
    assert len(lines) == MOST_SLICES + 1 and lines[-1]["way"] == "3 more" and lines[-1]["kept"] == 36
    assert "<b>" not in lines[0]["spent"]
