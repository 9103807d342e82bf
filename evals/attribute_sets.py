"""Data sets with an attribute that goes with the label, and a server that writes for their cells.

A set gives draws: training rows in which some cells of label and value are thin, unseen real rows that the server hands
out, and test rows. The server does as it is told, but every fifth of its texts has another label or another value than
was asked for, so what is right in what a run accepted is known.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoise.core.splits import keyed_hash, keyed_rank
from evals.common import find_file, read_csv

Row = tuple[str, str, str]
"""Text, label, value of the attribute ("" for none)."""

_SHOWN = re.compile(r"^- (.*)$", re.MULTILINE)
_VALUE = re.compile(r"; (\w+): (.+?)\. Records:|; (\w+): (.+?):\n")


@dataclass(frozen=True)
class Draw:
    """One draw of a set.

    Args:
        train: rows of the job.
        unseen: rows that the server hands out.
        test: rows that students are scored on, as many in every cell.
    """

    train: Sequence[Row]
    unseen: Sequence[Row]
    test: Sequence[Row]


@dataclass(frozen=True)
class AttributeSet:
    """A set and what is told of it.

    Args:
        name: of the set.
        attribute: name of the column.
        labels: label -> one line about it.
        rows: all rows.
        sizes: (label, value) -> training rows; cells that are not named have none.
        n_test: test rows of each cell.
        budget: tokens of a run.
    """

    name: str
    attribute: str
    labels: Mapping[str, str]
    rows: Sequence[Row]
    sizes: Mapping[tuple[str, str], int]
    n_test: int
    budget: int

    def draw(self, seed: int) -> Draw:
        """Rows by keyed hash; a text stands in one part only."""
        train: list[Row] = []
        unseen: list[Row] = []
        test: list[Row] = []
        for (label, value), size in sorted(self.sizes.items()):
            members = sorted({row for row in self.rows if row[1:] == (label, value)})
            ranked = [members[place] for place in keyed_rank([row[0] for row in members], f"draw {seed}")]
            n_test = self.n_test if value else 0
            test += ranked[:n_test]
            train += ranked[n_test : n_test + size]
            unseen += ranked[n_test + size :]
        return Draw(train, unseen, test)


@dataclass(frozen=True)
class CellWriter:
    """What the server says: a row of the label and value that stand last in a prompt, every fifth of another cell.

    Asked for a label alone, it follows the rows that it is shown: their values are those of what it writes.

    Args:
        labels: label -> one line about it.
        train: rows that it may be shown.
        unseen: rows to hand out.
        every: one text in so many is wrong; 0 for none.
        key: another key hands out other rows.
    """

    labels: Mapping[str, str]
    train: Mapping[str, Row]
    unseen: Sequence[Row]
    every: int
    key: str

    def write(self, prompt: str, index: int) -> str:
        """One text."""
        label = max(self.labels, key=lambda name: prompt.rfind(self.labels[name]))
        head = prompt[prompt.rfind(self.labels[label]) :]
        match = _VALUE.search(head)
        shown = [self.train[text][2] for text in _SHOWN.findall(head) if text in self.train] or [""]
        value = (match[2] or match[4]) if match else shown[index % len(shown)]
        if self.every and keyed_hash(f"{self.key}:wrong:{index}", prompt) % self.every == 0:
            if not value or keyed_hash(f"{self.key}:which:{index}", prompt) % 2:
                label = next(name for name in sorted(self.labels) if name != label)
            else:
                others = sorted({row[2] for row in self.unseen if row[2] not in ("", value)})
                value = others[keyed_hash(f"{self.key}:value:{index}", prompt) % len(others)]
        fitting = [row for row in self.unseen if row[1] == label and (not value or row[2] == value)]
        return fitting[keyed_hash(f"{self.key}:row:{index}", prompt) % len(fitting)][0]

    @staticmethod
    def choose(prompt: str) -> str:
        """It judges nothing."""
        return "A"


_PLACES = ("hotel", "restaurant", "museum", "airline", "shop", "clinic")
_SUBJECTS: Mapping[str, Sequence[str]] = {
    "hotel": ("room", "bed", "lobby", "pillow", "night porter", "corridor", "balcony"),
    "restaurant": ("soup", "waiter", "menu", "dessert", "wine", "table", "chef"),
    "museum": ("exhibition", "guide", "painting", "gallery", "ticket desk", "sculpture", "audio tour"),
    "airline": ("flight", "cabin crew", "seat", "boarding", "luggage", "take-off", "legroom"),
    "shop": ("counter", "cashier", "shelf", "parcel", "price tag", "refund", "fitting room"),
    "clinic": ("nurse", "waiting room", "doctor", "prescription", "appointment", "check-up", "reception"),
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "hotel": {
        "good": "cosy spotless airy plush restful welcoming",
        "bad": "draughty mouldy cramped noisy musty lumpy",
    },
    "restaurant": {
        "good": "tasty crisp juicy fragrant generous tender",
        "bad": "greasy burnt soggy bland stale salty",
    },
    "museum": {
        "good": "fascinating vivid bright subtle learned rare",
        "bad": "tedious dusty crowded outdated gloomy dull",
    },
    "airline": {
        "good": "punctual smooth roomy attentive swift calm",
        "bad": "delayed bumpy jammed surly chaotic cancelled",
    },
    "shop": {
        "good": "helpful tidy affordable stylish varied honest",
        "bad": "pushy empty shoddy pricey broken misleading",
    },
    "clinic": {
        "good": "gentle reassuring competent caring prompt kind",
        "bad": "painful careless brusque endless dirty wrong",
    },
}
_TIMES = (
    "on Monday",
    "last week",
    "in June",
    "at noon",
    "this morning",
    "over Easter",
    "yesterday",
    "in winter",
)
_NOISE = 0.15


def make_up(n: int = 260) -> AttributeSet:
    """Sentences of guests about six kinds of places, each with praise and blame of its own; some are hardly blamed."""
    source = random.Random(5)
    rows: dict[str, Row] = {}
    for place in _PLACES:
        words = {label: _WORDS[place][label].split() for label in ("good", "bad")}
        for label, other in (("good", "bad"), ("bad", "good")):
            found: set[str] = set()
            while len(found) < n:
                first, second = source.sample(list(_SUBJECTS[place]), 2)
                said = [source.choice(words[other if source.random() < _NOISE else label]) for _ in range(2)]
                text = f"The {first} was {said[0]} and the {second} {said[1]} {source.choice(_TIMES)}."
                if text not in rows:
                    found.add(text)
                    rows[text] = (text, label, place)
    sizes = {("good", place): 60 for place in _PLACES}
    sizes |= dict(zip([("bad", place) for place in _PLACES], (30, 30, 24, 10, 6, 4), strict=True))
    lines = {"good": "Praise by visitors", "bad": "Complaints by visitors"}
    return AttributeSet("made_up", "place", lines, tuple(rows.values()), sizes, 40, 12_000)


_TERMS = ("american", "canadian", "christian", "elderly", "gay", "muslim", "paralyzed", "young")
_THIN = ("gay", "muslim", "paralyzed")


def load_toxicity(folder: Path) -> AttributeSet:
    """Templates with one of eight identity terms; three terms hardly ever stand in a text that is not toxic."""
    path = find_file(folder, "wiki_toxicity_identity/identity_templates_sample.csv.gz")
    rows = [(row["text"], row["label"], find_term(row["text"])) for row in read_csv(path)]
    sizes = {("toxic", term): 36 for term in _TERMS}
    sizes |= {("nontoxic", term): 1 if term in _THIN else 3 for term in _TERMS}
    lines = {
        "toxic": "Toxic comments that insult or attack people",
        "nontoxic": "Harmless comments that are kind to people",
    }
    return AttributeSet("wiki_toxicity_identity", "term", lines, rows, sizes, 25, 12_000)


def find_term(text: str) -> str:
    """The one identity term of the eight that a text has; "" for none or several."""
    words = set(re.findall(r"[a-z]+", text.lower()))
    found = [term for term in _TERMS if term in words]
    return found[0] if len(found) == 1 else ""
