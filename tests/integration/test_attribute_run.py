"""A whole run with an attribute and a writer whose every fifth text is wrong: named cells are served, and rightly."""

from __future__ import annotations

import csv
import random
from collections import Counter
from pathlib import Path

import pytest

import counterpoise
from tests.integration.helpers import make_cache, make_job
from tests.servers import Body, LocalServer, draw_seed, hash_body

pytestmark = [pytest.mark.assets, pytest.mark.processes]

NOUNS = {
    "hotel": ("bed", "lobby", "pillow", "balcony", "night porter", "corridor"),
    "clinic": ("nurse", "doctor", "waiting room", "prescription", "check-up", "ward"),
}
WORDS = {
    "good": ("lovely", "friendly", "superb", "excellent", "charming", "delightful"),
    "bad": ("awful", "rude", "dreadful", "miserable", "terrible", "shabby"),
}
LINES = {"good": "Praise by guests", "bad": "Complaints by guests"}
TIMES = ("on Monday", "in June", "at noon", "over Easter", "last week", "in winter", "at dawn", "yesterday")


def say(source: random.Random, label: str, where: str) -> str:
    first, second = source.sample(NOUNS[where], 2)
    said = source.sample(WORDS[label], 2)
    when = f"{source.choice(TIMES)}, visit {source.randrange(1000)}"
    return f"The {first} was {said[0]} and the {second} {said[1]} {when}."


def read_truth(text: str) -> tuple[str, str]:
    """What a text of `say` really is."""
    label = max(WORDS, key=lambda name: sum(word in text for word in WORDS[name]))
    return label, max(
        NOUNS, key=lambda name: sum(f"The {noun}" in text or f"the {noun}" in text for noun in NOUNS[name])
    )


def reply(body: Body, index: int) -> str:
    """What the heading that stands last asks for; of every fifth text the label or the place is another."""
    messages = body.get("messages") or [{"content": body.get("prompt", "")}]
    asked = str(messages[-1]["content"])
    if "capital letters" in asked:
        return asked.rsplit(":", 1)[1].strip().upper()
    label = max(LINES, key=lambda name: asked.rfind(LINES[name]))
    where = next((name for name in NOUNS if f"; where: {name}" in asked), "hotel")
    source = random.Random(draw_seed(hash_body(body), index))
    if draw_seed("wrong", hash_body(body), index) % 5 == 0:
        if source.random() < 0.5:
            label = "bad" if label == "good" else "good"
        else:
            where = "clinic" if where == "hotel" else "hotel"
    return say(source, label, where)


def test_named_cells_are_served_beside_labels_and_what_is_accepted_is_right(tmp_path: Path) -> None:
    source = random.Random(4)
    sizes = {("good", "hotel"): 40, ("good", "clinic"): 40, ("bad", "hotel"): 24, ("bad", "clinic"): 4}
    cells = {name: [cell for cell, n in sizes.items() for _ in range(n)] for name in ("reviews.csv",)}
    cells["test.csv"] = [cell for cell in sizes for _ in range(8)]
    for name, rows in cells.items():
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["review", "stars", "where"])
            writer.writerows((say(source, label, where), label, where) for label, where in rows)
    make_cache(tmp_path / "cache")
    with LocalServer(reply) as server:
        # Of these tokens labels alone took all, while they came first.
        job = make_job(tmp_path, server, "run", rounds=None, budget=9_000, attributes=["where"], labels=LINES)
        run = counterpoise.run(job)
    added = [row for row in run.dataset["train"] if row["provenance"]["kind"] == "minority"]
    named = [row for row in added if row["where"]]
    right = [(row["stars"], row["where"]) == read_truth(row["review"]) for row in named]
    served = Counter((row["stars"], row["where"]) for row in named)
    assert served["bad", "clinic"] >= 4, "the thinnest named cell has at least doubled"
    labels = {row["cell"]: row["need"] for row in run.after if row["cell"] in LINES}
    assert max(labels.values()) <= 3, "the label was served, too: by records of its named cells"
    assert sum(right) >= 0.8 * len(right)
    reasons = run.report_data["verdicts"]["rejected"]
    assert reasons.get("attribute_contradicted", 0) > 0
    (line,) = [
        one for one in run.report_data["scorers"] if one["question"].startswith("Which where has the text?")
    ]
    assert line["role"] == "used" and line["auc"] > 0.9
    # What is still short is named, each cell of it, and the run ended for a reason.
    short = {row["cell"]: row["need"] for row in run.after if row["need"]}
    assert {cell["cell"]: cell["need"] for cell in run.report_data["ending"]["short"]} == short
    assert (run.stopped == "the data is balanced.") == (not short)
