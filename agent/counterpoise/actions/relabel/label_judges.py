"""The strong scorer of the cascade: asked about suspects only, each beside its nearest confirmed records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from counterpoise.core.records import Floats
from counterpoise.llm import ChatClient, ChatRequest, answer_most
from counterpoise.llm.prompts import load_prompt
from counterpoise.scorers.base import LETTERS

QUESTION = "Which of these describes the text best?"
_REFERENCE_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class Reference:
    """A record shown beside a suspect: its text and label index."""

    text: str
    label: int


class Judge(Protocol):
    """Anything that gives probabilities of the labels for a text beside references."""

    @property
    def name(self) -> str:
        """As the patch calls it."""
        ...

    async def judge(self, texts: Sequence[str], references: Sequence[Sequence[Reference]]) -> Floats:
        """(n, k) probabilities; a row of NaN where there is no answer."""
        ...


@dataclass(frozen=True, slots=True)
class LLMJudge:
    """A language model that picks a letter, with the options in two orders.

    A model that prefers a position, or that obeys a text which names a letter, contradicts itself between the orders.

    Args:
        chat: the way to the model.
        answers: one line a label, 2 to 20.
        question: what is asked.
    """

    chat: ChatClient
    answers: tuple[str, ...]
    question: str = QUESTION

    @property
    def name(self) -> str:
        """The model's name."""
        return self.chat.name

    async def judge(self, texts: Sequence[str], references: Sequence[Sequence[Reference]]) -> Floats:
        """(n, k) probabilities, the mean of both orders.

        Raises:
            ServerError: the server is gone.
        """
        k = len(self.answers)
        requests = [
            self._make_request(text, shown, order)
            for text, shown in zip(texts, references, strict=True)
            for order in (tuple(range(k)), tuple(range(k - 1, -1, -1)))
        ]
        total = np.zeros((len(texts), k))
        async for outcome in answer_most(self.chat, requests):
            row, is_reverse = divmod(outcome.index, 2)
            found = np.full(k, np.nan)
            if outcome.completions and (letters := outcome.completions[0].logprobs) is not None:
                found = np.array([letters[letter] for letter in LETTERS[:k]])
            total[row] += found[::-1] if is_reverse else found
        return total / 2.0

    def _make_request(self, text: str, shown: Sequence[Reference], order: Sequence[int]) -> ChatRequest:
        request = load_prompt("label_judge").render(
            question=self.question,
            options=[(LETTERS[place], self.answers[answer]) for place, answer in enumerate(order)],
            text=text,
            references=[(one.text[:_REFERENCE_CHARACTERS], self.answers[one.label]) for one in shown],
        )
        return replace(request, choices=tuple(LETTERS[: len(self.answers)]), purpose="judge")
