"""What is out of balance in retrieval data: positives a query, suspected false negatives, topics nobody asks of.

Counts and similarities, no language model. A negative is suspected where the encoder scores it above 95% of the
query's lowest positive; which of the suspects answer the query is for judges to say.

Paper: Moreira et al. (2024) "NV-Retriever: Improving text embedding models with effective hard-negative mining".

>>> classify_query("How do I file a return?"), classify_query("0-dimensional biomaterials lack inductive properties.")
('how', 'statement')
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.core.instances import Instance, Passage

SUSPECT_SHARE = 0.95
"""Of the lowest positive's similarity; Moreira et al. leave out what lies above."""

MOST_TOPICS = 50
PASSAGES_A_TOPIC = 40
_QUESTION_WORDS = ("what", "how", "why", "who", "when", "where", "which")
_YES_NO = (
    "is",
    "are",
    "was",
    "were",
    "do",
    "does",
    "did",
    "can",
    "could",
    "should",
    "will",
    "would",
    "has",
    "have",
)

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Group:
    """Instances of one source and one type of query, and how many of their negatives are suspected."""

    source: str
    query_type: str
    n_queries: int
    n_negatives: int
    n_suspects: int

    @property
    def suspect_ratio(self) -> float:
        """Suspected share of the negatives, 0..1."""
        return self.n_suspects / self.n_negatives if self.n_negatives else 0.0


@dataclass(frozen=True)
class Topic:
    """A cluster of passages: how many, how many queries are answered in it, and passages near its middle."""

    n_passages: int
    n_queries: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class RetrievalBalance:
    """What is out of balance.

    Args:
        positives: positives a query -> queries that have so many.
        groups: by source and type of query, most suspects first.
        topics: clusters of passages without a training query, largest first.
        n_topics: clusters in all.
    """

    positives: dict[int, int]
    groups: tuple[Group, ...]
    topics: tuple[Topic, ...]
    n_topics: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "positives_per_query": {str(k): n for k, n in sorted(self.positives.items())},
            "suspects": [
                {
                    "source": one.source,
                    "query_type": one.query_type,
                    "queries": one.n_queries,
                    "negatives": one.n_negatives,
                    "suspects": one.n_suspects,
                    "suspect_ratio": one.suspect_ratio,
                }
                for one in self.groups
            ],
            "topics": self.n_topics,
            "topics_without_queries": [
                {"passages": one.n_passages, "examples": list(one.examples)} for one in self.topics
            ],
        }


def classify_query(query: str) -> str:
    """The type of a query by its first word: a question word, `yes_no`, or `statement`."""
    words: list[str] = re.findall(r"[a-z']+", query.casefold())
    if words and words[0] in _YES_NO:
        return "yes_no"
    # "In which year ...?" asks which; "Iron is what adults lack." asks nothing.
    asked = words if query.rstrip().endswith("?") else words[:1]
    return next((word for word in asked if word in _QUESTION_WORDS), "statement")


def count_positives(instances: Sequence[Instance]) -> dict[int, int]:
    """Positives a query -> queries with so many; instances of one query count together."""
    by_query: dict[str, set[str]] = {}
    for one in instances:
        by_query.setdefault(one.query_id, set()).update(passage.id for passage in one.positives)
    return dict(sorted(Counter(len(names) for names in by_query.values()).items()))


def count_suspects(
    instances: Sequence[Instance], sources: Sequence[str], queries: Vectors, passages: dict[str, Vectors]
) -> tuple[Group, ...]:
    """Suspected false negatives by source and type of query.

    Args:
        instances: n instances.
        sources: source of each.
        queries: (n, dimension) vectors of length 1.
        passages: text -> its vector.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    for one, source, query in zip(instances, sources, queries, strict=True):
        mine = counts.setdefault((source, classify_query(one.query)), [0, 0, 0])
        mine[0] += 1
        mine[1] += len(one.negatives)
        if one.positives and one.negatives:
            lowest = min(float(query @ passages[passage.full_text]) for passage in one.positives)
            similar = np.array([float(query @ passages[passage.full_text]) for passage in one.negatives])
            mine[2] += int((similar > SUSPECT_SHARE * lowest).sum()) if lowest > 0 else 0
    groups = [Group(source, kind, *numbers) for (source, kind), numbers in counts.items()]
    return tuple(sorted(groups, key=lambda one: (-one.n_suspects, one.source, one.query_type)))


def find_topics(
    texts: Sequence[str], vectors: Vectors, answered: NDArray[np.int64], n_examples: int = 2
) -> tuple[tuple[Topic, ...], int]:
    """Clusters of passages in which no training query has a positive.

    Args:
        texts: p passages.
        vectors: (p, dimension) of them.
        answered: places of passages that are positives of training queries.
        n_examples: passages shown of each.

    Returns:
        The clusters without any, largest first, and how many clusters there are.
    """
    from sklearn.cluster import MiniBatchKMeans

    n_topics = min(MOST_TOPICS, len(texts) // PASSAGES_A_TOPIC)
    if n_topics < 2:
        return (), 0
    clusters = MiniBatchKMeans(n_topics, random_state=0, n_init=3).fit(vectors)
    labels = clusters.labels_
    n_queries = np.bincount(labels[answered], minlength=n_topics)
    nearness = np.einsum("pd,pd->p", vectors, clusters.cluster_centers_[labels])
    topics = []
    for topic in range(n_topics):
        members = np.flatnonzero(labels == topic)
        if len(members) and not n_queries[topic]:
            middle = members[np.argsort(-nearness[members], kind="stable")[:n_examples]]
            topics.append(Topic(len(members), 0, tuple(texts[place] for place in middle)))
    return tuple(sorted(topics, key=lambda one: (-one.n_passages, one.examples))), n_topics


def list_passages(instances: Sequence[Instance], corpus: Sequence[Passage] = ()) -> dict[str, Passage]:
    """All passages by full text: of the corpus, and of the instances."""
    found = {passage.full_text: passage for passage in corpus if passage.full_text}
    for one in instances:
        for passage in (*one.positives, *one.negatives):
            found.setdefault(passage.full_text, passage)
    return found
