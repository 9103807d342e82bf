"""Filters of written texts: this text, this reason, in many scripts; the user's own odd rows pass."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import counterpoise
from counterpoise.core.languages import score_languages
from counterpoise.core.plans import Kind, Nature
from counterpoise.filters.alarms import choose_bars, cross_refuse
from counterpoise.filters.base import KEPT
from counterpoise.filters.char_model import fit_char_model
from counterpoise.filters.languages import allow_chance, fit_languages
from counterpoise.filters.text_measures import (
    count_said,
    cut_to_sentence,
    measure_loop,
    share_scripts,
    split_units,
)
from counterpoise.filters.written import WrittenFilters, fit_written_filters
from counterpoise.llm import ChatRequest, ScriptedChatClient
from counterpoise.scorers.base import cross_fit
from tests.made_up import ENCODER, make_proposal, make_records, write_sentences

pytestmark = pytest.mark.slow

WORDS = {
    "en": "the soup was cold and waiter rude so we left early after long evening without bread wine or dessert "
    "nobody came to our table music too loud chairs broken never again says my whole family about this place",
    "ha": "abincin ya yi sanyi kuma mai hidima bai da kirki saboda haka mun tafi da wuri bayan dogon lokaci babu "
    "wanda ya zo wurin mu kujerun sun karye ba za mu sake zuwa wannan wuri ba inji dukkan iyalina a yau",
    "am": "ሾርባው ቀዝቃዛ ነበር አስተናጋጁም ጨዋ አልነበረም ስለዚህ ቶሎ ሄድን "
    "ማንም ወደ ጠረጴዛችን አልመጣም ወንበሮቹ ተሰብረዋል እንደገና አንመጣም ይላል ቤተሰቤ ሁሉ",
    "ar": "كان الحساء باردا والنادل غير لطيف لذلك غادرنا مبكرا بعد مساء طويل "
    "لم يأت أحد إلى طاولتنا والكراسي مكسورة ولن نعود",
    "zh": "汤 是 冷的 服务员 态度 很差 我们 早早 离开 没有人 过来 椅子 坏了 音乐 太吵 以后 再也 不会 来了 全家 都 说",
}


def write_rows(language: str, n: int, seed: int = 0) -> list[str]:
    source, words = random.Random(seed), WORDS[language].split()
    joint = "" if language == "zh" else " "
    return [joint.join(source.sample(words, source.randint(8, 14))) for _ in range(n)]


def write_codes(n: int, seed: int = 0) -> list[str]:
    source = random.Random(seed)
    return [f"{source.randint(100, 999)}-{source.randint(10, 99)}.{source.randint(0, 9)}" for _ in range(n)]


def fit(texts: Sequence[str], labels: Sequence[int] = ()) -> WrittenFilters:
    owners = list(labels) or [row % 2 for row in range(len(texts))]
    records = make_records(texts, owners)
    vectors = ENCODER.encode(texts)
    folds = np.arange(len(texts)) % 5
    probabilities, _ = cross_fit(vectors, records.labels, folds, 2)
    headings = ("Reviews by guests who disliked it", "Reviews by guests who liked it")
    return fit_written_filters(
        records, vectors, folds, probabilities, ENCODER, headings, "seed 0", is_trusted=bool(labels)
    )


@lru_cache
def fit_kind(kind: str) -> WrittenFilters:
    if kind == "codes":
        return fit(write_codes(120))
    if kind == "ha+am":
        return fit(write_rows("ha", 84) + write_rows("am", 36), [row % 2 for row in range(120)])
    if kind == "emoji":
        return fit(["😀" * (1 + row % 4) + "🎉" * (row % 3) for row in range(120)])
    if kind == "words":
        return fit([random.Random(row).choice(WORDS["en"].split()) for row in range(120)])
    if kind == "code":
        return fit(
            [f"for i in range({row}): total += values[i] * {row % 7}; print(total)" for row in range(120)]
        )
    if kind == "links":
        return fit([f"https://example.org/{row}/{row * 7 % 11} see" for row in range(120)])
    return fit(write_rows(kind, 120))


def judge(filters: WrittenFilters, texts: Sequence[str], **changes: Any) -> list[str]:
    proposals = [replace(make_proposal(text, place), **changes) for place, text in enumerate(texts)]
    vectors = ENCODER.encode(texts)
    even = np.full((len(texts), 2), 0.5)
    verdicts = filters.check(proposals, vectors, even, ("bad", "good"), [True] * len(texts), {})
    assert [verdict.proposal_id for verdict in verdicts] == [proposal.id for proposal in proposals]
    assert all(verdict.kept == (verdict.reason == KEPT) for verdict in verdicts)
    return [verdict.reason for verdict in verdicts]


@pytest.mark.parametrize(
    "kind", ["en", "ha", "am", "ar", "zh", "ha+am", "codes", "emoji", "words", "code", "links"]
)
def test_unseen_rows_of_the_users_own_kind_pass(kind: str) -> None:
    unseen = {
        "codes": write_codes(40, 1),
        "ha+am": write_rows("ha", 28, 1) + write_rows("am", 12, 1),
        "emoji": ["😀🎉", "🎉😀😀"] * 20,
        "words": [random.Random(row).choice(WORDS["en"].split()) for row in range(200, 240)],
        "code": [
            f"for i in range({row}): total += values[i] * {row % 7}; print(total)" for row in range(200, 240)
        ],
        "links": [f"https://example.org/{row}/{row * 7 % 11} see" for row in range(200, 240)],
    }
    rows = unseen[kind] if kind in unseen else write_rows(kind, 40, 1)
    reasons = judge(fit_kind(kind), rows)
    assert reasons.count(KEPT) >= 37, reasons


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("en", "Das Essen war kalt und der Kellner sehr unfreundlich zu uns", "other_language"),
        ("en", "Суп был холодным, а официант очень грубым с нами", "other_script"),
        ("ha", "The soup was cold and the waiter did not even look at us", "other_language"),
        ("am", "The soup was cold and the waiter did not even look at us", "other_script"),
        ("ha+am", "The soup was cold and the waiter did not even look at us", "other_language"),
        ("ar", "汤是冷的服务员的态度也很差我们再也不会来了", "other_script"),
        ("zh", "Sopa estaba fria y el camarero fue muy grosero", "other_script"),
        ("en", "11.2: 4.2:", "says_too_little"),
        ("en", "1.Ji,22.3", "says_too_little"),
        ("en", "2022 #2022 #2023...", "says_too_little"),
        ("en", "@user @user @user", "repetitive"),
        ("en", "What is this?", "says_too_little"),
        ("en", "xqzw jkvb wqpx zzkj vbnq xwqk jjqz pvxk", "other_language"),
        ("ha", "xqzw jkvb wqpx zzkj vbnq xwqk jjqz pvxk", "other_language"),
        (
            "en",
            "the soup was cold and the soup was cold and the soup was cold and the soup was cold",
            "repetitive",
        ),
        ("am", "ሾርባው ቀዝቃዛ ነበር ሾርባው ቀዝቃዛ ነበር ሾርባው ቀዝቃዛ ነበር ሾርባው ቀዝቃዛ ነበር", "repetitive"),
        ("zh", "汤是冷的汤是冷的汤是冷的汤是冷的汤是冷的汤是冷的", "repetitive"),
        ("en", "<think> the soup was cold and the waiter rude so we left", "chat_leftover"),
        ("en", "the soup was cold and the waiter rude so we left<|im_end|>", "chat_leftover"),
        ("en", "Here is one more record about the cold soup and the rude waiter:", "chat_leftover"),
        ("codes", "The soup was cold and the waiter did not even look at us", "gibberish"),
        ("en", "so we lft earl yaft erlo ngev enin gwit hout brea dwin eord essert", "about_the_task"),
    ],
)
def test_this_text_has_this_reason(kind: str, text: str, reason: str) -> None:
    assert judge(fit_kind(kind), [text]) == [reason]


def test_words_surprise_less_than_their_letters_in_any_order_and_gibberish_does_not() -> None:
    rows = write_rows("am", 70)
    model, new = fit_char_model(rows[:50]), rows[50:]
    stirred = ["".join(random.Random(text).sample(text, len(text))) for text in new]
    gained = [
        float(np.mean(model.measure(texts)[0] - model.measure_disorder(texts)[0])) for texts in (new, stirred)
    ]
    assert gained[0] > 1.0 and abs(gained[1]) < 0.1


def test_rows_full_of_handles_and_emoji_make_no_room_for_words_without_end() -> None:
    rows = write_rows("en", 80)
    full = [f"{'@user ' * (place % 9)}{text} {'😂' * (place % 12)}" for place, text in enumerate(rows)]
    bars, of_full = fit(rows).bars, fit(full).bars
    assert np.array_equal(of_full["repetitive_loop"], bars["repetitive_loop"])
    assert (of_full["repetitive_symbols"] > bars["repetitive_symbols"]).all()


def test_half_a_sentence_is_refused_and_what_is_adopted_is_not_judged() -> None:
    text = write_rows("en", 1, 5)[0]
    assert judge(fit_kind("en"), [text], finish_reason="length") == ["cut_off"]
    assert judge(fit_kind("en"), [text], finish_reason="cut_back") == [KEPT]
    assert judge(fit_kind("en"), ["@user @user"], kind=Kind.ADOPTED, nature=Nature.REAL) == [KEPT]


def test_a_label_is_supported_as_well_as_nearly_all_of_its_own_rows_are() -> None:
    generator = np.random.default_rng(0)
    labels = np.array([0] * 15 + [1] * 150)
    lacking = -np.concatenate([generator.normal(1.0, 0.5, 15), generator.normal(3.0, 1.0, 150)])
    bars = choose_bars(lacking, labels, 2, 0.04, pooled=False)
    unseen = -generator.normal(1.0, 0.5, 4000)
    assert 0.005 < (unseen > bars[0]).mean() < 0.08, "fifteen rows and the spread of the others set it"
    assert -bars[0] > -1 and -bars[1] > -bars[0], "each label has its own"
    assert np.isinf(choose_bars(lacking[:39], labels[:39], 2, 0.04)).all(), "too few rows: it refuses nothing"


def test_false_alarms_are_counted_on_rows_that_did_not_set_the_bar() -> None:
    generator = np.random.default_rng(1)
    scores, labels = generator.normal(size=1000), np.zeros(1000, dtype=np.int64)
    refused = cross_refuse(
        scores, labels, np.arange(1000) % 5, lambda s, owner: choose_bars(s, owner, 1, 0.05)
    )
    assert 0.03 < refused.mean() < 0.07
    table = {alarm.name: alarm for alarm in fit_kind("en").alarms()}
    assert all(alarm.n >= 100 and alarm.refused <= 0.1 * alarm.n for alarm in table.values() if alarm.n)
    assert table["label_unsupported"].n == 0 and "audit" in table["label_unsupported"].note
    few = {alarm.name: alarm for alarm in fit(write_rows("en", 30)).alarms()}
    assert all(alarm.n == 0 for alarm in few.values()) and "30 rows" in few["gibberish"].note
    assert judge(fit(write_rows("en", 30)), ["@user @user"]) == [KEPT]


def test_a_language_is_allowed_at_its_share_and_as_it_was_shown() -> None:
    rows = write_rows("ha", 70) + write_rows("am", 30)
    shares = fit_languages(score_languages(rows), rows)
    assert {code: round(share, 1) for code, share in shares.shares.items()} == {"ha": 0.7, "am": 0.3}
    written = score_languages(write_rows("am", 50, 3))
    in_hausa = shares.find_surplus(written, [rows[:5]] * 50, 0.01)
    assert sum(in_hausa) >= 40, "shown Hausa only, a writer may hardly write Amharic"
    mixed = shares.find_surplus(
        score_languages(write_rows("ha", 35, 4) + write_rows("am", 15, 4)), [rows[63:73]] * 50, 0.01
    )
    assert not any(mixed)
    assert allow_chance(0.3, 100, 0.01, 1000) < 40 <= allow_chance(0.3, 100, 0.01, 10)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Good soup!", ["good", "soup"]),
        ("don’t stop", ["don’t", "stop"]),
        ("汤很冷", ["汤", "很", "冷"]),
        ("スープ2杯", ["ス", "ー", "プ", "2", "杯"]),
        ("سوپ سرد", ["سوپ", "سرد"]),
        ("😀 !?", []),
    ],
)
def test_words_are_not_counted_by_blanks_alone(text: str, units: list[str]) -> None:
    assert split_units(text) == units


def test_measures_of_a_text() -> None:
    assert share_scripts("soup суп") == {"CYRILLIC": 3 / 7, "LATIN": 4 / 7}
    assert share_scripts("12 😀") == {} and share_scripts("𝗯𝗼𝗹𝗱") == {"LATIN": 1.0}
    assert count_said("@user #tag see https://a.b/c A4 soup soup") == len("seesoup")
    assert (
        measure_loop("🤔 🤔 🤔 🤔 🤔 🤔 🤔 🤔 🤔 🤔")
        > 0.5
        > measure_loop("The soup was cold and the bread too")
    )


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("The soup was cold. The waiter cam", "The soup was cold."),
        ("It cost 3.50 and the waiter", ""),
        ('"Cold!" she said. An', '"Cold!" she said.'),
        ("汤是冷的。服务员", "汤是冷的。"),
        ("سوپ سرد بود؟ گارسون", "سوپ سرد بود؟"),
        ("ሾርባው ቀዝቃዛ ነበር። አስተ", "ሾርባው ቀዝቃዛ ነበር።"),
    ],
)
def test_half_a_sentence_is_cut_off(text: str, whole: str) -> None:
    assert cut_to_sentence(text) == whole


@pytest.mark.assets
@pytest.mark.slow
def test_a_writer_of_another_language_is_refused_and_the_report_says_so(tmp_path: Path) -> None:
    rows = write_rows("ha", 70, 7)
    sentences = write_sentences(0, 500, 9)[0]

    def answer(request: ChatRequest, index: int) -> str:
        asked = request.prompt or request.messages[-1].content
        if request.choices:
            return request.choices[0]
        if "capital letters" in asked:
            return asked.rsplit(":", 1)[1].strip().upper()
        return sentences[int.from_bytes(blake2b(f"{asked}{index}".encode(), digest_size=2).digest()) % 500]

    run = counterpoise.rebalance(
        {"text": rows, "label": ["rare" if row < 12 else "usual" for row in range(70)]},
        text="text",
        label="label",
        model=ScriptedChatClient(answer),
        budget="5k",
        output=str(tmp_path / "run"),
    )
    reasons = Counter(row["reason"] for row in run.rejected)
    assert len(run.dataset["train"]) + len(run.dataset["held_out"]) == 70, "nothing was added"
    assert reasons["other_language"] >= 0.9 * reasons.total() > 0
    filters = run.report_data["filters"]
    assert list(filters["languages"]) == ["ha"]
    assert {row["filter"] for row in filters["alarms"]} >= {
        "other_language",
        "gibberish",
        "label_unsupported",
        "any",
    }
    notes = " ".join(run.report_data["data"]["notes"])
    assert "ha 100%" in notes and "are in another language or script than the rows" in notes
    assert "How often the filters are wrong" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
