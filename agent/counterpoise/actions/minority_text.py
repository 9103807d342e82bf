"""New texts for a thin cell: a model continues, or is asked to extend, a list of the cell's real records.

A model that cannot follow instructions still continues a list in its style; one that can is asked for a new
record (which of the two is measured, not read off its name). Each request shows other real records, chosen to be
unlike each other, and asks for several completions, which share the cost of reading the prompt.

The demonstrations are real rows only, never held-out ones and never generated ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from counterpoise.actions.base import ActionData, Offer, make_probe, price_requests
from counterpoise.actions.written_records import BULLET, end_text, remove_quotes
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, PlanItem, Proposal
from counterpoise.core.records import Records
from counterpoise.core.splits import keyed_rank
from counterpoise.llm import ChatClient, ChatRequest, answer_most, name_failure
from counterpoise.llm.chat import COMPLETIONS_PER_REQUEST
from counterpoise.llm.models import Models
from counterpoise.llm.prompts import load_prompt
from counterpoise_retrievers.neighbours import pick_diverse

N_DEMONSTRATIONS = 5
_POOL_FACTOR = 3
_BYTES_PER_TOKEN = 4.0
_LONGEST_TOKENS = 400
_FEW_DEMONSTRATIONS = 8
_MOST_ROOM = 3  # times the tokens, for a text that was cut
MOST_REQUESTS = 100_000  # of one item; keeps the draws of two rounds apart
KIND = "minority"
_WORTH = 0.1
"""Explains, by `forecasts.compute_factor`, the gap that texts of the embedded model closed on cebab."""


class WriteMinorityText:
    """Writes texts for a cell that has rows to show, or whose label has."""

    name: ClassVar = "minority_text"
    effect: ClassVar = "written"

    def offer(self, cell: Cell, data: ActionData, models: Models) -> Offer | None:
        """As many texts as are wanted, each request for several."""
        if not len(data.choose_demonstrations(cell)):
            return None
        requests = self.list_requests(make_probe(self.name, cell), data, models)
        return Offer(price_requests(requests, models), COMPLETIONS_PER_REQUEST, is_marked=True, worth=_WORTH)

    def act(self, item: PlanItem, data: ActionData, models: Models) -> AsyncIterator[Proposal]:
        """Texts as their replies arrive."""
        return _open_writer(data).propose(item, data.choose_demonstrations(item.cell), models)

    def list_requests(self, item: PlanItem, data: ActionData, models: Models) -> list[ChatRequest]:
        """The requests of an item."""
        shown = data.choose_demonstrations(item.cell)
        return _open_writer(data).make_requests(item, shown, models.capabilities)


def _open_writer(data: ActionData) -> MinorityText:
    return MinorityText(data.headings, data.key, data.concepts)


@dataclass(frozen=True, slots=True)
class MinorityText:
    """Writes texts for any cell: a label alone, with a concept, or with an attribute value.

    Args:
        headings: label name -> one line that says what such records are.
        key: the run's key; another gives other demonstrations.
        concepts: concept name -> definition, for cells that have one.
    """

    headings: Mapping[str, str]
    key: str
    concepts: Mapping[str, str]

    async def propose(
        self, item: PlanItem, demonstrations: EncodedRecords, models: Models
    ) -> AsyncIterator[Proposal]:
        """Proposals as their replies arrive; a request that failed gives one that says why (`failure`).

        Args:
            item: what to write and with how many requests.
            demonstrations: real records of the cell, or its nearest.
            models: the model; what it can do decides between continuing and instructing.

        Raises:
            ServerError: the server is gone.
            StorageError: the reply store cannot be written.
        """
        asked = _fit_budget(
            self._compose(item, demonstrations, models.capabilities), models.chat, item.reserved_tokens
        )
        identity = self._prompt_name(models.capabilities)
        texts = demonstrations.records.texts
        spent, cut = 0.0, dict[int, list[Proposal]]()
        async for outcome in answer_most(models.chat, [request for _, request in asked], must_answer=True):
            shown, _ = asked[outcome.index]
            blank = Proposal(
                id=f"{item.id}-{outcome.index * COMPLETIONS_PER_REQUEST:05d}",
                item=item,
                text="",
                label=item.cell.label,
                parents=tuple(str(demonstrations.records.ids[row]) for row in shown),
                kind=KIND,
                model=models.capabilities.model,
                prompt=identity,
                failure=name_failure(outcome.error),
            )
            if blank.failure:
                yield blank
            bullets = any(str(texts[row]).startswith(BULLET) for row in shown)
            quotes = any(remove_quotes(str(texts[row])) != texts[row] for row in shown)
            attributes = {item.cell.attribute: item.cell.value} if item.cell.attribute else {}
            for place, completion in enumerate(outcome.completions):
                text, finish_reason = end_text(completion, bullets=bullets, quotes=quotes)
                proposal = replace(
                    blank,
                    id=f"{item.id}-{outcome.index * COMPLETIONS_PER_REQUEST + place:05d}",
                    text=text,
                    tokens=float(completion.usage.total),
                    attributes=attributes,
                    finish_reason=finish_reason,
                )
                spent += proposal.tokens
                if finish_reason == "length":
                    cut.setdefault(outcome.index, []).append(proposal)
                else:
                    yield proposal
        requests = {index: asked[index][1] for index in cut}
        async for proposal in _ask_again(cut, requests, models.chat, item.reserved_tokens - spent):
            yield proposal

    def make_requests(
        self, item: PlanItem, demonstrations: EncodedRecords, capabilities: Capabilities
    ) -> list[ChatRequest]:
        """The `item.n_requests` requests of an item, each with demonstrations of its own."""
        return [request for _, request in self._compose(item, demonstrations, capabilities)]

    def _compose(
        self, item: PlanItem, demonstrations: EncodedRecords, capabilities: Capabilities
    ) -> list[tuple[list[int], ChatRequest]]:
        """Shown rows and request, `item.n_requests` times."""
        prompt = load_prompt(self._prompt(capabilities))
        longest = measure_longest(demonstrations.records)
        texts = demonstrations.records.texts
        composed = []
        for turn in range(item.n_requests):
            rows = self._choose(demonstrations, item, turn)
            request = prompt.render(
                heading=self._head(item.cell), demonstrations=[str(texts[row]) for row in rows]
            )
            sample = 0
            if len(demonstrations) < _FEW_DEMONSTRATIONS:
                # A handful of rows makes a handful of prompts: ask each for new draws, not for the same again.
                sample = (item.round * MOST_REQUESTS + turn) * COMPLETIONS_PER_REQUEST
            composed.append(
                (
                    rows,
                    replace(
                        request,
                        sampling=replace(request.sampling, max_tokens=longest),
                        n=COMPLETIONS_PER_REQUEST,
                        sample=sample,
                        purpose="generate",
                    ),
                )
            )
        return composed

    def _choose(self, demonstrations: EncodedRecords, item: PlanItem, turn: int) -> list[int]:
        """Rows to show: a random handful by keyed hash, thinned to the most unlike, in hash order."""
        ranked = keyed_rank(demonstrations.records.ids, f"{self.key}:{item.id}:{turn}")
        handful = ranked[: N_DEMONSTRATIONS * _POOL_FACTOR]
        relevance = np.linspace(1.0, 0.0, len(handful))
        picked = pick_diverse(relevance, demonstrations.vectors[handful], min(N_DEMONSTRATIONS, len(handful)))
        return [int(handful[place]) for place in sorted(picked)]

    def _head(self, cell: Cell) -> str:
        heading = self.headings.get(cell.label, cell.label)
        if cell.concept:
            return (
                f"{heading}; each mentions {cell.concept} ({self.concepts.get(cell.concept, cell.concept)})"
            )
        if cell.attribute:
            return f"{heading}; {cell.attribute}: {cell.value}"
        return heading

    def _prompt(self, capabilities: Capabilities) -> str:
        follows = capabilities.chat and capabilities.follows_instructions
        return "minority_instruction" if follows or not capabilities.continuation else "minority_continuation"

    def _prompt_name(self, capabilities: Capabilities) -> str:
        return load_prompt(self._prompt(capabilities)).identity


async def _ask_again(
    cut: Mapping[int, Sequence[Proposal]], requests: Mapping[int, ChatRequest], chat: ChatClient, left: float
) -> AsyncIterator[Proposal]:
    """What was cut, asked for once more with room for it where the item's tokens reach; else as it is, to be refused.

    The requests go in the order of their numbers, and what is left is counted when all others were answered: nothing
    depends on which replies came first.
    """
    asked: list[tuple[int, ChatRequest]] = []
    for index in sorted(cut):
        request = requests[index]
        room = min(_MOST_ROOM * request.sampling.max_tokens, _MOST_ROOM * _LONGEST_TOKENS)
        again = replace(request, n=len(cut[index]), sampling=replace(request.sampling, max_tokens=room))
        left -= chat.budget.estimate(again)
        if left < 0:
            break
        asked.append((index, again))
    answered = dict.fromkeys(cut, 0)
    async for outcome in answer_most(chat, [request for _, request in asked]):
        index = asked[outcome.index][0]
        for proposal, completion in zip(cut[index], outcome.completions, strict=False):
            bullets = proposal.text.startswith(BULLET)
            text, finish_reason = end_text(completion, bullets=bullets)
            tokens = proposal.tokens + float(completion.usage.total)
            answered[index] += 1
            yield replace(proposal, text=text, tokens=tokens, finish_reason=finish_reason)
    for index in sorted(cut):
        for proposal in cut[index][answered[index] :]:
            yield proposal


def _fit_budget(
    asked: list[tuple[list[int], ChatRequest]], chat: ChatClient, reserved_tokens: int
) -> list[tuple[list[int], ChatRequest]]:
    """The first requests whose estimates fit into what the plan reserved.

    The plan reckons with a typical request. Cutting here, in order, keeps which requests are sent independent of
    which replies come first.
    """
    sums = np.cumsum([chat.estimate(request) for _, request in asked])
    return asked[: int(np.searchsorted(sums, reserved_tokens, side="right"))]


def measure_longest(records: Records) -> int:
    """Completion tokens to allow: the 95th percentile of the records' lengths and a quarter more.

    Returns:
        Tokens, 24 to 400.
    """
    lengths: Sequence[float] = [len(str(text).encode()) / _BYTES_PER_TOKEN for text in records.texts]
    wanted = float(np.quantile(lengths, 0.95)) * 1.25 if lengths else 0.0
    return int(min(_LONGEST_TOKENS, max(24.0, wanted)))
