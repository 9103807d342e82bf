"""What could be a shortcut in a data set: concepts proposed from its own texts, for the user to edit.

Two sources. Clauses fall into clusters, and the words that set a cluster apart name it: no model. A language model is
asked for the topics of a sample of texts, one text a call, and names that mean the same are merged by their vectors.
What is proposed is a list in a YAML file; nothing is labelled before the user has read it.

Paper: Zhou et al. (2024) Explore Spurious Correlations at the Concept Level in Language Models for Text Classification.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import yaml
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import CountVectorizer

from counterpoise.llm import ChatClient, answer_most
from counterpoise.llm.prompts import load_prompt
from counterpoise.scorers.concepts.passages import Passages
from counterpoise.students.linear import find_threads
from counterpoise_retrievers.encoders import Encoder

MOST_CONCEPTS = 12
_FEWEST_TEXTS = 3
_MOST_CLAUSES = 20_000
_SAME_NAME = 0.75
_N_WORDS = 6
_WORD = r"(?u)\b[^\W\d_]{3,}\b"


@dataclass(frozen=True, slots=True)
class FoundConcept:
    """A proposed concept.

    Args:
        name: one or two words.
        definition: a line that says what it is, for the user to make better.
        share: of the texts that mention it, 0..1, roughly.
        source: `clusters` or the model's name.
    """

    name: str
    definition: str
    share: float
    source: str


def find_clusters_of_clauses(clauses: Sequence[str], passages: Passages) -> list[FoundConcept]:
    """Concepts from clusters of clauses, each named by the words that set it apart.

    Args:
        clauses: (m,) the clauses.
        passages: their vectors and owners.
    """
    rows = np.arange(0, len(clauses), max(1, len(clauses) // _MOST_CLAUSES + 1))
    n_clusters = min(MOST_CONCEPTS, len(rows) // 5)
    if n_clusters < 2:
        return []
    vectoriser = CountVectorizer(stop_words="english", min_df=2, token_pattern=_WORD)
    try:
        counts = vectoriser.fit_transform([clauses[int(row)] for row in rows])
    except ValueError:  # no word is left
        return []
    with find_threads().limit(limits=1):
        model = KMeans(n_clusters, n_init=3, random_state=0).fit(passages.vectors[rows])
    words = vectoriser.get_feature_names_out()
    total = np.asarray(counts.sum(axis=0)).ravel() + 1.0
    found = []
    for cluster in range(n_clusters):
        mine = np.flatnonzero(model.labels_ == cluster)
        inside = np.asarray(counts[mine].sum(axis=0)).ravel()
        # Log-odds against the rest with the rest as prior: frequent and particular at once.
        weight = inside * np.log((inside + 0.5) * total.sum() / (total * (inside.sum() + 1.0)))
        best = [str(words[place]) for place in np.argsort(-weight)[:_N_WORDS] if inside[place] >= 2]
        if best:
            share = len(np.unique(passages.owners[rows[mine]])) / max(1, len(passages))
            found.append(FoundConcept(best[0], ", ".join(best), float(share), "clusters"))
    return sorted(_drop_repeated(found), key=lambda concept: (-concept.share, concept.name))


async def ask_for_concepts(chat: ChatClient, texts: Sequence[str]) -> list[Counter[str]]:
    """The topics that a model names in each text; an empty counter where it gave none that could be read."""
    prompt = load_prompt("concept_discovery")
    said: list[Counter[str]] = [Counter() for _ in texts]
    async for outcome in answer_most(chat, [prompt.render(text=text) for text in texts]):
        if outcome.completions and outcome.completions[0].parsed:
            names = [" ".join(str(name).lower().split()) for name in outcome.completions[0].parsed["topics"]]
            said[outcome.index] = Counter({name: 1 for name in names if name})
    return said


def merge_names(said: Sequence[Counter[str]], encoder: Encoder, source: str) -> list[FoundConcept]:
    """Merge names that mean the same; those in at least three texts, the most frequent first.

    Args:
        said: the names of each text.
        encoder: gives the names' vectors; a cosine of 0.75 or more means the same.
        source: the model's name.
    """
    counts: Counter[str] = Counter()
    for names in said:
        counts.update(names.keys())
    order = sorted(counts, key=lambda name: (-counts[name], name))
    if not order:
        return []
    vectors = encoder.encode(order)
    groups: list[list[int]] = []
    heads: list[NDArray[np.float32]] = []
    for place in range(len(order)):
        cosines = np.array([head @ vectors[place] for head in heads])
        if len(cosines) and cosines.max() >= _SAME_NAME:
            groups[int(cosines.argmax())].append(place)
        else:
            groups.append([place])
            heads.append(vectors[place])
    found = []
    for group in groups:
        alike = [order[place] for place in group]
        n_texts = sum(any(name in text for name in alike) for text in said)
        if n_texts >= _FEWEST_TEXTS:
            found.append(FoundConcept(alike[0], ", ".join(alike[:_N_WORDS]), n_texts / len(said), source))
    return sorted(found, key=lambda concept: (-concept.share, concept.name))[:MOST_CONCEPTS]


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
        lines.append(f"{_write_line(concept.name, concept.definition)}  # {concept.share:.0%} of the texts")
    return "\n".join(lines) + "\n"


def _write_line(name: str, definition: str) -> str:
    return yaml.safe_dump({name: definition}, allow_unicode=True, width=10_000).strip()


def _drop_repeated(found: Sequence[FoundConcept]) -> list[FoundConcept]:
    kept: dict[str, FoundConcept] = {}
    for concept in found:
        if concept.name not in kept or kept[concept.name].share < concept.share:
            kept[concept.name] = concept
    return list(kept.values())
