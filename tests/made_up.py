"""Made-up data for unit tests: guests' sentences by template, a small encoder that needs no weights, records."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from counterpoise.actions.base import Offer
from counterpoise.core.plans import Cell, PlanItem, Proposal
from counterpoise.core.records import ConceptColumns, Records
from counterpoise.llm import ChatClient, ScriptedChatClient, TokenBudget
from counterpoise.llm.chat import COMPLETIONS_PER_REQUEST
from counterpoise.llm.engines.scripted import Script
from counterpoise.llm.retries import RetryPolicy
from counterpoise.students.registry import choose_students
from counterpoise.students.rows import Rows, make_rows

NOUNS = (
    "soup",
    "waiter",
    "table",
    "music",
    "bread",
    "wine",
    "fish",
    "cake",
    "coffee",
    "room",
    "garden",
    "lamb",
)
PRAISE = ("lovely", "warm", "fresh", "friendly", "sweet", "great", "superb", "kind")
BLAME = ("cold", "rude", "dull", "salty", "awful", "slow", "bad", "stale")


class WordEncoder:
    """Sums a fixed random direction for each word, so that texts which share words are near."""

    name = "words"
    dimension = 48
    max_tokens = 10_000

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension))
        for row, text in enumerate(texts):
            for word in text.casefold().replace(",", " ").split() or [""]:
                digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
                vectors[row] += np.random.default_rng(list(digest)).normal(size=self.dimension)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


ENCODER = WordEncoder()
STUDENTS = choose_students(("default",), "minilm")
VECTORS, WORDS = STUDENTS


def write_sentence(source: random.Random, *, good: bool) -> str:
    """What a guest said; one word in eight is of the other kind."""
    first, second = source.sample(NOUNS, 2)
    kinds = [good if source.random() < 0.875 else not good for _ in range(2)]
    words = [source.choice(PRAISE if kind else BLAME) for kind in kinds]
    return (
        f"The {first} was {words[0]} and the {second} was {words[1]}, said guest {source.randrange(10_000)}"
    )


def write_sentences(n_bad: int, n_good: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Sentences and their labels, 0 for bad and 1 for good."""
    source = random.Random(seed)
    texts = [write_sentence(source, good=row >= n_bad) for row in range(n_bad + n_good)]
    return texts, [0] * n_bad + [1] * n_good


def as_objects(values: Sequence[str]) -> NDArray[np.object_]:
    column = np.empty(len(values), dtype=object)
    column[:] = list(values)
    return column


def make_records(
    texts: Sequence[str],
    labels: Sequence[int],
    names: tuple[str, ...] = ("bad", "good"),
    *,
    attributes: Mapping[str, Sequence[str]] | None = None,
    concepts: ConceptColumns | None = None,
    ids: Sequence[str] = (),
) -> Records:
    return Records(
        ids=as_objects(ids or [f"row{row:04d}" for row in range(len(texts))]),
        texts=as_objects(texts),
        labels=np.array(labels, dtype=np.int64),
        label_names=names,
        attributes={name: as_objects(column) for name, column in (attributes or {}).items()},
        concepts=concepts,
    )


def join_rows(first: Rows, second: Rows) -> Rows:
    """The rows of both with the first one's lines; zero-shot scores where both have them."""
    both = (first, second)
    zero_shot = [rows.zero_shot for rows in both if len(rows.zero_shot)]
    return make_rows(
        np.concatenate([rows.texts for rows in both]),
        np.concatenate([rows.vectors for rows in both]),
        np.concatenate([rows.labels for rows in both]),
        weights=np.concatenate([rows.weights for rows in both]),
        original=np.concatenate([rows.original for rows in both]),
        zero_shot=np.concatenate(zero_shot) if len(zero_shot) == 2 else None,
        lines=first.lines,
    )


def make_item(cell: Cell | str = "bad", count: int = 6, n_requests: int = 1, index: int = 0) -> PlanItem:
    cell = Cell(cell) if isinstance(cell, str) else cell
    return PlanItem("minority_text", cell, count, 1, index, n_requests, reserved_tokens=10**6)


def make_proposal(
    text: str,
    place: int = 0,
    *,
    cell: Cell | str = "bad",
    parents: tuple[str, ...] = (),
    kind: str = "minority",
) -> Proposal:
    item = make_item(cell)
    return Proposal(f"{item.id}-{place:05d}", item, text, item.cell.label, parents, kind)


def make_chat(script: Script, limit: int | None = None) -> tuple[ChatClient, ScriptedChatClient]:
    """A client of a scripted model that gives up at the first failure, and the model."""
    engine = ScriptedChatClient(script)
    return ChatClient(engine, budget=TokenBudget(limit), retries=RetryPolicy(attempts=1)), engine


def make_offers(
    request_tokens: int = 600, *, free: int = 0, contrast: Cell | None = None, **edits: tuple[int, int]
) -> dict[str, Offer]:
    """What the default actions offer for a cell.

    Args:
        request_tokens: of one request for several texts; nothing is written for 0.
        free: rows of a pool that can be adopted.
        contrast: which cell the writer's contrast records are for.
        **edits: name of an editing action -> tokens of one request, and edits that the sources are good for.
    """
    offers = {"adopt": Offer(most=free)} if free else {}
    offers |= {name: Offer(tokens, most=most, is_probed=True) for name, (tokens, most) in edits.items()}
    if request_tokens:
        offers["minority_text"] = Offer(
            request_tokens, COMPLETIONS_PER_REQUEST, is_marked=True, contrast=contrast
        )
    return offers
