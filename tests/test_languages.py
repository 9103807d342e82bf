"""Languages of the data: found, counted by label, filled as cells, and held against what the encoder knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import counterpoise
from counterpoise.core.errors import DataError
from counterpoise.core.languages import LANGUAGE, find_languages, note_languages, tell_languages
from counterpoise.data.encoder_choice import list_known_languages
from counterpoise.tasks.text.encoder_fit import note_fit
from counterpoise.tasks.text.job import Job
from counterpoise.tasks.text.preparation import prepare
from tests.made_up import ENCODER, make_records

ENGLISH = [
    f"{who} was rather unkind {when}, and nobody liked {what}"
    for who in ("The waiter", "Our hostess", "A neighbour", "The young cook")
    for when in ("last night", "during Easter", "on our first visit")
    for what in ("the cold soup", "that dry bread", "the music")
]
SWAHILI = [
    f"{who} alikuwa mkali sana {when}, na hakuna aliyependa {what}"
    for who in ("Mhudumu", "Mwenyeji wetu", "Jirani", "Mpishi kijana")
    for when in ("jana usiku", "wakati wa Pasaka", "siku ya kwanza")
    for what in ("supu baridi", "mkate mkavu", "muziki huo")
]
HAUSA = [
    f"{who} ya yi fushi sosai {when}, kuma babu wanda ya so {what}"
    for who in ("Ma'aikacin", "Maƙwabcinmu", "Mai dafa abinci", "Shugaban gidan")
    for when in ("jiya da dare", "lokacin sallah", "a ziyararmu ta farko")
    for what in ("miyar mai sanyi", "busasshen burodin", "waƙar")
]
CHINESE = [
    f"{who}{when}态度很差，没有人喜欢{what}"
    for who in ("服务员", "老板娘", "我们的邻居", "年轻的厨师")
    for when in ("昨天晚上", "春节期间", "第一次去的时候")
    for what in ("那碗冷汤", "干面包", "音乐")
]
KINDS = {"en": ENGLISH, "sw": SWAHILI, "ha": HAUSA, "zh": CHINESE}


def make_job(folder: Path, **keys: Any) -> Job:
    texts = ENGLISH[:30] + SWAHILI[:24]
    labels = ["good"] * 20 + ["bad"] * 10 + ["good"] * 4 + ["bad"] * 20
    return Job.make(
        data={"text": texts, "label": labels},
        held_out={"text": ENGLISH[30:] + SWAHILI[30:], "label": ["good", "bad"] * 6},
        text="text",
        label="label",
        encoder=ENCODER,
        llm="http://127.0.0.1:9/v1",
        budget=0,
        cache_dir=str(folder / "cache"),
        output=str(folder / "run"),
        **keys,
    )


@pytest.mark.parametrize("code", list(KINDS))
def test_the_language_of_short_texts_is_found(code: str) -> None:
    assert find_languages(KINDS[code]) == (code,)
    assert set(tell_languages(KINDS[code], (code,))) == {code}


def test_a_few_misreadings_are_no_language_and_enough_rows_are() -> None:
    assert find_languages(ENGLISH * 10 + SWAHILI[:9]) == ("en",)
    mixed = ENGLISH * 2 + HAUSA + CHINESE[:12]
    assert find_languages(mixed) == ("en", "ha", "zh")
    told = tell_languages([*mixed, "ok 123", "😀"], ("en", "ha", "zh"))
    assert np.unique(told, return_counts=True)[1].tolist() == [2, 72, 36, 12]
    assert find_languages(["ok", "123"]) == find_languages([]) == ()


def test_the_note_counts_labels_by_language_and_does_not_know_the_order() -> None:
    texts, labels = ENGLISH[:30] + SWAHILI[:24], ["a"] * 30 + ["b"] * 24
    (note,) = note_languages(texts, labels)
    assert note.startswith("the texts are in 2 languages (of 54 rows looked at: a en 30 sw 0, b en 0 sw 24)")
    assert LANGUAGE in note and note_languages(texts[::-1], labels[::-1]) == [note]
    assert note_languages(ENGLISH, ["a"] * len(ENGLISH)) == []


def test_check_notes_languages_and_takes_them_as_an_attribute() -> None:
    data = {"text": ENGLISH + SWAHILI, "label": ["good"] * 30 + ["bad"] * 6 + ["good"] * 6 + ["bad"] * 30}
    plain = counterpoise.check_balance(data, label="label")
    assert any("good en 30 sw 6" in note for note in plain.notes)
    report = counterpoise.check_balance(data, label="label", attributes=LANGUAGE)
    assert not any("languages (of" in note for note in report.notes)
    (column,) = (one for one in report.columns if one.column == LANGUAGE)
    assert column.kind == "attribute" and set(column.values) == {"en", "sw"}
    assert sorted(map(sorted, column.counts)) == [[6, 30], [6, 30]]
    assert any(LANGUAGE in finding.message for finding in report.findings)


def test_a_column_of_that_name_goes_before(tmp_path: Path) -> None:
    data = {"text": ENGLISH, "label": ["good", "bad"] * 18, LANGUAGE: ["left", "right", "left"] * 12}
    (column,) = (
        one
        for one in counterpoise.check_balance(data, label="label", attributes=LANGUAGE).columns
        if one.column == LANGUAGE
    )
    assert set(column.values) == {"left", "right"}
    with pytest.raises(DataError, match="no column 'language'"):
        counterpoise.check_balance(
            {"text": ENGLISH, "label": ["a", "b"] * 18}, label="label", attributes="language"
        )


def test_a_job_fills_labels_within_languages(tmp_path: Path) -> None:
    found = counterpoise.preview(make_job(tmp_path, attributes=[LANGUAGE]), progress=False)
    cells = {(one.cell.label, one.cell.attribute, one.cell.value): one.have for one in found.deficits}
    assert cells["good", LANGUAGE, "sw"] == 4
    assert not any("languages (of" in note for note in found.notes)
    inputs = prepare(make_job(tmp_path, attributes=[LANGUAGE]))
    assert sorted(inputs.train.records.attributes[LANGUAGE]) == ["en"] * 30 + ["sw"] * 24
    assert sorted(inputs.held_out.records.attributes[LANGUAGE]) == ["en"] * 6 + ["sw"] * 6
    assert inputs.tables.train.column_names == ["text", "label"], "the user's columns stay as they are"
    plain = counterpoise.preview(make_job(tmp_path), progress=False)
    assert any("bad en 10 sw 20, good en 20 sw 4" in note for note in plain.notes)


@pytest.mark.parametrize(
    ("texts", "looks_like"),
    [(SWAHILI, "100% of these texts look like sw"), (HAUSA, "ha"), (CHINESE, "zh"), (ENGLISH + HAUSA, "50%")],
)
def test_a_language_that_the_encoder_does_not_know_is_said_and_one_that_does_is_named(
    texts: list[str], looks_like: str, tmp_path: Path
) -> None:
    records = make_records(texts, [0, 1] * (len(texts) // 2))
    (note,) = note_fit(ENCODER, records, ("en",), tmp_path)
    assert looks_like in note and "`encoder: multilingual`" in note
    assert not note_fit(ENCODER, records, list_known_languages("multilingual"), tmp_path)
    assert not note_fit(ENCODER, records, (), tmp_path), "an encoder that says nothing is taken to fit"


def test_where_none_that_ships_knows_a_language_none_is_named(tmp_path: Path) -> None:
    yoruba = [
        f"{who} kò dára rárá {when}, ẹnikẹ́ni kò sì fẹ́ràn {what}"
        for who in ("Olùtọ́jú náà", "Aládùúgbò wa", "Alásè ọ̀dọ́")
        for when in ("ní alẹ́ àná", "nígbà ọdún Àjíǹde", "ní ìgbà àkọ́kọ́")
        for what in ("ọbẹ̀ tútù náà", "búrẹ́dì gbígbẹ náà", "orin náà")
    ]
    records = make_records(yoruba, [0, 1] * 13 + [0])
    (note,) = note_fit(ENCODER, records, list_known_languages("multilingual"), tmp_path)
    assert "look like yo" in note and "none that ships knows all of it" in note
