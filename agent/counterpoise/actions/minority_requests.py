"""The requests for new texts of a cell: what each shows, who writes it, and how many texts it asks for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from counterpoise.actions.cell_headings import describe_cell
from counterpoise.actions.context_fit import Window, fit_texts, open_window
from counterpoise.actions.record_forms import LINES, SHARE_MEANT, RecordForm
from counterpoise.actions.writers import Writer, take_turns
from counterpoise.core.capabilities import Capabilities
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, PlanItem
from counterpoise.core.records import Integers, Records
from counterpoise.core.splits import keyed_hash, keyed_rank
from counterpoise.llm import ChatRequest
from counterpoise.llm.chat import COMPLETIONS_PER_REQUEST
from counterpoise.llm.listed_replies import ask_for_list
from counterpoise.llm.prompts import Prompt, load_prompt
from counterpoise_retrievers.neighbours import pick_diverse

N_DEMONSTRATIONS = 5
MOST_REQUESTS = 100_000  # of one item; keeps the draws of two rounds apart
_POOL_FACTOR = 3
_BYTES_PER_TOKEN = 4.0
_FEW_DEMONSTRATIONS = 8
_FEWEST_OF_PART = 3
_PER_REPLY = (6, 3, 2)  # the most first; each shares out what a request asks for
_REPLY_SHARE = 0.5  # of the window, at most, for one text: the rest is for what it is written after


@dataclass(frozen=True, slots=True)
class TextDraft:
    """One request with what it was made from.

    Args:
        shown: positions of the records that it shows.
        is_shortened: whether the one it shows is cut.
        writer: who writes it.
        per_reply: texts in each of its replies.
        identity: of its prompt, as provenance has it.
        request: as it is sent.
    """

    shown: tuple[int, ...]
    is_shortened: bool
    writer: Writer
    per_reply: int
    identity: str
    request: ChatRequest


@dataclass(frozen=True, slots=True)
class MinorityRequests:
    """Makes the requests for any cell: a label alone, with a concept, or with an attribute value.

    Args:
        headings: label name -> one line that says what such records are.
        key: the run's key; another gives other demonstrations.
        concepts: concept name -> definition, for cells that have one.
        form: how records stand in a prompt.
        writers: who write, in turn.
        parts: id of a record -> its part; records of different parts do not stand in one prompt.
    """

    headings: Mapping[str, str]
    key: str
    concepts: Mapping[str, str]
    form: RecordForm = LINES
    writers: Sequence[Writer] = (Writer(),)
    parts: Mapping[str, int] = field(default_factory=dict)

    def compose(
        self, item: PlanItem, demonstrations: EncodedRecords, capabilities: Capabilities
    ) -> list[TextDraft]:
        """The `item.n_requests` requests of an item, each with demonstrations of its own."""
        window = open_window(capabilities)
        longest = min(measure_longest(demonstrations.records), max(1, int(_REPLY_SHARE * window.tokens)))
        turns = take_turns(self.writers, item.first_source, item.n_requests)
        parts = self._find_parts(demonstrations.records)
        drafts: list[TextDraft] = []
        seen: Counter[tuple[tuple[int, ...], str]] = Counter()
        for turn, writer in enumerate(turns):
            draft = self._draft(item, turn, writer, demonstrations, parts, capabilities, longest)
            key = draft.shown, draft.identity
            if seen[key] and not draft.request.sample:
                # The same prompt once more is asked for new draws.
                again = replace(draft.request, sample=seen[key] * COMPLETIONS_PER_REQUEST)
                draft = replace(draft, request=again)
            seen[key] += 1
            drafts.append(draft)
        return drafts

    def _draft(
        self,
        item: PlanItem,
        turn: int,
        writer: Writer,
        demonstrations: EncodedRecords,
        parts: Integers,
        capabilities: Capabilities,
        longest: int,
    ) -> TextDraft:
        rows = self._choose(demonstrations, parts, item, turn)
        whole = [str(demonstrations.records.texts[row]) for row in rows]
        window, prompt = open_window(capabilities), load_prompt(name_prompt(capabilities))

        def render(shown: Sequence[str], per_reply: int = 1) -> ChatRequest:
            return self._render(item.cell, shown, writer, longest, prompt, per_reply)

        texts = fit_texts(whole, render, window)
        request, per_reply = replace(render(texts), n=COMPLETIONS_PER_REQUEST), 1
        if capabilities.lists and request.messages:
            prompt = load_prompt("minority_records")
            per_reply = next((n for n in _PER_REPLY if window.holds(render(texts, n))), 1)
            request = replace(render(texts, per_reply), n=COMPLETIONS_PER_REQUEST // per_reply)
        sample = 0
        if len(demonstrations) < _FEW_DEMONSTRATIONS or np.bincount(parts).min() < N_DEMONSTRATIONS:
            # A handful of rows makes a handful of prompts: ask each for new draws, not for the same again.
            sample = (item.round * MOST_REQUESTS + turn) * COMPLETIONS_PER_REQUEST
        return TextDraft(
            tuple(rows[: len(texts)]),
            texts[:1] != whole[:1],
            writer,
            per_reply,
            writer.sign(prompt.identity),
            replace(request, sample=sample, purpose="generate"),
        )

    def _render(
        self,
        cell: Cell,
        shown: Sequence[str],
        writer: Writer,
        longest: int,
        prompt: Prompt,
        per_reply: int,
    ) -> ChatRequest:
        said = {
            "heading": describe_cell(cell, self.headings, self.concepts),
            "demonstrations": shown,
            "separator": self.form.separator,
            "instructions": writer.instructions,
            "n_records": per_reply,
        }
        request = prompt.render(**{name: said[name] for name in prompt.variables})
        request = replace(request, sampling=replace(request.sampling, max_tokens=longest))
        if prompt.schema:
            return writer.sample(ask_for_list(request, per_reply))
        return writer.sample(self.form.shape(request))

    def _choose(
        self, demonstrations: EncodedRecords, parts: Integers, item: PlanItem, turn: int
    ) -> list[int]:
        """Rows of one part: a random handful by keyed hash, thinned to the most unlike, in hash order."""
        ranked = keyed_rank(demonstrations.records.ids, f"{self.key}:{item.id}:{turn}")
        names = np.unique(parts)
        start = keyed_hash(self.key, item.id)
        mine = ranked[parts[ranked] == names[(start + turn) % len(names)]]
        handful = mine[: N_DEMONSTRATIONS * _POOL_FACTOR]
        relevance = np.linspace(1.0, 0.0, len(handful))
        picked = pick_diverse(relevance, demonstrations.vectors[handful], min(N_DEMONSTRATIONS, len(handful)))
        return [int(handful[place]) for place in sorted(picked)]

    def _find_parts(self, records: Records) -> Integers:
        """(n,) part of each; where some have hardly a record of a cell, parts are joined."""
        parts = np.array([self.parts.get(str(one), 0) for one in records.ids], np.int64)
        for n_parts in range(int(parts.max()) + 1, 0, -1):
            counts = np.bincount(parts % n_parts, minlength=n_parts)
            if counts.min() >= _FEWEST_OF_PART:
                return parts % n_parts
        return np.zeros_like(parts)


def name_prompt(capabilities: Capabilities) -> str:
    """The prompt for one text a reply: whether a model is instructed is measured, not read off its name."""
    follows = capabilities.chat and capabilities.follows_instructions
    return "minority_instruction" if follows or not capabilities.continuation else "minority_continuation"


def measure_longest(records: Records) -> int:
    """Completion tokens to allow: the 95th percentile of the records' lengths and a quarter more.

    Returns:
        Tokens, from 24.
    """
    lengths: Sequence[float] = [len(str(text).encode()) / _BYTES_PER_TOKEN for text in records.texts]
    wanted = float(np.quantile(lengths, SHARE_MEANT)) * 1.25 if lengths else 0.0
    return int(max(24.0, wanted))


def describe_drafts(drafts: Sequence[TextDraft], n_wanted: int, window: Window) -> str:
    """Why requests show less than they would, "" where they do not."""
    sizes = sorted({len(draft.shown) for draft in drafts})
    if sizes in ([], [n_wanted]) and not any(draft.is_shortened for draft in drafts):
        return ""
    cut = ", cut after a whole sentence" if any(draft.is_shortened for draft in drafts) else ""
    shown = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    room = max(draft.request.sampling.max_tokens // draft.per_reply for draft in drafts)
    return (
        f"show {shown} instead of {n_wanted} records{cut}: {window} holds no more of such length beside a reply of "
        f"up to {room:,}"
    )
