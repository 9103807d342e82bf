"""Data sets with labels and people's concepts: CEBaB's reviews in English, SemEval's in Dutch.

The Dutch one is one file of a public repository by commit and hash; none of it is kept here (see `foreign_sets`). A
review mentions a concept where one of its opinions has its category; its label is what most of its opinions are.

Papers: Abraham et al. (2022) CEBaB. Pontiki et al. (2016) SemEval-2016 Task 5: Aspect Based Sentiment Analysis.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from counterpoise.core.records import Records
from counterpoise.core.splits import keyed_rank
from evals.common import find_file, read_jsonl
from evals.foreign_sets import PinnedFile
from evals.judges import read_truth
from evals.scripted_concepts import RESTAURANT_TOPICS, TopicWords

LABELS = ("negative", "positive")
MOST_EDITS = 3
QUICK_ROWS = 200

DUTCH = PinnedFile(
    "semeval2016_dutch.xml",
    "davidsbatista/Aspect-Based-Sentiment-Analysis",
    "1d9c8ec1131993d924e96676fa212db6b53cb870",
    "datasets/ABSA-SemEval2016/Training_Data/restaurants_dutch_training.xml",
    "f047936e562df0181ce8dc16fc39455205591330dfdd6eec2a49a77218672630",
)

DUTCH_CATEGORIES = {"FOOD": "eten", "SERVICE": "bediening", "AMBIENCE": "sfeer", "DRINKS": "drank"}
"""Category of the file -> name of the topic."""

DUTCH_TOPICS = (
    TopicWords(
        "eten",
        "wat er gegeten werd en hoe het smaakte",
        (
            "eten",
            "gerecht*",
            "lekker*",
            "smaak*",
            "vlees",
            "vis",
            "dessert*",
            "keuken",
            "maaltijd*",
            "menu*",
            "kip",
            "frietjes",
        ),
    ),
    TopicWords(
        "bediening",
        "obers en personeel en hoe zij gasten behandelden",
        ("bediening", "personeel", "ober*", "service", "vriendelijk*", "onthaal", "bediend", "gastvr*"),
    ),
    TopicWords(
        "sfeer",
        "de sfeer en inrichting van de zaak",
        ("sfeer*", "interieur", "inrichting", "gezellig*", "decor", "kader", "uitzicht", "terras", "muziek"),
    ),
    TopicWords("drank", "wijn, bier en andere dranken", ("wijn*", "bier*", "drank*", "koffie", "aperitief*")),
    TopicWords("prijs", "wat het kostte", ("prijs*", "prijzen", "duur*", "goedkoop", "rekening", "euro")),
    TopicWords("wachten", "hoe lang gasten wachtten", ("wachten", "wacht*", "minuten", "uur", "lang")),
    TopicWords("reservatie", "een tafel reserveren", ("reserv*", "gereserveerd")),
    TopicWords("ligging", "waar het ligt", ("ligging", "gelegen", "centrum", "parking", "strand", "zee")),
    TopicWords("tafels", "tafels en stoelen", ("tafel*", "stoel*", "plaats*")),
    TopicWords("porties", "hoeveel er op het bord lag", ("portie*", "bord*", "groot", "klein*")),
)


@dataclass(frozen=True)
class ConceptSet:
    """Texts with a label, and what people said of some concepts.

    Args:
        records: n rows by id.
        truth: by concept: text -> 1 or 0.
        topics: what the scripted model has words for, these concepts among them.
    """

    records: Records
    truth: Mapping[str, Mapping[str, int]]
    topics: tuple[TopicWords, ...]

    @property
    def definitions(self) -> dict[str, str]:
        """People's concepts with the scripted model's definitions."""
        return {topic.name: topic.definition for topic in self.topics if topic.name in self.truth}


class Loader(Protocol):
    """Reads a data set from the folder of data; a small part where `quick`."""

    def __call__(self, folder: Path, *, quick: bool = False) -> ConceptSet:
        """The data set.

        Raises:
            MissingDataError: it is not there.
        """
        ...


def load_cebab(folder: Path, *, quick: bool = False) -> ConceptSet:
    """Reviews of one or two stars against four or five, of which people said of every concept whether it is there."""
    names, stars = ("food", "service", "ambiance", "noise"), {"1": 0, "2": 0, "4": 1, "5": 1}
    rows = read_jsonl(find_file(folder, "cebab/train_inclusive.jsonl.gz"))
    rows = [
        row
        for row in rows
        if str(row["review_majority"]) in stars and all(read_truth(row[name]) >= 0 for name in names)
    ]
    edits: Counter[str] = Counter()
    kept = []
    for place in keyed_rank([str(row["id"]) for row in rows], "auto_concepts"):
        row = rows[place]
        edits[row["original_id"]] += 1
        if edits[row["original_id"]] <= MOST_EDITS:
            kept.append(row)
    kept = kept[:QUICK_ROWS] if quick else kept
    texts, labels = [str(row["text"]) for row in kept], [stars[str(row["review_majority"])] for row in kept]
    truth = {name: {str(row["text"]): read_truth(row[name]) for row in kept} for name in names}
    return ConceptSet(make_records(texts, labels), truth, RESTAURANT_TOPICS)


def load_dutch(folder: Path, *, quick: bool = False) -> ConceptSet:
    """300 reviews in Dutch, of Flemish restaurants."""
    root = ElementTree.fromstring(DUTCH.read(folder))
    texts, labels = [], []
    truth: dict[str, dict[str, int]] = {name: {} for name in DUTCH_CATEGORIES.values()}
    for review in root.iter("Review"):
        opinions = list(review.iter("Opinion"))
        polarities = Counter(str(one.get("polarity")) for one in opinions)
        text = " ".join(sentence.findtext("text") or "" for sentence in review.iter("sentence"))
        if polarities["positive"] == polarities["negative"]:
            continue
        texts.append(text)
        labels.append(int(polarities["positive"] > polarities["negative"]))
        said = {str(one.get("category")).split("#")[0] for one in opinions}
        for category, name in DUTCH_CATEGORIES.items():
            truth[name][text] = int(category in said)
    n = QUICK_ROWS if quick else len(texts)
    return ConceptSet(make_records(texts[:n], labels[:n]), truth, DUTCH_TOPICS)


def make_records(texts: Sequence[str], labels: Sequence[int]) -> Records:
    """Records with a number for an id."""
    column = np.empty(len(texts), dtype=object)
    column[:] = list(texts)
    ids = np.array([f"row {row:05d}" for row in range(len(texts))], dtype=object)
    return Records(ids, column, np.array(labels, dtype=np.int64), LABELS)


SETS: dict[str, Loader] = {"cebab": load_cebab, "semeval_dutch": load_dutch}
