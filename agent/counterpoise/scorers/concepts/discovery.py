"""What could be a shortcut in a data set: concepts proposed from its own texts, for the user to edit.

Clauses fall into clusters, and the words that set a cluster apart name it: that takes no model. A language model names
the topics of texts and of groups of texts (`naming`), names that mean the same are merged by their vectors, and those
stay that two readings answer alike (`readings`). What is proposed is a list in a YAML file.

Paper: Zhou et al. (2024) Explore Spurious Correlations at the Concept Level in Language Models for Text Classification.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import yaml

from counterpoise.scorers.concepts.clusters import Cluster
from counterpoise_retrievers.encoders import Encoder

MOST_CONCEPTS = 12
FEWEST_NAMINGS = 2
"""Replies that have to name a concept, in whatever words, before anything is asked about it."""

SAME_NAME = 0.75
"""Cosine of two names from which on they mean the same."""

LONGEST_NAME = 40
LONGEST_DEFINITION = 120
_MOST_WORDS = 3
_NAME = re.compile(r"[^\W\d_][\w' &/-]*")


@dataclass(frozen=True, slots=True)
class FoundConcept:
    """A proposed concept.

    Args:
        name: one to three words.
        definition: a line that says what it is, for the user to make better.
        note: what is known of it, for the user; a part of a sentence.
    """

    name: str
    definition: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Naming:
    """A topic that a model named in one reply; the definition may be empty."""

    name: str
    definition: str = ""


def name_by_words(clusters: Sequence[Cluster]) -> list[FoundConcept]:
    """Concepts named by the words that set clusters apart, each name once."""
    found: dict[str, FoundConcept] = {}
    for cluster in clusters:
        note = f"{cluster.share:.0%} of the texts"
        found.setdefault(cluster.words[0], FoundConcept(cluster.words[0], ", ".join(cluster.words), note))
    return list(found.values())


def clean_name(value: object) -> str:
    """A topic's name as it may stand in a list and in a prompt, in lower case; "" where it is none."""
    name = " ".join(str(value).lower().split()).strip(" .,:;\"'-")
    fits = len(name) <= LONGEST_NAME and len(name.split()) <= _MOST_WORDS and _NAME.fullmatch(name)
    return name if fits else ""


def merge_names(
    said: Sequence[Sequence[Naming]], encoder: Encoder, taboo: Sequence[str] = ()
) -> list[FoundConcept]:
    """Merge names that mean the same; those that two replies have, the most frequent first.

    Args:
        said: the names of each reply.
        encoder: gives the names' vectors; a cosine of 0.75 or more means the same.
        taboo: names of what is no concept, the labels; what means the same as one of them is left out.

    Returns:
        Each with the first definition that was given for it, "" where none was.
    """
    replies = [{one.name: one.definition for one in reversed(names)} for names in said]
    counts: dict[str, int] = {}
    for reply in replies:
        for name in reply:
            counts[name] = counts.get(name, 0) + 1
    order = sorted(counts, key=lambda name: (-counts[name], name))
    if not order:
        return []
    vectors = encoder.encode(order)
    forbidden = encoder.encode(list(taboo)) if taboo else vectors[:0]
    groups: list[list[int]] = []
    for place in range(len(order)):
        if len(forbidden) and (forbidden @ vectors[place]).max() >= SAME_NAME:
            continue
        cosines = np.array([vectors[group[0]] @ vectors[place] for group in groups])
        if len(cosines) and cosines.max() >= SAME_NAME:
            groups[int(cosines.argmax())].append(place)
        else:
            groups.append([place])
    found: list[tuple[int, FoundConcept]] = []
    for group in groups:
        alike = [order[place] for place in group]
        n_replies = sum(any(name in reply for name in alike) for reply in replies)
        if n_replies >= FEWEST_NAMINGS:
            given = (reply[name] for name in alike for reply in replies if reply.get(name))
            found.append((n_replies, FoundConcept(alike[0], next(given, ""))))
    return [concept for _, concept in sorted(found, key=lambda one: (-one[0], one[1].name))]


def write_concepts(found: Sequence[FoundConcept], known: Mapping[str, str]) -> str:
    """The list as YAML for the user to edit, with what is known of each concept in a comment.

    Args:
        found: proposals, best first; a name that stands twice is written once.
        known: concepts that the user has already, written first.
    """
    lines = [
        "# Concepts that texts mention. Keep those that should NOT decide the label, delete the others,",
        "# and make each definition one line that says what is meant.",
    ]
    taken = {name.casefold() for name in known}
    lines += [_write_line(name, definition) for name, definition in known.items()]
    for concept in found:
        if concept.name.casefold() in taken:
            continue
        taken.add(concept.name.casefold())
        lines.append(f"{_write_line(concept.name, concept.definition)}  # {concept.note}")
    return "\n".join(lines) + "\n"


def _write_line(name: str, definition: str) -> str:
    return yaml.safe_dump({name: definition}, allow_unicode=True, width=10_000).strip()
