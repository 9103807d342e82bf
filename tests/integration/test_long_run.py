"""Whole runs on records of 300 words in paragraphs: they are written and edited whole, and pass the filters."""

from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import counterpoise
from tests.integration.helpers import make_cache, make_job
from tests.servers import Body, LocalServer, draw_seed, hash_body

pytestmark = [pytest.mark.assets, pytest.mark.processes]

WORDS = {
    "good": ("lovely", "friendly", "superb", "excellent", "charming", "delightful", "splendid", "warm"),
    "bad": ("awful", "rude", "dreadful", "miserable", "terrible", "shabby", "disgusting", "cold"),
}
LINES = {"good": "Praise by guests", "bad": "Complaints by guests"}
NOUNS = {
    "restaurant": ("soup", "waiter", "lamb", "terrace", "wine list", "dessert", "chef", "risotto"),
    "hotel": ("pillow", "lobby", "balcony", "night porter", "bathtub", "breakfast buffet", "lift", "bedroom"),
    "cinema": (
        "film",
        "leading actor",
        "screenplay",
        "camera work",
        "soundtrack",
        "sequel",
        "director",
        "villain",
    ),
    "railway": (
        "train",
        "conductor",
        "dining car",
        "platform",
        "timetable",
        "ticket office",
        "seat",
        "announcement",
    ),
    "garden show": (
        "tulip bed",
        "rose arch",
        "greenhouse",
        "fountain",
        "herb garden",
        "gardener",
        "orchid",
        "maze",
    ),
    "clinic": ("nurse", "waiting room", "surgeon", "prescription", "ward", "dentist", "check-up", "X-ray"),
    "football club": (
        "goalkeeper",
        "stadium",
        "referee",
        "second half",
        "trainer",
        "penalty",
        "fan shop",
        "derby",
    ),
}
GUESTS = (
    "my sister",
    "our neighbour",
    "a colleague",
    "the children",
    "an old friend",
    "grandmother",
    "the driver",
)
TIMES = (
    "on Sunday",
    "after the play",
    "late in May",
    "before noon",
    "at New Year",
    "last Tuesday",
    "in the rain",
)
FRAMES = (
    "The {noun} was {word}, or so we told {guest} {time}, and nobody in the family has forgotten it since then.",
    "{time}, says {guest}, a {word} {noun} is the least that one can expect of a {where} of this size.",
    "What {guest} called a {word} {noun} had cost us a good part of the savings that we keep for holidays.",
    "Whoever comes to this {where} {time} should know how {word} its {noun} has become over the years.",
    "I had read about the {noun} long before, but how {word} it would be {time} no letter of {guest} could say.",
    "Had {guest} not been with us {time}, the {noun} of the {where} would have seemed even more {word} than it did.",
)
SENTENCES, PARAGRAPH = 16, 4


def say(source: random.Random, label: str) -> str:
    """About 300 words in paragraphs; one sentence in twenty is of the other kind."""
    where = source.choice(
        list(NOUNS)
    )  # a text speaks of one thing, so that no two are near-copies of one another
    sentences = []
    for _ in range(SENTENCES):
        kind = label if source.random() < 0.95 else next(one for one in WORDS if one != label)
        said = source.choice(FRAMES).format(
            noun=source.choice(NOUNS[where]),
            word=source.choice(WORDS[kind]),
            guest=source.choice(GUESTS),
            time=source.choice(TIMES),
            where=where,
        )
        sentences.append(said[0].upper() + said[1:])
    parts = [" ".join(sentences[place : place + PARAGRAPH]) for place in range(0, SENTENCES, PARAGRAPH)]
    return "\n\n".join(parts)


def turn(text: str, label: str) -> str:
    """The text with its telling words changed for those of another label."""
    other = next(one for one in WORDS if one != label)
    for before, after in zip(WORDS[other], WORDS[label], strict=True):
        text = re.sub(rf"\b{before}\b", after, text)
    return text


def reply(body: Body, index: int) -> str:
    """What is asked for: an edit of the record, or new ones, several as JSON where there is a schema."""
    source = random.Random(draw_seed(hash_body(body), index))
    messages = body.get("messages") or [{"content": body.get("prompt", "")}]
    asked = str(messages[-1]["content"])
    if "capital letters" in asked:
        return asked.rsplit(":", 1)[1].strip().upper()
    label = "bad" if f"becomes one of: {LINES['bad']}" in asked or asked.startswith(LINES["bad"]) else "good"
    if found := re.search(r"\nRecord:\n(#+)\n(.*)\n\1\n\nChange", asked, re.DOTALL):
        return f"{found[1]}\n{turn(found[2], label)}\n{found[1]}"
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema is None:
        return say(source, label)
    texts: list[object] = [say(source, label) for _ in range(schema["properties"]["records"]["minItems"])]
    if len(texts) > 1 and "weather" not in asked and source.random() < 0.3:
        texts[1] = None  # one entry is none
    return json.dumps({"records": texts})


def write_rows(path: Path, counts: dict[tuple[str, str], int], seed: int) -> None:
    source = random.Random(seed)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("review", "stars", "source"))
        for (label, where), count in counts.items():
            writer.writerows((say(source, label), label, where) for _ in range(count))


@pytest.mark.parametrize("action", ["minority_text", "counterfactual_edit"])
def test_records_and_edits_of_300_words_are_written_and_pass(tmp_path: Path, action: str) -> None:
    counts = {("good", "web"): 36, ("good", "print"): 12, ("bad", "print"): 14, ("bad", "web"): 2}
    write_rows(tmp_path / "reviews.csv", counts, 0)
    write_rows(tmp_path / "test.csv", {("good", "web"): 10, ("bad", "web"): 10}, 1)
    make_cache(tmp_path / "cache")
    asked = Counter[str]()

    def draw(body: Body, index: int) -> str:
        """The same question is answered in other words when it is asked again."""
        asked[f"{hash_body(body)}:{index}"] += 1
        return reply(body, index + 100 * asked[f"{hash_body(body)}:{index}"])

    with LocalServer(draw) as server:
        job = make_job(
            tmp_path,
            server,
            "run",
            labels=LINES,
            attributes=["source"],
            rounds=2,
            actions=[action],
            students=["words"],
            treatments=["nothing", "logit_adjustment"],
            writers=[{"name": "plain"}, {"name": "terse", "instructions": "Be terse.", "temperature": 1.1}],
            budget=3_000_000,
        )
        counterpoise.run(job)
    rows = [
        row
        for path in (tmp_path / "run" / "dataset").rglob("*.parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    report = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    made = [row for row in rows if row["provenance"]["kind"] != "original"]
    tried = sum(item["proposed"] for turn in report["rounds"] for item in turn["items"])
    refused = report["verdicts"]["rejected"]
    assert len(made) >= 10 and len(made) > 0.5 * tried, refused
    lengths = [len(row["review"].split()) for row in made]
    assert min(lengths) > 250 and max(lengths) < 450
    assert all(row["review"].count("\n\n") == 3 for row in made)
    assert not {"too_short", "too_long", "cut_off"} & set(refused)
    if action == "counterfactual_edit":
        return
    assert refused["unusable_reply"]
    assert [one["name"] for one in report["writers"]] == ["plain", "terse"]
    assert all(one["accepted"] for one in report["writers"])
    written = {row["provenance"]["prompt"].partition("@")[0] for row in made}
    assert written <= {"minority_records/plain", "minority_records/terse"} | {
        "minority_instruction/plain",
        "minority_instruction/terse",
    }
