"""New texts for a thin cell: a model continues, or is asked to extend, a list of the cell's real records.

A model that cannot follow instructions still continues a list in its style; one that can is asked for a new
record (which of the two is measured, not read off its name), and for several in one reply where it was seen to write
them. Each request shows other real records, chosen to be unlike each other, and brings several texts, which share the
cost of reading the prompt. Records may have many lines (`record_forms`); what does not fit into the model's window is
left out (`context_fit`).

The demonstrations are real rows only, never held-out ones and never generated ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from counterpoise.actions.base import ActionData, Offer, make_probe, price_requests, take_paid
from counterpoise.actions.context_fit import open_window
from counterpoise.actions.minority_requests import (
    N_DEMONSTRATIONS,
    MinorityRequests,
    TextDraft,
    describe_drafts,
)
from counterpoise.actions.written_records import BULLET, end_text, remove_quotes
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, PlanItem, Proposal
from counterpoise.llm import ChatClient, ChatRequest, answer_most, name_failure
from counterpoise.llm.chat import COMPLETIONS_PER_REQUEST, Completion
from counterpoise.llm.listed_replies import CUT_OFF, read_listed
from counterpoise.llm.models import Models

_MOST_ROOM = 3  # times the tokens, for a text that was cut
KIND = "minority"
_WORTH = 0.1
"""Explains, by `forecasts.compute_factor`, the gap that texts of the embedded model closed on cebab."""

UNUSABLE = "unusable_reply"
"""Why there is no text where a reply, or an entry of it, holds none."""


class WriteMinorityText:
    """Writes texts for a cell that has rows to show, or whose label has."""

    name: ClassVar = "minority_text"
    effect: ClassVar = "written"
    has_writers: ClassVar = True

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

    def note(self, cell: Cell, data: ActionData, capabilities: Capabilities) -> list[str]:
        """Sentences without a subject on what requests for a cell leave out, and why."""
        shown = data.choose_demonstrations(cell)
        drafts = _open_writer(data).requests.compose(make_probe(self.name, cell), shown, capabilities)
        notes = [describe_drafts(drafts, min(N_DEMONSTRATIONS, len(shown)), open_window(capabilities))]
        if any(one.instructions for one in data.writers) and not drafts[0].request.messages:
            notes.append(
                "do not hold the instructions of the job's writers: the model only continues texts, and would take "
                "them for one"
            )
        return [note for note in notes if note]


def _open_writer(data: ActionData) -> MinorityText:
    requests = MinorityRequests(data.headings, data.key, data.concepts, data.form, data.writers, data.parts)
    return MinorityText(requests)


@dataclass(frozen=True, slots=True)
class MinorityText:
    """Writes texts for any cell: a label alone, with a concept, or with an attribute value.

    Args:
        requests: what is asked.
    """

    requests: MinorityRequests

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
        drafts = take_paid(
            self.requests.compose(item, demonstrations, models.capabilities),
            models.chat,
            item.reserved_tokens,
        )
        reader = _Reader(demonstrations, self.requests.form.separator)
        spent, cut = 0.0, dict[int, list[Proposal]]()
        asked = [draft.request for draft in drafts]
        async for outcome in answer_most(models.chat, asked, must_answer=True):
            draft = drafts[outcome.index]
            first = outcome.index * COMPLETIONS_PER_REQUEST
            blank = Proposal(
                id=f"{item.id}-{first:05d}",
                item=item,
                text="",
                label=item.cell.label,
                parents=tuple(str(demonstrations.records.ids[row]) for row in draft.shown),
                kind=KIND,
                model=models.capabilities.model,
                prompt=draft.identity,
                writer=draft.writer.name,
                attributes={item.cell.attribute: item.cell.value} if item.cell.attribute else {},
                failure=name_failure(outcome.error),
            )
            if blank.failure:
                yield blank
            for place, completion in enumerate(outcome.completions):
                for proposal in reader.read(completion, draft, blank, first + place * draft.per_reply):
                    spent += proposal.tokens
                    if proposal.finish_reason == "length" and draft.per_reply == 1:
                        cut.setdefault(outcome.index, []).append(proposal)
                    else:
                        yield proposal
        requests = {index: drafts[index].request for index in cut}
        roomy = _give_room(requests, models)
        async for proposal in _ask_again(cut, roomy, models.chat, item.reserved_tokens - spent, reader):
            yield proposal

    def make_requests(
        self, item: PlanItem, demonstrations: EncodedRecords, capabilities: Capabilities
    ) -> list[ChatRequest]:
        """The `item.n_requests` requests of an item, each with demonstrations of its own."""
        return [draft.request for draft in self.requests.compose(item, demonstrations, capabilities)]


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the records in completions.

    Args:
        demonstrations: what the requests show some of.
        separator: of their form.
    """

    demonstrations: EncodedRecords
    separator: str

    def read(
        self, completion: Completion, draft: TextDraft, blank: Proposal, first: int
    ) -> Iterator[Proposal]:
        """The proposals of a completion, numbered from `first`; an entry of a list that is no text says so."""
        name, total = blank.item.id, float(completion.usage.total)
        if draft.per_reply == 1 and draft.request.schema is None:
            yield self._fill(replace(blank, id=f"{name}-{first:05d}", tokens=total), completion, draft)
            return
        entries = read_listed(completion.text)[: draft.per_reply]
        if not entries:
            yield replace(blank, id=f"{name}-{first:05d}", tokens=total, failure=UNUSABLE)
        for place, entry in enumerate(entries):
            one = replace(blank, id=f"{name}-{first + place:05d}", tokens=total / len(entries))
            if entry.fault and entry.fault != CUT_OFF:
                yield replace(one, failure=UNUSABLE)
                continue
            reason = "length" if entry.fault else "stop"
            yield self._fill(one, replace(completion, text=entry.text, finish_reason=reason), draft)

    def _fill(self, blank: Proposal, completion: Completion, draft: TextDraft) -> Proposal:
        texts = [str(self.demonstrations.records.texts[row]) for row in draft.shown]
        bullets = any(text.startswith(BULLET) for text in texts)
        quotes = any(remove_quotes(text) != text for text in texts)
        text, reason = end_text(completion, bullets=bullets, quotes=quotes, separator=self.separator)
        return replace(blank, text=text, finish_reason=reason)

    def read_again(self, proposal: Proposal, completion: Completion) -> Proposal:
        """A proposal that was cut, as another reply with more room has it."""
        bullets = proposal.text.startswith(BULLET)
        text, reason = end_text(completion, bullets=bullets, separator=self.separator)
        tokens = proposal.tokens + float(completion.usage.total)
        return replace(proposal, text=text, tokens=tokens, finish_reason=reason)


def _give_room(requests: Mapping[int, ChatRequest], models: Models) -> dict[int, ChatRequest]:
    """Requests with room for texts that were cut, as far as the model's window goes."""
    window, roomy = open_window(models.capabilities), dict[int, ChatRequest]()
    for index, request in requests.items():
        given = request.sampling.max_tokens
        room = max(given, min(_MOST_ROOM * given, window.left_by(request)))
        roomy[index] = replace(request, sampling=replace(request.sampling, max_tokens=room))
    return roomy


async def _ask_again(
    cut: Mapping[int, Sequence[Proposal]],
    requests: Mapping[int, ChatRequest],
    chat: ChatClient,
    left: float,
    reader: _Reader,
) -> AsyncIterator[Proposal]:
    """What was cut, asked for once more with room for it where the item's tokens reach; else as it is, to be refused.

    The requests go in the order of their numbers, and what is left is counted when all others were answered: nothing
    depends on which replies came first.
    """
    asked: list[tuple[int, ChatRequest]] = []
    for index in sorted(cut):
        again = replace(requests[index], n=len(cut[index]))
        left -= chat.budget.estimate(again)
        if left < 0:
            break
        asked.append((index, again))
    answered = dict.fromkeys(cut, 0)
    async for outcome in answer_most(chat, [request for _, request in asked]):
        index = asked[outcome.index][0]
        for proposal, completion in zip(cut[index], outcome.completions, strict=False):
            answered[index] += 1
            yield reader.read_again(proposal, completion)
    for index in sorted(cut):
        for proposal in cut[index][answered[index] :]:
            yield proposal
