"""What the two editing generators share: the records they start from, examples, pairs, and asking.

An edit starts from one real record, its source, which comes first among its parents. Sources are drawn by keyed hash of
their ids; none is used more than twice. Each request asks for one text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from counterpoise.actions.base import take_paid
from counterpoise.actions.context_fit import Window, open_window, shorten_pair
from counterpoise.actions.record_forms import LINES, RecordForm
from counterpoise.actions.written_records import find_block, mend_text
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, Nature, PlanItem, Proposal
from counterpoise.core.records import Record
from counterpoise.core.splits import keyed_rank
from counterpoise.llm import ChatRequest, answer_most, name_failure
from counterpoise.llm.models import Models
from counterpoise.llm.prompts import load_prompt

MOST_USES = 2
N_EXAMPLES = 3
N_PAIRS = 4
_BYTES_PER_TOKEN = 3.0  # fewer than the usual four: a reply must not be cut in the middle of its source
_ROOM_TOKENS = 48

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class EditMaterial:
    """What an edit can draw on; real training records only.

    Args:
        sources: records to edit.
        examples: records of the wanted cell, to show; may be none.
        pairs: texts before and after an edit of this kind, made without a model, for models that do not
            follow instructions; may be none.
    """

    sources: EncodedRecords
    examples: EncodedRecords
    pairs: tuple[Pair, ...] = ()

    @property
    def n_edits(self) -> int:
        """Requests that the sources are good for."""
        return MOST_USES * len(self.sources)


@dataclass(frozen=True, slots=True)
class Draft:
    """One request for an edit: its source, what it shows besides, and the request."""

    source: int
    shown: tuple[int, ...]
    request: ChatRequest


@dataclass(frozen=True, slots=True)
class RecordEditor(ABC):
    """A generator that edits real records, one request an edit; what it asks is its kind's own.

    Args:
        headings: label name -> one line that says what such records are.
        key: the run's key; another draws other sources.
        form: how records stand in a prompt.
    """

    action: ClassVar[str]
    nature: ClassVar[Nature]
    prompt: ClassVar[str]
    """Name of its instruction prompt; `_continuation` behind it names the one for models that only continue texts."""

    headings: Mapping[str, str]
    key: str
    form: RecordForm = field(default=LINES, kw_only=True)

    async def propose(
        self, item: PlanItem, material: EditMaterial, models: Models
    ) -> AsyncIterator[Proposal]:
        """Proposals as their replies arrive; a request that failed gives one without a text, with the reason.

        Args:
            item: for which cell, and with how many requests; what the reserved tokens pay for is sent.
            material: records to edit and to show.
            models: the model; what it can do decides between continuing and instructing.

        Raises:
            ServerError: the server is gone.
            StorageError: the reply store cannot be written.
        """
        drafts = self._compose(item, material, models.capabilities)
        paid = take_paid(drafts, models.chat, item.reserved_tokens)
        identity = load_prompt(self._name_prompt(models.capabilities)).identity
        source, examples = material.sources.records, material.examples.records
        async for outcome in answer_most(models.chat, [draft.request for draft in paid]):
            draft = paid[outcome.index]
            proposal = Proposal(
                id=f"{item.id}-{outcome.index:05d}",
                item=item,
                text="",
                label=item.cell.label,
                parents=(str(source.ids[draft.source]), *(str(examples.ids[row]) for row in draft.shown)),
                kind=self.action,
                nature=self.nature,
                model=models.capabilities.model,
                prompt=identity,
                attributes={name: str(column[draft.source]) for name, column in source.attributes.items()},
                failure=name_failure(outcome.error),
            )
            if proposal.failure:
                yield proposal
            for completion in outcome.completions:
                tokens = float(completion.usage.total)
                text, reason = clean_reply(completion.text, self.form.separator), completion.finish_reason
                yield replace(proposal, text=text, tokens=tokens, finish_reason=reason)

    def make_requests(
        self, item: PlanItem, material: EditMaterial, capabilities: Capabilities
    ) -> list[ChatRequest]:
        """The requests of an item, at most `item.n_requests`."""
        return [draft.request for draft in self._compose(item, material, capabilities)]

    def _compose(self, item: PlanItem, material: EditMaterial, capabilities: Capabilities) -> list[Draft]:
        """The requests with what they are made from, in order."""
        sources, examples = material.sources.records, material.examples.records
        instructs, window = can_instruct(capabilities), open_window(capabilities)
        drafts = []
        turns = draw_sources(material, item.n_requests, f"{self.key}:{item.cell.key}", item.first_source)
        for number, (row, use) in enumerate(turns, start=item.first_source):
            source = sources.row(row)
            key = f"{self.key}:{item.cell.key}:{source.id}:{use}"
            render = partial(self._render, item.cell, source, number, capabilities)
            if instructs:
                shown = draw_shown(material.examples, N_EXAMPLES, key, without=source.id)
                texts = [str(examples.texts[place]) for place in shown]
                while texts and not window.holds(render(texts)):
                    texts.pop()
                drafts.append(Draft(row, tuple(shown[: len(texts)]), render(texts)))
            else:
                pairs = fit_pairs(
                    draw_pairs(material.pairs, N_PAIRS, key, without=source.text), render, window
                )
                drafts.append(Draft(row, (), render(pairs)))
        return drafts

    def can_hold(self, cell: Cell, source: Record, capabilities: Capabilities) -> bool:
        """Whether the model's window holds a record and its edit, with nothing shown beside them."""
        return open_window(capabilities).holds(self._render(cell, source, 0, capabilities, ()))

    def _render(
        self,
        cell: Cell,
        source: Record,
        number: int,
        capabilities: Capabilities,
        shown: Sequence[str] | Sequence[Pair],
    ) -> ChatRequest:
        """The request for one edit, with the examples, or for models that only continue texts the pairs, given."""
        instructs = can_instruct(capabilities)
        said = self._describe(cell, source, number, instructs=instructs)
        said |= {"examples" if instructs else "pairs": shown, "separator": self.form.separator}
        request = load_prompt(self._name_prompt(capabilities)).render(**said, text=source.text)
        return self.form.shape(allow_tokens(request, source.text))

    @abstractmethod
    def _describe(self, cell: Cell, source: Record, number: int, *, instructs: bool) -> dict[str, Any]:
        """What its prompt says beside the source and the examples or pairs.

        Args:
            cell: which the edit is for.
            source: the record to edit.
            number: of the edit, so that what varies between edits can.
            instructs: whether the prompt is the one for models that follow instructions.
        """

    def _head(self, label: str) -> str:
        """The line that says what records of a label are."""
        return self.headings.get(label, label)

    def _name_prompt(self, capabilities: Capabilities) -> str:
        return self.prompt if can_instruct(capabilities) else f"{self.prompt}_continuation"


def draw_sources(material: EditMaterial, n: int, key: str, first: int = 0) -> list[tuple[int, int]]:
    """Positions of the next `n` sources by keyed hash, each with the number of its use, 0 or 1.

    Args:
        material: what there is.
        n: how many are wanted.
        key: of the run.
        first: how many were drawn before.

    Returns:
        At most `n` pairs; fewer where every source has been used twice.
    """
    ranked = keyed_rank(material.sources.records.ids, f"{key}:sources")
    turns = [(int(row), use) for use in range(MOST_USES) for row in ranked]
    return turns[first : first + n]


def draw_shown(records: EncodedRecords, n: int, key: str, without: str = "") -> list[int]:
    """Positions of `n` examples by keyed hash, in hash order, without the row of the id `without`."""
    ranked = [int(row) for row in keyed_rank(records.records.ids, key)]
    return [row for row in ranked if str(records.records.ids[row]) != without][:n]


def draw_pairs(pairs: Sequence[Pair], n: int, key: str, without: str = "") -> list[Pair]:
    """`n` pairs by keyed hash of what they start from, without those that start from the text `without`."""
    names = np.array([before for before, _ in pairs], dtype=object)
    ranked = [int(row) for row in keyed_rank(names, key)] if len(names) else []
    return [pairs[row] for row in ranked if without not in pairs[row]][:n]


def fit_pairs(
    pairs: Sequence[Pair], render: Callable[[Sequence[Pair]], ChatRequest], window: Window
) -> list[Pair]:
    """The first of some pairs, as many as a request has room for; one that is too long is cut to what changes."""
    shown = list(pairs)
    while len(shown) > 1 and not window.holds(render(shown)):
        shown.pop()
    if shown and not window.holds(render(shown)):
        shown = [shorten_pair(*shown[0])]
    return shown if window.holds(render(shown)) else []


def allow_tokens(request: ChatRequest, text: str) -> ChatRequest:
    """The request with room for the source and a remark, and its purpose."""
    longest = int(len(text.encode()) / _BYTES_PER_TOKEN) + _ROOM_TOKENS
    return replace(
        request, sampling=replace(request.sampling, max_tokens=longest), n=1, sample=0, purpose="generate"
    )


def clean_reply(text: str, separator: str = "") -> str:
    """A reply as a record's text: quotation marks around the whole of it are the model's, not the record's.

    Args:
        text: the reply.
        separator: the line between records of several lines; "" where a record is a line.
    """
    mended = mend_text(text)
    if separator:
        mended = find_block(mended, separator)[0]
    for opening, closing in (('"', '"'), ("“", "”")):
        inside = mended[1:-1]
        if len(mended) > 2 and mended[0] == opening and mended[-1] == closing and opening not in inside:
            return inside.strip()
    return mended


def can_instruct(capabilities: Capabilities) -> bool:
    """Whether the instruction prompts are used; else the model continues a list of pairs."""
    return (capabilities.chat and capabilities.follows_instructions) or not capabilities.continuation
