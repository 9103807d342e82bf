"""What a model can do, found by a dozen short questions; the client then asks in the manner that was found."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from counterpoise.core.capabilities import Capabilities
from counterpoise.core.errors import ServerError
from counterpoise.core.event_kinds import ModelFound, Warned
from counterpoise.core.events import tell_event
from counterpoise.llm.budget import BudgetSpent, ThoughtsUnpaid
from counterpoise.llm.chat import ChatRequest, Sampling, Thoughts
from counterpoise.llm.client import ChatClient
from counterpoise.llm.findings import Notes, settle_capabilities
from counterpoise.llm.listed_replies import read_listed
from counterpoise.llm.manners import Manner
from counterpoise.llm.models import Models
from counterpoise.llm.probing import (
    COUNTING,
    LISTING,
    N_LISTED,
    WRITING,
    Meeting,
    can_pay,
    find_manner,
    meet,
    read_notes,
    write_notes,
)
from counterpoise.llm.prompts import load_prompt
from counterpoise.llm.reply_store import make_keys
from counterpoise.llm.thought_costs import explain_thoughts

_PROBE_WORDS = ("table", "river", "seven", "orange")


async def learn_capabilities(models: Models, notes: Notes, cache_dir: Path) -> Models:
    """What the run goes by, found now or when it began; the client asks in that manner, and the user is told.

    Raises:
        BudgetSpent: the budget does not reach for the questions.
        ThoughtsUnpaid: it does not reach for what the model thinks before each answer.
        ServerError: as `find_capabilities`.
    """
    chat = models.chat
    # Runs that began before lists were known go on without them.
    tries_lists = all("lists" in known for known in notes.read("capabilities").values())
    found = await find_capabilities(chat, tries_lists=tries_lists)
    found = settle_capabilities(found, notes, cache_dir)
    apply_capabilities(chat, found)
    tell_event(ModelFound(found.model, found.follows_instructions))
    line, is_too_much = explain_thoughts(found, chat.budget.limit)
    if is_too_much:
        raise ThoughtsUnpaid(line)
    if line:
        tell_event(Warned(line, retryable=False, purpose="probe"))
    return replace(models, capabilities=found)


async def find_capabilities(chat: ChatClient, *, tries_lists: bool = True) -> Capabilities:
    """Ask what the model can do: continue a text, follow a short instruction, answer without thinking first.

    Replies are stored, so a run that is resumed finds the same; from now on the client asks in the manner that was
    found. Where what is stored would leave a run without a way, it may be that the server was set right since: it is
    asked anew.

    Args:
        chat: the way to the model.
        tries_lists: whether to ask for several texts in one reply too.

    Raises:
        BudgetSpent: the budget does not reach for a dozen short questions.
        ServerError: the server fails for another reason than not knowing a kind of request, or answers nothing; the
            message ends in its own words.
    """
    turn, multiple = read_notes(chat)
    before = chat.budget.paid
    try:
        found = await _find_capabilities(chat, turn, multiple, tries_lists)
        is_stale = chat.budget.paid == before and explain_thoughts(found, chat.budget.limit)[1]
    except ServerError as error:
        if error.retryable or chat.budget.paid != before or not _is_stored(chat, turn):
            raise
        is_stale = True
    if is_stale:
        turn += 1
        found = await _find_capabilities(chat, turn, multiple, tries_lists)
    await write_notes(chat, turn, found.multiple)
    return found


async def _find_capabilities(chat: ChatClient, turn: int, multiple: bool, tries_lists: bool) -> Capabilities:
    chat.manner = Manner()
    refusals: list[str] = []
    probe = ChatRequest(
        prompt="one, two, three,", sampling=Sampling(max_tokens=4), purpose="probe", sample=turn
    )
    continues = await _answers(chat, probe, refusals)
    n_asked = n_right = n_empty = 0
    meeting: Meeting | None = None
    for word in _PROBE_WORDS:
        if meeting is not None and not _is_worth_its_price(chat, meeting):
            break
        try:
            if meeting is None:
                meeting = await find_manner(chat, *_make_question(word, turn))
                completion = meeting.completion
            else:
                (completion,) = await chat.generate(_make_question(word, turn)[0])
        except ServerError as error:
            if error.retryable:
                raise
            refusals.append(error.said or error.message)
            break
        n_asked += 1
        n_right += _is_word(completion.text, word)
        n_empty += not completion.text.strip()
    follows = 0 < n_asked - (n_asked == len(_PROBE_WORDS)) <= n_right
    if (meeting is None or n_empty == n_asked) and not continues and not (meeting and meeting.looked_tokens):
        said = f": {refusals[-1]}" if refusals else ""
        raise ServerError(
            "all its replies are empty" if meeting else f"it answers neither chats nor continuations{said}",
            where=chat.name,
            hint="set that right at the server, or give another model or address"
            if refusals
            else "check the URL (it ends in /v1 as a rule) and the model",
        )
    if meeting is not None and (follows or not continues) and _is_worth_its_price(chat, meeting):
        meeting = await _write_once(chat, meeting, turn)
    lists = tries_lists and follows and meeting is not None and await _writes_lists(chat, meeting, turn)
    chat.manner = replace(chat.manner, multiple=chat.manner.multiple and multiple)
    thoughts = chat.manner.thoughts or Thoughts()
    return Capabilities(
        model=chat.name,
        chat=meeting is not None,
        continuation=continues,
        follows_instructions=meeting is not None and follows,
        multiple=chat.manner.multiple,
        context_tokens=chat.context_tokens,
        thinks=meeting is not None and meeting.thinks,
        thinking_switch=thoughts.switch,
        thought_tokens=meeting.thought_tokens if meeting else 0,
        looked_tokens=meeting.looked_tokens if meeting else 0,
        room_tokens=thoughts.tokens,
        lists=lists,
    )


async def learn_manner(chat: ChatClient) -> None:
    """Find out whether a model thinks, for work that asks it short questions only; where it has no chat, that shows."""
    turn, multiple = read_notes(chat)
    with contextlib.suppress(BudgetSpent):
        try:
            await find_manner(chat, *_make_question(_PROBE_WORDS[0], turn))
        except ServerError as error:
            if error.retryable:
                raise
    chat.manner = replace(chat.manner, multiple=multiple)


def apply_capabilities(chat: ChatClient, found: Capabilities) -> None:
    """Let the client ask in the manner that was found, perhaps in an earlier process."""
    thoughts = Thoughts(found.thinking_switch, found.room_tokens) if found.thinks else None
    chat.manner = Manner(multiple=found.multiple, thoughts=thoughts)


def _is_worth_its_price(chat: ChatClient, meeting: Meeting) -> bool:
    """Whether to ask one question more: not where thoughts have no end, or would take what is there to write with."""
    return not meeting.looked_tokens and can_pay(chat, meeting.thought_tokens)


async def _write_once(chat: ChatClient, meeting: Meeting, turn: int) -> Meeting:
    """Ask for a text, as a run will: some models think only then, or longer; and see whether `n` is done."""
    with contextlib.suppress(BudgetSpent):
        if meeting.manner.thoughts is not None:
            await chat.generate(replace(COUNTING, sample=turn * COUNTING.n), as_it_is=True)
        writing = replace(WRITING, sample=turn * WRITING.n)
        meeting = await meet(chat, writing, lambda text: bool(text.strip()), known=meeting)
        chat.manner = replace(meeting.manner, multiple=chat.manner.multiple)
    return meeting


async def _writes_lists(chat: ChatClient, meeting: Meeting, turn: int) -> bool:
    """Whether three texts that are asked for in one JSON reply come, and are three texts."""
    if not _is_worth_its_price(chat, meeting):
        return False
    try:
        (reply,) = await chat.generate(replace(LISTING, sample=turn))
    except BudgetSpent:
        return False
    except ServerError as error:
        if error.retryable:
            raise
        return False
    entries = read_listed(reply.text)
    return len({entry.text for entry in entries if not entry.fault}) == N_LISTED == len(entries)


def _is_stored(chat: ChatClient, turn: int) -> bool:
    """Whether the first question was answered out of the store."""
    keys = make_keys(chat.name, _make_question(_PROBE_WORDS[0], turn)[0])
    return chat.store is not None and bool(chat.store.get_many(keys))


def _make_question(word: str, turn: int) -> tuple[ChatRequest, Callable[[str], bool]]:
    request = replace(load_prompt("instruction_probe").render(word=word), purpose="probe", sample=turn)
    return request, lambda text: word.upper() in text


def _is_word(text: str, word: str) -> bool:
    return text.strip().strip(".\"'*`“”") == word.upper()


async def _answers(chat: ChatClient, request: ChatRequest, refusals: list[str]) -> bool:
    try:
        return bool(await chat.generate(request))
    except ServerError as error:
        if error.retryable:
            raise
        refusals.append(error.said or error.message)
        return False
