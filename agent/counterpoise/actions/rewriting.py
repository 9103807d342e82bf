"""Rewriting: a text that a filter refused is written once more, with what was wrong with it as an instruction.

Xu et al. (2022), Rewire: telling a model what is amiss with its own text often brings a better one than asking for
another. It is for models that follow instructions, and it is tried where it is the cheapest: each request brings one
text, and new ones come several a request, so it pays where many of these are refused.

A text is rewritten once. It keeps the parents of the refused one, which are shown again, so that what is left out with
a parent is the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from counterpoise.actions.base import ActionData, Offer, make_probe, price_requests, take_paid
from counterpoise.actions.cell_headings import describe_cell
from counterpoise.actions.context_fit import Window, fit_texts, open_window
from counterpoise.actions.edit_sources import allow_tokens
from counterpoise.actions.minority_requests import measure_longest
from counterpoise.actions.written_records import BULLET, end_text
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.plans import Cell, PlanItem, Proposal, Refusal
from counterpoise.llm import ChatRequest, answer_most, name_failure
from counterpoise.llm.models import Models
from counterpoise.llm.prompts import load_prompt

PROMPT = "rewriting"
_UNKNOWN_PRICE = 1  # of what cannot be asked for before something was refused


@dataclass(frozen=True, slots=True)
class _Draft:
    """A refused text with the request that asks for a better one."""

    refusal: Refusal
    request: ChatRequest


class Rewrite:
    """Has refused texts rewritten."""

    name: ClassVar = "rewriting"
    effect: ClassVar = "rewritten after a filter had refused them"

    def offer(self, cell: Cell, data: ActionData, models: Models) -> Offer | None:
        """As many texts as were refused for something that a writer can mend, and were not rewritten yet."""
        if not (models.capabilities.chat and models.capabilities.follows_instructions):
            return None
        left = self._list_left(cell, data)
        if not left:
            return Offer(_UNKNOWN_PRICE, most=0)
        requests = self.list_requests(make_probe(self.name, cell), data, models)
        return Offer(price_requests(requests, models), most=len(left))

    async def act(self, item: PlanItem, data: ActionData, models: Models) -> AsyncIterator[Proposal]:
        """Rewritten texts as their replies arrive; what the item's tokens do not reach is left for later."""
        drafts = self._compose(item, data, models.capabilities)
        paid = take_paid(drafts, models.chat, item.reserved_tokens)
        identity = load_prompt(PROMPT).identity
        async for outcome in answer_most(models.chat, [draft.request for draft in paid]):
            before = paid[outcome.index].refusal.proposal
            proposal = Proposal(
                id=f"{item.id}-{outcome.index:05d}",
                item=item,
                text="",
                label=item.cell.label,
                parents=before.parents,
                kind=self.name,
                model=models.capabilities.model,
                prompt=identity,
                attributes=before.attributes,
                writer=before.writer,
                rewritten_from=before.id,
                failure=name_failure(outcome.error),
            )
            if proposal.failure:
                yield proposal
            for completion in outcome.completions:
                bullets = before.text.startswith(BULLET)
                text, reason = end_text(completion, bullets=bullets, separator=data.form.separator)
                yield replace(proposal, text=text, tokens=float(completion.usage.total), finish_reason=reason)

    def list_requests(self, item: PlanItem, data: ActionData, models: Models) -> list[ChatRequest]:
        """The requests of an item, at most `item.n_requests`."""
        return [draft.request for draft in self._compose(item, data, models.capabilities)]

    def _list_left(self, cell: Cell, data: ActionData) -> list[Refusal]:
        return [refusal for refusal in data.refused if refusal.proposal.item.cell == cell]

    def _compose(self, item: PlanItem, data: ActionData, capabilities: Capabilities) -> list[_Draft]:
        left = self._list_left(item.cell, data)[: item.n_requests]
        records = data.train.records
        places = data.recall("places of ids", lambda: {str(one): row for row, one in enumerate(records.ids)})
        window = open_window(capabilities)
        drafts = []
        for refusal in left:
            shown = [str(records.texts[places[one]]) for one in refusal.proposal.parents]
            request = _fit(refusal, shown, item.cell, data, window)
            drafts.append(_Draft(refusal, request))
        return drafts


def _fit(refusal: Refusal, shown: Sequence[str], cell: Cell, data: ActionData, window: Window) -> ChatRequest:
    longest = measure_longest(data.choose_demonstrations(cell).records)

    def render(texts: Sequence[str]) -> ChatRequest:
        request = load_prompt(PROMPT).render(
            heading=describe_cell(cell, data.headings, data.concepts),
            demonstrations=texts,
            separator=data.form.separator,
            text=refusal.proposal.text,
            fault=refusal.instruction,
        )
        request = data.form.shape(allow_tokens(request, refusal.proposal.text))
        room = max(longest, request.sampling.max_tokens)
        return replace(request, sampling=replace(request.sampling, max_tokens=room))

    return render(fit_texts(shown, render, window))
