"""`concepts: auto`: a short list of concepts that a model names, checked before anybody is to rely on it.

The model is shown texts, clusters of clauses, and texts of a label (and those a classifier gets wrong) beside others.
A name that came of single texts has to come again of the clauses nearest to it, with a definition. Names that mean the
same are merged, names of labels left out, and what two readings do not answer alike is dropped.
A dozen at most are left, those first that go most with the label. Without a model, or where none of its names passes,
the words of the clusters are what there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.languages import N_NOTED, find_languages
from counterpoise.core.records import Records
from counterpoise.core.splits import assign_folds, sample_by_rank
from counterpoise.llm import ChatClient, ChatRequest
from counterpoise.scorers.base import cross_fit
from counterpoise.scorers.concepts.associations import measure_associations
from counterpoise.scorers.concepts.clusters import Cluster, find_clusters
from counterpoise.scorers.concepts.discovery import (
    MOST_CONCEPTS,
    FoundConcept,
    merge_names,
    name_by_words,
)
from counterpoise.scorers.concepts.languages import ENGLISH
from counterpoise.scorers.concepts.naming import (
    ask_for_names,
    make_requests,
    show_clusters,
    show_labels,
    show_nearest,
)
from counterpoise.scorers.concepts.passages import Passages, make_passages, split_passages
from counterpoise.scorers.concepts.readings import keep_different, read_concepts
from counterpoise_retrievers.encoders import Encoder

MOST_TEXTS = 5_000
"""Texts that are looked at; of more a part, drawn by hash."""

N_TEXTS = 60
"""Texts whose topics a model is asked for, one by one."""

_N_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What concepts are proposed from.

    Args:
        records: n labelled rows.
        vectors: (n, d) of their texts.
        clauses: (m,) of the texts.
        passages: vectors and owners of these.
        clusters: of the clauses.
        encoder: of texts and clauses.
    """

    records: Records
    vectors: NDArray[np.float32]
    clauses: tuple[str, ...]
    passages: Passages
    clusters: tuple[Cluster, ...]
    encoder: Encoder


@dataclass(frozen=True, slots=True)
class Proposed:
    """A list of concepts, those first that go most with the label.

    Args:
        concepts: the list, a dozen at most.
        is_checked: whether a model named them and two readings agree; else they are words of clusters.
        note: how it came about, a sentence.
    """

    concepts: tuple[FoundConcept, ...]
    is_checked: bool
    note: str


def look_around(records: Records, vectors: NDArray[np.float32], encoder: Encoder) -> Surroundings:
    """Cut texts into clauses and cluster these; of more than 5,000 texts a part."""
    kept = np.sort(sample_by_rank(records.ids, MOST_TEXTS, "concepts"))
    few, texts = records.take(kept), [str(records.texts[row]) for row in kept]
    codes = find_languages([texts[row] for row in sample_by_rank(texts, N_NOTED, "languages")]) or ENGLISH
    clauses = tuple(piece for text in texts for piece in split_passages(text, codes))
    passages = make_passages(texts, vectors[kept], encoder, codes)
    clusters = find_clusters(clauses, passages, codes)
    return Surroundings(few, vectors[kept], clauses, passages, tuple(clusters), encoder)


def propose_by_words(around: Surroundings) -> Proposed:
    """The words that set clusters apart; no model is asked."""
    found = tuple(name_by_words(around.clusters))
    return Proposed(found, is_checked=False, note="These are words of clusters: no model was asked.")


def list_requests(around: Surroundings, key: str, n_texts: int = N_TEXTS) -> list[ChatRequest]:
    """What a model is asked before its names are checked.

    Args:
        around: the data.
        key: of the draws.
        n_texts: whose topics are asked for one by one.
    """
    records = around.records
    texts = [str(records.texts[row]) for row in sample_by_rank(records.ids, n_texts, "discovery")]
    is_wrong = np.zeros(len(records), dtype=np.int64)
    folds = assign_folds(records, _N_FOLDS, f"{key}:folds")
    if len(np.unique(folds)) > 1 and len(np.unique(records.labels)) > 1:
        said, _ = cross_fit(around.vectors, records.labels, folds, len(records.label_names))
        is_wrong = (said.argmax(axis=1) != records.labels).astype(np.int64)
    evidence = show_clusters(around.clusters, around.clauses, around.passages)
    return make_requests([*evidence, *show_labels(records, is_wrong, f"{key}:concepts")], texts)


async def propose_by_model(
    chat: ChatClient, around: Surroundings, key: str, *, n_texts: int = N_TEXTS, taboo: Sequence[str] = ()
) -> Proposed:
    """Concepts that a model names and two readings agree on; words of clusters where there are none.

    Args:
        chat: the way to the model.
        around: the data.
        key: of the draws.
        n_texts: whose topics are asked for one by one.
        taboo: what is no concept, beside the names of the labels: their descriptions.
    """
    said = await ask_for_names(chat, list_requests(around, key, n_texts))
    labels = tuple(dict.fromkeys((*around.records.label_names, *taboo)))
    undefined = [one.name for one in merge_names(said, around.encoder, labels) if not one.definition]
    nearest = show_nearest(undefined, around.clauses, around.passages, around.encoder)
    said += await ask_for_names(chat, make_requests(nearest, ()))
    found = [one for one in merge_names(said, around.encoder, labels) if one.definition]
    readings = await read_concepts(chat, around.records, around.passages, around.encoder, found, key)
    kept = keep_different(readings)[:MOST_CONCEPTS]
    n_kept = "one concept" if len(kept) == 1 else f"{len(kept)} concepts"
    n_replies = sum(map(bool, said))
    n_read = f"{len(found)} names from {n_replies} replies of {chat.name}, {len(readings)} of them read twice"
    if not kept:
        note = f"Words of clusters: {n_read}, and none is answered alike by two readings."
        return replace(propose_by_words(around), note=note)
    concepts = {one.concept.name: one.concept.definition for one in kept}
    strengths = measure_associations(around.records, around.passages, concepts, around.encoder)
    listed = [
        replace(
            one.concept,
            note=f"{one.share:.0%} of the texts; two readings agree at kappa {one.kappa:.2f}; "
            f"with the label V {strengths[one.concept.name]:.2f}",
        )
        for one in kept
    ]
    listed.sort(key=lambda concept: (-round(strengths[concept.name], 6), concept.name))
    return Proposed(tuple(listed), is_checked=True, note=f"{n_kept}: {n_read}.")
