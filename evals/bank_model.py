"""The writers of the bank that are a model: each is shown one group of five donors a prompt, in keyed order.

`smol_continue`, and what `bank record` makes of anybody's model, is the product's own way (`minority_text`: the prompt
that the model was found to follow, cut texts asked for again). `smol_headed` is a continuation under another prompt:
each record behind the same heading. `plain_script` is what a short script does (see `peers`): an instruction with the
five rows, one text a request, the reply as it is; it gives half as many texts, as it is the dearest.

Replies come from the product's store, so a build that was stopped goes on and pays nothing twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.actions.minority_requests import MinorityRequests, measure_longest
from counterpoise.actions.minority_text import MinorityText
from counterpoise.actions.written_records import end_text
from counterpoise.core.encoded_records import EncodedRecords
from counterpoise.core.plans import Cell, PlanItem
from counterpoise.core.records import Records
from counterpoise.core.splits import keyed_rank
from counterpoise.llm import ChatRequest, answer_most
from counterpoise.llm.capabilities import find_capabilities
from counterpoise.llm.chat import COMPLETIONS_PER_REQUEST, Completion
from counterpoise.llm.models import Models
from counterpoise.llm.prompts import load_prompt
from evals.bank_sets import count_texts
from evals.bank_writers import BankRows, write_writer
from evals.common import open_model

PROMPTS = Path(__file__).with_name("prompts")
SCRIPT = "plain_script"
OWN_MODEL = ("smol_continue", "smol_headed", SCRIPT)
_WITHOUT_LIMIT = 10**9
_SCRIPT_SHARE = 2
_SCRIPT_AT_ONCE = 64  # requests for one text each


@dataclass(frozen=True)
class Written:
    """What came of one group: lines with whole texts, tokens spent in all, identity of the prompt."""

    lines: list[dict[str, Any]]
    spent: float
    prompt: str


Group = Sequence[Mapping[str, Any]]
"""Lines of the file of rows."""

Ask = Callable[[BankRows, str, int, Group, Models], Awaitable[Written]]


async def write_with_model(
    rows: BankRows, writer: str, llm: Mapping[str, Any], name: str = ""
) -> tuple[str, int]:
    """Write the file of a writer.

    Args:
        rows: of the set.
        writer: one of `OWN_MODEL`, or any other name for the product's way.
        llm: the `llm` key of a job.
        name: what the model is called in the file; "" for what its server says.

    Returns:
        Hash of the file, number of texts.

    Raises:
        ServerError: the server is gone.
    """
    ask: Ask = ASK.get(writer, _ask_as_product)
    at_once = {"concurrency": _SCRIPT_AT_ONCE} if writer == SCRIPT else {}
    async with open_model({**at_once, **llm}) as chat:
        models = Models(chat, await find_capabilities(chat))
        groups = [
            (label, number, group)
            for label in rows.rare
            for number, group in enumerate(rows.list_groups(label))
        ]
        written = await asyncio.gather(*(ask(rows, *group, models) for group in groups))
    return write_writer(
        rows,
        writer,
        [line for one in written for line in one.lines],
        model=name
        or models.capabilities.model.partition(" (")[0],  # without the folder that it was read from
        prompt=written[0].prompt,
        spent=sum(one.spent for one in written),
    )


async def _ask_as_product(rows: BankRows, label: str, number: int, group: Group, models: Models) -> Written:
    shown = _encode(group, label)
    n_requests = count_texts(rows.name) // COMPLETIONS_PER_REQUEST
    item = PlanItem(
        "minority_text", Cell(label), count_texts(rows.name), 1, number, n_requests, _WITHOUT_LIMIT
    )
    writer = MinorityText(MinorityRequests(rows.labels, f"bank:{rows.name}", {}))
    proposals = [one async for one in writer.propose(item, shown, models)]
    proposals.sort(key=lambda proposal: proposal.id)
    lines = [
        _make_line(one.text, label, group, one.tokens)
        for one in proposals
        if not one.failure and one.finish_reason != "length"
    ]
    return Written(lines, sum(one.tokens for one in proposals), proposals[0].prompt if proposals else "")


async def _ask_headed(rows: BankRows, label: str, number: int, group: Group, models: Models) -> Written:
    longest = measure_longest(_encode(group, label).records)

    def read(completion: Completion) -> str:
        text, finish_reason = end_text(completion, bullets=True)
        return "" if finish_reason == "length" else text

    prompt, n_requests = "headed_continuation", count_texts(rows.name) // COMPLETIONS_PER_REQUEST
    requests = _render(rows, prompt, label, number, group, n_requests)
    requests = [
        replace(
            request,
            n=COMPLETIONS_PER_REQUEST,
            sample=turn * COMPLETIONS_PER_REQUEST,
            sampling=replace(request.sampling, max_tokens=longest),
        )
        for turn, request in enumerate(requests)
    ]
    return await _collect(requests, prompt, label, group, models, read)


async def _ask_plainly(rows: BankRows, label: str, number: int, group: Group, models: Models) -> Written:
    n_requests = count_texts(rows.name) // _SCRIPT_SHARE
    requests = _render(rows, SCRIPT, label, number, group, n_requests)
    requests = [replace(request, sample=turn) for turn, request in enumerate(requests)]
    return await _collect(requests, SCRIPT, label, group, models, lambda completion: completion.text.strip())


ASK: dict[str, Ask] = {
    "smol_headed": _ask_headed,
    SCRIPT: _ask_plainly,
}
"""Writer -> how it is asked, where that is not the product's own way."""


def _render(rows: BankRows, prompt: str, label: str, number: int, group: Group, n: int) -> list[ChatRequest]:
    """`n` requests that show the group, each in an order of its own."""
    requests = []
    for turn in range(n):
        order = keyed_rank([str(line["id"]) for line in group], f"bank:{rows.name}:{prompt}:{number}:{turn}")
        shown = [str(group[place]["text"]) for place in order]
        requests.append(load_prompt(prompt, PROMPTS).render(heading=rows.labels[label], demonstrations=shown))
    return requests


async def _collect(
    requests: Sequence[ChatRequest],
    prompt: str,
    label: str,
    group: Group,
    models: Models,
    read: Callable[[Completion], str],
) -> Written:
    replies: dict[int, Sequence[Completion]] = {}
    async for outcome in answer_most(models.chat, requests, must_answer=True):
        replies[outcome.index] = outcome.completions
    completions = [one for index in sorted(replies) for one in replies[index]]
    lines = [
        _make_line(read(completion), label, group, float(completion.usage.total))
        for completion in completions
    ]
    spent = float(sum(completion.usage.total for completion in completions))
    return Written(lines, spent, load_prompt(prompt, PROMPTS).identity)


def _encode(group: Group, label: str) -> EncodedRecords:
    """A group as demonstrations; all of them are shown, so their vectors choose nothing."""
    ids, texts = (np.array([line[key] for line in group], dtype=object) for key in ("id", "text"))
    records = Records(ids, texts, np.zeros(len(group), np.int64), (label,))
    return EncodedRecords(records, np.ones((len(group), 1), np.float32))


def _make_line(text: str, label: str, group: Group, tokens: float) -> dict[str, Any]:
    parents = [str(line["id"]) for line in group]
    return {"text": text, "label": label, "parents": parents, "tokens": round(tokens, 2), "truth": None}
