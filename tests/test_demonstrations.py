"""Rows with vectors: which are shown for a cell, and that the user's order is found again."""

from __future__ import annotations

import numpy as np

from counterpoise.actions.demonstrations import MOST_DEMONSTRATIONS, choose_demonstrations
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell
from counterpoise.core.records import ConceptColumns, State
from counterpoise.tasks.text.preparation import encode_records
from tests.made_up import ENCODER, make_records, write_sentences

CONCEPTS = {"music": "how loud the band was"}


def make_reviews() -> EncodedRecords:
    """30 bad and 30 good ones; of the bad ones two are from the web, and one is about music."""
    texts, labels = write_sentences(30, 30)
    texts[7] = "how loud the band was, the band was loud, how loud"
    states = np.full((60, 1), State.ABSENT, dtype=np.int8)
    states[[7, 40, 41]] = State.PRESENT
    source = ["web" if row in (3, 11) or row >= 30 else "print" for row in range(60)]
    records = make_records(
        texts,
        labels,
        attributes={"source": source},
        concepts=ConceptColumns(("music",), states, np.zeros((60, 1))),
    )
    return EncodedRecords(records, ENCODER.encode(texts))


REVIEWS = make_reviews()


def show(cell: Cell, key: str = "seed 0", reviews: EncodedRecords = REVIEWS) -> EncodedRecords:
    return choose_demonstrations(reviews, cell, key, ENCODER, CONCEPTS)


def test_rows_of_the_cell_are_shown() -> None:
    assert set(show(Cell("bad")).records.ids) == {f"row{row:04d}" for row in range(30)}
    web = show(Cell("bad", attribute="source", value="web"))
    assert set(web.records.ids) == {"row0003", "row0011"}
    np.testing.assert_array_equal(web.vectors, ENCODER.encode([str(text) for text in web.records.texts]))
    music = show(Cell("good", concept="music"))
    assert set(music.records.ids) == {"row0040", "row0041"}


def test_where_a_cell_has_fewer_than_two_rows_the_nearest_of_its_label_are_shown() -> None:
    near = show(Cell("bad", concept="music")).records
    assert len(near) == 10 and set(near.labels) == {0} and "row0007" in near.ids
    # Nearest to what the rows of the value have in common, whatever their label.
    alone = show(Cell("good", attribute="source", value="print"))
    middle = REVIEWS.vectors[REVIEWS.records.attributes["source"] == "print"].mean(axis=0)
    cosines = REVIEWS.vectors[30:] @ middle
    assert set(alone.records.ids) == {f"row{30 + row:04d}" for row in np.argsort(-cosines)[:10]}


def test_of_many_rows_a_keyed_draw_is_shown() -> None:
    texts, labels = write_sentences(MOST_DEMONSTRATIONS + 50, 1)
    many = EncodedRecords(make_records(texts, labels), ENCODER.encode(texts))
    first, second = (show(Cell("bad"), key, many).records.ids.tolist() for key in ("seed 0", "seed 1"))
    assert len(first) == len(second) == MOST_DEMONSTRATIONS and set(first) != set(second)
    assert first == show(Cell("bad"), "seed 0", many).records.ids.tolist()


def test_encoded_rows_stand_by_id_and_the_order_of_the_user_is_found_again() -> None:
    texts, labels = write_sentences(3, 3)
    records = make_records(texts, labels, ids=["d", "b", "f", "a", "c", "e"])
    encoded = encode_records(records, ENCODER, ("an unhappy guest", "a happy guest"))
    assert encoded.records.ids.tolist() == list("abcdef") and encoded.zero_shot.shape == (6, 2)
    np.testing.assert_array_equal(
        encoded.vectors, ENCODER.encode([str(text) for text in encoded.records.texts])
    )
    again = encoded.records.take(encoded.user_order)
    assert again.ids.tolist() == list("dbface") and again.texts.tolist() == texts
    # Rows that were picked stand in no order of the user's.
    picked = encoded.take([4, 1])
    assert picked.records.ids.tolist() == ["e", "b"] and len(picked.user_order) == 0
    np.testing.assert_array_equal(picked.zero_shot, encoded.zero_shot[[4, 1]])
    nothing = encode_records(records.take([]), ENCODER, ("an unhappy guest", "a happy guest"))
    assert nothing.vectors.shape == (0, ENCODER.dimension) and nothing.zero_shot.shape == (0, 2)
