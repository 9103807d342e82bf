"""A generator: it shows the model a record of the label and asks for another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import numpy as np

from counterpoise.actions.base import ActionData, Offer, make_probe, price_requests
from counterpoise.core.plans import Cell, Nature, PlanItem, Proposal
from counterpoise.llm import ChatRequest, Message, Models, Sampling, answer_most, name_failure


class OwnWriter:
    """Writes one record a request."""

    name = "mine.own"
    effect = "written by my own generator"

    def offer(self, cell: Cell, data: ActionData, models: Models) -> Offer | None:
        """As many records as are wanted, where the cell has one to show."""
        if not len(data.choose_demonstrations(cell)):
            return None
        requests = self.list_requests(make_probe(self.name, cell), data, models)
        return Offer(request_tokens=price_requests(requests, models), worth=0.5)

    def list_requests(self, item: PlanItem, data: ActionData, models: Models) -> Sequence[ChatRequest]:
        """The requests of an item, one a record; a preview shows the first."""
        heading = data.headings[item.cell.label]
        # No request is equal to an earlier one, whose stored reply would come back.
        first = data.count_requests(self.name, item.cell)
        return [
            ChatRequest(
                messages=(
                    Message("user", f"{heading}. Write one more, number {number}, like this one: {text}"),
                ),
                sampling=Sampling(temperature=0.9, max_tokens=80),
                purpose="generate",
            )
            for number, (_, text) in enumerate(self._choose_shown(item, data), first)
        ]

    async def act(self, item: PlanItem, data: ActionData, models: Models) -> AsyncIterator[Proposal]:
        """A proposal a request, each as soon as its reply is there; the budget of the item is kept."""
        requests = list(self.list_requests(item, data, models))
        spent = np.cumsum([models.chat.estimate(request) for request in requests])
        requests = requests[: int(np.searchsorted(spent, item.reserved_tokens, side="right"))]
        shown = self._choose_shown(item, data)
        async for outcome in answer_most(models.chat, requests):
            reply = outcome.completions[0] if outcome.completions else None
            yield Proposal(
                id=f"{item.id}-{outcome.index:05d}",
                item=item,
                text=reply.text.strip() if reply else "",
                label=item.cell.label,
                parents=(shown[outcome.index][0],),
                kind=self.name,
                nature=Nature.WRITTEN,
                model=models.capabilities.model,
                tokens=float(reply.usage.total) if reply else 0.0,
                failure=name_failure(outcome.error),
            )

    def _choose_shown(self, item: PlanItem, data: ActionData) -> list[tuple[str, str]]:
        """Id and text of the record that each request shows, in turn."""
        records = data.choose_demonstrations(item.cell).records
        first = data.count_requests(self.name, item.cell)
        places = [(first + number) % len(records) for number in range(item.n_requests)]
        return [(str(records.ids[place]), str(records.texts[place])) for place in places]
