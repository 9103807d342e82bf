"""Find out how a model wants to be asked, before anything else is: does it think first, and can that be helped?

A model that thinks gives itself away by thoughts in its reply, or by a reply that is empty because its tokens were used
up. Then each known way to switch thinking off is tried on a question with one right answer; where none works, the
question is asked once more with room, and what the thoughts took is measured. What may be spent on this follows from
the budget. All replies are stored, so that a run which is resumed, or another one with the same model, finds the same.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b

from counterpoise.core.errors import ReplyError, ServerError
from counterpoise.llm.budget import BudgetSpent
from counterpoise.llm.chat import ChatRequest, Completion, Message, Sampling, Thoughts
from counterpoise.llm.client import ChatClient
from counterpoise.llm.dialect import SWITCHES
from counterpoise.llm.listed_replies import ask_for_list
from counterpoise.llm.manners import Manner

ROOM_SHARE = 0.2
"""Of a budget, at most, for finding out how long a model thinks; what goes beyond leaves nothing to write with."""

FIRST_ROOM_SHARE = 0.01
"""Of a large budget, at least."""

USUAL_ROOM = 3_800
"""Tokens between the two."""

UNLIMITED_ROOM = 20_000
LEAST_ROOM = 128
SWITCHED_TOKENS = 8
"""Room for the empty thoughts that some models write where their thinking is switched off."""

_LOOK_TOKENS = 256
_ANSWER_TOKENS = 20
_SPARE = 64
_PURPOSE = "probe"

WRITING = ChatRequest(
    (Message("user", "Write one short sentence about the weather in spring, and nothing else."),),
    sampling=Sampling(temperature=0.9, max_tokens=48),
    n=2,
    purpose=_PURPOSE,
)
"""What a run asks for most: a text, in several completions, that no one right answer keeps short."""

N_LISTED = 3
LISTING = ask_for_list(
    ChatRequest(
        (
            Message(
                "user",
                f"Write {N_LISTED} short sentences about the weather in spring. Answer with one JSON object and "
                'nothing else: its "records" are the sentences, each a text.',
            ),
        ),
        sampling=Sampling(temperature=0.9, max_tokens=32),
        purpose=_PURPOSE,
    ),
    N_LISTED,
)
"""Whether a model writes several texts in one reply."""

COUNTING = ChatRequest(
    (Message("user", "Greet a guest of a hotel."),),
    sampling=Sampling(temperature=0.9, max_tokens=2),
    n=2,
    purpose=_PURPOSE,
)
"""Whether a server gives two completions where two are asked for, of a model whose thoughts are dear."""

_SOUNDS_LIKE_THINKING = re.compile(
    r"\b(?:okay|ok|hmm|alright|wait|the user|let me|let's|i need to|i should|we need to|we have to|first,)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Meeting:
    """What a first question has shown.

    Args:
        completion: the last reply to it.
        thinks: the model was seen to think.
        switch: name of the way that switches it off, "" for none.
        thought_tokens: what its thoughts took, 0 where they are off or there are none.
        looked_tokens: it was still thinking when so many tokens were used up; 0 where it ended.
    """

    completion: Completion
    thinks: bool = False
    switch: str = ""
    thought_tokens: int = 0
    looked_tokens: int = 0

    @property
    def manner(self) -> Manner:
        """How to ask from now on, as far as thoughts go."""
        if not self.thinks:
            return Manner()
        if self.switch:
            return Manner(thoughts=Thoughts(self.switch, SWITCHED_TOKENS))
        longest = self.looked_tokens or self.thought_tokens
        return Manner(thoughts=Thoughts("", 2 * longest + _SPARE))


async def meet(
    chat: ChatClient,
    question: ChatRequest,
    is_right: Callable[[str], bool],
    known: Meeting | None = None,
) -> Meeting:
    """Ask a first question as it is, and find out what helps where the model thinks.

    Args:
        chat: the way to the model.
        question: one that is answered in a few words.
        is_right: whether an answer is the right one.
        known: what an earlier question has shown; only the length of thoughts is then measured again.

    Raises:
        BudgetSpent: the budget does not reach.
        ServerError: the server fails, or has no chat.
    """
    if known is not None and known.thinks:
        if known.switch or known.looked_tokens:
            return known
        completion, looked = await _look(chat, question, known.manner.thoughts or Thoughts())
        room = _allow(chat) - _spent(chat) - _SPARE
        if looked and room > looked:  # longer than before the short question: as long as may be found out
            completion, looked = await _look(chat, question, Thoughts("", room))
        return replace(
            known, thought_tokens=max(known.thought_tokens, _count(completion)), looked_tokens=looked
        )
    completion = (await chat.generate(question, as_it_is=True))[0]
    if not _thinks(completion) and completion.finish_reason == "length" and not is_right(completion.text):
        completion = await _look_longer(chat, question, completion)
    if not _thinks(completion):
        return Meeting(completion)
    most = _allow(chat)
    for switch in SWITCHES:
        if _spent(chat) > most / 2:
            break
        tried = replace(question, n=1, thoughts=Thoughts(switch, _ANSWER_TOKENS))
        try:
            (reply,) = await chat.generate(tried, as_it_is=True)
        except ServerError as error:
            if error.retryable:
                raise
            continue
        if not _thinks(reply) and reply.finish_reason != "length" and is_right(reply.text):
            return Meeting(reply, True, switch)
    room = max(LEAST_ROOM, most - _spent(chat) - _SPARE)
    completion, looked = await _look(chat, question, Thoughts("", room))
    return Meeting(completion, True, "", _count(completion), looked)


async def find_manner(chat: ChatClient, question: ChatRequest, is_right: Callable[[str], bool]) -> Meeting:
    """As `meet`, and from now on the client asks that way."""
    found = await meet(chat, question, is_right)
    chat.manner = replace(found.manner, multiple=chat.manner.multiple)
    chat.is_met = True
    return found


async def learn_from_first(
    chat: ChatClient, first: ChatRequest, question: ChatRequest, is_right: Callable[[str], bool]
) -> None:
    """Find the manner of a model only where the first request of some work shows that it thinks; once a client.

    What the server says against the request is left to be said when it is asked in earnest.

    Args:
        chat: the way to the model.
        first: the first request, which has to be asked anyway.
        question: one with a right answer, in a few words, for what is then to be tried.
        is_right: whether an answer to it is the right one.
    """
    if chat.is_met:
        return
    chat.is_met = True
    with contextlib.suppress(BudgetSpent, ServerError, ReplyError):
        (completion, *_) = await chat.generate(first, as_it_is=True)
        if _thinks(completion):
            await find_manner(chat, question, is_right)


def read_notes(chat: ChatClient) -> tuple[int, bool]:
    """What an earlier probe has left in the store: how often it was begun anew, and whether `n` is done."""
    if chat.store is None:
        return 0, True
    kept = chat.store.get_many([_name_notes(chat)])
    try:
        turn, multiple = json.loads(kept[_name_notes(chat)])
        return int(turn), bool(multiple)
    except (KeyError, ValueError, TypeError):
        return 0, True


async def write_notes(chat: ChatClient, turn: int, multiple: bool) -> None:
    """Leave in the store what stored replies do not tell."""
    if chat.store is not None and read_notes(chat) != (turn, multiple):
        await chat.store.replace(_name_notes(chat), json.dumps([turn, multiple]).encode())


def _name_notes(chat: ChatClient) -> bytes:
    return blake2b(f"manner\0{chat.name}".encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _thinks(completion: Completion) -> bool:
    return completion.thought_tokens > 0 or (not completion.text and completion.finish_reason == "length")


def _count(completion: Completion) -> int:
    return completion.thought_tokens or completion.usage.completion_tokens


async def _look(chat: ChatClient, question: ChatRequest, thoughts: Thoughts) -> tuple[Completion, int]:
    """Ask with room for thoughts; gives the reply, and the room where it did not do."""
    room = thoughts.tokens
    while True:
        request = replace(question, n=1, thoughts=Thoughts(thoughts.switch, room))
        try:
            (reply,) = await chat.generate(request, as_it_is=True)
        except ServerError as error:
            if error.retryable or room <= LEAST_ROOM:
                raise
            room //= 2  # more than its context has
            continue
        return reply, 0 if reply.text else room


async def _look_longer(chat: ChatClient, question: ChatRequest, completion: Completion) -> Completion:
    """A reply that was cut may be thoughts whose end is to come: look at more, and at still more if it sounds so."""
    for tokens in (_LOOK_TOKENS, max(_LOOK_TOKENS, _allow(chat) - _spent(chat) - _SPARE)):
        sampling = replace(question.sampling, max_tokens=tokens)
        completion = (await chat.generate(replace(question, n=1, sampling=sampling), as_it_is=True))[0]
        is_cut = completion.finish_reason == "length" and not _thinks(completion)
        if not is_cut or not _SOUNDS_LIKE_THINKING.search(completion.text):
            break
    return completion


def can_pay(chat: ChatClient, tokens: int) -> bool:
    """Whether another question that takes so many tokens still belongs to finding out."""
    return _spent(chat) + tokens <= _allow(chat)


def _allow(chat: ChatClient) -> int:
    """Tokens that may be spent on finding out."""
    limit = chat.budget.limit
    if limit is None:
        return UNLIMITED_ROOM
    return int(max(min(ROOM_SHARE * limit, USUAL_ROOM), FIRST_ROOM_SHARE * limit))


def _spent(chat: ChatClient) -> int:
    spend = chat.budget.by_purpose.get(_PURPOSE)
    return spend.used if spend else 0
