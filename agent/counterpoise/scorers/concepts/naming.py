"""What a language model is shown so that it names concepts: texts, clusters, what goes with a label, what goes wrong.

Topics of single texts say what is mentioned often. Clauses of one cluster say what lies together. Texts of one label
beside texts of the others, and those that a classifier gets wrong beside those it gets right, say what is mentioned
more on one side than on the other, and that is where a shortcut would show.

Paper: Zhong et al. (2022) Describing Differences between Text Distributions with Natural Language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise.core.records import Integers, Records
from counterpoise.core.splits import sample_by_rank
from counterpoise.llm import ChatClient, ChatRequest, answer_most
from counterpoise.llm.prompts import load_prompt
from counterpoise.scorers.concepts.clusters import Cluster
from counterpoise.scorers.concepts.discovery import LONGEST_DEFINITION, Naming, clean_name
from counterpoise.scorers.concepts.passages import Passages
from counterpoise_retrievers.encoders import Encoder

N_SHOWN = 8
"""Excerpts on each side of a question."""

MOST_LABELS = 6
"""Labels whose texts, right and wrong ones, are shown."""

_LONGEST_EXCERPT = 400


@dataclass(frozen=True, slots=True)
class Excerpts:
    """Excerpts in which a model is to find a common topic; `others` are those that mention it less, or none."""

    shown: tuple[str, ...]
    others: tuple[str, ...] = ()


def show_clusters(clusters: Sequence[Cluster], clauses: Sequence[str], passages: Passages) -> list[Excerpts]:
    """The clauses in the middle of each cluster, of different texts."""
    found = []
    for cluster in clusters:
        _, first = np.unique(passages.owners[cluster.clauses], return_index=True)
        nearest = cluster.clauses[np.sort(first)[:N_SHOWN]]
        found.append(Excerpts(tuple(clauses[int(place)][:_LONGEST_EXCERPT] for place in nearest)))
    return found


def show_nearest(
    names: Sequence[str], clauses: Sequence[str], passages: Passages, encoder: Encoder
) -> list[Excerpts]:
    """The clauses nearest to each name, of different texts."""
    if not names:
        return []
    cosines = passages.vectors @ encoder.encode(list(names)).T
    found = []
    for column in cosines.T:
        order = np.argsort(-column, kind="stable")
        _, first = np.unique(passages.owners[order], return_index=True)
        nearest = order[np.sort(first)[:N_SHOWN]]
        found.append(Excerpts(tuple(clauses[int(place)][:_LONGEST_EXCERPT] for place in nearest)))
    return found


def show_labels(records: Records, is_wrong: Integers, key: str) -> list[Excerpts]:
    """Texts of a label beside those of the others, and those of it that go wrong beside those that do not.

    Args:
        records: the rows.
        is_wrong: (n,) 1 where a classifier that was not shown the row gets it wrong.
        key: of the draws.

    Returns:
        For at most six labels, those with the most errors.
    """
    n_wrong = np.bincount(records.labels, weights=is_wrong, minlength=len(records.label_names))
    sizes = np.bincount(records.labels, minlength=len(records.label_names))
    found = []
    for label in np.lexsort((-sizes, -n_wrong))[:MOST_LABELS]:
        mine = records.labels == label
        found.append(_contrast(records, mine, ~mine, f"{key}:label {label}"))
        found.append(
            _contrast(records, mine & (is_wrong == 1), mine & (is_wrong == 0), f"{key}:wrong {label}")
        )
    return [one for one in found if len(one.shown) > 1 and one.others]


def _contrast(records: Records, one: Any, other: Any, key: str) -> Excerpts:
    sides = []
    for mask in (one, other):
        rows = np.flatnonzero(mask)
        drawn = rows[sample_by_rank(records.ids[rows], N_SHOWN, key)]
        sides.append(tuple(str(records.texts[row])[:_LONGEST_EXCERPT] for row in drawn))
    return Excerpts(*sides)


def make_requests(evidence: Sequence[Excerpts], texts: Sequence[str]) -> list[ChatRequest]:
    """One request a piece of evidence and a text."""
    names, topics = load_prompt("concept_naming"), load_prompt("concept_discovery")
    return [
        *(names.render(shown=list(one.shown), others=list(one.others)) for one in evidence),
        *(topics.render(text=text) for text in texts),
    ]


async def ask_for_names(chat: ChatClient, requests: Sequence[ChatRequest]) -> list[list[Naming]]:
    """The topics that each reply names; none where it cannot be read."""
    said: list[list[Naming]] = [[] for _ in requests]
    async for outcome in answer_most(chat, requests):
        parsed = outcome.completions[0].parsed if outcome.completions else None
        if parsed:
            said[outcome.index] = [one for topic in parsed["topics"] if (one := _read(topic)).name]
    return said


def _read(topic: Any) -> Naming:
    if isinstance(topic, str):
        return Naming(clean_name(topic))
    definition = " ".join(str(topic["definition"]).split()).strip(" .")
    return Naming(clean_name(topic["name"]), definition[:LONGEST_DEFINITION])
