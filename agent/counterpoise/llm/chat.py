"""What is asked of a model and what comes back: plain values, and the protocol of an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn.

    Args:
        temperature: 0 takes the likeliest token.
        top_p: share of the probability mass that is drawn from, 0..1.
        max_tokens: completion tokens at most, from 1.
        stop: texts that end a completion; they are not part of it.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 128
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values no server takes."""
        if self.max_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"not a way to sample: {self}")


COMPLETIONS_PER_REQUEST = 6
"""Texts that are asked for with one request."""

LETTER_TOKENS = 16
"""Room for a letter that is written rather than scored: `The answer is **B**`."""


@dataclass(frozen=True, slots=True)
class Thoughts:
    """How a model that thinks before it answers is asked. No server applies stop marks then: they would end thoughts.

    Args:
        switch: name of the way its thinking is switched off (`counterpoise.llm.dialect.SWITCHES`), "" for none.
        tokens: room for thoughts, beyond what the answer may take.
    """

    switch: str = ""
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to a model: a conversation to answer, or a plain text to continue.

    Args:
        messages: the conversation; exactly one of `messages` and `prompt` is given.
        prompt: text to continue (/v1/completions).
        sampling: how tokens are drawn.
        schema: JSON schema that the reply follows; only with `messages`.
        choices: single letters to be scored instead of a text. `Completion.logprobs` then maps each letter to
            its probability; one token is asked for, at temperature 0, whatever `sampling` says.
        n: completions wanted.
        sample: index of the first of them; completions `sample .. sample + n - 1` are asked for. A higher
            index is a new draw of the same question.
        purpose: what it is for ("label", "generate"); spend is totalled by it. It cannot change the reply.
        thoughts: how the model is kept from thinking, or what room its thoughts have; None for one that does not think.
        keeps_parts: a reply that breaks its schema is not asked for again: whoever asks reads what is whole in it. It
            cannot change the reply.

    Raises:
        ValueError: for a combination that no server answers.
    """

    messages: tuple[Message, ...] = ()
    prompt: str = ""
    sampling: Sampling = field(default_factory=Sampling)
    schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] = ()
    n: int = 1
    sample: int = 0
    purpose: str = ""
    thoughts: Thoughts | None = None
    keeps_parts: bool = False

    @property
    def most_tokens(self) -> int:
        """Completion tokens of one completion at most, thoughts included."""
        if self.thoughts is None:
            return self.sampling.max_tokens
        return self.sampling.max_tokens + self.thoughts.tokens + (LETTER_TOKENS if self.choices else 0)

    def __post_init__(self) -> None:
        """Check the combination; a request for choices asks for one token."""
        if bool(self.messages) == bool(self.prompt):
            raise ValueError("a request has either messages or a prompt")
        if self.n < 1 or self.sample < 0:
            raise ValueError(f"n={self.n} sample={self.sample}: n counts from 1, sample from 0")
        if self.schema is not None and (self.choices or not self.messages):
            raise ValueError("a schema needs messages, and goes without choices")
        if self.choices:
            if self.n != 1 or any(len(choice) != 1 for choice in self.choices):
                raise ValueError("choices are single letters and need n=1")
            if len(set(self.choices)) != len(self.choices):
                raise ValueError(f"a choice is there twice: {self.choices}")
            object.__setattr__(self, "sampling", Sampling(max_tokens=1))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that one completion cost; of a reply with several completions, its share."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def total(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        """What two completions cost together."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens
        )


@dataclass(frozen=True, slots=True)
class Completion:
    """One reply.

    Args:
        text: as the model wrote it, without its thoughts.
        parsed: the JSON value, where the request had a schema and the reply keeps to it.
        logprobs: probability of each letter of `choices`, summing to 1; None without choices.
        usage: what it cost, its repair included.
        finish_reason: stop, length, or what else the server said.
        thought_tokens: how many of its tokens were thoughts, which are no part of `text`.
        cached: it came from the reply store.
        problem: why it cannot be used, "" where it can (it breaks its schema after the repair round).
    """

    text: str
    parsed: Any = None
    logprobs: Mapping[str, float] | None = None
    usage: Usage = Usage()
    finish_reason: str = "stop"
    cached: bool = False
    problem: str = ""
    thought_tokens: int = 0


class Engine(Protocol):
    """Anything that answers requests.

    `name` is the model's identity as its server reports it and part of every cache key: two engines of one
    name are taken to give the same replies. An engine that is also an async context manager is entered by
    `ChatClient`.
    """

    @property
    def name(self) -> str:
        """Identity of the model."""
        ...

    async def generate(self, request: ChatRequest) -> list[Completion]:
        """`request.n` completions, in order, or fewer: the rest is then asked for one by one.

        `ServerError` where there are none.
        """
        ...
