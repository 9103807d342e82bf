"""A language model beside `label` and `concepts`: it names concepts for a person to edit, and labels where it may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from counterpoise.core.assets import find_cache_dir
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.llm import ChatClient, ReplyStore, TokenBudget
from counterpoise.llm.capabilities import learn_manner
from counterpoise.llm.config import read_llm
from counterpoise.llm.connect import open_models
from counterpoise.runs.labelling import OpenScreen, Texts
from counterpoise.scorers.concepts.discovery import write_concepts
from counterpoise.scorers.concepts.labeller import ModelScores
from counterpoise.scorers.concepts.model import ModelPilot, ask_model, run_pilot
from counterpoise.scorers.concepts.proposing import (
    N_TEXTS,
    Proposed,
    look_around,
    propose_by_model,
    propose_by_words,
)
from counterpoise.scorers.concepts.similarity import score_answered
from counterpoise.scorers.gold import Gold

CONCEPTS_FILE = Path("concepts.yaml")
"""What `label --concepts auto` writes, and reads once it is there."""

BUDGET = 2_000_000
"""Tokens of which labelling may use a tenth for the pilot and a fifth for the rest, as in a run."""

_LABELLING_SHARE = 0.2


def propose_concepts(texts: Texts, model: Any, open_screen: OpenScreen, n: int = N_TEXTS) -> Proposed:
    """A list of concepts: what a model names and two readings agree on, or without one the words of clusters.

    Args:
        texts: the rows.
        model: as `llm` in a job; "" for none.
        open_screen: shows downloads and requests.
        n: texts whose topics a model is asked for one by one.

    Raises:
        ServiceError: the model cannot be asked.
    """
    around = look_around(texts.records, texts.vectors, texts.encoder)
    if not model:
        return propose_by_words(around)

    async def ask() -> Proposed:
        async with _open_chat(model, open_screen, None) as chat:
            return await propose_by_model(chat, around, "seed 0", n_texts=n)

    return asyncio.run(ask())


def write_proposed(proposed: Proposed) -> str:
    """The list as YAML for a person to edit, with how it came about in its first line."""
    return f"# {proposed.note}\n{write_concepts(proposed.concepts, {})}"


def label_with_model(
    texts: Texts, gold: Mapping[str, Gold], model: Any, seed: int, open_screen: OpenScreen
) -> tuple[ModelScores | None, ModelPilot]:
    """What a model says of a sample of the rows, where its pilot on the answers allows it to label.

    Raises:
        ServiceError: the model cannot be asked.
    """
    rows = EncodedRecords(texts.records, texts.vectors)
    known = {name: one for name, one in gold.items() if name in texts.concepts}
    free = score_answered(rows, texts.concepts, known, texts.encoder)

    async def ask() -> tuple[ModelScores | None, ModelPilot]:
        async with _open_chat(model, open_screen, BUDGET) as chat:
            key = f"seed {seed}"
            pilot = await run_pilot(chat, texts.records, texts.concepts, known, key, similarity=free)
            if not pilot.passes:
                return None, pilot
            most = _LABELLING_SHARE * BUDGET
            return await ask_model(chat, texts.records, texts.concepts, pilot, most, key, known), pilot

    return asyncio.run(ask())


@asynccontextmanager
async def _open_chat(model: Any, open_screen: OpenScreen, limit: int | None) -> AsyncIterator[ChatClient]:
    cache_dir = find_cache_dir(None)
    budget = TokenBudget(limit)
    with ReplyStore(cache_dir / "replies.sqlite") as store, open_screen():
        async with open_models(read_llm(model), store=store, budget=budget, cache_dir=cache_dir) as models:
            await learn_manner(models.chat)
            yield models.chat
